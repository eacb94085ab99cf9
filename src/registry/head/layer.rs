//! One metadata file as a layer of the head.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::bufread::GzDecoder;
use flate2::{Compression, GzBuilder};
use serde::{Deserialize, Serialize};

use super::HeadError;
use crate::image::Digest;
use crate::image::reference::shown;

/// The media type of a TUF metadata file, as docker's attest library uses it too.
const PLAIN_TYPE: &str = "application/vnd.tuf.metadata+json";
/// The same, gzipped.
const GZIP_TYPE: &str = "application/vnd.tuf.metadata+json+gzip";
/// The annotation that names the metadata file.
const FILE_NAME: &str = "tuf.io/filename";
/// The annotation that names the file which `oras pull` writes.
const TITLE: &str = "org.opencontainers.image.title";
/// The annotation of a layer that only the predecessor had.
const FORMER: &str = "vnd.boltseal.former";
/// Longest file name, in bytes: a role name of 200 bytes, percent-encoded in part, with its version.
const MAX_NAME: usize = 300;

/// How a file's bytes lie in its blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As they are.
    Plain,
    /// One gzip stream.
    Gzip,
}

/// One metadata file of a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The metadata file's name, such as `7.snapshot.json`.
    pub name: String,
    /// How the blob holds it.
    pub encoding: Encoding,
    /// The digest of the blob, compressed where it is.
    pub digest: Digest,
    /// The length of the blob in bytes.
    pub size: u64,
    /// Whether only the predecessor had it.
    pub former: bool,
    /// The whole file, checked against `digest` and `size`, where the manifest holds it. Plain files only.
    pub inline: Option<Bytes>,
}

/// A layer as it is written; digests stay text until the layer proves to be one of ours.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) annotations: Option<BTreeMap<String, String>>,
}

impl Layer {
    /// Makes the layer of a file and adds its blob to `blobs`; up to `inline_max` bytes are inlined, more gzipped.
    pub(super) fn make(name: &str, file: &Bytes, inline_max: usize, blobs: &mut Vec<Bytes>) -> Result<Self, HeadError> {
        check_name(name)?;
        let (encoding, blob) =
            if file.len() <= inline_max { (Encoding::Plain, file.clone()) } else { (Encoding::Gzip, gzip(file)) };
        let layer = Self {
            name: name.to_owned(),
            encoding,
            digest: Digest::of(&blob),
            size: blob.len() as u64,
            former: false,
            inline: (encoding == Encoding::Plain).then(|| blob.clone()),
        };
        blobs.push(blob);
        Ok(layer)
    }

    /// The layer as the next head lists it.
    pub(super) fn retired(&self) -> Self {
        Self { former: true, inline: None, ..self.clone() }
    }

    /// Reads a descriptor; none where it is not of our media types.
    pub(super) fn parse(descriptor: &Descriptor) -> Result<Option<Self>, HeadError> {
        let encoding = match descriptor.media_type.as_str() {
            PLAIN_TYPE => Encoding::Plain,
            GZIP_TYPE => Encoding::Gzip,
            _ => return Ok(None),
        };
        let annotation = |name| descriptor.annotations.as_ref().and_then(|annotations| annotations.get(name));
        let name = annotation(FILE_NAME).map_or("", String::as_str);
        check_name(name)?;
        let digest: Digest = descriptor
            .digest
            .parse()
            .map_err(|error| HeadError::Malformed(format!("`{name}` has a bad digest: {error}")))?;
        let mut layer = Self {
            name: name.to_owned(),
            encoding,
            digest,
            size: descriptor.size,
            former: annotation(FORMER).is_some_and(|value| value == "true"),
            inline: None,
        };
        if let Some(data) = &descriptor.data {
            let data = STANDARD
                .decode(data)
                .map_err(|error| HeadError::Malformed(format!("the data of `{name}` are no base64: {error}")))?;
            layer.check(&data)?;
            layer.inline = (encoding == Encoding::Plain).then(|| data.into());
        }
        Ok(Some(layer))
    }

    /// The layer as it is written.
    pub(super) fn descriptor(&self) -> Descriptor {
        let (media_type, title) = match self.encoding {
            Encoding::Plain => (PLAIN_TYPE, self.name.clone()),
            Encoding::Gzip => (GZIP_TYPE, format!("{}.gz", self.name)),
        };
        let mut annotations = BTreeMap::from([(FILE_NAME.to_owned(), self.name.clone()), (TITLE.to_owned(), title)]);
        if self.former {
            annotations.insert(FORMER.to_owned(), "true".to_owned());
        }
        Descriptor {
            media_type: media_type.to_owned(),
            digest: self.digest.to_string(),
            size: self.size,
            data: self.inline.as_ref().map(|data| STANDARD.encode(data)),
            annotations: Some(annotations),
        }
    }

    /// Checks, before anything is fetched, that the blob can hold a file of at most `max` bytes.
    ///
    /// # Errors
    /// [`HeadError::TooMuch`] where it is longer than any encoding of so short a file.
    pub fn check_size(&self, max: u64) -> Result<(), HeadError> {
        let most = match self.encoding {
            Encoding::Plain => max,
            // What does not compress grows by its header and a few bytes for each block.
            Encoding::Gzip => max.saturating_add(max / 1024).saturating_add(64),
        };
        if self.size > most { Err(self.too_much(max)) } else { Ok(()) }
    }

    /// Turns the blob into the plain file of at most `max` bytes, after checking the blob against the descriptor.
    ///
    /// # Errors
    /// [`HeadError::Mismatch`] for other bytes, [`HeadError::Gzip`] for what is not exactly one gzip stream,
    /// [`HeadError::TooMuch`] for a file over `max`.
    pub fn open(&self, blob: Bytes, max: u64) -> Result<Bytes, HeadError> {
        self.check_size(max)?;
        self.check(&blob)?;
        match self.encoding {
            Encoding::Plain => Ok(blob),
            Encoding::Gzip => self.inflate(&blob, max),
        }
    }

    fn inflate(&self, blob: &[u8], max: u64) -> Result<Bytes, HeadError> {
        let broken = |message: String| HeadError::Gzip { name: self.name.clone(), message };
        let mut decoder = GzDecoder::new(blob);
        let mut file = Vec::new();
        // One byte more than allowed tells a bomb from a file that just fits.
        decoder
            .by_ref()
            .take(max.saturating_add(1))
            .read_to_end(&mut file)
            .map_err(|error| broken(error.to_string()))?;
        if file.len() as u64 > max {
            return Err(self.too_much(max));
        }
        let rest = decoder.into_inner().len();
        if rest > 0 {
            return Err(broken(format!("{rest} bytes follow it")));
        }
        Ok(file.into())
    }

    fn check(&self, blob: &[u8]) -> Result<(), HeadError> {
        let mismatch = |expected: String, got: String| HeadError::Mismatch { name: self.name.clone(), expected, got };
        if blob.len() as u64 != self.size {
            return Err(mismatch(format!("{} bytes", self.size), format!("{} bytes", blob.len())));
        }
        let got = Digest::of(blob);
        if got != self.digest {
            return Err(mismatch(self.digest.to_string(), got.to_string()));
        }
        Ok(())
    }

    fn too_much(&self, max: u64) -> HeadError {
        HeadError::TooMuch { what: format!("`{}`", self.name), limit: format!("{max} bytes") }
    }
}

/// `[A-Za-z0-9%_.-]+\.json`: what [`RoleName::file_name`](crate::trust::RoleName::file_name) makes, and no path.
fn check_name(name: &str) -> Result<(), HeadError> {
    let stem = name.strip_suffix(".json").unwrap_or_default();
    let valid = name.len() <= MAX_NAME
        && !stem.is_empty()
        && stem.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'%' | b'_' | b'.' | b'-'));
    if valid { Ok(()) } else { Err(HeadError::Name(shown(name))) }
}

/// Compressed without a time or a machine in it, so that equal files give equal blobs.
fn gzip(file: &[u8]) -> Bytes {
    const OS_UNKNOWN: u8 = 255;
    let mut encoder = GzBuilder::new().mtime(0).operating_system(OS_UNKNOWN).write(Vec::new(), Compression::best());
    encoder.write_all(file).and_then(|()| encoder.finish()).expect("writing to memory does not fail").into()
}
