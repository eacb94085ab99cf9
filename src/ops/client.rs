//! The client of one collection: what is remembered, what the location holds, and the machine that decides.
//!
//! - A warm client with nothing changed makes one conditional request. Expiry and memory are judged all the same.
//! - The lock on memory is not held across the network: what was decided is written only if memory still is what the
//!   decision was made from; otherwise the run begins again.
//! - What a run verified before it failed is kept, so that the next one goes on from there (TUF 5.1).
//! - A head that is lower than what is trusted is read again for two seconds: behind a replicated registry it may be
//!   one that lags.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::error::Error;
use crate::image::manifest::MAX_MANIFEST;
use crate::image::{Digest, ImageName};
use crate::registry::head::{self, Head};
use crate::registry::{self, Conditional, Manifest, Point, Repository};
use crate::store::{HeadMark, Memory, Store};
use crate::trust::clock_rule::check_clock;
use crate::trust::envelope::Metadata;
use crate::trust::role::{RoleKind, RoleName, Version};
use crate::trust::update::{Answer, Request, Rules, Step, Trusted, Update};
use crate::trust::{self};

/// How long a lower head is read again before it counts as a rollback.
const LAG_PATIENCE: Duration = Duration::from_secs(2);
/// How long to wait between two such reads.
const LAG_PAUSE: Duration = Duration::from_millis(150);
/// How often a run begins again because another process on this machine wrote the memory meanwhile.
const MAX_RESTARTS: u32 = 20;
/// The latest time is written when it moved by this much: the rule it serves has a tolerance of a day.
const TIME_STEP: SignedDuration = SignedDuration::from_hours(1);

/// A client of one collection.
pub struct Client<'a> {
    /// The collection.
    pub name: &'a ImageName,
    /// Where its head lies.
    pub repository: Arc<dyn Repository>,
    /// What this machine remembers.
    pub store: &'a dyn Store,
    /// The rules of this run.
    pub rules: Rules,
    /// The lowest versions that count, carried from earlier runs elsewhere.
    pub floors: BTreeMap<RoleName, Version>,
}

/// What a run came to trust, and where it stands at the location.
#[derive(Debug)]
pub struct Updated {
    /// The trusted metadata.
    pub trusted: Trusted,
    /// Every root from the first trusted one on.
    pub roots: BTreeMap<Version, Bytes>,
    /// The digest of the head that was verified.
    pub head: HeadMark,
    /// The head itself, where it was read in this run.
    pub manifest: Option<Head>,
    /// Whether this machine knew the collection before.
    pub remembered: bool,
}

/// How a run treats a head that did not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// What is remembered serves.
    Conditional,
    /// The head is read in any case, as a publisher needs it.
    Whole,
    /// The head that is remembered is read by its digest, whatever the tag holds now.
    Remembered(Digest),
}

impl Client<'_> {
    /// Brings memory up to date and looks up target paths.
    ///
    /// # Errors
    /// Why what the location holds is refused, or what stood in the way.
    pub async fn update(&self, wanted: &[String], reading: Reading) -> Result<Updated, Error> {
        let begun = Instant::now();
        let mut restarts = 0;
        loop {
            match self.attempt(wanted, reading).await {
                Err(Attempt::MemoryChanged) if restarts < MAX_RESTARTS => restarts += 1,
                Err(Attempt::MemoryChanged) => {
                    return Err(Error::Contended { name: self.name.clone(), attempts: restarts });
                }
                Err(Attempt::Failed(e)) if may_lag(&e) && begun.elapsed() < LAG_PATIENCE => {
                    tokio::time::sleep(LAG_PAUSE).await;
                }
                Err(Attempt::Failed(e)) => return Err(e),
                Ok(updated) => return Ok(updated),
            }
        }
    }

    async fn attempt(&self, wanted: &[String], reading: Reading) -> Result<Updated, Attempt> {
        let location = self.repository.location();
        let remembered = Remembered::read(&mut *self.store.open(self.name)?, &location)?;
        check_clock(self.rules.now, remembered.latest_time).map_err(Error::of(self.name))?;
        let mut source = Source::open(self, &remembered, reading).await?;
        let roots: Vec<Bytes> = remembered.roots.values().cloned().collect();
        let mut run = Run { remembered: &remembered, effects: Vec::new(), roots: remembered.roots.clone() };
        let decided = match Update::begin(self.rules.clone(), &roots, wanted.iter().cloned()) {
            Ok(update) => self.drive(update, &mut run, &mut source).await,
            Err(e) => Err(Error::of(self.name)(e)),
        };
        let decided = decided.and_then(|trusted| self.check_floors(trusted));
        let mark = decided.is_ok().then(|| source.mark());
        let written = self.persist(&run, mark.as_ref());
        // The reason why a run failed outranks the trouble of writing what it had verified until then.
        let trusted = decided?;
        written?;
        let remembered = remembered.timestamp.is_some();
        Ok(Updated { trusted, roots: run.roots, head: source.mark(), manifest: source.head, remembered })
    }

    async fn drive(&self, mut update: Update, run: &mut Run<'_>, source: &mut Source<'_>) -> Result<Trusted, Error> {
        loop {
            let answer = match update.step() {
                Step::Recall(role) => run.recall(&role, self)?,
                Step::Fetch(request) => source.fetch(&request).await?,
                Step::Done => break,
                effect => {
                    run.note(effect);
                    continue;
                }
            };
            update.answer(answer).map_err(|e| self.explain(e, source))?;
        }
        update.finish().ok_or_else(|| Error::of(self.name)(trust::Error::Missing { role: RoleName::TARGETS }))
    }

    /// A failure of the location is told as what it was, not as missing metadata.
    fn explain(&self, error: trust::Error, source: &mut Source<'_>) -> Error {
        match (error, source.failure.take()) {
            (trust::Error::Unavailable { .. }, Some(failure)) => Error::Registry(failure),
            (error, _) => Error::of(self.name)(error),
        }
    }

    fn check_floors(&self, trusted: Trusted) -> Result<Trusted, Error> {
        for (kind, got) in trusted.versions() {
            let role = RoleName::Top(kind);
            if let Some(&have) = self.floors.get(&role).filter(|&&floor| got < floor) {
                return Err(Error::of(self.name)(trust::Error::Rollback { role, have, got }));
            }
        }
        Ok(trusted)
    }

    fn persist(&self, run: &Run<'_>, mark: Option<&HeadMark>) -> Result<(), Attempt> {
        let before = run.remembered;
        let now = self.rules.now;
        let time_moved = before.latest_time.is_none_or(|seen| now.duration_since(seen) >= TIME_STEP);
        let head_moved = mark.is_some_and(|mark| before.head.as_ref() != Some(mark));
        if run.effects.is_empty() && !head_moved && !time_moved {
            return Ok(());
        }
        let location = self.repository.location();
        let mut memory = self.store.open(self.name)?;
        let present = Remembered::read(&mut *memory, &location)?;
        if present.timestamp != before.timestamp || present.roots != before.roots {
            return Err(Attempt::MemoryChanged);
        }
        for effect in &run.effects {
            match effect {
                Effect::Write(file, bytes) => memory.write(file, bytes)?,
                Effect::Remove(file) => memory.remove(file)?,
            }
        }
        if time_moved {
            memory.set_latest_time(now)?;
        }
        // Last: the entity tag is kept only after everything that it stands for is verified and stored.
        if let Some(mark) = mark.filter(|_| head_moved) {
            memory.set_head(&location, Some(mark))?;
        }
        Ok(())
    }
}

/// Why an attempt ended.
enum Attempt {
    /// Another process wrote the memory.
    MemoryChanged,
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Attempt {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Whether a head that lags behind another replica could explain the failure.
fn may_lag(error: &Error) -> bool {
    matches!(error, Error::Trust { source: trust::Error::Rollback { .. }, .. } | Error::Vanished { .. })
}

/// What memory holds of a collection, read at once.
struct Remembered {
    roots: BTreeMap<Version, Bytes>,
    timestamp: Option<Bytes>,
    snapshot: Option<Bytes>,
    targets: Option<Bytes>,
    head: Option<HeadMark>,
    latest_time: Option<Timestamp>,
}

impl Remembered {
    fn read(memory: &mut dyn Memory, location: &str) -> Result<Self, Error> {
        let mut roots = BTreeMap::new();
        for file in memory.files()? {
            let number = file.strip_suffix(".root.json").and_then(|number| number.parse().ok());
            if let (Some(version), Some(bytes)) = (number.and_then(Version::new), memory.read(&file)?) {
                roots.insert(version, bytes);
            }
        }
        let top = |kind: RoleKind| memory.read(&RoleName::Top(kind).file_name(None));
        Ok(Self {
            roots,
            timestamp: top(RoleKind::Timestamp)?,
            snapshot: top(RoleKind::Snapshot)?,
            targets: top(RoleKind::Targets)?,
            head: memory.head(location)?,
            latest_time: memory.latest_time()?,
        })
    }
}

impl Remembered {
    /// Whether a root version is later than every one that is remembered.
    fn is_past_roots(&self, version: Option<Version>) -> bool {
        self.roots.keys().next_back().is_some_and(|newest| version > Some(*newest))
    }

    /// The newest thing that is remembered, a role and its version; none where the collection was never seen.
    fn newest(&self) -> Option<String> {
        let timestamp = self.timestamp.as_ref().map(|timestamp| {
            let role = RoleKind::Timestamp.into();
            let envelope =
                trust::envelope::Envelope::<trust::snapshot::Timestamp>::parse_untrusted(&role, timestamp.clone());
            envelope.map_or_else(|_| "a timestamp".to_owned(), |e| format!("timestamp {}", e.unverified().version()))
        });
        // A rotation that was seen without what follows it leaves roots alone.
        timestamp.or_else(|| self.roots.keys().next_back().map(|version| format!("root {version}")))
    }
}

/// That a collection is not there is one thing where it never was, and another where this machine has seen it.
///
/// # Errors
/// [`Error::Vanished`]; those of memory.
pub fn check_never_seen(store: &dyn Store, name: &ImageName, location: String) -> Result<(), Error> {
    match Remembered::read(&mut *store.open(name)?, &location)?.newest() {
        Some(seen) => Err(Error::Vanished { name: name.clone(), location, seen }),
        None => Ok(()),
    }
}

/// Something to do to memory.
#[derive(Debug)]
enum Effect {
    Write(String, Bytes),
    Remove(String),
}

/// One run of the machine against memory.
struct Run<'a> {
    remembered: &'a Remembered,
    effects: Vec<Effect>,
    roots: BTreeMap<Version, Bytes>,
}

impl Run<'_> {
    fn recall(&self, role: &RoleName, client: &Client<'_>) -> Result<Answer, Error> {
        let file = file_in_memory(role, None);
        let forgotten = self.effects.iter().any(|effect| matches!(effect, Effect::Remove(name) if *name == file));
        let found = match role {
            _ if forgotten => None,
            RoleName::Top(RoleKind::Timestamp) => self.remembered.timestamp.clone(),
            RoleName::Top(RoleKind::Snapshot) => self.remembered.snapshot.clone(),
            RoleName::Top(RoleKind::Targets) => self.remembered.targets.clone(),
            _ => client.store.open(client.name)?.read(&file)?,
        };
        Ok(found.map_or(Answer::Absent, Answer::Found))
    }

    fn note(&mut self, effect: Step) {
        match effect {
            Step::Persist { role, version, bytes } => {
                if role == RoleKind::Root.into() {
                    self.roots.insert(version, bytes.clone());
                }
                self.effects.push(Effect::Write(file_in_memory(&role, Some(version)), bytes));
            }
            Step::Forget(role) => self.effects.push(Effect::Remove(file_in_memory(&role, None))),
            Step::ForgetRoots => {
                let files = self.roots.keys().map(|version| format!("{version}.root.json"));
                self.effects.extend(files.map(Effect::Remove));
                self.roots.clear();
            }
            Step::Recall(_) | Step::Fetch(_) | Step::Done => {}
        }
    }
}

/// The name under which memory holds a role.
fn file_in_memory(role: &RoleName, version: Option<Version>) -> String {
    match role {
        RoleName::Top(RoleKind::Root) => role.file_name(version),
        RoleName::Top(_) => role.file_name(None),
        RoleName::Delegated(_) => format!("roles/{}", role.file_name(None)),
    }
}

/// Where the machine's fetches are answered from: the head at the location, or memory where the head did not change.
struct Source<'a> {
    client: &'a Client<'a>,
    remembered: &'a Remembered,
    head: Option<Head>,
    mark: HeadMark,
    failure: Option<registry::Error>,
}

impl<'a> Source<'a> {
    async fn open(client: &'a Client<'a>, remembered: &'a Remembered, reading: Reading) -> Result<Source<'a>, Error> {
        let known = remembered.head.as_ref().filter(|_| remembered.timestamp.is_some());
        let etag = known.filter(|_| reading == Reading::Conditional).and_then(|mark| mark.etag.as_deref());
        let point = match reading {
            Reading::Remembered(digest) => Point::Digest(digest),
            Reading::Conditional | Reading::Whole => Point::Tag(Head::tag()),
        };
        if let Some(mark) = known.filter(|mark| mark.etag.is_none() && reading == Reading::Conditional) {
            // A registry without entity tags still says the digest without sending the manifest.
            let said = client.repository.manifest_head(&point).await.ok().and_then(|said| said.digest);
            if said == Some(mark.digest) {
                return Ok(Self { client, remembered, head: None, mark: mark.clone(), failure: None });
            }
        }
        let answer = match client.repository.manifest(&point, etag, MAX_MANIFEST).await {
            Err(e) if e.is_not_found() => return Err(client.absent(remembered)),
            other => other.map_err(|e| as_broken(e, "it answers for the head"))?,
        };
        match (answer, known) {
            (Conditional::NotModified, Some(mark)) => {
                Ok(Self { client, remembered, head: None, mark: mark.clone(), failure: None })
            }
            (Conditional::NotModified, None) => Err(Error::Registry(registry::Error::Broken {
                location: client.repository.location(),
                message: "it says that nothing changed, and was not asked so".to_owned(),
            })),
            (Conditional::Modified(manifest), _) => {
                let head = client.parse_head(&manifest)?;
                let found = HeadMark { digest: manifest.digest, etag: manifest.etag };
                let mark = match (reading, known) {
                    // An entity tag that came with a digest says nothing of the tag.
                    (Reading::Remembered(_), Some(mark)) if mark.digest == found.digest => mark.clone(),
                    _ => found,
                };
                Ok(Self { client, remembered, head: Some(head), mark, failure: None })
            }
        }
    }

    fn mark(&self) -> HeadMark {
        self.mark.clone()
    }

    async fn fetch(&mut self, request: &Request) -> Result<Answer, Error> {
        if self.head.is_none() {
            match (&request.role, &self.remembered.timestamp) {
                // The head is the one whose roots and timestamp are in memory: it has no later root. An earlier one is
                // asked for where the pins changed, or a file of memory is gone.
                (RoleName::Top(RoleKind::Root), _) if self.remembered.is_past_roots(request.version) => {
                    return Ok(Answer::Absent);
                }
                (RoleName::Top(RoleKind::Timestamp), Some(bytes)) => return Ok(Answer::Found(bytes.clone())),
                _ => self.load().await?,
            }
        }
        let Some(head) = &self.head else { return Ok(Answer::Absent) };
        match head::read(&*self.client.repository, head, &request.file_name(), request.max).await {
            Ok(Some(bytes)) => Ok(Answer::Found(bytes)),
            Ok(None) => Ok(Answer::Absent),
            Err(error) => {
                let error = as_broken(error, &format!("it lists `{}`", request.file_name()));
                let answer = Answer::Failed(error.to_string());
                self.failure = Some(error);
                Ok(answer)
            }
        }
    }

    /// Reads the head that was said not to have changed.
    async fn load(&mut self) -> Result<(), Error> {
        let point = Point::Digest(self.mark.digest);
        let answer = self.client.repository.manifest(&point, None, MAX_MANIFEST).await;
        let answer = answer.map_err(|e| as_broken(e, "it says that the head did not change"))?;
        if let Conditional::Modified(manifest) = answer {
            self.head = Some(self.client.parse_head(&manifest)?);
        }
        Ok(())
    }
}

/// A location that does not hold what it points to, or other bytes, is broken: trust data is not absent for that, and
/// nothing is said of any image yet.
fn as_broken(error: registry::Error, said: &str) -> registry::Error {
    match error {
        registry::Error::NotFound { what, location } => {
            registry::Error::Broken { location, message: format!("{said} and does not hold {what}") }
        }
        registry::Error::Mismatch { location, wanted, got } => {
            registry::Error::Broken { location, message: format!("{said} and sent {got} for {wanted}") }
        }
        error => error,
    }
}

impl Client<'_> {
    fn parse_head(&self, manifest: &Manifest) -> Result<Head, Error> {
        Head::parse(&manifest.media_type, &manifest.bytes)
            .map_err(|e| Error::Head { location: self.repository.location(), reason: e.to_string() })
    }

    fn absent(&self, remembered: &Remembered) -> Error {
        let (name, location) = (self.name.clone(), self.repository.location());
        if let Some(seen) = remembered.newest() {
            return Error::Vanished { name, location, seen };
        }
        let known = self.store.collections().unwrap_or_default();
        let alias = known.into_iter().find(|other| other.is_loopback_alias_of(self.name));
        Error::NoTrustData { name, location, alias }
    }
}
