//! Moves an image from one location to another, by digest: configuration, layers, and every child of an index.
//!
//! - Nothing is fetched but what the given manifest lists, and nothing is stored that does not hash to its digest.
//! - Children are stored before the index that lists them, and the tag is set last: a reader of the destination sees
//!   the old image or the new one.
//! - Blobs that the destination holds are not sent again.
//! - Foreign layers (with addresses of their own, which may not be redistributed) are left where they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::image::manifest::{Descriptor, Kind, MAX_MANIFEST, Manifest, ManifestError};
use crate::image::{Digest, Tag};
use crate::registry::{self, Conditional, Point, Repository};

/// Blobs that are moved at the same time.
const AT_ONCE: usize = 3;
/// Most manifests of one transfer. Stops indexes within indexes from multiplying.
const MAX_MANIFESTS: usize = 2_000;
/// Most entries followed in all indexes together. Stops a few indexes that list each other's children many times.
const MAX_LISTED: usize = 10_000;
/// Most bytes of manifests, which are held in memory until they are stored.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Deepest nesting of indexes: an image needs one.
const MAX_DEPTH: usize = 4;

/// Is told how far a transfer has come.
pub trait Progress: Send + Sync {
    /// `total` bytes of blobs are to be moved, as far as is known.
    fn started(&self, total: u64);
    /// `bytes` more have gone, or need not go because they are there.
    fn advanced(&self, bytes: u64);
    /// Everything has been stored.
    fn finished(&self);
}

/// Progress that nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Progress for Unwatched {
    fn started(&self, _total: u64) {}
    fn advanced(&self, _bytes: u64) {}
    fn finished(&self) {}
}

/// What a transfer did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transferred {
    /// Bytes of blobs that were sent.
    pub sent: u64,
    /// Bytes of blobs that the destination held already.
    pub present: u64,
    /// Foreign layers that were left where they are.
    pub foreign: Vec<Digest>,
}

/// Why an image did not move.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// A location failed. Its own error says which one.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// A child is not what can be copied.
    #[error("{digest} cannot be copied: {error}")]
    Manifest {
        /// The child.
        digest: Digest,
        /// What is wrong with it.
        error: ManifestError,
    },
    /// A child is not what the index says.
    #[error("the index lists {digest} with the {what} {expected}, but {location} holds it with {got}")]
    Differs {
        /// The child.
        digest: Digest,
        /// The source.
        location: String,
        /// `length` or `media type`.
        what: &'static str,
        /// What the index says.
        expected: String,
        /// What came.
        got: String,
    },
    /// More or deeper manifests than an image has.
    #[error("the index is too large to copy: more than {limit}")]
    TooMuch {
        /// The limit with its unit.
        limit: String,
    },
}

/// Copies the image or index `root`, whose bytes the caller has verified, with all that it lists; then sets `tag`.
///
/// # Errors
/// [`TransferError`]. What was stored until then stays, and is not sent again by the next attempt.
pub async fn copy_image(
    from: &dyn Repository,
    root: &Manifest,
    to: &dyn Repository,
    tag: Option<&Tag>,
    progress: &Arc<dyn Progress>,
) -> Result<Transferred, TransferError> {
    let manifests = collect(from, root).await?;
    let mut done = Transferred::default();
    let mut blobs = BTreeMap::new();
    for manifest in &manifests {
        let Kind::Image { config, layers } = &manifest.kind else { continue };
        for blob in std::iter::once(config.as_ref()).chain(layers) {
            if !is_foreign(blob) {
                blobs.insert(blob.digest, blob.size);
            } else if !done.foreign.contains(&blob.digest) {
                done.foreign.push(blob.digest);
            }
        }
    }
    progress.started(blobs.values().fold(0, |total: u64, size| total.saturating_add(*size)));
    let mut moves = stream::iter(blobs)
        .map(|(digest, size)| async move {
            let sent = copy_blob(from, &digest, size, to, progress).await?;
            Ok::<_, registry::Error>((sent, size))
        })
        .buffer_unordered(AT_ONCE);
    while let Some((sent, size)) = moves.try_next().await? {
        let sum = if sent { &mut done.sent } else { &mut done.present };
        *sum = sum.saturating_add(size);
    }
    for manifest in &manifests {
        let point = match tag {
            Some(tag) if manifest.digest == root.digest => Point::Tag(tag.clone()),
            _ => Point::Digest(manifest.digest),
        };
        to.put_manifest(&point, &manifest.media_type, manifest.bytes.clone(), None).await?;
    }
    progress.finished();
    Ok(done)
}

/// The manifests below `root`, each once, children before parents and `root` last.
async fn collect(from: &dyn Repository, root: &Manifest) -> Result<Vec<Manifest>, TransferError> {
    let mut seen = BTreeSet::from([root.digest]);
    let mut ordered = vec![root.clone()];
    let mut level: Vec<Descriptor> = root.children().to_vec();
    let (mut listed, mut bytes) = (0, root.size());
    let too_much = |limit: String| TransferError::TooMuch { limit };
    for _ in 0..MAX_DEPTH {
        let mut next = Vec::new();
        for child in level {
            listed += 1;
            if listed > MAX_LISTED {
                return Err(too_much(format!("{MAX_LISTED} entries")));
            }
            if !seen.insert(child.digest) {
                // Listed again deeper down: it has to be stored before that parent too, so it moves to the end.
                if let Some(at) = ordered.iter().position(|manifest| manifest.digest == child.digest) {
                    let manifest = ordered.remove(at);
                    next.extend_from_slice(manifest.children());
                    ordered.push(manifest);
                }
                continue;
            }
            if ordered.len() >= MAX_MANIFESTS {
                return Err(too_much(format!("{MAX_MANIFESTS} manifests")));
            }
            bytes = bytes.saturating_add(child.size);
            if bytes > MAX_BYTES {
                return Err(too_much("64 MiB of manifests".to_owned()));
            }
            let manifest = fetch(from, &child).await?;
            next.extend_from_slice(manifest.children());
            ordered.push(manifest);
        }
        if next.is_empty() {
            ordered.reverse();
            return Ok(ordered);
        }
        level = next;
    }
    Err(too_much(format!("{MAX_DEPTH} indexes within each other")))
}

async fn fetch(from: &dyn Repository, child: &Descriptor) -> Result<Manifest, TransferError> {
    let digest = child.digest;
    let differs = |what, expected: String, got: String| TransferError::Differs {
        digest,
        location: from.location(),
        what,
        expected,
        got,
    };
    let max = child.size.min(MAX_MANIFEST);
    let Conditional::Modified(found) = from.manifest(&Point::Digest(digest), None, max).await? else {
        let message = format!("it answered an unconditional request for {digest} as a conditional one");
        return Err(registry::Error::Broken { location: from.location(), message }.into());
    };
    if found.digest != digest {
        return Err(registry::Error::Mismatch { location: from.location(), wanted: digest, got: found.digest }.into());
    }
    if found.bytes.len() as u64 != child.size {
        return Err(differs("length", child.size.to_string(), found.bytes.len().to_string()));
    }
    if found.media_type != child.media_type {
        return Err(differs("media type", child.media_type.clone(), found.media_type));
    }
    Manifest::parse_object(&child.media_type, found.bytes).map_err(|error| TransferError::Manifest { digest, error })
}

/// Copies one blob; false where the destination holds it already.
async fn copy_blob(
    from: &dyn Repository,
    digest: &Digest,
    size: u64,
    to: &dyn Repository,
    progress: &Arc<dyn Progress>,
) -> Result<bool, registry::Error> {
    if to.has_blob(digest).await? {
        progress.advanced(size);
        return Ok(false);
    }
    let watched = Arc::clone(progress);
    let bytes = from.open_blob(digest, size).await?.inspect_ok(move |chunk| watched.advanced(chunk.len() as u64));
    to.put_blob_stream(digest, size, bytes.boxed()).await?;
    Ok(true)
}

/// Layers that lie elsewhere and may not be passed on (OCI image specification, "Non-Distributable Layers").
fn is_foreign(blob: &Descriptor) -> bool {
    let kind = blob.media_type.as_str();
    !blob.urls.is_empty()
        && (kind.starts_with("application/vnd.oci.image.layer.nondistributable.")
            || kind.starts_with("application/vnd.docker.image.rootfs.foreign."))
}

#[cfg(test)]
mod tests;
