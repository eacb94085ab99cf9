//! Publishing without compare-and-swap (docs/format.md).
//!
//! 1. A publisher is first a client: it verifies the head with its memory and never builds on what it would refuse.
//! 2. It lays out its intent, signed, under a tag of its own, before it touches the head.
//! 3. It merges: the base, its own change, and every intent that counts and is not absorbed. Removes beat adds.
//! 4. It reads the head once more, and puts its own only where that is still the base.
//! 5. After the PUT it reads and verifies the head and lists the intents. It has succeeded only when the verified head
//!    has absorbed its operation and no intent is open; else it begins again, a bounded number of times.
//!
//! Why that loses nothing: whoever puts last lists the intents after that, so every acknowledged change is in the head
//! or is found and merged, with no assumption about time but one: a publisher gives up long before the intents expire
//! that it must find.
//!
//! A new root is an intent too, and carries the signed root: there is never more than one that follows another root.

mod base;
mod blobs;
mod next;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use self::base::Base;
use self::blobs::KnownBlobs;
use self::next::Next;
use super::client::{Client, Reading, Updated};
use super::error::Error;
use super::intents::{self, Found, Judges};
use super::ring::Ring;
use crate::clock::{Clock as _, SystemClock};
use crate::image::Digest;
use crate::image::manifest::{MAX_MANIFEST, OCI_MANIFEST};
use crate::registry::head::{self, Head};
use crate::registry::{self, Conditional, Point, Repository};
use crate::trust::draft::Signed;
use crate::trust::entry::Change;
use crate::trust::envelope::{Envelope, Metadata};
use crate::trust::intent::{INTENT_LIFE, Intent, Meant, OpId, ROOT_INTENT_LIFE};
use crate::trust::plan::{RoleChange, signed_file};
use crate::trust::role::{RoleKind, RoleName, Version};
use crate::trust::root::Root;
use crate::trust::targets::Targets;
use crate::trust::threshold::{Authority, Keys, RoleKeys};
use crate::trust::update::{Breadth, Rules, Trusted};

/// How often a publish begins again before it gives up with nothing lost.
const MAX_ATTEMPTS: u32 = 64;
/// The longest pause between two attempts; it grows from a few milliseconds and is random, so that rivals part.
const MAX_PAUSE: Duration = Duration::from_millis(1500);
/// How often the registry may fail a PUT of the head that it may have carried out all the same.
const MAX_DOUBTS: u32 = 3;

/// What a publish is to do.
#[derive(Debug, Clone)]
pub struct Work {
    /// The role that the changes are made in.
    pub role: RoleName,
    /// Changes of entries, signed by the role's keys.
    pub changes: Vec<Change>,
    /// New keys for top-level roles.
    pub roles: Vec<RoleChange>,
    /// Roles to sign again although nothing in them changes.
    pub resign: BTreeSet<RoleKind>,
    /// A head whose expired state a person said to build on.
    pub accept_expired: Option<Digest>,
    /// Target paths to look up in the state that is read back.
    pub wanted: Vec<String>,
    /// Whether roles of whose life half is gone are signed again, as far as their keys are at hand.
    pub due: bool,
}

impl Default for Work {
    fn default() -> Self {
        Self {
            role: RoleName::TARGETS,
            changes: Vec::new(),
            roles: Vec::new(),
            resign: BTreeSet::new(),
            accept_expired: None,
            wanted: Vec::new(),
            due: false,
        }
    }
}

/// A publish that succeeded.
#[derive(Debug)]
pub struct Published {
    /// The state that was read back and verified.
    pub updated: Updated,
    /// The roles that were signed anew by this run.
    pub signed: BTreeSet<RoleKind>,
    /// What was ignored beside the head, in sentences.
    pub ignored: Vec<String>,
}

/// Publishes to one collection.
pub struct Publisher<'a> {
    /// The client that it is first.
    pub client: Client<'a>,
    /// The keys at hand.
    pub ring: &'a Ring<'a>,
}

impl Publisher<'_> {
    /// Publishes work on the collection's present state.
    ///
    /// # Errors
    /// What a client of the collection would refuse; [`Error::NoSigningKey`]; [`Error::Contended`] when others were
    /// faster every time; [`Error::Overruled`]; those of the location.
    pub async fn publish(&self, work: &Work) -> Result<Published, Error> {
        Box::pin(self.publish_unless(work, |_| false)).await
    }

    /// As [`Publisher::publish`], but nothing is published where the verified base is as it should be already.
    ///
    /// # Errors
    /// As for [`Publisher::publish`].
    pub async fn publish_unless(&self, work: &Work, settled: impl Fn(&Trusted) -> bool) -> Result<Published, Error> {
        let repository: Arc<dyn Repository> = Arc::new(KnownBlobs::before(Arc::clone(&self.client.repository)));
        let client = Client {
            name: self.client.name,
            repository,
            store: self.client.store,
            rules: Rules { breadth: Breadth::Signers, ..self.client.rules.clone() },
            floors: self.client.floors.clone(),
        };
        let begun = Begun { instant: Instant::now(), clock: SystemClock.now() };
        let base = Base::read(&client, &work.wanted).await?;
        if let Some(expected) = work.accept_expired.filter(|digest| *digest != base.over.digest) {
            return Err(Error::Usage(format!(
                "the head at {} is {}, not the {expected} that was accepted as expired",
                client.repository.location(),
                base.over.digest
            )));
        }
        let run = Run {
            op: new_op(client.rules.now, INTENT_LIFE)?,
            seen: base.absorbed.removes(),
            former: base.trusted().root.clone(),
            versions: versions(base.trusted()),
            role_version: role_version(base.trusted(), &work.role),
            ring: self.ring,
            root: None,
            announced: None,
            signed: BTreeSet::new(),
            client,
            work,
            begun,
        };
        // Boxed: it holds a whole state across many waits.
        Box::pin(run.go(base, settled)).await
    }
}

/// When a run began, by two clocks: one does not jump, and the other goes on while the machine sleeps.
#[derive(Debug, Clone, Copy)]
struct Begun {
    instant: Instant,
    clock: Timestamp,
}

/// One publish.
struct Run<'a> {
    client: Client<'a>,
    ring: &'a Ring<'a>,
    work: &'a Work,
    begun: Begun,
    /// The operation of the changes.
    op: OpId,
    /// The removes that its author knew of, and the versions and the root that he saw when he began.
    seen: BTreeSet<OpId>,
    versions: BTreeMap<RoleKind, Version>,
    /// The version that he saw of the role that is changed.
    role_version: Version,
    former: crate::trust::threshold::Verified<Root>,
    /// The new root of this run, with its operation, once it is signed.
    root: Option<(OpId, Signed)>,
    /// Under which root's keys the intent of the changes was laid out.
    announced: Option<Version>,
    signed: BTreeSet<RoleKind>,
}

/// What of the work a base does not hold yet.
struct Rest {
    changes: bool,
    root: bool,
    resign: BTreeSet<RoleKind>,
    /// Signers whose role is due and whose keys are at hand.
    signers: BTreeSet<RoleName>,
}

impl Rest {
    fn is_nothing(&self) -> bool {
        !self.changes && !self.root && self.resign.is_empty() && self.signers.is_empty()
    }
}

impl Run<'_> {
    fn repository(&self) -> &dyn Repository {
        &*self.client.repository
    }

    fn now(&self) -> Timestamp {
        self.client.rules.now
    }

    async fn go(mut self, mut base: Base, settled: impl Fn(&Trusted) -> bool) -> Result<Published, Error> {
        let mut beside = self.beside(&base).await?;
        // Also what looks settled is not while something waits to be merged.
        let quiet = beside.is_quiet() && base.over.digest == base.updated.head.digest;
        // Nor is it a success of somebody who could not have made it so (Notary v1 said it was).
        let able = match Voice::of(base.trusted(), &self.work.role) {
            Some(voice) => self.ring.can_sign(&voice.authority())?,
            None => false,
        };
        if quiet && able && settled(base.trusted()) {
            return Ok(self.done(base, beside));
        }
        let mut doubts = 0;
        for attempt in 0..MAX_ATTEMPTS {
            let rest = self.rest(&base)?;
            let restores = base.over.digest != base.updated.head.digest;
            if beside.is_quiet() && rest.is_nothing() && !restores {
                self.check_overruled(&base)?;
                intents::clean(self.repository(), &beside, self.now()).await;
                return Ok(self.done(base, beside));
            }
            let next = self.next(&base, &rest, &beside).await?;
            match next {
                Some(next) => {
                    self.check_age(INTENT_LIFE)?;
                    self.announce(&base, &rest, &next).await?;
                    match self.put(&base, &next).await {
                        Ok(true) => self.signed.extend(next.signed),
                        Ok(false) => {}
                        // It may have been carried out all the same: what the head says now decides.
                        Err(Error::Registry(e)) if e.is_transient() && doubts < MAX_DOUBTS => {
                            tracing::debug!("the head may have been put: {e}");
                            doubts += 1;
                        }
                        Err(e) => return Err(e),
                    }
                }
                // What only the holders of other keys can merge holds up nobody who adds nothing.
                None if rest.is_nothing() && beside.roots.is_empty() && !restores => return Ok(self.done(base, beside)),
                None => {}
            }
            // Collect after the PUT, also where somebody else was faster.
            base = Base::read(&self.client, &self.work.wanted).await?;
            beside = self.beside(&base).await?;
            if attempt > 0 && !(beside.is_quiet() && self.rest(&base)?.is_nothing()) {
                pause(attempt).await?;
            }
        }
        Err(self.contended(MAX_ATTEMPTS))
    }

    fn done(self, base: Base, beside: Found) -> Published {
        Published { updated: base.updated, signed: self.signed, ignored: beside.ignored }
    }

    fn no_signer(&self) -> Error {
        Error::Usage(format!("`{}` has no signer `{}`", self.client.name, self.work.role))
    }

    fn contended(&self, attempts: u32) -> Error {
        Error::Contended { name: self.client.name.clone(), attempts }
    }

    async fn beside(&self, base: &Base) -> Result<Found, Error> {
        let trusted = base.trusted();
        let judges = Judges { root: &trusted.root, targets: &trusted.targets, former: &self.former };
        let own = self.announced.map(|_| &self.op);
        intents::find(self.repository(), self.client.name, judges, &base.absorbed, own, self.now()).await
    }

    /// What its author means, and what he knew when he began; the same in every attempt.
    fn meant(&self) -> Meant<'_> {
        Meant {
            op: self.op,
            base: self.role_version,
            above: self.versions.values().copied().max().unwrap_or(Version::ONE).max(self.role_version),
            seen: &self.seen,
            changes: &self.work.changes,
        }
    }

    fn rest(&self, base: &Base) -> Result<Rest, Error> {
        let present = versions(base.trusted());
        let mut signers = BTreeSet::new();
        let mut resign: BTreeSet<RoleKind> =
            self.work.resign.iter().copied().filter(|kind| present[kind] <= self.versions[kind]).collect();
        if self.work.due {
            resign.extend(self.due(base)?);
            signers.extend(self.due_signers(base)?);
        }
        let root = &base.trusted().root;
        let in_force = |change: &RoleChange| {
            let keys: BTreeSet<_> = root.keys_of(change.kind).map(|(_, key)| key.material()).collect();
            keys == change.keys.iter().map(crate::trust::Key::material).collect()
                && root.role(change.kind).threshold.get() == change.threshold
        };
        Ok(Rest {
            changes: !self.work.changes.is_empty() && !base.absorbed.contains(&self.op),
            root: resign.remove(&RoleKind::Root) || !self.work.roles.iter().all(in_force),
            resign,
            signers,
        })
    }

    /// Somebody may have taken away what this run added, before it was acknowledged.
    fn check_overruled(&self, base: &Base) -> Result<(), Error> {
        let meant = self.meant();
        let lost = meant.changes.iter().find(|change| !change.removes() && base.absorbed.overrules(&meant, change));
        match lost {
            Some(Change::SetTag { tag, .. }) => {
                Err(Error::Overruled { name: self.client.name.clone(), tag: tag.clone() })
            }
            _ => Ok(()),
        }
    }

    /// A publisher that was asleep may not find the intents any more that it must merge: it gives up in time.
    fn check_age(&self, life: SignedDuration) -> Result<(), Error> {
        let asleep = SystemClock.now().duration_since(self.begun.clock);
        let awake = SignedDuration::try_from(self.begun.instant.elapsed()).unwrap_or(SignedDuration::MAX);
        if asleep.max(awake) > life / 2 { Err(self.contended(1)) } else { Ok(()) }
    }

    /// Lays out what this run means, before it touches the head.
    async fn announce(&mut self, base: &Base, rest: &Rest, next: &Next) -> Result<(), Error> {
        let root = &base.trusted().root;
        if rest.changes && self.announced != Some(root.version()) {
            let role = &self.work.role;
            let (Some(voice), Some(file)) = (Voice::of(base.trusted(), role), next.roles.get(role)) else {
                return Err(self.no_signer());
            };
            let meant = Meant { above: self.meant().above.max(file.version), ..self.meant() };
            let unsigned = Intent::draft(self.client.name, role, &meant, file).map_err(Error::of(self.client.name))?;
            let intent = self.ring.sign(self.client.name, unsigned, &[voice.authority()]).await?;
            intents::put(self.repository(), &self.op, &intent, file).await?;
            self.announced = Some(root.version());
        }
        Ok(())
    }

    /// Lays out a new root before anything else is signed under it, and yields to another one. Two roots that follow
    /// the same one would part those who saw the first from those who saw the second for ever.
    async fn claim(&mut self, base: &Base, root: &Signed) -> Result<OpId, Error> {
        self.check_age(ROOT_INTENT_LIFE)?;
        let op = new_op(self.now(), ROOT_INTENT_LIFE)?;
        let meant = Meant { op, changes: &[], base: base.trusted().root.version(), ..self.meant() };
        let unsigned = Intent::draft(self.client.name, &RoleKind::Root.into(), &meant, root)
            .map_err(Error::of(self.client.name))?;
        let authority = base.trusted().root.authority(RoleKind::Root);
        let intent = self.ring.sign(self.client.name, unsigned, &[authority]).await?;
        intents::put(self.repository(), &op, &intent, root).await?;
        let rivals = self.beside(base).await?.roots;
        if rivals.iter().any(|rival| rival.op != op) {
            if let Err(e) = intents::remove(self.repository(), &intents::tag(&op)).await {
                tracing::debug!("the intent of a new root stays until it expires: {e}");
            }
            return Err(self.contended(1));
        }
        Ok(op)
    }

    /// Puts the next head where what it replaces still stands; false where it does not.
    async fn put(&self, base: &Base, next: &Next) -> Result<bool, Error> {
        let draft = build_head(self.repository(), &next.files, self.client.name, base.updated.manifest.as_ref())?;
        let held: BTreeSet<Digest> = base
            .updated
            .manifest
            .iter()
            .flat_map(|head| head.files().chain(head.former()).map(|layer| layer.digest))
            .collect();
        push_blobs(self.repository(), draft.blobs.into_iter().filter(|blob| !held.contains(&Digest::of(blob)))).await?;
        let point = Point::Tag(Head::tag());
        let etag = base.over.etag.as_deref();
        let answer = self.repository().manifest(&point, etag, MAX_MANIFEST).await?;
        if matches!(answer, Conditional::Modified(present) if present.digest != base.over.digest) {
            return Ok(false);
        }
        match self.repository().put_manifest(&point, OCI_MANIFEST, draft.manifest, etag).await {
            Ok(_) => Ok(true),
            Err(registry::Error::Conflict { .. }) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }
}

/// Who may sign a targets role, the top-level one or a signer's.
pub(super) struct Voice<'a> {
    keys: &'a Keys,
    role: RoleKeys,
}

impl<'a> Voice<'a> {
    /// The voice of a role in a trusted state; none where it is not delegated.
    pub(super) fn of(trusted: &'a Trusted, role: &RoleName) -> Option<Self> {
        Self::under(&trusted.root, &trusted.targets, role)
    }

    /// The voice of a role under a root and a targets role.
    pub(super) fn under(root: &'a Root, targets: &'a Targets, role: &RoleName) -> Option<Self> {
        if *role == RoleName::TARGETS {
            return Some(Self { keys: root.keys(), role: root.role(RoleKind::Targets).clone() });
        }
        let (keys, role) = targets.delegations()?.authority(role)?;
        Some(Self { keys, role })
    }

    /// The authority that its signatures are judged by.
    pub(super) fn authority(&self) -> Authority<'_> {
        Authority { keys: self.keys, role: &self.role, whose: None }
    }
}

/// The state that a publisher would build on: looked at before it is decided what to publish.
///
/// # Errors
/// What a client of the collection would refuse; those of the location.
pub async fn look(client: &Client<'_>, wanted: &[String], reading: Reading) -> Result<Updated, Error> {
    Base::look(client, wanted, reading).await
}

/// Puts the first head of a collection.
///
/// # Errors
/// Those of the location.
pub async fn create(
    repository: &dyn Repository,
    name: &crate::image::ImageName,
    files: &[Signed],
) -> Result<(), Error> {
    let files = files.iter().map(|file| (file.file_name(), file.bytes.clone())).collect();
    let draft = build_head(repository, &files, name, None)?;
    push_blobs(repository, draft.blobs.into_iter()).await?;
    repository.put_manifest(&Point::Tag(Head::tag()), OCI_MANIFEST, draft.manifest, None).await?;
    Ok(())
}

fn build_head(
    repository: &dyn Repository,
    files: &BTreeMap<String, Bytes>,
    name: &crate::image::ImageName,
    predecessor: Option<&Head>,
) -> Result<head::Draft, Error> {
    let hints = BTreeMap::from([("vnd.boltseal.collection".to_owned(), name.to_string())]);
    Head::build(files, &hints, predecessor)
        .map_err(|e| Error::Head { location: repository.location(), reason: e.to_string() })
}

async fn push_blobs(repository: &dyn Repository, blobs: impl Iterator<Item = Bytes>) -> Result<(), Error> {
    futures_util::future::try_join_all(blobs.map(|blob| repository.put_blob(blob))).await?;
    Ok(())
}

/// Reads a root that was just drafted, for its keys.
pub(super) fn draft_of(file: &Signed) -> Result<Root, Error> {
    let envelope = Envelope::<Root>::parse_untrusted(&file.role, file.bytes.clone());
    envelope.map(|envelope| envelope.unverified().clone()).map_err(|e| Error::Usage(e.to_string()))
}

fn versions(trusted: &Trusted) -> BTreeMap<RoleKind, Version> {
    BTreeMap::from([
        (RoleKind::Root, trusted.root.version()),
        (RoleKind::Timestamp, trusted.timestamp.version()),
        (RoleKind::Snapshot, trusted.snapshot.version()),
        (RoleKind::Targets, signed_file(RoleKind::Targets, &trusted.targets).version),
    ])
}

/// The version of a role; that of a signer who has signed nothing yet is the lowest.
fn role_version(trusted: &Trusted, role: &RoleName) -> Version {
    match role {
        RoleName::Top(kind) => versions(trusted)[kind],
        RoleName::Delegated(name) => trusted.signer(name).map_or(Version::ONE, |role| role.version()),
    }
}

fn new_op(now: Timestamp, life: SignedDuration) -> Result<OpId, Error> {
    let expires = now.checked_add(life).map_err(|e| Error::Usage(e.to_string()))?;
    Ok(OpId::new(expires, random()?))
}

async fn pause(attempt: u32) -> Result<(), Error> {
    let cap = Duration::from_millis(10 << attempt.min(7)).min(MAX_PAUSE);
    let part = f64::from(u32::from_le_bytes(random()?)) / f64::from(u32::MAX);
    tokio::time::sleep(cap.mul_f64(part)).await;
    Ok(())
}

/// Random bytes from the operating system.
pub(super) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|e| Error::Program { program: "getrandom".to_owned(), message: e.to_string() })?;
    Ok(bytes)
}
