//! A plain TUF client over HTTP and folders: the client protocol of the TUF conformance suite.
//!
//! - It is the same machine that judges images, without pins and collections; what it can do, the core can do.
//! - Metadata lies in its folder under unversioned names, the bytes as they came, each file replaced whole. What was
//!   verified before a failure stays.
//! - Artifacts are written after they are verified, under a name that cannot leave their folder.

mod folder;
mod source;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use jiff::Timestamp;

use self::folder::Folder;
use self::source::Source;
use crate::trust;
use crate::trust::limits::Limits;
use crate::trust::role::RoleKind;
use crate::trust::targets::Target;
use crate::trust::update::{Answer, Breadth, Expiry, Profile, Rules, Step, Update};

/// Largest artifact, in bytes: it is held in memory until it is verified (endless data).
const MAX_ARTIFACT: u64 = 256 << 20;

/// Why the client failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The metadata is refused.
    #[error(transparent)]
    Trust(#[from] trust::Error),
    /// A file cannot be read or written.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// The verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's words.
        source: std::io::Error,
    },
    /// The folder holds a trusted root already.
    #[error("`{}` holds another trusted root already", path.display())]
    Initialised {
        /// The folder.
        path: PathBuf,
    },
    /// Nobody signed the target.
    #[error("there is no target `{}`", path.escape_debug())]
    NoTarget {
        /// The target path.
        path: String,
    },
    /// The target's path or size is not one that this client handles.
    #[error("the target `{}` cannot be fetched: {reason}", path.escape_debug())]
    Unusable {
        /// The target path.
        path: String,
        /// Why.
        reason: &'static str,
    },
    /// The artifact did not come.
    #[error("the target `{}` cannot be fetched: {reason}", path.escape_debug())]
    Unavailable {
        /// The target path.
        path: String,
        /// What the source said.
        reason: String,
    },
    /// The bytes are not the signed ones.
    #[error("the bytes of the target `{}` are not the signed ones", path.escape_debug())]
    WrongBytes {
        /// The target path.
        path: String,
    },
    /// There is no HTTP client for this address.
    #[error("`{}` cannot be used: {reason}", url.escape_debug())]
    Address {
        /// The address.
        url: String,
        /// Why.
        reason: String,
    },
}

/// Where artifacts come from and go to.
#[derive(Debug, Clone)]
pub struct Download {
    /// The target paths, in the order in which they are fetched.
    pub targets: Vec<String>,
    /// The address below which artifacts lie.
    pub base_url: String,
    /// The folder for verified artifacts.
    pub folder: PathBuf,
}

/// Trusts a root file: no request is made. The same file again changes nothing.
///
/// # Errors
/// Where the file is no root signed by itself, another one is trusted already, or a file cannot be read or written.
pub fn init(metadata: &Path, root: &Path, now: Timestamp) -> Result<(), Error> {
    let bytes = folder::read(root, rules(now).limits.root)?.ok_or_else(|| Error::Io {
        action: "read",
        path: root.to_owned(),
        source: std::io::ErrorKind::NotFound.into(),
    })?;
    Update::begin(rules(now), std::slice::from_ref(&bytes), [])?;
    let folder = Folder::new(metadata);
    match folder.recall(&RoleKind::Root.into())? {
        // The shipped root again must not take the place of a later one: that would reopen old versions.
        Some(trusted) if trusted != bytes => Err(Error::Initialised { path: metadata.to_owned() }),
        Some(_) => Ok(()),
        None => folder.persist(&RoleKind::Root.into(), &bytes),
    }
}

/// Brings the metadata up to date.
///
/// # Errors
/// Why it is refused, or what stood in the way.
pub async fn refresh(metadata: &Path, metadata_url: &str, now: Timestamp) -> Result<(), Error> {
    Client::begin(metadata, metadata_url, now)?.drive().await
}

/// Brings the metadata up to date, then fetches and verifies artifacts one after the other, up to the first failure.
/// One that is there already and still is the signed one is not fetched again.
///
/// # Errors
/// As [`refresh`], and where a target is not signed, does not come, or is not what was signed.
pub async fn download(metadata: &Path, metadata_url: &str, now: Timestamp, what: &Download) -> Result<(), Error> {
    let mut client = Client::begin(metadata, metadata_url, now)?;
    client.drive().await?;
    let artifacts = Source::new(&what.base_url)?;
    for path in &what.targets {
        let (target, consistent) = client.look_up(path).await?;
        fetch_target(&artifacts, &what.folder, path, &target, consistent).await?;
    }
    Ok(())
}

struct Client {
    folder: Folder,
    source: Source,
    update: Update,
}

impl Client {
    fn begin(metadata: &Path, url: &str, now: Timestamp) -> Result<Self, Error> {
        let folder = Folder::new(metadata);
        let root = folder.recall(&RoleKind::Root.into())?;
        let update = Update::begin(rules(now), root.as_slice(), [])?;
        Ok(Self { folder, source: Source::new(url)?, update })
    }

    /// Does what the machine says until it is done. What it had verified before an error is kept.
    async fn drive(&mut self) -> Result<(), Error> {
        let mut outcome = Ok(());
        loop {
            let answer = match self.update.step() {
                Step::Done => return outcome.map_err(Error::Trust),
                Step::Recall(role) => self.folder.recall(&role)?.map_or(Answer::Absent, Answer::Found),
                Step::Fetch(request) => self.source.metadata(&request).await,
                Step::Persist { role, bytes, .. } => {
                    self.folder.persist(&role, &bytes)?;
                    continue;
                }
                Step::Forget(role) => {
                    self.folder.forget(&role)?;
                    continue;
                }
                // Only pinned clients start over from other roots.
                Step::ForgetRoots => continue,
            };
            outcome = self.update.answer(answer);
        }
    }

    /// The entry of a target, and whether its file carries its hash in its name.
    async fn look_up(&mut self, path: &str) -> Result<(Target, bool), Error> {
        self.update.look_up(path)?;
        self.drive().await?;
        let none = || Error::NoTarget { path: path.to_owned() };
        let trusted = self.update.trusted().ok_or_else(none)?;
        let found = trusted.found.get(path).and_then(Option::as_ref).ok_or_else(none)?;
        Ok((found.target.clone(), trusted.root.consistent_snapshot()))
    }
}

async fn fetch_target(
    source: &Source,
    folder: &Path,
    path: &str,
    target: &Target,
    consistent: bool,
) -> Result<(), Error> {
    let unusable = |reason| Error::Unusable { path: path.to_owned(), reason };
    // Dot segments are resolved by every HTTP client: they would ask for something outside the base address.
    if path.is_empty() || path.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(unusable("its path does not stay below its base"));
    }
    if target.length > MAX_ARTIFACT {
        return Err(unusable("it is too large"));
    }
    let file = folder::artifact(folder, path);
    // TUF 5.7: a file at hand counts only if it is the signed one now.
    if folder::read_regular(&file, target.length)?.is_some_and(|bytes| fits(target, &bytes)) {
        return Ok(());
    }
    let prefix = match (consistent, target.hashes.hex()) {
        (false, _) => None,
        (true, Some(hash)) => Some(hash),
        (true, None) => return Err(unusable("no hash of it is of a known algorithm")),
    };
    let bytes = match source.artifact(path, prefix.as_deref(), target.length).await {
        Answer::Found(bytes) => bytes,
        Answer::Absent => return Err(Error::Unavailable { path: path.to_owned(), reason: "it is not there".into() }),
        Answer::Failed(reason) => return Err(Error::Unavailable { path: path.to_owned(), reason }),
    };
    if !fits(target, &bytes) {
        return Err(Error::WrongBytes { path: path.to_owned() });
    }
    folder::write(&file, &bytes)
}

fn fits(target: &Target, bytes: &Bytes) -> bool {
    bytes.len() as u64 == target.length && target.hashes.fit(bytes)
}

fn rules(now: Timestamp) -> Rules {
    Rules { profile: Profile::Plain, limits: Limits::default(), now, expiry: Expiry::Enforce, breadth: Breadth::Wanted }
}

#[cfg(test)]
mod tests;
