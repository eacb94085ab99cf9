//! The store port: what this machine remembers of each collection. It is what makes a rollback detectable, so no
//! error of it ever loosens a verdict.

pub mod atomic;
pub mod checkpoint;
pub mod dir;
mod file_name;
pub mod lock;
mod marks;
pub mod memory;
#[cfg(test)]
mod suite;

pub use checkpoint::Checkpoint;
pub use dir::DirStore;
pub use memory::MemoryStore;

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
    ///
    /// # Errors
    /// [`Error::Locked`] after the deadline, [`Error::Io`] where the folder cannot be written, [`Error::Damaged`]
    /// where it holds what this program did not write there.
    fn open(&self, collection: &ImageName) -> Result<Box<dyn Memory>, Error>;

    /// Every collection of which something is remembered, in the order of their names.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Damaged`] as for opening.
    fn collections(&self) -> Result<Vec<ImageName>, Error>;
}

/// The memory of one collection, locked.
///
/// Files are named as metadata files are: `<n>.root.json` for every root version seen, `timestamp.json`,
/// `snapshot.json`, `targets.json`, and `roles/<percent-encoded>.json` for delegated roles; bytes as they were signed.
pub trait Memory: Send {
    /// The names of all metadata files, sorted.
    ///
    /// # Errors
    /// [`Error::Io`] where the folder cannot be read.
    fn files(&self) -> Result<Vec<String>, Error>;

    /// One metadata file; none where it was never stored.
    ///
    /// # Errors
    /// [`Error::Damaged`] for a name that is none of a metadata file and for anything but a plain file of bearable
    /// size; [`Error::Io`] where it cannot be read.
    fn read(&self, file: &str) -> Result<Option<Bytes>, Error>;

    /// Stores a metadata file atomically and durably.
    ///
    /// # Errors
    /// As for [`Memory::read`].
    fn write(&mut self, file: &str, bytes: &[u8]) -> Result<(), Error>;

    /// Stores several metadata files, each atomically and in the given order, durable when it returns. Cheaper than
    /// one at a time.
    ///
    /// # Errors
    /// As for [`Memory::read`]. Where it fails, the first files of the list may be stored, never one without those before.
    fn write_all(&mut self, files: &[(&str, &[u8])]) -> Result<(), Error> {
        files.iter().try_for_each(|(file, bytes)| self.write(file, bytes))
    }

    /// Removes a metadata file; no error where it is not there.
    ///
    /// # Errors
    /// As for [`Memory::read`].
    fn remove(&mut self, file: &str) -> Result<(), Error>;

    /// The head last seen at a location.
    ///
    /// # Errors
    /// [`Error::Damaged`] and [`Error::Io`].
    fn head(&self, location: &str) -> Result<Option<HeadMark>, Error>;

    /// Remembers the head at a location, or forgets it. Writes only where that changes something.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be written.
    fn set_head(&mut self, location: &str, mark: Option<&HeadMark>) -> Result<(), Error>;

    /// The latest time ever seen on this machine for this collection, behind the truth by at most an hour.
    ///
    /// # Errors
    /// [`Error::Damaged`] and [`Error::Io`].
    fn latest_time(&self) -> Result<Option<Timestamp>, Error>;

    /// Remembers the time where it is later than what is remembered, and never moves back. Less than an hour more is
    /// not written, so that a verification that finds nothing new writes nothing.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be written.
    fn set_latest_time(&mut self, time: Timestamp) -> Result<(), Error>;
}
