//! The client workflow as one machine without I/O (TUF 5): it says what it wants next, and is answered.
//!
//! - The caller loops: [`Update::step`] says what to recall, fetch, persist or forget; what it asks for is answered
//!   with [`Update::answer`], found, absent or failed. `now` is one instant for the whole run (TUF 5.1).
//! - Root, timestamp, snapshot and targets are stages, each a type that only the one before it can make. The search
//!   through delegations is a bounded worklist inside the last.
//! - Nothing is asked to be persisted before it is verified. After an error the machine is spent: the steps that it
//!   still says before [`Step::Done`] are verified and worth doing, and the next run goes on from there.
//! - Memory is judged as everything else is: it is a floor against rollback also when it has expired.

mod root;
mod search;
mod snapshot;
mod targets;
#[cfg(test)]
mod tests;
mod timestamp;

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp as Instant};

use self::root::{PinStage, RootStage};
use self::search::SearchStage;
use self::snapshot::SnapshotStage;
use self::targets::TargetsStage;
use self::timestamp::TimestampStage;
use super::envelope::{Binding, Envelope, Metadata, check_binding};
use super::error::Error;
use super::limits::Limits;
use super::pin::Pin;
use super::role::{RoleName, Version};
use super::snapshot::FileMeta;
use super::threshold::{self, Authority, Verified};
use crate::image::ImageName;

pub use self::search::{Found, Trusted};

/// Who is asking, and by what rules.
#[derive(Debug, Clone)]
pub enum Profile {
    /// The image client: pinned roots, metadata bound to one collection.
    Image {
        /// The collection.
        name: ImageName,
        /// Every pin must be met by a root on the way to the present one.
        pins: Vec<Pin>,
        /// The longest that a timestamp may still run.
        max_timestamp_life: SignedDuration,
        /// Signers whose word counts; everybody's without.
        signers: Option<BTreeSet<String>>,
    },
    /// A plain TUF client, which trusts the root that it was given.
    Plain,
}

/// What the machine works by.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Who is asking.
    pub profile: Profile,
    /// The caps.
    pub limits: Limits,
    /// The one instant of this run.
    pub now: Instant,
    /// What an expiry that has passed means.
    pub expiry: Expiry,
    /// What is read of delegated roles.
    pub breadth: Breadth,
}

/// What is read of delegated roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breadth {
    /// Those on the way to wanted paths.
    Wanted,
    /// Every signer's, as a publisher and `inspect` need them. Bins are read on the way to wanted paths only.
    Signers,
}

/// What an expiry that has passed means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// The metadata is refused.
    Enforce,
    /// It is taken all the same: only for a publisher who was told by a person to build on exactly this state.
    UnsafeIgnore,
}

/// What the machine wants next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The file that memory holds for a role. Answer found or absent.
    Recall(RoleName),
    /// A file from the location.
    Fetch(Request),
    /// Put verified bytes into memory, root under its version. No answer.
    Persist {
        /// The role.
        role: RoleName,
        /// Its version.
        version: Version,
        /// The file as it came.
        bytes: Bytes,
    },
    /// Remove a role's file from memory. No answer.
    Forget(RoleName),
    /// Remove every root from memory: the pins no longer name them. No answer.
    ForgetRoots,
    /// Everything asked for is known.
    Done,
}

/// A file to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The role.
    pub role: RoleName,
    /// The version in the file's name; none for files without one.
    pub version: Option<Version>,
    /// The most bytes of it that may be read.
    pub max: u64,
}

impl Request {
    /// The metadata file name.
    pub fn file_name(&self) -> String {
        self.role.file_name(self.version)
    }
}

/// The answer to a recall or a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The bytes, no more than were asked for.
    Found(Bytes),
    /// It is plainly not there (404, no such layer).
    Absent,
    /// It could not be found out.
    Failed(String),
}

/// Something odd that does not change the verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The location offers other bytes under a version that is trusted already; what is trusted was kept.
    Rival {
        /// The role.
        role: RoleName,
        /// The version.
        version: Version,
    },
}

/// The machine.
#[derive(Debug)]
pub struct Update {
    stage: Stage,
    context: Context,
}

/// What every stage can see and add to.
#[derive(Debug)]
struct Context {
    rules: Rules,
    effects: VecDeque<Step>,
    notices: Vec<Notice>,
    wanted: VecDeque<String>,
}

#[derive(Debug)]
enum Stage {
    Pin(Box<PinStage>),
    Root(Box<RootStage>),
    Timestamp(Box<TimestampStage>),
    Snapshot(Box<SnapshotStage>),
    Targets(Box<TargetsStage>),
    Search(Box<SearchStage>),
    Spent,
}

impl Update {
    /// Begins a run. `roots` are the root files that memory holds, in the order of their versions; a plain client has
    /// exactly its trusted one. `wanted` are the target paths to look up once the targets role is known.
    ///
    /// # Errors
    /// [`Error::Damaged`] where the roots in memory do not verify one another; [`Error::NotPinned`] where there is
    /// neither a root nor a pin.
    pub fn begin(rules: Rules, roots: &[Bytes], wanted: impl IntoIterator<Item = String>) -> Result<Self, Error> {
        let mut context =
            Context { rules, effects: VecDeque::new(), notices: Vec::new(), wanted: wanted.into_iter().collect() };
        let stage = root::begin(roots, &mut context)?;
        Ok(Self { stage, context })
    }

    /// What the machine wants next. The same step again until it is answered.
    pub fn step(&mut self) -> Step {
        self.context.effects.pop_front().unwrap_or_else(|| self.want())
    }

    fn want(&self) -> Step {
        match &self.stage {
            Stage::Pin(stage) => stage.want(&self.context),
            Stage::Root(stage) => stage.want(&self.context),
            Stage::Timestamp(stage) => stage.want(&self.context),
            Stage::Snapshot(stage) => stage.want(&self.context),
            Stage::Targets(stage) => stage.want(&self.context),
            Stage::Search(stage) => stage.want(&self.context),
            Stage::Spent => Step::Done,
        }
    }

    /// Answers the last [`Step::Recall`] or [`Step::Fetch`].
    ///
    /// # Errors
    /// Why the update is refused. The machine is then spent.
    pub fn answer(&mut self, answer: Answer) -> Result<(), Error> {
        let want = self.want();
        let context = &mut self.context;
        let stage = std::mem::replace(&mut self.stage, Stage::Spent);
        check_cap(&want, &answer)?;
        self.stage = match stage {
            Stage::Pin(stage) => stage.answer(answer, context)?,
            Stage::Root(stage) => stage.answer(answer, context)?,
            Stage::Timestamp(stage) => stage.answer(answer, context)?,
            Stage::Snapshot(stage) => stage.answer(answer, context)?,
            Stage::Targets(stage) => stage.answer(answer, context)?,
            Stage::Search(stage) => stage.answer(answer, context)?,
            Stage::Spent => Stage::Spent,
        };
        Ok(())
    }

    /// Looks up one more target path, with everything that the run trusts already. For callers who act on one answer
    /// before they ask for the next; to be driven to [`Step::Done`] again.
    ///
    /// # Errors
    /// As [`Update::answer`].
    pub fn look_up(&mut self, path: impl Into<String>) -> Result<(), Error> {
        self.context.wanted.push_back(path.into());
        match std::mem::replace(&mut self.stage, Stage::Spent) {
            Stage::Search(mut stage) => {
                stage.advance(&mut self.context)?;
                self.stage = Stage::Search(stage);
            }
            earlier => self.stage = earlier,
        }
        Ok(())
    }

    /// What is trusted so far; none before the targets role is known, and none after an error.
    pub fn trusted(&self) -> Option<&Trusted> {
        match &self.stage {
            Stage::Search(stage) => Some(stage.trusted()),
            _ => None,
        }
    }

    /// What is trusted, once [`Step::Done`] was said; none before or after an error.
    pub fn finish(self) -> Option<Trusted> {
        match self.stage {
            Stage::Search(stage) => stage.finish(self.context.notices),
            _ => None,
        }
    }
}

impl Context {
    fn persisting<T: Metadata>(role: &RoleName, verified: &Verified<T>) -> Step {
        Step::Persist { role: role.clone(), version: verified.version(), bytes: verified.bytes().clone() }
    }

    fn persist<T: Metadata>(&mut self, role: &RoleName, verified: &Verified<T>) {
        self.effects.push_back(Self::persisting(role, verified));
    }

    fn check_binding(&self, role: &RoleName, binding: Option<&Binding>) -> Result<(), Error> {
        match &self.rules.profile {
            Profile::Image { name, .. } => check_binding(role, binding, name),
            Profile::Plain => Ok(()),
        }
    }

    /// Parses and verifies a file: signatures, then the collection.
    fn verify<T: Metadata>(
        &self,
        role: &RoleName,
        bytes: Bytes,
        authorities: &[Authority<'_>],
    ) -> Result<Verified<T>, Error> {
        let verified: Verified<T> = threshold::verify(role, Envelope::parse_untrusted(role, bytes)?, authorities)?;
        self.check_binding(role, verified.binding())?;
        Ok(verified)
    }

    /// TUF 5.1: an expiry that equals the instant of the run has passed.
    fn check_expiry(&self, role: &RoleName, metadata: &impl Metadata) -> Result<(), Error> {
        if metadata.expires() > self.rules.now || self.rules.expiry == Expiry::UnsafeIgnore {
            Ok(())
        } else {
            Err(Error::Expired { role: role.clone(), at: metadata.expires() })
        }
    }

    /// Verifies a file that a parent has promised: length and hashes before it is parsed, then signatures, collection,
    /// version and expiry (TUF 5.5 and 5.6, the same for delegated roles).
    fn verify_promised<T: Metadata>(
        &self,
        role: &RoleName,
        bytes: Bytes,
        promise: &FileMeta,
        authority: Authority<'_>,
    ) -> Result<Verified<T>, Error> {
        let contradiction = |reason| Error::Contradiction { role: role.clone(), reason };
        promise.check(&bytes).map_err(contradiction)?;
        let verified: Verified<T> = self.verify(role, bytes, &[authority])?;
        if verified.version() != promise.version {
            return Err(contradiction(format!(
                "it has version {}, {} was promised",
                verified.version(),
                promise.version
            )));
        }
        self.check_expiry(role, &*verified)?;
        Ok(verified)
    }
}

/// The caps hold whoever fetched the bytes (TUF 5.3.3, 5.4.1, 5.5.1, 5.6.1: endless data).
fn check_cap(want: &Step, answer: &Answer) -> Result<(), Error> {
    match (want, answer) {
        (Step::Fetch(request), Answer::Found(bytes)) if bytes.len() as u64 > request.max => {
            let reason = format!("it has {} bytes, more than the {} that may be read", bytes.len(), request.max);
            Err(Error::Malformed { role: request.role.clone(), reason })
        }
        _ => Ok(()),
    }
}

/// The bytes of an answer to a fetch of something that must be there.
fn required(role: &RoleName, answer: Answer) -> Result<Bytes, Error> {
    match answer {
        Answer::Found(bytes) => Ok(bytes),
        Answer::Absent => Err(Error::Missing { role: role.clone() }),
        Answer::Failed(reason) => Err(Error::Unavailable { role: role.clone(), reason }),
    }
}

/// The bytes of an answer to a recall.
fn recalled(answer: Answer) -> Option<Bytes> {
    match answer {
        Answer::Found(bytes) => Some(bytes),
        Answer::Absent | Answer::Failed(_) => None,
    }
}
