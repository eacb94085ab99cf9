//! What the test registry remembers.

use std::collections::{BTreeMap, HashMap, HashSet};

use boltseal::image::Digest;
use bytes::Bytes;

use super::Manners;

/// One request and its answer.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The request's headers, names in lower case.
    pub headers: HashMap<String, String>,
    /// Bytes of the request's body.
    pub received: u64,
    /// The answer's status.
    pub status: u16,
    /// Bytes of the answer's body, as far as its length was known beforehand.
    pub sent: u64,
}

impl Entry {
    /// A header of the request.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// A manifest as it was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredManifest {
    /// The bytes.
    pub bytes: Bytes,
    /// The media type.
    pub media_type: String,
}

/// The whole content of a repository. A clone is a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepoState {
    /// What each tag points at.
    pub tags: BTreeMap<String, Digest>,
    /// Manifests. They are served under their key, whatever their bytes hash to.
    pub manifests: BTreeMap<Digest, StoredManifest>,
    /// Blobs, likewise.
    pub blobs: BTreeMap<Digest, Bytes>,
}

/// Everything behind the lock.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) manners: Manners,
    pub(super) repositories: BTreeMap<String, RepoState>,
    pub(super) log: Vec<Entry>,
    /// Uploads begun: token to repository.
    pub(super) uploads: HashMap<String, String>,
    /// Tokens handed out: token to (repository, actions).
    pub(super) tokens: HashMap<String, (String, HashSet<String>)>,
    /// For names that must be unique, and for alternating answers.
    pub(super) counter: usize,
}
