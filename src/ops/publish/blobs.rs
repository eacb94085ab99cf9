//! A repository as one publisher sees it: what it pushed or read itself is neither pushed nor fetched again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::image::{Digest, Tag};
use crate::registry::{BlobStream, Conditional, Error, ManifestHead, Point, Referrer, Repository};

/// Blobs that this run pushed or read, in front of a repository. Manifests are asked for every time.
pub(super) struct KnownBlobs {
    inner: Arc<dyn Repository>,
    known: Mutex<BTreeMap<Digest, Bytes>>,
}

impl KnownBlobs {
    /// Before a repository that holds a head.
    pub(super) fn before(inner: Arc<dyn Repository>) -> Self {
        // Every head has the empty configuration, so where there is a head it is.
        let empty = Bytes::from_static(b"{}");
        Self { inner, known: Mutex::new(BTreeMap::from([(Digest::of(&empty), empty)])) }
    }

    fn get(&self, digest: &Digest) -> Option<Bytes> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }

    fn keep(&self, digest: Digest, bytes: &Bytes) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, bytes.clone());
    }
}

impl Repository for KnownBlobs {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn manifest<'a>(
        &'a self,
        point: &'a Point,
        known: Option<&'a str>,
        max: u64,
    ) -> BoxFuture<'a, Result<Conditional, Error>> {
        self.inner.manifest(point, known, max)
    }

    fn manifest_head<'a>(&'a self, point: &'a Point) -> BoxFuture<'a, Result<ManifestHead, Error>> {
        self.inner.manifest_head(point)
    }

    fn blob<'a>(&'a self, digest: &'a Digest, max: u64) -> BoxFuture<'a, Result<Bytes, Error>> {
        async move {
            if let Some(bytes) = self.get(digest).filter(|bytes| bytes.len() as u64 <= max) {
                return Ok(bytes);
            }
            let bytes = self.inner.blob(digest, max).await?;
            self.keep(*digest, &bytes);
            Ok(bytes)
        }
        .boxed()
    }

    fn open_blob<'a>(&'a self, digest: &'a Digest, length: u64) -> BoxFuture<'a, Result<BlobStream, Error>> {
        self.inner.open_blob(digest, length)
    }

    fn has_blob<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<bool, Error>> {
        self.inner.has_blob(digest)
    }

    fn put_blob(&self, bytes: Bytes) -> BoxFuture<'_, Result<Digest, Error>> {
        async move {
            let digest = Digest::of(&bytes);
            if self.get(&digest).is_none() {
                self.inner.put_blob(bytes.clone()).await?;
                self.keep(digest, &bytes);
            }
            Ok(digest)
        }
        .boxed()
    }

    fn put_blob_stream<'a>(
        &'a self,
        digest: &'a Digest,
        length: u64,
        bytes: BlobStream,
    ) -> BoxFuture<'a, Result<(), Error>> {
        self.inner.put_blob_stream(digest, length, bytes)
    }

    fn put_manifest<'a>(
        &'a self,
        point: &'a Point,
        media_type: &'a str,
        bytes: Bytes,
        if_match: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Digest, Error>> {
        self.inner.put_manifest(point, media_type, bytes, if_match)
    }

    fn tags(&self) -> BoxFuture<'_, Result<Vec<Tag>, Error>> {
        self.inner.tags()
    }

    fn referrers<'a>(&'a self, subject: &'a Digest) -> BoxFuture<'a, Result<Option<Vec<Referrer>>, Error>> {
        self.inner.referrers(subject)
    }

    fn delete_manifest<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<(), Error>> {
        self.inner.delete_manifest(digest)
    }
}
