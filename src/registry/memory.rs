//! A repository in memory: a simulator for tests of use cases and of the publish protocol.
//!
//! - A handle is cheap to clone; clones share one repository, as two machines share a registry.
//! - Every call is logged, and a hook can stand before the n-th call of a kind: it may let a rival act, fail the call,
//!   or do the call's work itself and then fail, as a lost answer does.
//! - The whole content can be taken and put back, as a hostile registry replays an old state.
//! - As registries do, it refuses a manifest whose blobs or children it does not hold.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use serde::Deserialize;

use super::{BlobStream, Conditional, Error, Manifest, ManifestHead, Point, Referrer, Repository};
use crate::image::manifest::Kind;
use crate::image::{self, Digest, Tag};

/// The operations of the port, as the log and the hooks name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `manifest`
    Manifest,
    /// `manifest_head`
    ManifestHead,
    /// `blob` and `open_blob`
    Blob,
    /// `has_blob`
    HasBlob,
    /// `put_blob` and `put_blob_stream`
    PutBlob,
    /// `put_manifest`
    PutManifest,
    /// `tags`
    Tags,
    /// `referrers`
    Referrers,
    /// `delete_manifest`
    DeleteManifest,
}

/// One call that was made, the failed ones too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What was done.
    pub verb: Verb,
    /// To which tag or digest; empty for `tags`.
    pub what: String,
}

/// Everything that the repository holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Content {
    /// Media type and bytes of each manifest.
    pub manifests: BTreeMap<Digest, (String, Bytes)>,
    /// The blobs.
    pub blobs: BTreeMap<Digest, Bytes>,
    /// What each tag points at.
    pub tags: BTreeMap<Tag, Digest>,
}

/// What kind of registry is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manners {
    /// Gives entity tags and answers conditional requests.
    pub etags: bool,
    /// Has the referrers API.
    pub referrers: bool,
}

impl Default for Manners {
    /// Those of CNCF distribution 2.8: entity tags, no referrers API.
    fn default() -> Self {
        Self { etags: true, referrers: false }
    }
}

struct Hook {
    verb: Verb,
    countdown: usize,
    run: Box<dyn FnOnce() -> BoxFuture<'static, Result<(), Error>> + Send>,
}

#[derive(Default)]
struct State {
    content: Content,
    calls: Vec<Call>,
    hooks: Vec<Hook>,
}

/// A repository in memory.
#[derive(Clone)]
pub struct MemoryRepository {
    location: String,
    manners: Manners,
    state: Arc<Mutex<State>>,
}

impl fmt::Debug for MemoryRepository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryRepository({})", self.location)
    }
}

impl MemoryRepository {
    /// An empty repository that calls itself `location`.
    pub fn new(location: &str) -> Self {
        Self::with_manners(location, Manners::default())
    }

    /// An empty repository with the given manners.
    pub fn with_manners(location: &str, manners: Manners) -> Self {
        Self { location: location.to_owned(), manners, state: Arc::default() }
    }

    /// Everything that it holds now.
    pub fn content(&self) -> Content {
        self.state().content.clone()
    }

    /// Puts back what was held at another time, or whatever a hostile registry would serve.
    pub fn restore(&self, content: Content) {
        self.state().content = content;
    }

    /// The calls since the last time this was asked.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.state().calls)
    }

    /// Runs `hook` before the `nth` call of `verb` from now, counted from 1; its error becomes the call's.
    pub fn before<F>(&self, verb: Verb, nth: usize, hook: F)
    where
        F: FnOnce() -> BoxFuture<'static, Result<(), Error>> + Send + 'static,
    {
        self.state().hooks.push(Hook { verb, countdown: nth, run: Box::new(hook) });
    }

    /// Fails the `nth` call of `verb` from now, counted from 1.
    pub fn fail(&self, verb: Verb, nth: usize, error: Error) {
        self.before(verb, nth, move || async move { Err(error) }.boxed());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test thread panics while it holds the content")
    }

    /// Logs the call and runs the hooks that stand before it, without holding the content.
    async fn enter(&self, verb: Verb, what: String) -> Result<(), Error> {
        let due = {
            let mut state = self.state();
            state.calls.push(Call { verb, what });
            for hook in state.hooks.iter_mut().filter(|hook| hook.verb == verb) {
                hook.countdown = hook.countdown.saturating_sub(1);
            }
            let (due, waiting) = std::mem::take(&mut state.hooks).into_iter().partition(|hook| hook.countdown == 0);
            state.hooks = waiting;
            let due: Vec<Hook> = due;
            due
        };
        for hook in due {
            (hook.run)().await?;
        }
        Ok(())
    }

    fn not_found(&self, what: &impl fmt::Display) -> Error {
        Error::NotFound { what: what.to_string(), location: self.location.clone() }
    }

    fn broken(&self, message: String) -> Error {
        Error::Broken { location: self.location.clone(), message }
    }

    fn find(&self, point: &Point) -> Result<Manifest, Error> {
        let state = self.state();
        let digest = match point {
            Point::Digest(digest) => *digest,
            Point::Tag(tag) => *state.content.tags.get(tag).ok_or_else(|| self.not_found(tag))?,
        };
        let (media_type, bytes) = state.content.manifests.get(&digest).ok_or_else(|| self.not_found(point))?;
        Ok(Manifest {
            bytes: bytes.clone(),
            media_type: media_type.clone(),
            // Computed, not looked up: a restored content may lie.
            digest: Digest::of(bytes),
            etag: self.manners.etags.then(|| format!("\"{}\"", Digest::of(bytes))),
        })
    }

    fn check_refers(&self, content: &Content, media_type: &str, bytes: &Bytes) -> Result<(), Error> {
        let Ok(manifest) = image::Manifest::parse_object(media_type, bytes.clone()) else { return Ok(()) };
        let missing = match &manifest.kind {
            Kind::Image { config, layers } => std::iter::once(config.as_ref())
                .chain(layers)
                .find(|blob| blob.urls.is_empty() && !content.blobs.contains_key(&blob.digest)),
            Kind::Index { children } => children.iter().find(|child| !content.manifests.contains_key(&child.digest)),
        };
        match missing {
            Some(descriptor) => Err(self.broken(format!("the manifest refers to unknown {}", descriptor.digest))),
            None => Ok(()),
        }
    }

    fn blob_bytes(&self, digest: &Digest, max: u64) -> Result<Bytes, Error> {
        let bytes = self.state().content.blobs.get(digest).cloned().ok_or_else(|| self.not_found(digest))?;
        if bytes.len() as u64 > max {
            return Err(self.too_much(digest, max));
        }
        match Digest::of(&bytes) {
            got if got != *digest => Err(Error::Mismatch { location: self.location.clone(), wanted: *digest, got }),
            _ => Ok(bytes),
        }
    }

    fn too_much(&self, what: &impl fmt::Display, max: u64) -> Error {
        Error::TooMuch { what: what.to_string(), location: self.location.clone(), limit: format!("{max} bytes") }
    }
}

impl Repository for MemoryRepository {
    fn location(&self) -> String {
        self.location.clone()
    }

    fn manifest<'a>(
        &'a self,
        point: &'a Point,
        known: Option<&'a str>,
        max: u64,
    ) -> BoxFuture<'a, Result<Conditional, Error>> {
        async move {
            self.enter(Verb::Manifest, point.to_string()).await?;
            let manifest = self.find(point)?;
            if known.is_some() && known == manifest.etag.as_deref() {
                return Ok(Conditional::NotModified);
            }
            if manifest.bytes.len() as u64 > max {
                return Err(self.too_much(point, max));
            }
            if let Point::Digest(wanted) = point
                && *wanted != manifest.digest
            {
                let location = self.location.clone();
                return Err(Error::Mismatch { location, wanted: *wanted, got: manifest.digest });
            }
            Ok(Conditional::Modified(manifest))
        }
        .boxed()
    }

    fn manifest_head<'a>(&'a self, point: &'a Point) -> BoxFuture<'a, Result<ManifestHead, Error>> {
        async move {
            self.enter(Verb::ManifestHead, point.to_string()).await?;
            let manifest = self.find(point)?;
            Ok(ManifestHead {
                digest: Some(manifest.digest),
                length: Some(manifest.bytes.len() as u64),
                media_type: Some(manifest.media_type),
            })
        }
        .boxed()
    }

    fn blob<'a>(&'a self, digest: &'a Digest, max: u64) -> BoxFuture<'a, Result<Bytes, Error>> {
        async move {
            self.enter(Verb::Blob, digest.to_string()).await?;
            self.blob_bytes(digest, max)
        }
        .boxed()
    }

    fn open_blob<'a>(&'a self, digest: &'a Digest, length: u64) -> BoxFuture<'a, Result<BlobStream, Error>> {
        async move {
            self.enter(Verb::Blob, digest.to_string()).await?;
            let bytes = self.blob_bytes(digest, length)?;
            if bytes.len() as u64 != length {
                return Err(self.broken(format!("{digest} has {} bytes, not {length}", bytes.len())));
            }
            Ok(stream::iter([Ok(bytes)]).boxed())
        }
        .boxed()
    }

    fn has_blob<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<bool, Error>> {
        async move {
            self.enter(Verb::HasBlob, digest.to_string()).await?;
            Ok(self.state().content.blobs.contains_key(digest))
        }
        .boxed()
    }

    fn put_blob<'a>(&'a self, bytes: Bytes) -> BoxFuture<'a, Result<Digest, Error>> {
        async move {
            let digest = Digest::of(&bytes);
            self.enter(Verb::PutBlob, digest.to_string()).await?;
            self.state().content.blobs.insert(digest, bytes);
            Ok(digest)
        }
        .boxed()
    }

    fn put_blob_stream<'a>(
        &'a self,
        digest: &'a Digest,
        length: u64,
        mut bytes: BlobStream,
    ) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            self.enter(Verb::PutBlob, digest.to_string()).await?;
            let mut whole = BytesMut::new();
            while let Some(chunk) = bytes.next().await {
                whole.extend_from_slice(&chunk?);
                if whole.len() as u64 > length {
                    return Err(self.too_much(digest, length));
                }
            }
            let got = Digest::of(&whole);
            if got != *digest {
                return Err(Error::Mismatch { location: self.location.clone(), wanted: *digest, got });
            }
            self.state().content.blobs.insert(*digest, whole.freeze());
            Ok(())
        }
        .boxed()
    }

    fn put_manifest<'a>(
        &'a self,
        point: &'a Point,
        media_type: &'a str,
        bytes: Bytes,
        _if_match: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Digest, Error>> {
        // `If-Match` is ignored, as the registries in use do.
        async move {
            self.enter(Verb::PutManifest, point.to_string()).await?;
            let digest = Digest::of(&bytes);
            let content = &mut self.state().content;
            self.check_refers(content, media_type, &bytes)?;
            match point {
                Point::Digest(wanted) if *wanted != digest => {
                    let location = self.location.clone();
                    return Err(Error::Mismatch { location, wanted: *wanted, got: digest });
                }
                Point::Digest(_) => {}
                Point::Tag(tag) => {
                    content.tags.insert(tag.clone(), digest);
                }
            }
            content.manifests.insert(digest, (media_type.to_owned(), bytes));
            Ok(digest)
        }
        .boxed()
    }

    fn tags(&self) -> BoxFuture<'_, Result<Vec<Tag>, Error>> {
        async move {
            self.enter(Verb::Tags, String::new()).await?;
            Ok(self.state().content.tags.keys().cloned().collect())
        }
        .boxed()
    }

    fn referrers<'a>(&'a self, subject: &'a Digest) -> BoxFuture<'a, Result<Option<Vec<Referrer>>, Error>> {
        async move {
            self.enter(Verb::Referrers, subject.to_string()).await?;
            if !self.manners.referrers {
                return Ok(None);
            }
            let state = self.state();
            let found = state.content.manifests.iter().filter_map(|(digest, (_, bytes))| {
                let body: Referring = serde_json::from_slice(bytes).ok()?;
                let referrer = Referrer { digest: *digest, artifact_type: body.artifact_type };
                (body.subject.digest == *subject).then_some(referrer)
            });
            Ok(Some(found.collect()))
        }
        .boxed()
    }

    fn delete_manifest<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            self.enter(Verb::DeleteManifest, digest.to_string()).await?;
            let content = &mut self.state().content;
            content.manifests.remove(digest).ok_or_else(|| self.not_found(digest))?;
            content.tags.retain(|_, tagged| tagged != digest);
            Ok(())
        }
        .boxed()
    }
}

/// What makes a manifest a referrer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Referring {
    subject: Subject,
    artifact_type: Option<String>,
}

#[derive(Deserialize)]
struct Subject {
    digest: Digest,
}

#[cfg(test)]
mod tests;
