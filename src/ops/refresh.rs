//! `refresh`: signs again what is due, with the keys at hand, and finishes what a killed publisher began.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;

use super::error::Error;
use super::publish::{Publisher, Work};
use super::ring::Ring;
use super::world::{World, unlock_role_keys};
use crate::image::{Digest, ImageName};
use crate::trust::RoleKind;
use crate::trust::draft::Lifetimes;
use crate::trust::plan;
use crate::trust::role::RoleName;
use crate::trust::update::Expiry;

/// What `refresh` did.
#[derive(Debug)]
pub struct Refreshed {
    /// The roles that were signed anew.
    pub signed: BTreeSet<RoleKind>,
    /// When the first role expires now.
    pub expires: Timestamp,
    /// When each top-level role expires now.
    pub expiries: BTreeMap<RoleKind, Timestamp>,
    /// Roles in the last quarter of their life whose keys are elsewhere, with the instants they expire.
    pub pressing: Vec<(RoleKind, Timestamp)>,
    /// What was ignored beside the head.
    pub ignored: Vec<String>,
}

/// Signs what is due. `accept_expired` names a head that is built on although it has expired.
///
/// # Errors
/// Those of a client and of publishing.
pub async fn refresh(
    world: &World<'_>,
    ring: &Ring<'_>,
    name: &ImageName,
    layout: Option<&Path>,
    accept_expired: Option<Digest>,
) -> Result<Refreshed, Error> {
    let ruling = world.rule(name)?;
    unlock_role_keys(world, ring, name, &[RoleKind::Snapshot, RoleKind::Timestamp])?;
    let expiry = if accept_expired.is_some() { Expiry::UnsafeIgnore } else { Expiry::Enforce };
    let client = world.client(name, layout, &ruling, expiry)?;
    let publisher = Publisher { client, ring };
    let published = publisher.publish(&Work { due: true, accept_expired, ..Work::default() }).await?;
    let trusted = &published.updated.trusted;
    let lifetimes = Lifetimes::of_root(trusted.root.bytes());
    let expiries = plan::expiries(trusted);
    let pressing = expiries
        .iter()
        .filter(|(kind, at)| at.duration_since(world.now) < lifetimes.of(&RoleName::Top(**kind)) / 4)
        .map(|(kind, at)| (*kind, *at))
        .collect();
    let expires = expiries.values().copied().min().unwrap_or(world.now);
    Ok(Refreshed { signed: published.signed, expires, expiries, pressing, ignored: published.ignored })
}
