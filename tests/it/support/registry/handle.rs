//! A repository seen from inside: what a test reads, replaces, snapshots and restores.

use boltseal::image::Digest;
use bytes::Bytes;

use super::{Repo, RepoState, StoredManifest};

impl Repo<'_> {
    /// Stores a manifest under a tag.
    pub fn push(&self, tag: &str, media_type: &str, bytes: impl Into<Bytes>) -> Digest {
        let digest = self.push_untagged(media_type, bytes);
        self.set_tag(tag, digest);
        digest
    }

    /// Stores a manifest without a tag.
    pub fn push_untagged(&self, media_type: &str, bytes: impl Into<Bytes>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        self.change(|r| r.manifests.insert(digest, StoredManifest { bytes, media_type: media_type.to_owned() }));
        digest
    }

    /// Stores a blob.
    pub fn push_blob(&self, bytes: impl Into<Bytes>) -> Digest {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        self.change(|r| r.blobs.insert(digest, bytes));
        digest
    }

    /// The manifest under a tag.
    pub fn tag(&self, tag: &str) -> Option<StoredManifest> {
        self.change(|r| r.manifests.get(r.tags.get(tag)?).cloned())
    }

    /// The digest under a tag.
    pub fn digest(&self, tag: &str) -> Option<Digest> {
        self.change(|r| r.tags.get(tag).copied())
    }

    /// Points a tag at a digest, behind everybody's back.
    pub fn set_tag(&self, tag: &str, digest: Digest) {
        self.change(|r| r.tags.insert(tag.to_owned(), digest));
    }

    /// Takes a tag away.
    pub fn remove_tag(&self, tag: &str) {
        self.change(|r| r.tags.remove(tag));
    }

    /// A blob's bytes.
    pub fn blob(&self, digest: Digest) -> Option<Bytes> {
        self.change(|r| r.blobs.get(&digest).cloned())
    }

    /// The whole content, to be compared or restored later.
    pub fn snapshot(&self) -> RepoState {
        self.change(|r| r.clone())
    }

    /// Puts the whole content back to an earlier one.
    pub fn restore(&self, earlier: RepoState) {
        self.change(|r| *r = earlier);
    }

    /// Reads or changes the content in any way.
    pub fn change<T>(&self, change: impl FnOnce(&mut RepoState) -> T) -> T {
        let mut state = self.shared.lock().unwrap();
        change(state.repositories.entry(self.name.clone()).or_default())
    }
}
