//! `signer add`, `remove`, `list`: who else may sign which tags.

use std::path::Path;

use jiff::Timestamp;

use super::client::Reading;
use super::error::Error;
use super::publish::{Publisher, Work};
use super::ring::Ring;
use super::world::{World, unlock_role_keys};
use crate::image::ImageName;
use crate::trust::entry::Change;
use crate::trust::envelope::Metadata;
use crate::trust::signer::Signer;
use crate::trust::update::{Breadth, Expiry, Trusted};
use crate::trust::{KeyId, RoleKind, RoleName};

/// A signer as a collection knows it.
#[derive(Debug)]
pub struct Listed {
    /// The name.
    pub name: String,
    /// The ids of its keys.
    pub keys: Vec<KeyId>,
    /// How many of them must sign.
    pub threshold: u32,
    /// The patterns of the tags that it may sign.
    pub tags: Vec<String>,
    /// How many tags it has signed; none where it has signed nothing yet.
    pub signed: Option<usize>,
    /// When its role expires, where it has signed anything.
    pub expires: Option<Timestamp>,
}

/// Adds a signer, or gives a known one other keys, another threshold or other tags.
///
/// # Errors
/// [`crate::trust::Error::BadEdit`] for what cannot be; those of publishing.
pub async fn add(
    world: &World<'_>,
    ring: &Ring<'_>,
    name: &ImageName,
    layout: Option<&Path>,
    signer: Signer,
) -> Result<Vec<Listed>, Error> {
    signer.check().map_err(Error::of(name))?;
    edit(world, ring, name, layout, Change::SetSigner(signer)).await
}

/// Removes a signer: what only it vouches for no longer verifies.
///
/// # Errors
/// [`Error::Usage`] where there is no such signer; those of publishing.
pub async fn remove(
    world: &World<'_>,
    ring: &Ring<'_>,
    name: &ImageName,
    layout: Option<&Path>,
    signer: &str,
) -> Result<Vec<Listed>, Error> {
    let known = list(world, name, layout).await?;
    if !known.iter().any(|listed| listed.name == signer) {
        let names: Vec<_> = known.iter().map(|listed| listed.name.as_str()).collect();
        let there = if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
        return Err(Error::Usage(format!("`{name}` has no signer `{}`: {there}", signer.escape_debug())));
    }
    let left = edit(world, ring, name, layout, Change::RemoveSigner { signer: signer.to_owned() }).await?;
    // Notary v1 reported success and kept the signer.
    if left.iter().any(|listed| listed.name == signer) {
        return Err(Error::StillSigned {
            image: format!("the signer `{signer}`"),
            by: "a concurrent change".to_owned(),
        });
    }
    Ok(left)
}

/// The signers of a collection, in the order in which they are asked.
///
/// # Errors
/// Those of a client.
pub async fn list(world: &World<'_>, name: &ImageName, layout: Option<&Path>) -> Result<Vec<Listed>, Error> {
    let ruling = world.rule(name)?;
    let mut client = world.client(name, layout, &ruling, Expiry::Enforce)?;
    client.rules.breadth = Breadth::Signers;
    let updated = super::publish::look(&client, &[], Reading::Conditional).await?;
    Ok(listed(name, &updated.trusted))
}

async fn edit(
    world: &World<'_>,
    ring: &Ring<'_>,
    name: &ImageName,
    layout: Option<&Path>,
    change: Change,
) -> Result<Vec<Listed>, Error> {
    let ruling = world.rule(name)?;
    unlock_role_keys(world, ring, name, &[RoleKind::Targets, RoleKind::Snapshot, RoleKind::Timestamp])?;
    let client = world.client(name, layout, &ruling, Expiry::Enforce)?;
    let publisher = Publisher { client, ring };
    let work = Work { changes: vec![change], due: true, ..Work::default() };
    let published = publisher.publish(&work).await?;
    Ok(listed(name, &published.updated.trusted))
}

fn listed(name: &ImageName, trusted: &Trusted) -> Vec<Listed> {
    let prefix = format!("{name}:");
    let listed = |delegation: &crate::trust::delegation::Delegation| {
        let role = trusted.signer(delegation.name());
        let tags = delegation.paths().iter().filter_map(|path| path.strip_prefix(&prefix)).map(str::to_owned);
        Listed {
            name: RoleName::Delegated(delegation.name().to_owned()).to_string(),
            keys: delegation.keyids().to_vec(),
            threshold: delegation.threshold(),
            tags: tags.collect(),
            signed: role.map(|role| role.iter().filter(|(path, _)| path.starts_with(&prefix)).count()),
            expires: role.map(|role| role.expires()),
        }
    };
    super::sign::signers(trusted).map(listed).collect()
}
