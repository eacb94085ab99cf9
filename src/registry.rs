//! The registry port: one repository at one location, wherever its bytes lie.
//!
//! A location is where bytes are fetched from: a repository of a registry, or an OCI image layout on disk. It is
//! equal to the image name unless the policy maps a mirror; identity never changes by mirroring.
//!
//! What every adapter promises:
//! - Every answer is capped in bytes, count and time before it is parsed.
//! - A manifest or blob asked for by digest is returned only when its bytes hash to that digest.
//! - "Not there", "not allowed", "too busy" and "broken" are told apart ([`Error`]).

pub mod head;
pub mod http;
pub mod layout;
pub mod memory;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use crate::image::{Digest, Tag};

/// What a manifest is asked for by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Point {
    /// The tag's present manifest.
    Tag(Tag),
    /// One manifest for ever.
    Digest(Digest),
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// A manifest as the location returned it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The bytes as received.
    pub bytes: Bytes,
    /// The media type that the location gave (`Content-Type`; in a layout the descriptor's), without parameters.
    pub media_type: String,
    /// SHA-256 of `bytes`, computed here.
    pub digest: Digest,
    /// The entity tag for the next conditional request, verbatim with its quotes; none where the location gives none.
    pub etag: Option<String>,
}

/// The answer to a conditional request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conditional {
    /// What the caller knows is still current (HTTP 304).
    NotModified,
    /// There is something else.
    Modified(Manifest),
}

/// What a location says of a manifest without sending it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestHead {
    /// The digest that the location claims. Unproven.
    pub digest: Option<Digest>,
    /// The media type that it claims, without parameters.
    pub media_type: Option<String>,
    /// The length in bytes that it claims.
    pub length: Option<u64>,
}

/// A descriptor of an object that refers to another (`GET /referrers`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrer {
    /// The referring manifest.
    pub digest: Digest,
    /// Its artifact type, where given.
    pub artifact_type: Option<String>,
}

/// What went wrong at a location, by what the caller can do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The location answered, and the thing is not there (404). Exit 10 or 11 follow from what was asked.
    #[error("`{what}` is not at {location}")]
    NotFound {
        /// What was asked for: a tag, digest or path.
        what: String,
        /// Where.
        location: String,
    },
    /// Credentials are missing, wrong or not enough (401, 403).
    #[error("{location} refuses access to `{what}`: {message}")]
    Denied {
        /// What was asked for.
        what: String,
        /// Where.
        location: String,
        /// The registry's own words, made safe to show.
        message: String,
    },
    /// Too many requests (429), after the retries that its `Retry-After` allowed.
    #[error("{location} limits the rate of requests for `{what}`")]
    Busy {
        /// What was asked for.
        what: String,
        /// Where.
        location: String,
        /// How long the location asks to wait.
        retry_after: Option<Duration>,
    },
    /// No connection: refused, name not found, timed out.
    #[error("{location} cannot be reached: {message}")]
    Unreachable {
        /// Where.
        location: String,
        /// What the connection attempt said.
        message: String,
    },
    /// TLS failed, or one side speaks TLS and the other does not.
    #[error("no secure connection to {location}: {message}")]
    Tls {
        /// Where.
        location: String,
        /// What failed: the certificate, its name, its issuer, or the protocol.
        message: String,
    },
    /// The location broke its protocol or failed (5xx, malformed answers, a disk error in a layout).
    #[error("{location} is broken: {message}")]
    Broken {
        /// Where.
        location: String,
        /// What it did.
        message: String,
    },
    /// More bytes, entries or time than the cap allows.
    #[error("{location} sent more than it may for `{what}`: the limit is {limit}")]
    TooMuch {
        /// What was asked for.
        what: String,
        /// Where.
        location: String,
        /// The cap with its unit, such as `4 MiB` or `30 s`.
        limit: String,
    },
    /// The bytes do not hash to the digest that was asked for. Never retried into success silently.
    #[error("{location} sent other bytes for {wanted}: they hash to {got}")]
    Mismatch {
        /// Where.
        location: String,
        /// The digest asked for.
        wanted: Digest,
        /// The digest of what came.
        got: Digest,
    },
    /// What was to be replaced is no longer what the caller saw (412). The caller reads again and decides anew.
    ///
    /// After a repeated attempt it can be the caller's own first attempt that is seen.
    #[error("`{what}` at {location} was changed by somebody else meanwhile")]
    Conflict {
        /// What was to be replaced.
        what: String,
        /// Where.
        location: String,
    },
    /// The location cannot do that at all (405, DELETE switched off, immutable tags).
    #[error("{location} does not support {what}: {message}")]
    Unsupported {
        /// The operation.
        what: String,
        /// Where.
        location: String,
        /// Its own words.
        message: String,
    },
}

impl Error {
    /// Whether the thing asked for is plainly not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether the same call may go through later without anybody changing anything (exit 20 or 22).
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Unreachable { .. } | Self::Broken { .. } | Self::TooMuch { .. })
    }
}

/// A stream of a blob's bytes. It ends with an error unless the whole hashed to the digest asked for.
pub type BlobStream = BoxStream<'static, Result<Bytes, Error>>;

/// One repository at one location.
pub trait Repository: Send + Sync {
    /// The location as text: `host[:port]/path`, or `oci:/absolute/folder`. Keys the memory of heads.
    fn location(&self) -> String;

    /// Fetches a manifest of at most `max` bytes.
    ///
    /// With `known`, an entity tag kept from an earlier answer for the same tag, the location may say that nothing
    /// changed, without a body.
    fn manifest<'a>(
        &'a self,
        point: &'a Point,
        known: Option<&'a str>,
        max: u64,
    ) -> BoxFuture<'a, Result<Conditional, Error>>;

    /// Asks what a manifest is without fetching it.
    fn manifest_head<'a>(&'a self, point: &'a Point) -> BoxFuture<'a, Result<ManifestHead, Error>>;

    /// Fetches a blob of at most `max` bytes whole.
    fn blob<'a>(&'a self, digest: &'a Digest, max: u64) -> BoxFuture<'a, Result<Bytes, Error>>;

    /// Opens a blob of exactly `length` bytes as a stream.
    fn open_blob<'a>(&'a self, digest: &'a Digest, length: u64) -> BoxFuture<'a, Result<BlobStream, Error>>;

    /// Whether the location holds the blob.
    fn has_blob<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<bool, Error>>;

    /// Stores a blob; no error where it is there already.
    fn put_blob<'a>(&'a self, bytes: Bytes) -> BoxFuture<'a, Result<Digest, Error>>;

    /// Stores a blob of `length` bytes from a stream. The location must refuse bytes that do not hash to `digest`.
    fn put_blob_stream<'a>(
        &'a self,
        digest: &'a Digest,
        length: u64,
        bytes: BlobStream,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Stores a manifest under a tag or its own digest. `if_match` is an entity tag for registries that honour it.
    fn put_manifest<'a>(
        &'a self,
        point: &'a Point,
        media_type: &'a str,
        bytes: Bytes,
        if_match: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Digest, Error>>;

    /// Lists the tags, at most the location's cap of them.
    fn tags<'a>(&'a self) -> BoxFuture<'a, Result<Vec<Tag>, Error>>;

    /// Lists manifests that refer to `subject`; none where the location has no referrers API.
    fn referrers<'a>(&'a self, subject: &'a Digest) -> BoxFuture<'a, Result<Option<Vec<Referrer>>, Error>>;

    /// Deletes a manifest, and with it every tag that points at it.
    fn delete_manifest<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<(), Error>>;
}
