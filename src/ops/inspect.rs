//! `inspect` and `status`: what a collection says, who may say it, and until when.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;

use super::client::{Reading, Updated};
use super::error::Error;
use super::sign::{is_blocked, signers};
use super::verify::notices;
use super::world::World;
use crate::image::{Digest, ImageName};
use crate::keystore::KeyStore;
use crate::trust::RoleKind;
use crate::trust::draft::Lifetimes;
use crate::trust::entry::Entry;
use crate::trust::key::KeyId;
use crate::trust::pin::Pin;
use crate::trust::plan;
use crate::trust::role::RoleName;
use crate::trust::targets::Targets;
use crate::trust::update::{Breadth, Expiry, Trusted};

/// What a collection says.
#[derive(Debug)]
pub struct Collection {
    /// Its name.
    pub name: ImageName,
    /// Where its head lies.
    pub location: String,
    /// The head's digest.
    pub head: Digest,
    /// The tags, in order.
    pub tags: Vec<SignedTag>,
    /// How many manifests are signed, with those that no tag holds any more.
    pub manifests: usize,
    /// The roles.
    pub roles: Vec<Role>,
    /// When the present timestamp was signed, where it says so.
    pub signed_at: Option<String>,
    /// What was odd, in sentences.
    pub notices: Vec<String>,
}

/// A signed tag.
#[derive(Debug)]
pub struct SignedTag {
    /// The tag.
    pub tag: String,
    /// What it holds.
    pub digest: Digest,
    /// The media type.
    pub media_type: String,
    /// Who vouches: `targets` and signers, the one who answers first.
    pub signers: Vec<String>,
    /// The signer's notes.
    pub annotations: BTreeMap<String, String>,
}

/// A role.
#[derive(Debug)]
pub struct Role {
    /// Which.
    pub kind: RoleKind,
    /// The version.
    pub version: u64,
    /// When it expires.
    pub expires: Timestamp,
    /// Whether half of its life is gone.
    pub due: bool,
    /// Whether it has expired.
    pub expired: bool,
    /// The ids of its keys.
    pub keys: Vec<KeyId>,
    /// Which of them are in this machine's key store.
    pub at_hand: Vec<KeyId>,
    /// How many must sign.
    pub threshold: u32,
}

/// Whether an expired collection is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    /// It is refused.
    Refuse,
    /// It is shown, with what has expired.
    Show,
}

/// Verifies a collection and reads what it says.
///
/// # Errors
/// Those of a client; with [`Stale::Show`] expiry is none.
pub async fn inspect(
    world: &World<'_>,
    keys: &dyn KeyStore,
    name: &ImageName,
    layout: Option<&Path>,
    stale: Stale,
) -> Result<Collection, Error> {
    let ruling = world.rule(name)?;
    let expiry = match stale {
        Stale::Refuse => Expiry::Enforce,
        Stale::Show => Expiry::UnsafeIgnore,
    };
    let mut client = world.client(name, layout, &ruling, expiry)?;
    client.rules.breadth = Breadth::Signers;
    let updated = client.update(&[], Reading::Conditional).await?;
    let mut notices = notices(&updated);
    notices
        .extend(retired_pins(&updated, &ruling.pins.iter().filter_map(|p| Pin::of_policy(p).ok()).collect::<Vec<_>>()));
    let trusted = &updated.trusted;
    let prefix = format!("{name}:");
    let mut tags: BTreeMap<String, SignedTag> = BTreeMap::new();
    let mut manifests = BTreeSet::new();
    for (signer, metadata) in voices(trusted) {
        let blocked = |path: &str| signer != RoleName::TARGETS.as_str() && is_blocked(trusted, path);
        for (path, target) in metadata.iter().filter(|(path, _)| !blocked(path)) {
            let entry = Entry::of(&RoleName::TARGETS, path, target).map_err(Error::of(name))?;
            let Some(tag) = path.strip_prefix(&prefix) else {
                manifests.insert(entry.manifest.digest);
                continue;
            };
            // The first who is asked answers; others count as vouching where they say the same.
            let digest = entry.manifest.digest;
            let known = tags.entry(tag.to_owned()).or_insert_with(|| SignedTag {
                tag: tag.to_owned(),
                digest,
                media_type: entry.manifest.media_type,
                signers: Vec::new(),
                annotations: entry.custom.annotations,
            });
            if known.digest == digest {
                known.signers.push(signer.clone());
            }
        }
    }
    let signed_at = trusted.timestamp_time();
    Ok(Collection {
        name: name.clone(),
        location: client.repository.location(),
        head: updated.head.digest,
        tags: tags.into_values().collect(),
        manifests: manifests.len(),
        roles: roles(world, keys, &updated)?,
        signed_at,
        notices,
    })
}

/// Whoever may answer, in the order in which they are asked: what is blocked is answered by none of the signers.
fn voices(trusted: &Trusted) -> Vec<(String, &Targets)> {
    let signers = signers(trusted).filter_map(|delegation| {
        trusted.signer(delegation.name()).map(|metadata| (delegation.name().to_owned(), &**metadata))
    });
    std::iter::once((RoleName::TARGETS.to_string(), &*trusted.targets)).chain(signers).collect()
}

fn roles(world: &World<'_>, keys: &dyn KeyStore, updated: &Updated) -> Result<Vec<Role>, Error> {
    let trusted = &updated.trusted;
    let held = keys.list()?;
    let due = plan::due(trusted, &Lifetimes::of_root(trusted.root.bytes()), world.now);
    let versions = trusted.versions();
    let expiries = plan::expiries(trusted);
    let role = |kind: RoleKind| {
        let own: Vec<_> = trusted.root.keys_of(kind).collect();
        let at_hand = |key: &crate::trust::Key| held.iter().any(|info| info.public.material() == key.material());
        Role {
            kind,
            version: versions[&kind].get(),
            expires: expiries[&kind],
            due: due.contains(&kind),
            expired: expiries[&kind] <= world.now,
            at_hand: own.iter().filter(|(_, key)| at_hand(key)).map(|(id, _)| (*id).clone()).collect(),
            keys: own.into_iter().map(|(id, _)| id.clone()).collect(),
            threshold: trusted.root.role(kind).threshold.get(),
        }
    };
    Ok(RoleKind::ALL.into_iter().map(role).collect())
}

/// Pins that name a key which the present root no longer has: a machine that starts fresh still follows, as long as
/// every root version stays there; but whoever holds the retired key could found another history for it.
fn retired_pins(updated: &Updated, pins: &[Pin]) -> Vec<String> {
    let present: Vec<_> = updated.trusted.root.keys_of(RoleKind::Root).map(|(_, key)| key.id()).collect();
    pins.iter()
        .flat_map(|pin| &pin.keys)
        .filter(|id| !present.contains(id))
        .map(|id| format!("the policy pins the root key {}, which the present root has retired", id.short()))
        .collect()
}
