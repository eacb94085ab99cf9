//! `key rotate`: replaces the keys of a role, for every client at once: the root says so, and clients follow.

use std::path::Path;

use super::error::Error;
use super::publish::{Publisher, Work};
use super::ring::Ring;
use super::world::{World, unlock_role_keys};
use crate::image::ImageName;
use crate::keystore::{Algorithm, KeyInfo, Purpose};
use crate::trust::plan::RoleChange;
use crate::trust::update::Expiry;
use crate::trust::{KeyId, RoleKind};

/// What `key rotate` did.
#[derive(Debug)]
pub struct Rotated {
    /// The role.
    pub kind: RoleKind,
    /// The new key.
    pub key: KeyInfo,
    /// The keys that no role lists any more.
    pub retired: Vec<KeyId>,
    /// The version of the root that says so.
    pub root_version: u64,
    /// The root keys from now on, and how many of them sign: what others pin on machines that start fresh.
    pub root_keys: Vec<crate::trust::Key>,
    /// The root's threshold.
    pub root_threshold: u32,
}

/// Where the new key comes from.
#[derive(Debug)]
pub enum NewKey {
    /// It is made.
    Generate(Algorithm),
    /// It is in the key store.
    Held(KeyInfo),
}

/// Replaces the keys of a role by one new key.
///
/// # Errors
/// [`Error::NoSigningKey`] where the root's keys, or keys of a role that must be signed anew, are elsewhere; those of
/// publishing.
pub async fn rotate(
    world: &World<'_>,
    ring: &Ring<'_>,
    name: &ImageName,
    layout: Option<&Path>,
    kind: RoleKind,
    new: NewKey,
) -> Result<Rotated, Error> {
    let ruling = world.rule(name)?;
    unlock_role_keys(world, ring, name, &RoleKind::ALL)?;
    let client = world.client(name, layout, &ruling, Expiry::Enforce)?;
    let before = super::publish::look(&client, &[], super::client::Reading::Whole).await?;
    let root = &before.trusted.root;
    if !ring.can_sign(&root.authority(RoleKind::Root))? {
        return Err(Error::NoSigningKey {
            name: name.clone(),
            role: RoleKind::Root.to_string(),
            keys: root.role(RoleKind::Root).keyids.iter().map(KeyId::short).collect(),
            need: root.role(RoleKind::Root).threshold.get(),
        });
    }
    if root.role(kind).threshold.get() > 1 {
        return Err(Error::Usage(format!("{kind} is signed by several keys: `boltseal root` replaces one of them")));
    }
    let key = match new {
        NewKey::Held(info) => info,
        NewKey::Generate(algorithm) => {
            let purpose = match kind {
                RoleKind::Root => Purpose::Root,
                RoleKind::Targets => Purpose::Targets,
                RoleKind::Snapshot => Purpose::Snapshot,
                RoleKind::Timestamp => Purpose::Timestamp,
            };
            let text = name.to_string();
            let collection = (kind != RoleKind::Root).then_some(text.as_str());
            ring.store().generate(algorithm, purpose, collection, ring.passphrases())?
        }
    };
    ring.signer(&key.id)?;
    let former: Vec<KeyId> = root.keys_of(kind).map(|(_, key)| key.id()).collect();
    if former.contains(&key.id) {
        return Err(Error::Usage(format!("key {} is the {kind} key already", key.id.short())));
    }
    let change = RoleChange { kind, keys: vec![key.public.clone()], threshold: 1 };
    let publisher = Publisher { client, ring };
    let published = publisher.publish(&Work { roles: vec![change], due: true, ..Work::default() }).await?;
    let root = &published.updated.trusted.root;
    Ok(Rotated {
        kind,
        key,
        retired: former.into_iter().filter(|id| root.keys().iter().all(|(_, key)| key.id() != *id)).collect(),
        root_version: crate::trust::envelope::Metadata::version(&**root).get(),
        root_keys: root.keys_of(RoleKind::Root).map(|(_, key)| key.clone()).collect(),
        root_threshold: root.role(RoleKind::Root).threshold.get(),
    })
}
