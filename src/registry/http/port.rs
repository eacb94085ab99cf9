//! The HTTP repository as the port sees it.

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::Repository;
use super::auth::Actions;
use crate::image::{Digest, Tag};
use crate::registry::{self, BlobStream, Conditional, Error, ManifestHead, Point, Referrer};

impl Repository {
    /// `host/repository`, for messages and for the memory of heads.
    pub(super) fn place(&self) -> String {
        format!("{}/{}", self.host, self.name)
    }
}

impl registry::Repository for Repository {
    fn location(&self) -> String {
        self.place()
    }

    fn manifest<'a>(
        &'a self,
        point: &'a Point,
        known: Option<&'a str>,
        max: u64,
    ) -> BoxFuture<'a, Result<Conditional, Error>> {
        Box::pin(self.fetch_manifest(point, known, max))
    }

    fn manifest_head<'a>(&'a self, point: &'a Point) -> BoxFuture<'a, Result<ManifestHead, Error>> {
        Box::pin(self.head_manifest(point))
    }

    fn blob<'a>(&'a self, digest: &'a Digest, max: u64) -> BoxFuture<'a, Result<Bytes, Error>> {
        Box::pin(self.fetch_blob(digest, max))
    }

    fn open_blob<'a>(&'a self, digest: &'a Digest, length: u64) -> BoxFuture<'a, Result<BlobStream, Error>> {
        Box::pin(self.stream_blob(digest, length))
    }

    fn has_blob<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<bool, Error>> {
        Box::pin(self.holds_blob(digest, Actions::Pull))
    }

    fn put_blob<'a>(&'a self, bytes: Bytes) -> BoxFuture<'a, Result<Digest, Error>> {
        Box::pin(self.store_blob(bytes))
    }

    fn put_blob_stream<'a>(
        &'a self,
        digest: &'a Digest,
        length: u64,
        bytes: BlobStream,
    ) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.store_blob_stream(digest, length, bytes))
    }

    fn put_manifest<'a>(
        &'a self,
        point: &'a Point,
        media_type: &'a str,
        bytes: Bytes,
        if_match: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Digest, Error>> {
        Box::pin(self.store_manifest(point, media_type, bytes, if_match))
    }

    fn tags<'a>(&'a self) -> BoxFuture<'a, Result<Vec<Tag>, Error>> {
        Box::pin(self.list_tags())
    }

    fn referrers<'a>(&'a self, subject: &'a Digest) -> BoxFuture<'a, Result<Option<Vec<Referrer>>, Error>> {
        Box::pin(self.list_referrers(subject))
    }

    fn delete_manifest<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.remove_manifest(digest))
    }
}
