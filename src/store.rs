//! The store port: what this machine remembers of each collection. It is what makes a rollback detectable, so no
//! error of it ever loosens a verdict.

use std::fmt;

use bytes::Bytes;
use jiff::Timestamp;

use crate::image::{Digest, ImageName};

/// Where the head of a collection was last seen, per location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadMark {
    /// The digest of the head manifest whose metadata was verified and persisted.
    pub digest: Digest,
    /// The entity tag that the location gave with it.
    pub etag: Option<String>,
}

/// What went wrong with the machine's own memory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be read or written.
    #[error("cannot {action} `{path}`: {message}")]
    Io {
        /// The verb: `read`, `write`, `create`, `lock`, `remove`.
        action: &'static str,
        /// The path.
        path: String,
        /// The operating system's words.
        message: String,
    },
    /// A file is not what this program wrote.
    #[error("`{path}` is damaged: {message}")]
    Damaged {
        /// The path.
        path: String,
        /// What is wrong with it.
        message: String,
    },
    /// Another process held the lock for longer than the deadline.
    #[error("`{path}` is in use by another process")]
    Locked {
        /// The path.
        path: String,
    },
}

/// Memory of many collections.
pub trait Store: Send + Sync + fmt::Debug {
    /// Opens and locks the memory of one collection, waiting a bounded time for another process. The lock ends with
    /// the handle. A collection never seen opens empty.
    fn open(&self, collection: &ImageName) -> Result<Box<dyn Memory>, Error>;

    /// Every collection that is remembered.
    fn collections(&self) -> Result<Vec<ImageName>, Error>;
}

/// The memory of one collection, locked.
///
/// Files are named as metadata files are: `<n>.root.json` for every root version seen, `timestamp.json`,
/// `snapshot.json`, `targets.json`, and `roles/<percent-encoded>.json` for delegated roles; bytes as they were signed.
pub trait Memory: Send {
    /// The names of all metadata files.
    fn files(&self) -> Result<Vec<String>, Error>;

    /// One metadata file; none where it was never stored.
    fn read(&self, file: &str) -> Result<Option<Bytes>, Error>;

    /// Stores a metadata file atomically and durably.
    fn write(&mut self, file: &str, bytes: &[u8]) -> Result<(), Error>;

    /// Removes a metadata file; no error where it is not there.
    fn remove(&mut self, file: &str) -> Result<(), Error>;

    /// The head last seen at a location.
    fn head(&self, location: &str) -> Result<Option<HeadMark>, Error>;

    /// Remembers the head at a location, or forgets it.
    fn set_head(&mut self, location: &str, mark: Option<&HeadMark>) -> Result<(), Error>;

    /// The latest time ever seen on this machine for this collection.
    fn latest_time(&self) -> Result<Option<Timestamp>, Error>;

    /// Remembers the time.
    fn set_latest_time(&mut self, time: Timestamp) -> Result<(), Error>;
}
