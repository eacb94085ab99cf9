//! A blob read in chunks and judged as a whole.

use std::fs::File;
use std::io::Read;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use sha2::Digest as _;

use super::super::{BlobStream, Error};
use super::{CHUNK, LayoutRepository, blob_path};
use crate::image::Digest;

/// A blob on its way out.
pub(super) struct Reading {
    layout: LayoutRepository,
    file: File,
    hash: sha2::Sha256,
    left: u64,
    digest: Digest,
}

impl Reading {
    pub(super) fn new(layout: LayoutRepository, file: File, digest: Digest, length: u64) -> Self {
        Self { layout, file, hash: sha2::Sha256::new(), left: length, digest }
    }

    pub(super) fn stream(self) -> BlobStream {
        stream::try_unfold(Some(self), Self::step).boxed()
    }

    /// Reads the next chunk, and with the last one judges the whole.
    async fn step(reading: Option<Self>) -> Result<Option<(Bytes, Option<Self>)>, Error> {
        let Some(mut reading) = reading else { return Ok(None) };
        let layout = reading.layout.clone();
        layout
            .blocking(move |layout| {
                let path = blob_path(&reading.digest);
                let mut chunk = Vec::with_capacity(CHUNK);
                let most = reading.left.min(CHUNK as u64);
                (&reading.file)
                    .take(most)
                    .read_to_end(&mut chunk)
                    .map_err(|error| layout.folder.failed(&path, &error))?;
                if (chunk.len() as u64) < most {
                    return Err(layout.folder.broken(format!("`{path}` shrank while it was read")));
                }
                reading.hash.update(&chunk);
                reading.left -= most;
                if reading.left > 0 {
                    return Ok(Some((chunk.into(), Some(reading))));
                }
                let got = Digest::from_bytes(reading.hash.finalize().into());
                if got != reading.digest {
                    return Err(Error::Mismatch { location: layout.folder.location(), wanted: reading.digest, got });
                }
                Ok(Some((chunk.into(), None)))
            })
            .await
    }
}
