//! An OCI image layout on disk as a repository: no server needed.
//!
//! - A tag is a descriptor of `index.json` whose annotation `org.opencontainers.image.ref.name` is exactly that tag.
//!   Names that hold more than a tag, as some tools write them, are left alone.
//! - Whatever else stands in `index.json` is written back as it was read.
//! - Files are written beside their place and renamed; writers of `index.json` take turns by a lock file. Readers need
//!   no lock. Other tools do not know it: one that rewrites `index.json` at the same moment can undo a write. The
//!   entity tag is the digest, and `if_match` is honoured.
//! - Nothing outside the folder is read or written, whatever links lie in it, and only regular files are opened.
//! - The folder is made by the first write. Blobs are never deleted; `umoci gc` and the like do that.

use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use sha2::Digest as _;

use super::{BlobStream, Conditional, Error, Manifest, ManifestHead, Point, Referrer, Repository};
use crate::image::manifest::{MAX_MANIFEST, guess_media_type};
use crate::image::{Digest, ImageName, Tag};

mod folder;
mod index;
mod lock;
mod reading;

use folder::Folder;
use index::Index;
use reading::Reading;

/// Bytes read from a blob at a time.
const CHUNK: usize = 256 * 1024;
/// Longest wait for another process that writes `index.json`. Stops a stuck one from holding us for ever.
const LOCK_WAIT: Duration = Duration::from_secs(30);
/// The annotation of `index.json` that records the image name a layout was made for.
const NAME: &str = "vnd.boltseal.name";

/// A repository in an OCI image layout.
#[derive(Debug, Clone)]
pub struct LayoutRepository {
    folder: Folder,
    lock_wait: Duration,
}

impl LayoutRepository {
    /// The layout in `folder`, which need not exist yet.
    ///
    /// # Errors
    /// [`Error::Broken`] where the path means no folder.
    pub fn new(folder: &Path) -> Result<Self, Error> {
        Ok(Self { folder: Folder::new(folder)?, lock_wait: LOCK_WAIT })
    }

    /// The image name that the layout says it belongs to: a hint for a person, never an answer.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no layout, [`Error::Broken`] where it cannot be read.
    pub async fn recorded_name(&self) -> Result<Option<ImageName>, Error> {
        self.blocking(|layout| {
            let text = layout.index()?.annotation(NAME);
            Ok(text.and_then(|text| text.parse().ok()))
        })
        .await
    }

    /// Records the image name that the layout belongs to, making the layout where there is none.
    ///
    /// # Errors
    /// [`Error::Broken`] where the layout cannot be written.
    pub async fn record_name(&self, name: &ImageName) -> Result<(), Error> {
        let name = name.to_string();
        self.blocking(move |layout| layout.edit(|index| index.annotate(NAME, &name).map_err(|e| layout.malformed(&e))))
            .await
    }

    /// Runs file work where it does not hold up the runtime.
    async fn blocking<T, F>(&self, work: F) -> Result<T, Error>
    where
        F: FnOnce(&Self) -> Result<T, Error> + Send + 'static,
        T: Send + 'static,
    {
        let layout = self.clone();
        match tokio::task::spawn_blocking(move || work(&layout)).await {
            Ok(result) => result,
            Err(error) => Err(self.folder.broken(format!("the work on it was cut off: {error}"))),
        }
    }

    fn not_found(&self, what: &impl ToString) -> Error {
        Error::NotFound { what: what.to_string(), location: self.location() }
    }

    fn malformed(&self, reason: &str) -> Error {
        self.folder.broken(format!("`index.json` {reason}"))
    }

    fn index(&self) -> Result<Index, Error> {
        self.folder.check_layout()?;
        let Some(bytes) = self.folder.read(index::FILE, index::MAX)? else {
            return Err(self.folder.broken("it has no `index.json`".to_owned()));
        };
        Index::parse(&bytes).map_err(|reason| self.malformed(&reason))
    }

    /// Makes the folder a layout where there is none.
    fn prepare(&self) -> Result<(), Error> {
        let absent = |result| match result {
            Err(Error::NotFound { .. }) => Ok(true),
            other => other.map(|()| false),
        };
        if !absent(self.folder.check_layout())? {
            return Ok(());
        }
        self.folder.make()?;
        let _lock = lock::acquire(&self.folder, self.lock_wait)?;
        if absent(self.folder.check_layout())? {
            // The marker comes last: what has one is whole.
            self.folder.write(index::FILE, Index::EMPTY)?;
            self.folder.mark()?;
        }
        Ok(())
    }

    /// Changes `index.json` while no other process does.
    fn edit(&self, change: impl FnOnce(&mut Index) -> Result<(), Error>) -> Result<(), Error> {
        self.prepare()?;
        let _lock = lock::acquire(&self.folder, self.lock_wait)?;
        let mut index = self.index()?;
        change(&mut index)?;
        self.folder.sync_blobs()?;
        self.folder.write(index::FILE, &index.to_bytes())
    }

    fn read_blob(&self, digest: &Digest, max: u64) -> Result<Bytes, Error> {
        let bytes = self.folder.read(&blob_path(digest), max)?.ok_or_else(|| self.not_found(digest))?;
        match Digest::of(&bytes) {
            got if got == *digest => Ok(bytes),
            got => Err(Error::Mismatch { location: self.location(), wanted: *digest, got }),
        }
    }

    fn find(&self, point: &Point, known: Option<&str>, max: u64) -> Result<Conditional, Error> {
        let index = self.index()?;
        let entry = match point {
            Point::Tag(tag) => {
                let found = index.tagged(tag).map_err(|reason| self.malformed(&reason))?;
                Some(found.ok_or_else(|| self.not_found(tag))?)
            }
            Point::Digest(digest) => index.listed(digest),
        };
        let digest = match (point, entry) {
            (Point::Digest(digest), _) => *digest,
            (Point::Tag(_), Some(entry)) => {
                entry.digest.parse().map_err(|error| self.malformed(&format!("{error}")))?
            }
            (Point::Tag(tag), None) => return Err(self.not_found(tag)),
        };
        let etag = format!("\"{digest}\"");
        if known == Some(etag.as_str()) {
            return Ok(Conditional::NotModified);
        }
        let bytes = self.read_blob(&digest, max)?;
        if let Some(entry) = entry
            && entry.size != bytes.len() as u64
        {
            return Err(self.malformed(&format!("says that {digest} has {} bytes, not {}", entry.size, bytes.len())));
        }
        let media_type = entry
            .map(|entry| entry.media_type.clone())
            .filter(|media_type| !media_type.is_empty())
            // Only what the index lists has a type beside it; a child of a listed index shows its own.
            .or_else(|| guess_media_type(&bytes))
            .ok_or_else(|| self.not_found(point))?;
        Ok(Conditional::Modified(Manifest { bytes, media_type, digest, etag: Some(etag) }))
    }

    /// Whether a blob is there with the right bytes: a damaged one is not, so that putting it again heals it.
    fn holds(&self, digest: &Digest) -> Result<bool, Error> {
        let Some((mut file, _)) = self.folder.open(&blob_path(digest))? else { return Ok(false) };
        let mut hash = sha2::Sha256::new();
        let mut chunk = vec![0; CHUNK];
        loop {
            match file.read(&mut chunk).map_err(|error| self.folder.failed(&blob_path(digest), &error))? {
                0 => return Ok(hash.finalize().as_slice() == digest.as_bytes()),
                length => hash.update(&chunk[..length]),
            }
        }
    }

    fn put(&self, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
        self.prepare()?;
        if self.holds(digest)? { Ok(()) } else { self.folder.write(&blob_path(digest), bytes) }
    }
}

impl Repository for LayoutRepository {
    fn location(&self) -> String {
        self.folder.location()
    }

    fn manifest<'a>(
        &'a self,
        point: &'a Point,
        known: Option<&'a str>,
        max: u64,
    ) -> BoxFuture<'a, Result<Conditional, Error>> {
        let (point, known) = (point.clone(), known.map(str::to_owned));
        self.blocking(move |layout| layout.find(&point, known.as_deref(), max)).boxed()
    }

    fn manifest_head<'a>(&'a self, point: &'a Point) -> BoxFuture<'a, Result<ManifestHead, Error>> {
        async move {
            match self.manifest(point, None, MAX_MANIFEST).await? {
                Conditional::Modified(manifest) => Ok(ManifestHead {
                    digest: Some(manifest.digest),
                    length: Some(manifest.bytes.len() as u64),
                    media_type: Some(manifest.media_type),
                }),
                Conditional::NotModified => unreachable!("no entity tag was given"),
            }
        }
        .boxed()
    }

    fn blob<'a>(&'a self, digest: &'a Digest, max: u64) -> BoxFuture<'a, Result<Bytes, Error>> {
        let digest = *digest;
        self.blocking(move |layout| layout.read_blob(&digest, max)).boxed()
    }

    fn open_blob<'a>(&'a self, digest: &'a Digest, length: u64) -> BoxFuture<'a, Result<BlobStream, Error>> {
        let digest = *digest;
        async move {
            let (file, found) = self
                .blocking(move |layout| {
                    layout.folder.open(&blob_path(&digest))?.ok_or_else(|| layout.not_found(&digest))
                })
                .await?;
            if found != length {
                return Err(self.folder.broken(format!("{digest} has {found} bytes, not {length}")));
            }
            Ok(Reading::new(self.clone(), file, digest, length).stream())
        }
        .boxed()
    }

    fn has_blob<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<bool, Error>> {
        let digest = *digest;
        self.blocking(move |layout| layout.holds(&digest)).boxed()
    }

    fn put_blob<'a>(&'a self, bytes: Bytes) -> BoxFuture<'a, Result<Digest, Error>> {
        self.blocking(move |layout| {
            let digest = Digest::of(&bytes);
            layout.put(&digest, &bytes)?;
            Ok(digest)
        })
        .boxed()
    }

    fn put_blob_stream<'a>(
        &'a self,
        digest: &'a Digest,
        length: u64,
        mut bytes: BlobStream,
    ) -> BoxFuture<'a, Result<(), Error>> {
        let digest = *digest;
        async move {
            let path = blob_path(&digest);
            let mut file = self
                .blocking(|layout| {
                    layout.prepare()?;
                    layout.folder.draft()
                })
                .await?;
            let (mut hash, mut left) = (sha2::Sha256::new(), length);
            while let Some(chunk) = bytes.next().await {
                let chunk = chunk?;
                left = left.checked_sub(chunk.len() as u64).ok_or_else(|| Error::TooMuch {
                    what: digest.to_string(),
                    location: self.location(),
                    limit: format!("{length} bytes"),
                })?;
                hash.update(&chunk);
                // To the page cache: quicker than handing the chunk to another thread.
                file.write_all(&chunk).map_err(|error| self.folder.failed(&path, &error))?;
            }
            let got = Digest::from_bytes(hash.finalize().into());
            if got != digest {
                return Err(Error::Mismatch { location: self.location(), wanted: digest, got });
            }
            if left > 0 {
                return Err(self.folder.broken(format!("{digest} came with {left} bytes less than {length}")));
            }
            self.blocking(move |layout| layout.folder.place(file, &path)).await
        }
        .boxed()
    }

    fn put_manifest<'a>(
        &'a self,
        point: &'a Point,
        media_type: &'a str,
        bytes: Bytes,
        if_match: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Digest, Error>> {
        let (point, media_type, if_match) = (point.clone(), media_type.to_owned(), if_match.map(str::to_owned));
        self.blocking(move |layout| {
            let digest = Digest::of(&bytes);
            if let Point::Digest(wanted) = &point
                && *wanted != digest
            {
                return Err(Error::Mismatch { location: layout.location(), wanted: *wanted, got: digest });
            }
            layout.put(&digest, &bytes)?;
            // Without a tag the blob is enough: an entry of its own would look like one more image to other tools.
            if let Point::Tag(tag) = &point {
                layout.edit(|index| {
                    let present = index.tagged(tag).map_err(|reason| layout.malformed(&reason))?;
                    let present = present.map(|entry| format!("\"{}\"", entry.digest));
                    if if_match.is_some() && if_match != present {
                        return Err(Error::Conflict { what: tag.to_string(), location: layout.location() });
                    }
                    index.set(tag, &media_type, &digest, bytes.len() as u64);
                    Ok(())
                })?;
            }
            Ok(digest)
        })
        .boxed()
    }

    fn tags(&self) -> BoxFuture<'_, Result<Vec<Tag>, Error>> {
        self.blocking(|layout| Ok(layout.index()?.tags())).boxed()
    }

    fn referrers<'a>(&'a self, _subject: &'a Digest) -> BoxFuture<'a, Result<Option<Vec<Referrer>>, Error>> {
        async { Ok(None) }.boxed()
    }

    fn delete_manifest<'a>(&'a self, digest: &'a Digest) -> BoxFuture<'a, Result<(), Error>> {
        let digest = *digest;
        self.blocking(move |layout| {
            // Asked first, so that nothing is made or locked for a layout that is not there.
            layout.index()?.listed(&digest).ok_or_else(|| layout.not_found(&digest))?;
            layout.edit(|index| {
                index.remove(&digest);
                Ok(())
            })
        })
        .boxed()
    }
}

fn blob_path(digest: &Digest) -> String {
    format!("{}/{}", folder::BLOBS, digest.hex())
}

#[cfg(test)]
mod tests;
