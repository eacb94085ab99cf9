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
//! or is found and merged, with no assumption about time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::client::{Client, Reading, Updated};
use super::error::Error;
use super::intents::{self, Found, Open};
use super::ring::Ring;
use crate::image::Digest;
use crate::image::manifest::{MAX_MANIFEST, OCI_MANIFEST};
use crate::registry::head::{self, Head};
use crate::registry::{self, Conditional, Point, Repository};
use crate::trust::draft::{Lifetimes, Signed};
use crate::trust::entry::Change;
use crate::trust::envelope::{Envelope, Metadata};
use crate::trust::intent::{Absorbed, Intent, OpId};
use crate::trust::plan::{self, Ground, RoleChange, signed_file};
use crate::trust::role::{RoleKind, RoleName, Version};
use crate::trust::root::Root;
use crate::trust::targets::Targets;
use crate::trust::threshold;
use crate::trust::update::Trusted;

/// How often a publish begins again before it gives up with nothing lost.
const MAX_ATTEMPTS: u32 = 64;
/// The longest pause between two attempts; it grows from a few milliseconds and is random, so that rivals part.
const MAX_PAUSE: Duration = Duration::from_millis(1500);
/// The file in the head that lists absorbed operations.
const ABSORBED: &str = "absorbed.json";
/// Largest list of absorbed operations read, in bytes.
const MAX_ABSORBED: u64 = 16 << 20;

/// What a publish is to do.
#[derive(Debug, Clone, Default)]
pub struct Work {
    /// Changes of entries, signed by the targets keys.
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

impl Work {
    fn is_upkeep(&self) -> bool {
        self.changes.is_empty() && self.roles.is_empty() && self.resign.is_empty()
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

/// A state ready to be put.
struct Next {
    files: BTreeMap<String, Bytes>,
    targets: Signed,
    signed: BTreeSet<RoleKind>,
}

impl Publisher<'_> {
    fn repository(&self) -> &dyn Repository {
        &*self.client.repository
    }

    /// Publishes work on the collection's present state.
    ///
    /// # Errors
    /// What a client of the collection would refuse; [`Error::NoSigningKey`]; [`Error::Contended`] when others were
    /// faster every time; those of the location.
    pub async fn publish(&self, work: &Work) -> Result<Published, Error> {
        self.publish_unless(work, |_| false).await
    }

    /// As [`Publisher::publish`], but nothing is published where the verified base is as it should be already.
    ///
    /// # Errors
    /// As for [`Publisher::publish`].
    pub async fn publish_unless(&self, work: &Work, settled: impl Fn(&Trusted) -> bool) -> Result<Published, Error> {
        let op = OpId::new(random()?);
        let mut base = self.client.update(&work.wanted, Reading::Whole).await?;
        if let Some(expected) = work.accept_expired.filter(|digest| *digest != base.head.digest) {
            return Err(Error::Usage(format!(
                "the head at {} is {}, not the {expected} that was accepted as expired",
                self.repository().location(),
                base.head.digest
            )));
        }
        // What is as it should be is no success of somebody who could not have made it so (Notary v1 said it was).
        let able = self.ring.can_sign(&base.trusted.root.authority(RoleKind::Targets))?;
        if able && settled(&base.trusted) {
            return Ok(Published { updated: base, signed: BTreeSet::new(), ignored: Vec::new() });
        }
        let mut beside = if work.is_upkeep() { self.beside(&base).await? } else { Found::default() };
        let mut signed = BTreeSet::new();
        let mut announced = false;
        for attempt in 0..MAX_ATTEMPTS {
            let absorbed = self.absorbed(&base).await?;
            let mine = work.changes.is_empty() || absorbed.contains(&op);
            let rest = Work { changes: if mine { Vec::new() } else { work.changes.clone() }, ..work.clone() };
            let rest = if attempt > 0 && mine { Work { due: work.due, ..Work::default() } } else { rest };
            let nothing_due = !rest.due || self.due(&base)?.is_empty();
            if beside.open.is_empty() && rest.is_upkeep() && nothing_due {
                intents::clean(self.repository(), &beside, &absorbed, self.client.rules.now).await;
                return Ok(Published { updated: base, signed, ignored: beside.ignored });
            }
            let next = match self.next(&base, &rest, &op, &beside.open, absorbed).await? {
                Some(next) => next,
                // Open intents that only their authors or the holders of their role's keys can merge.
                None => return Ok(Published { updated: base, signed, ignored: beside.ignored }),
            };
            if !announced && !rest.changes.is_empty() {
                self.announce(&base, &op, &rest.changes, &next.targets).await?;
                announced = true;
            }
            if self.put(&base, &next).await? {
                signed.extend(next.signed);
            }
            // Collect after the PUT, also where somebody else was faster.
            base = self.client.update(&work.wanted, Reading::Whole).await?;
            beside = self.beside(&base).await?;
            let settled = beside.open.is_empty() && self.absorbed(&base).await?.contains(&op);
            if !settled && attempt > 0 {
                pause(attempt).await?;
            }
        }
        Err(Error::Contended { name: self.client.name.clone(), attempts: MAX_ATTEMPTS })
    }

    async fn beside(&self, base: &Updated) -> Result<Found, Error> {
        let absorbed = self.absorbed(base).await?;
        intents::find(self.repository(), self.client.name, &base.trusted, &absorbed, self.client.rules.now).await
    }

    /// The operations that a verified state has absorbed: the file that its timestamp binds.
    async fn absorbed(&self, base: &Updated) -> Result<Absorbed, Error> {
        let Some(reference) = base.trusted.timestamp.binding().and_then(|binding| binding.absorbed.as_ref()) else {
            return Ok(Absorbed::default());
        };
        let broken = |message: &str| {
            Error::Registry(registry::Error::Broken {
                location: self.repository().location(),
                message: message.to_owned(),
            })
        };
        let head = base.manifest.as_ref().ok_or_else(|| broken("the head was not read"))?;
        let file = head::read(self.repository(), head, ABSORBED, MAX_ABSORBED).await?;
        let bytes = file.filter(|bytes| reference.fits(bytes));
        let bytes = bytes.ok_or_else(|| broken("the list of absorbed operations is not the signed one"))?;
        Absorbed::parse(&bytes).map_err(Error::of(self.client.name))
    }

    fn due(&self, base: &Updated) -> Result<BTreeSet<RoleKind>, Error> {
        let root = &base.trusted.root;
        let due = plan::due(&base.trusted, &Lifetimes::of_root(root.bytes()), self.client.rules.now);
        let mut signable = BTreeSet::new();
        for kind in due {
            if self.ring.can_sign(&root.authority(kind))? {
                signable.insert(kind);
            }
        }
        Ok(signable)
    }

    fn ground(&self, lifetimes: Lifetimes) -> Result<Ground<'_>, Error> {
        let random = u32::from_le_bytes(random()?);
        Ok(Ground { name: self.client.name, now: self.client.rules.now, lifetimes, random })
    }

    /// Makes and signs the next state; none where there is nothing that the keys at hand can do.
    async fn next(
        &self,
        base: &Updated,
        work: &Work,
        op: &OpId,
        open: &[Open],
        mut absorbed: Absorbed,
    ) -> Result<Option<Next>, Error> {
        let trusted = &base.trusted;
        let ground = self.ground(Lifetimes::of_root(trusted.root.bytes()))?;
        let trust = Error::of(self.client.name);
        let mut signed = BTreeSet::new();
        let mut resign = work.resign.clone();
        if work.due {
            resign.extend(self.due(base)?);
        }

        let mut files: BTreeMap<String, Bytes> =
            base.roots.iter().map(|(version, bytes)| (format!("{version}.root.json"), bytes.clone())).collect();
        let mut root: Root = (*trusted.root).clone();
        if !work.roles.is_empty() || resign.contains(&RoleKind::Root) {
            let unsigned = ground.next_root(&trusted.root, &work.roles).map_err(&trust)?;
            root = draft_of(&unsigned.clone().seal(&BTreeMap::new()))?;
            let authorities = [trusted.root.authority(RoleKind::Root), root.authority(RoleKind::Root)];
            let file = self.ring.sign(self.client.name, unsigned, &authorities).await?;
            files.insert(file.file_name(), file.bytes);
            signed.insert(RoleKind::Root);
            // What the former keys signed need not verify under the new ones.
            resign.extend(
                [RoleKind::Timestamp, RoleKind::Snapshot, RoleKind::Targets]
                    .into_iter()
                    .filter(|kind| trusted.root.rotates(*kind, &root)),
            );
        }

        let present = signed_file(RoleKind::Targets, &trusted.targets);
        let seen = seen_versions(open);
        let mut targets = present.clone();
        if self.ring.can_sign(&root.authority(RoleKind::Targets))? {
            let changes: Vec<&Change> =
                work.changes.iter().chain(open.iter().flat_map(|open| &open.intent.changes)).collect();
            if !changes.is_empty() || resign.contains(&RoleKind::Targets) {
                let unsigned = ground.next_targets(&present, &changes, &seen).map_err(&trust)?;
                let authority = root.authority(RoleKind::Targets);
                targets = self.ring.sign(self.client.name, unsigned, &[authority]).await?;
                signed.insert(RoleKind::Targets);
            }
            open.iter().for_each(|open| absorbed.add(open.intent.op, open.intent.expires()));
        } else if !work.changes.is_empty() || resign.contains(&RoleKind::Targets) {
            return Err(self.no_key(&root, RoleKind::Targets));
        } else if let Some((theirs, by)) = self.ready_made(&root, &present, open) {
            // The authors' own file serves where the role's keys are elsewhere.
            targets = theirs;
            absorbed.add(by.op, by.expires());
        } else if signed.is_empty() && resign.is_empty() {
            return Ok(None);
        }
        if !work.changes.is_empty() {
            let expires = self.client.rules.now.checked_add(crate::trust::intent::INTENT_LIFE);
            absorbed.add(*op, expires.unwrap_or(self.client.rules.now));
        }

        let mut snapshot = signed_file(RoleKind::Snapshot, &trusted.snapshot);
        if targets != present || resign.contains(&RoleKind::Snapshot) {
            let unsigned =
                ground.next_snapshot(Some(&snapshot), std::slice::from_ref(&targets), &[]).map_err(&trust)?;
            snapshot = self.ring.sign(self.client.name, unsigned, &[root.authority(RoleKind::Snapshot)]).await?;
            signed.insert(RoleKind::Snapshot);
        }
        absorbed.prune(self.client.rules.now);
        let former = signed_file(RoleKind::Timestamp, &trusted.timestamp);
        let unsigned = ground.next_timestamp(Some(&former), &snapshot, &absorbed, &[]).map_err(&trust)?;
        let timestamp = self.ring.sign(self.client.name, unsigned, &[root.authority(RoleKind::Timestamp)]).await?;
        signed.insert(RoleKind::Timestamp);
        if !absorbed.is_empty() {
            files.insert(ABSORBED.to_owned(), absorbed.encode());
        }
        files.extend([&targets, &snapshot, &timestamp].map(|file| (file.file_name(), file.bytes.clone())));
        Ok(Some(Next { files, targets, signed }))
    }

    fn no_key(&self, root: &Root, kind: RoleKind) -> Error {
        Error::NoSigningKey {
            name: self.client.name.clone(),
            role: kind.to_string(),
            keys: root.role(kind).keyids.iter().map(crate::trust::KeyId::short).collect(),
            need: root.role(kind).threshold.get(),
        }
    }

    /// The highest role file among open intents that was made from the present one and verifies.
    fn ready_made<'o>(&self, root: &Root, present: &Signed, open: &'o [Open]) -> Option<(Signed, &'o Intent)> {
        let authority = root.authority(RoleKind::Targets);
        let fit = open.iter().filter(|open| open.intent.base == present.version).filter_map(|open| {
            let envelope = Envelope::<Targets>::parse_untrusted(&RoleName::TARGETS, open.file.clone()?).ok()?;
            let verified = threshold::verify(&RoleName::TARGETS, envelope, &[authority]).ok()?;
            let same_collection = verified.binding()?.collection == self.client.name.to_string();
            let current = verified.version() > present.version && verified.expires() > self.client.rules.now;
            (same_collection && current).then(|| (signed_file(RoleKind::Targets, &verified), &*open.intent))
        });
        fit.max_by_key(|(file, _)| file.version)
    }

    async fn announce(&self, base: &Updated, op: &OpId, changes: &[Change], targets: &Signed) -> Result<(), Error> {
        let present = base.trusted.targets.version();
        let unsigned =
            Intent::draft(self.client.name, *op, &RoleName::TARGETS, present, changes, self.client.rules.now)
                .map_err(Error::of(self.client.name))?;
        let authority = base.trusted.root.authority(RoleKind::Targets);
        let intent = self.ring.sign(self.client.name, unsigned, &[authority]).await?;
        intents::put(self.repository(), op, &intent, targets).await
    }

    /// Puts the next head where the base still stands; false where it does not.
    async fn put(&self, base: &Updated, next: &Next) -> Result<bool, Error> {
        let draft = build_head(self.repository(), &next.files, self.client.name, base.manifest.as_ref())?;
        let held: BTreeSet<Digest> =
            base.manifest.iter().flat_map(|head| head.files().chain(head.former()).map(|layer| layer.digest)).collect();
        push_blobs(self.repository(), draft.blobs.into_iter().filter(|blob| !held.contains(&Digest::of(blob)))).await?;
        let point = Point::Tag(Head::tag());
        let etag = base.head.etag.as_deref();
        if let Conditional::Modified(present) = self.repository().manifest(&point, etag, MAX_MANIFEST).await? {
            if present.digest != base.head.digest {
                return Ok(false);
            }
        }
        match self.repository().put_manifest(&point, OCI_MANIFEST, draft.manifest, etag).await {
            Ok(_) => Ok(true),
            Err(registry::Error::Conflict { .. }) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }
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

/// The versions of role files in open intents: one version names one content, so the next must differ from all.
fn seen_versions(open: &[Open]) -> Vec<Version> {
    let role = RoleName::TARGETS;
    open.iter()
        .filter_map(|open| Envelope::<Targets>::parse_untrusted(&role, open.file.clone()?).ok())
        .map(|envelope| envelope.unverified().version())
        .collect()
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
