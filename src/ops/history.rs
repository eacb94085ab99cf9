//! `inspect --history`: who signed what, when, as far as the registry and this machine still hold it.
//!
//! - Every timestamp names the one that it follows. The head lists its predecessor's files, and this machine remembers
//!   the last state that it trusted: those are the steps that can be shown. All root versions stay for ever.
//! - Only what the keys of a trusted root signed is shown. Times are the signers' own words.
//! - Two states that follow the same one are a fork: two publishers did not know of each other, or somebody shows
//!   different states to different people.
//! - The registry is read as by somebody without memory, and nothing is remembered: what is wrong with it is what this
//!   is asked for, so a rollback is told and not a reason to show nothing.

mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::Bytes;
use jiff::Timestamp as Instant;

use super::client::{Client, Reading, Updated};
use super::error::Error;
use super::world::World;
use crate::image::{Digest, ImageName};
use crate::store::MemoryStore;
use crate::trust::entry::Entry;
use crate::trust::envelope::{Envelope, Metadata, check_binding};
use crate::trust::key::KeyId;
use crate::trust::role::{RoleKind, RoleName, Version};
use crate::trust::root::Root;
use crate::trust::snapshot::{Snapshot, Timestamp};
use crate::trust::targets::Targets;
use crate::trust::threshold::{self, Verified};
use crate::trust::update::Expiry;
use files::Files;

/// Most changed tags that are listed of one step; the rest is counted.
const MAX_CHANGES: usize = 1_000;

/// What is known of a collection's past.
#[derive(Debug)]
pub struct History {
    /// The collection.
    pub name: ImageName,
    /// Where its head lies.
    pub location: String,
    /// The states, latest first.
    pub states: Vec<State>,
    /// Digests of timestamps that follow the same one.
    pub forks: Vec<Vec<Digest>>,
    /// The roots of the trusted chain, latest first.
    pub roots: Vec<RootStep>,
    /// The version that this machine has seen and the lower one that the registry serves.
    pub rolled_back: Option<(Version, Version)>,
    /// What was odd or is missing, in sentences.
    pub notices: Vec<String>,
}

/// One state.
#[derive(Debug)]
pub struct State {
    /// The digest of its timestamp.
    pub digest: Digest,
    /// The digest of the timestamp that it follows, where it says one.
    pub prev: Option<String>,
    /// When it was signed, as it says itself.
    pub time: Option<String>,
    /// The versions of the roles whose files are still held.
    pub versions: BTreeMap<RoleKind, Version>,
    /// Which keys signed them.
    pub signed_by: BTreeMap<RoleKind, Vec<KeyId>>,
    /// Where it was found.
    pub held: BTreeSet<Held>,
    /// What became of tags since the state before; none where one of the two is not held whole.
    pub changes: Option<Vec<TagChange>>,
    /// How many changes are left out.
    pub more: usize,
    /// Delegated roles that have other versions than in the state before.
    pub roles: Vec<String>,
}

/// Where a state was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Held {
    /// It is what the registry serves.
    Head,
    /// The head lists it as its predecessor.
    Predecessor,
    /// This machine remembers it.
    Memory,
}

impl Held {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Predecessor => "predecessor",
            Self::Memory => "memory",
        }
    }
}

/// What became of a tag: nothing to something is new, something to nothing is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagChange {
    /// The tag.
    pub tag: String,
    /// What it held.
    pub before: Option<Digest>,
    /// What it holds.
    pub after: Option<Digest>,
}

/// One root version.
#[derive(Debug)]
pub struct RootStep {
    /// The version.
    pub version: Version,
    /// Until when it counts.
    pub expires: Instant,
    /// The keys that signed it, those of its predecessor among them.
    pub signed_by: Vec<KeyId>,
    /// Roles whose keys or threshold differ from the version before.
    pub changed: Vec<RoleKind>,
}

/// Reads what is known of a collection's past.
///
/// # Errors
/// Those of a client without memory; expiry and rollback are none.
pub async fn history(world: &World<'_>, name: &ImageName, layout: Option<&Path>) -> Result<History, Error> {
    let ruling = world.rule(name)?;
    let store = MemoryStore::new();
    let client = Client { store: &store, ..world.client(name, layout, &ruling, Expiry::UnsafeIgnore)? };
    let updated = client.update(&[], Reading::Whole).await?;
    let mut notices = Vec::new();
    let roots = roots(name, &updated)?;
    let files = Files::of(&*client.repository, updated.manifest.as_ref(), world, name)?;

    let mut found: BTreeMap<Digest, (Found, BTreeSet<Held>)> = BTreeMap::new();
    for (held, bytes) in files.timestamps(&mut notices).await? {
        let digest = Digest::of(&bytes);
        if let Some((_, places)) = found.get_mut(&digest) {
            places.insert(held);
        } else if let Some(state) = Found::read(name, &roots, &files, bytes).await? {
            found.insert(digest, (state, BTreeSet::from([held])));
        } else {
            notices.push(format!("a timestamp from {} that no trusted key signed was left out", held.as_str()));
        }
    }
    let version = |held: Held| {
        let one = found.values().filter(|(_, places)| places.contains(&held));
        one.map(|(state, _)| state.timestamp.version()).max()
    };
    let served = updated.trusted.timestamp.version();
    let rolled_back = version(Held::Memory).filter(|seen| *seen > served).map(|seen| (seen, served));
    let expires = updated.trusted.timestamp.expires();
    if expires <= world.now {
        notices.push(format!("the present timestamp expired at {expires}"));
    }
    let known: BTreeSet<String> = found.keys().map(Digest::hex).collect();
    let cut = |(state, _): &(Found, BTreeSet<Held>)| state.prev().is_some_and(|prev| !known.contains(prev));
    if found.values().any(cut) {
        notices.push("what came before is no longer held by the registry".to_owned());
    }
    Ok(History {
        name: name.clone(),
        location: client.repository.location(),
        forks: forks(&found),
        states: states(name, &found),
        roots: root_steps(&roots),
        rolled_back,
        notices,
    })
}

/// A state with as much of it as is held.
struct Found {
    timestamp: Verified<Timestamp>,
    snapshot: Option<Verified<Snapshot>>,
    targets: Option<Verified<Targets>>,
}

impl Found {
    /// Reads what hangs below a timestamp; none where no trusted root's keys signed it.
    async fn read(
        name: &ImageName,
        roots: &[Verified<Root>],
        files: &Files<'_>,
        timestamp: Bytes,
    ) -> Result<Option<Self>, Error> {
        let Some(timestamp) = verify::<Timestamp>(name, roots, RoleKind::Timestamp, &timestamp) else {
            return Ok(None);
        };
        let snapshot = files.promised(&RoleKind::Snapshot.into(), timestamp.snapshot()).await?;
        let snapshot = snapshot.and_then(|bytes| verify::<Snapshot>(name, roots, RoleKind::Snapshot, &bytes));
        let mut targets = None;
        if let Some(promise) = snapshot.as_ref().and_then(|snapshot| snapshot.role(&RoleName::TARGETS)) {
            let bytes = files.promised(&RoleName::TARGETS, promise).await?;
            targets = bytes.and_then(|bytes| verify::<Targets>(name, roots, RoleKind::Targets, &bytes));
        }
        Ok(Some(Self { timestamp, snapshot, targets }))
    }

    fn prev(&self) -> Option<&String> {
        self.timestamp.binding().and_then(|binding| binding.prev.as_ref())
    }

    fn tags(&self, name: &ImageName) -> Option<BTreeMap<String, Digest>> {
        let prefix = format!("{name}:");
        let targets = self.targets.as_ref()?.iter();
        let tags = targets.filter_map(|(path, target)| {
            let tag = path.strip_prefix(&prefix)?;
            Some((tag.to_owned(), Entry::of(&RoleName::TARGETS, path, target).ok()?.manifest.digest))
        });
        Some(tags.collect())
    }

    /// The delegated roles with their versions.
    fn delegated(&self) -> Option<BTreeMap<&str, Version>> {
        let files = self.snapshot.as_ref()?.files();
        Some(files.filter(|(file, _)| *file != "targets.json").map(|(file, meta)| (file, meta.version)).collect())
    }
}

/// Verifies a file with the keys of whichever root of the chain gave them the role, the latest first.
fn verify<T: Metadata>(
    name: &ImageName,
    roots: &[Verified<Root>],
    kind: RoleKind,
    bytes: &Bytes,
) -> Option<Verified<T>> {
    let role = RoleName::Top(kind);
    let verified = roots.iter().rev().find_map(|root| {
        let envelope = Envelope::<T>::parse_untrusted(&role, bytes.clone()).ok()?;
        threshold::verify(&role, envelope, &[root.authority(kind)]).ok()
    })?;
    check_binding(&role, verified.binding(), name).ok()?;
    Some(verified)
}

/// The chain of roots that this run came to trust, verified once more for who signed each.
fn roots(name: &ImageName, updated: &Updated) -> Result<Vec<Verified<Root>>, Error> {
    let role = RoleName::Top(RoleKind::Root);
    let mut chain: Vec<Verified<Root>> = Vec::new();
    for bytes in updated.roots.values() {
        let own = Envelope::<Root>::parse_untrusted(&role, bytes.clone()).map_err(Error::of(name))?;
        let root = own.unverified().clone();
        let mut authorities = vec![root.authority(RoleKind::Root)];
        authorities.extend(chain.last().map(|before| before.authority(RoleKind::Root)));
        let verified = threshold::verify(&role, own, &authorities).map_err(Error::of(name))?;
        chain.push(verified);
    }
    Ok(chain)
}

fn root_steps(roots: &[Verified<Root>]) -> Vec<RootStep> {
    let before = std::iter::once(None).chain(roots.iter().map(Some));
    let mut steps: Vec<RootStep> = before
        .zip(roots)
        .map(|(before, root)| RootStep {
            version: root.version(),
            expires: root.expires(),
            signed_by: root.signed_by().to_vec(),
            changed: before.map(|before| changed_roles(before, root)).unwrap_or_default(),
        })
        .collect();
    steps.reverse();
    steps
}

fn changed_roles(before: &Root, after: &Root) -> Vec<RoleKind> {
    let keys = |root: &Root, kind| root.keys_of(kind).map(|(id, _)| id.clone()).collect::<BTreeSet<_>>();
    let differs = |kind: &RoleKind| {
        keys(before, *kind) != keys(after, *kind) || before.role(*kind).threshold != after.role(*kind).threshold
    };
    RoleKind::ALL.into_iter().filter(differs).collect()
}

/// The states, latest first, each with what it changed.
fn states(name: &ImageName, found: &BTreeMap<Digest, (Found, BTreeSet<Held>)>) -> Vec<State> {
    let mut states: Vec<State> = Vec::new();
    for (digest, (state, held)) in found {
        let before = state.prev().and_then(|prev| found.iter().find(|(digest, _)| digest.hex() == **prev));
        let before = before.map(|(_, (state, _))| state);
        let mut changes = before.and_then(|before| Some(changed_tags(&before.tags(name)?, &state.tags(name)?)));
        let more = changes.as_ref().map_or(0, |changes| changes.len().saturating_sub(MAX_CHANGES));
        if let Some(changes) = &mut changes {
            changes.truncate(MAX_CHANGES);
        }
        let roles = before.and_then(|before| Some(changed_files(&before.delegated()?, &state.delegated()?)));
        let mut versions = BTreeMap::from([(RoleKind::Timestamp, state.timestamp.version())]);
        let mut signed_by = BTreeMap::from([(RoleKind::Timestamp, state.timestamp.signed_by().to_vec())]);
        if let Some(snapshot) = &state.snapshot {
            versions.insert(RoleKind::Snapshot, snapshot.version());
            signed_by.insert(RoleKind::Snapshot, snapshot.signed_by().to_vec());
        }
        if let Some(targets) = &state.targets {
            versions.insert(RoleKind::Targets, targets.version());
            signed_by.insert(RoleKind::Targets, targets.signed_by().to_vec());
        }
        states.push(State {
            digest: *digest,
            prev: state.prev().cloned(),
            time: state.timestamp.binding().and_then(|binding| binding.time.clone()),
            versions,
            signed_by,
            held: held.clone(),
            changes,
            more,
            roles: roles.unwrap_or_default(),
        });
    }
    states.sort_by_key(|state| std::cmp::Reverse((state.versions[&RoleKind::Timestamp], state.digest)));
    states
}

fn changed_tags(before: &BTreeMap<String, Digest>, after: &BTreeMap<String, Digest>) -> Vec<TagChange> {
    let tags: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let change =
        |tag: &String| TagChange { tag: tag.clone(), before: before.get(tag).copied(), after: after.get(tag).copied() };
    tags.into_iter().map(change).filter(|change| change.before != change.after).collect()
}

fn changed_files(before: &BTreeMap<&str, Version>, after: &BTreeMap<&str, Version>) -> Vec<String> {
    let files: BTreeSet<&str> = before.keys().chain(after.keys()).copied().collect();
    let changed = files.into_iter().filter(|file| before.get(file) != after.get(file));
    changed.map(|file| file.strip_suffix(".json").unwrap_or(file).to_owned()).collect()
}

/// Groups of states that follow the same one.
fn forks(found: &BTreeMap<Digest, (Found, BTreeSet<Held>)>) -> Vec<Vec<Digest>> {
    let mut after: BTreeMap<&String, Vec<Digest>> = BTreeMap::new();
    for (digest, (state, _)) in found {
        if let Some(prev) = state.prev() {
            after.entry(prev).or_default().push(*digest);
        }
    }
    after.into_values().filter(|states| states.len() > 1).collect()
}
