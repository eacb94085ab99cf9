//! `init`: makes the keys and the collection of an image name, and pins its root.

use std::path::{Path, PathBuf};

use super::client::{Client, Reading, check_never_seen};
use super::error::Error;
use super::publish::{self, random};
use super::ring::Ring;
use super::trust::{self as pins, OtherRoot};
use super::world::World;
use crate::image::{ImageName, manifest};
use crate::keystore::{Algorithm, KeyInfo, Purpose};
use crate::registry::head::Head;
use crate::registry::{Point, layout::LayoutRepository};
use crate::trust::draft::Lifetimes;
use crate::trust::plan::{Ground, RoleChange};
use crate::trust::policy::{ImagePattern, Location, Overrides, Pin, RootKeys};
use crate::trust::update::Expiry;
use crate::trust::{Key, KeyId, RoleKind, Version};

/// What `init` is asked for.
#[derive(Debug)]
pub struct Request {
    /// The image name.
    pub name: ImageName,
    /// The layout that is to hold it, where it is one.
    pub layout: Option<PathBuf>,
    /// The algorithm of keys that are made.
    pub algorithm: Algorithm,
    /// How long roles count.
    pub lifetimes: Lifetimes,
    /// The policy file that the root is pinned in.
    pub policy_file: PathBuf,
}

/// What `init` made.
#[derive(Debug)]
pub struct Initialised {
    /// The root key, made or found.
    pub root: KeyInfo,
    /// Whether the root key was made now.
    pub root_is_new: bool,
    /// The targets key.
    pub targets: KeyInfo,
    /// The key of snapshot and timestamp.
    pub online: KeyInfo,
    /// Where the trust data lies.
    pub location: String,
    /// What was done to the policy file.
    pub pinned: pins::Added,
}

/// Makes keys and the collection, publishes it and pins its root.
///
/// # Errors
/// [`Error::Exists`] where there is trust data already, [`Error::Vanished`] where this machine has seen it there; those
/// of keys, the location and the policy file.
pub async fn init(world: &World<'_>, ring: &Ring<'_>, request: &Request) -> Result<Initialised, Error> {
    let name = &request.name;
    let ruling = world.rule(name).ok();
    let (root, root_is_new) = root_key(world, ring, request)?;
    let targets = own_key(ring, request, Purpose::Targets)?;
    let online = own_key(ring, request, Purpose::Online)?;
    ring.unlock(|info| [&root, &targets, &online].iter().any(|wanted| wanted.id == info.id))?;

    let repository = world.trust_data(name, request.layout.as_deref(), ruling.as_ref())?;
    match repository.manifest(&Point::Tag(Head::tag()), None, manifest::MAX_MANIFEST).await {
        // A collection that vanished is not made anew over what clients remember of it.
        Err(e) if e.is_not_found() => check_never_seen(world.store, name, repository.location())?,
        Err(e) => return Err(e.into()),
        Ok(_) => return Err(Error::Exists { name: name.clone() }),
    }

    let trust = Error::of(name);
    let ground = Ground {
        name,
        now: world.now,
        lifetimes: request.lifetimes,
        random: u32::from_le_bytes(random()?),
        forgotten: false,
    };
    let role = |kind, key: &KeyInfo| RoleChange { kind, keys: vec![key.public.clone()], threshold: 1 };
    let roles = [
        role(RoleKind::Root, &root),
        role(RoleKind::Targets, &targets),
        role(RoleKind::Snapshot, &online),
        role(RoleKind::Timestamp, &online),
    ];
    let unsigned = ground.first_root(&roles).map_err(&trust)?;
    let root_view = publish::draft_of(&unsigned.clone().seal(&std::collections::BTreeMap::new()))?;
    let authority = |kind| root_view.authority(kind);
    let root_file = ring.sign(name, unsigned, &[authority(RoleKind::Root)]).await?;
    let unsigned = ground.first_targets().map_err(&trust)?;
    let targets_file = ring.sign(name, unsigned, &[authority(RoleKind::Targets)]).await?;
    let unsigned = ground.next_snapshot(None, std::slice::from_ref(&targets_file), &[]).map_err(&trust)?;
    let snapshot_file = ring.sign(name, unsigned, &[authority(RoleKind::Snapshot)]).await?;
    let absorbed = crate::trust::intent::Absorbed::default();
    let unsigned = ground.next_timestamp(None, &snapshot_file, &absorbed, &[]).map_err(&trust)?;
    let timestamp_file = ring.sign(name, unsigned, &[authority(RoleKind::Timestamp)]).await?;
    let files = [root_file, targets_file, snapshot_file, timestamp_file];
    publish::create(&*repository, name, &files).await?;
    if let Location::Layout(folder) = world.location(name, request.layout.as_deref())? {
        LayoutRepository::new(Path::new(&folder))?.record_name(name).await?;
    }

    let pin = RootKeys::new([root.id.clone()].into(), 1, Version::ONE).map_err(Error::Usage)?;
    read_back(world, request, &pin).await?;
    let pattern: ImagePattern = name.to_string().parse().map_err(Error::Usage)?;
    let pinned = pins::add(&request.policy_file, &pattern, &pin, OtherRoot::Refuse)?;
    Ok(Initialised { root, root_is_new, targets, online, location: repository.location(), pinned })
}

/// Verifies and remembers what was published, as any client would.
async fn read_back(world: &World<'_>, request: &Request, pin: &RootKeys) -> Result<(), Error> {
    let overrides = Overrides { pin: Some(Pin::Keys(pin.clone())), ..world.overrides.clone() };
    let ruling = match world.policy.rule_with(&request.name, &overrides) {
        Ok(ruling) => ruling,
        // Another scope may have its own say; the pin that is written next to it is judged by the next run.
        Err(_) => crate::trust::policy::Policy::default().rule_with(&request.name, &overrides)?,
    };
    let client: Client<'_> = world.client(&request.name, request.layout.as_deref(), &ruling, Expiry::Enforce)?;
    client.update(&[], Reading::Whole).await?;
    Ok(())
}

/// The root key: the one that the policy pins for the name, where the store holds it; else a new one.
fn root_key(world: &World<'_>, ring: &Ring<'_>, request: &Request) -> Result<(KeyInfo, bool), Error> {
    let held = ring.store().list()?;
    let pinned: Vec<KeyId> = match world.rule(&request.name) {
        Ok(ruling) => ruling.pins.iter().flat_map(pinned_keys).collect(),
        Err(_) => Vec::new(),
    };
    if let Some(info) = held.iter().find(|info| pinned.contains(&info.id)) {
        return Ok((info.clone(), false));
    }
    if !pinned.is_empty() {
        return Err(Error::NoSigningKey {
            name: request.name.clone(),
            role: RoleKind::Root.to_string(),
            keys: pinned.iter().map(KeyId::short).collect(),
            need: 1,
        });
    }
    let made = ring.store().generate(request.algorithm, Purpose::Root, None, ring.passphrases())?;
    Ok((made, true))
}

fn pinned_keys(pin: &Pin) -> Vec<KeyId> {
    match pin {
        Pin::Keys(keys) => keys.keys().iter().cloned().collect(),
        Pin::File(_) => {
            crate::trust::pin::Pin::of_policy(pin).map(|pin| pin.keys.into_iter().collect()).unwrap_or_default()
        }
    }
}

/// A key of the collection itself: one that an earlier, unfinished `init` left, or a new one.
fn own_key(ring: &Ring<'_>, request: &Request, purpose: Purpose) -> Result<KeyInfo, Error> {
    let name = request.name.to_string();
    let left = ring
        .store()
        .list()?
        .into_iter()
        .find(|info| info.purpose.as_ref() == Some(&purpose) && info.collection.as_deref() == Some(name.as_str()));
    match left {
        Some(info) => Ok(info),
        None => Ok(ring.store().generate(request.algorithm, purpose, Some(&name), ring.passphrases())?),
    }
}

/// The line that lets others trust the collection.
pub fn trust_line(name: &ImageName, keys: &[Key], threshold: u32) -> String {
    let ids: Vec<String> = keys.iter().map(|key| format!("--root-key {}", key.id())).collect();
    let threshold = if keys.len() > 1 { format!(" --threshold {threshold}") } else { String::new() };
    format!("boltseal trust add {name} {}{threshold}", ids.join(" "))
}
