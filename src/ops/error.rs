//! What a use case can fail with: the layers' own errors, and what only a use case can see.

use jiff::Timestamp;

use super::transfer::TransferError;
use crate::image::manifest::ManifestError;
use crate::image::{Digest, ImageName, ReferenceError};
use crate::trust::policy::PolicyError;
use crate::trust::verdict::Refusal;
use crate::{keystore, registry, store, trust};

/// Why a use case did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The metadata is refused.
    #[error("{name}: {source}")]
    Trust {
        /// The collection.
        name: ImageName,
        /// Why.
        source: trust::Error,
    },
    /// The metadata is in order, and does not vouch for what was asked.
    #[error("{name}: {source}")]
    Refused {
        /// The image name.
        name: ImageName,
        /// Why.
        source: Box<Refusal>,
    },
    /// A location failed.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// This machine's memory failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A key failed.
    #[error(transparent)]
    Key(#[from] keystore::Error),
    /// A pin cannot be written or read.
    #[error(transparent)]
    Pin(#[from] super::trust::Error),
    /// The policy refuses before anything is fetched.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Something the user wrote is no reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The thing to be signed is no image.
    #[error("`{image}` cannot be signed: {source}")]
    Manifest {
        /// The image.
        image: String,
        /// Why.
        source: ManifestError,
    },
    /// The repository has no trust data, and never had any that this machine saw.
    #[error("`{name}` has no trust data at {location}")]
    NoTrustData {
        /// The collection.
        name: ImageName,
        /// Where the head was looked for.
        location: String,
        /// The same image under another loopback name that this machine knows.
        alias: Option<ImageName>,
    },
    /// The repository had trust data when this machine last looked.
    #[error("the trust data of `{name}` vanished from {location}: this machine has seen {seen} of it")]
    Vanished {
        /// The collection.
        name: ImageName,
        /// Where the head was looked for.
        location: String,
        /// The newest thing that is remembered of it, a role and its version.
        seen: String,
    },
    /// The repository already has trust data.
    #[error("`{name}` already has trust data")]
    Exists {
        /// The collection.
        name: ImageName,
    },
    /// The head cannot be read or made.
    #[error("the trust data at {location} is malformed: {reason}")]
    Head {
        /// Where.
        location: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The registry holds other bytes than the signed ones.
    #[error("{image} is signed as {signed}, and {location} serves {served}")]
    WrongBytes {
        /// The image.
        image: String,
        /// The signed digest.
        signed: Digest,
        /// What came, as a digest or in words.
        served: String,
        /// Where.
        location: String,
    },
    /// The policy asks for something that this run cannot give.
    #[error("the policy refuses: {0}")]
    Forbidden(String),
    /// No key at hand may make the change.
    #[error("none of the {role} keys of `{name}` is at hand: {need} of {} needed", keys.join(", "))]
    NoSigningKey {
        /// The collection.
        name: ImageName,
        /// The role.
        role: String,
        /// The ids of its keys.
        keys: Vec<String>,
        /// The threshold.
        need: u32,
    },
    /// Others published all the while.
    #[error("others publish to `{name}` at the same time: gave up after {attempts} attempts")]
    Contended {
        /// The collection.
        name: ImageName,
        /// How often it was tried.
        attempts: u32,
    },
    /// Somebody revoked what was being signed.
    #[error("`{tag}` of `{name}` was revoked while it was being signed, and is not signed")]
    Overruled {
        /// The collection.
        name: ImageName,
        /// The tag.
        tag: String,
    },
    /// An image did not move.
    #[error(transparent)]
    Transfer(Box<TransferError>),
    /// A destination has trust data that what was to be copied must not replace.
    #[error("the trust data of `{name}` at {location} was not replaced: {reason}")]
    Newer {
        /// The collection.
        name: ImageName,
        /// The destination.
        location: String,
        /// Why, with the versions.
        reason: String,
    },
    /// A destination has trust data that is not of this collection.
    #[error("{location} already has trust data that does not verify as that of `{name}`: {source}")]
    Occupied {
        /// The collection.
        name: ImageName,
        /// The destination.
        location: String,
        /// Why it does not.
        source: Box<Self>,
    },
    /// What was revoked still verifies.
    #[error("{image} still verifies: {by} vouches for it")]
    StillSigned {
        /// The image.
        image: String,
        /// Who vouches.
        by: String,
    },
    /// A role is about to expire, and its key is not at hand.
    #[error("{role} of `{name}` expires at {at}, and its key is not at hand")]
    Expiring {
        /// The collection.
        name: ImageName,
        /// The role.
        role: String,
        /// When.
        at: Timestamp,
    },
    /// The request itself makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A program that does a part of the work failed.
    #[error("`{program}` failed: {message}")]
    Program {
        /// The program.
        program: String,
        /// What it said.
        message: String,
    },
    /// A file that the user named cannot be read or written.
    #[error("cannot {action} `{path}`: {message}")]
    File {
        /// The verb.
        action: &'static str,
        /// The path.
        path: String,
        /// The operating system's words.
        message: String,
    },
}

impl Error {
    /// Wraps a trust error with the collection that it is about.
    pub(crate) fn of(name: &ImageName) -> impl Fn(trust::Error) -> Self + '_ {
        |source| Self::Trust { name: name.clone(), source }
    }
}

impl From<TransferError> for Error {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::Registry(error) => Self::Registry(error),
            error => Self::Transfer(Box::new(error)),
        }
    }
}
