//! The head: the image manifest under the tag `trust.tuf`, whose layers are the metadata files of a collection.
//!
//! - A small file is inlined in its descriptor, so that a small collection is read in one request; it is pushed as a
//!   blob all the same, because a copy may drop what is inlined.
//! - A large file is gzipped. Its digest in the manifest is of the compressed bytes, and inflating stops at the length
//!   that the caller may accept.
//! - A head also lists the layers of its predecessor, so that a reader one head behind still finds every blob after a
//!   garbage collection.
//! - Equal input gives equal bytes.
//! - Nothing here is believed: the files are TUF metadata and carry their own signatures.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Error, Repository};
use crate::image::manifest::{MAX_MANIFEST, OCI_MANIFEST};
use crate::image::reference::shown;
use crate::image::{Digest, Tag};

mod layer;

pub use layer::{Encoding, Layer};

/// The tag of the head.
const TAG: &str = "trust.tuf";
/// What kind of artifact a head is.
pub const ARTIFACT_TYPE: &str = "application/vnd.boltseal.tuf.head.v1+json";
/// The media type of the empty configuration (OCI image specification, "Guidance for an Empty Descriptor").
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
/// The empty configuration.
const EMPTY: &[u8] = b"{}";

/// The one file that readers of images never need, and so the one that is never inlined.
pub const ABSORBED: &str = "absorbed.json";
/// Largest file that is inlined and not compressed, in bytes: a timestamp, a snapshot, a root with a few keys.
const INLINE_MAX: usize = 4 * 1024;
/// Most base64 in one manifest, in bytes; together with 20,000 descriptors it stays below the 4 MiB of a manifest.
const INLINE_TOTAL: usize = 1024 * 1024;
/// Most layers of a head. Stops a manifest of tiny descriptors from filling memory.
const MAX_LAYERS: usize = 20_000;

/// Why something is no head, or cannot become one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// The tag holds something else.
    #[error("the manifest under `trust.tuf` is no head: expected {expected}, got `{got}`")]
    Foreign {
        /// The member and value expected.
        expected: &'static str,
        /// What stands there.
        got: String,
    },
    /// The manifest is not of a head's shape.
    #[error("the head is malformed: {0}")]
    Malformed(String),
    /// Two current files of one name.
    #[error("the head lists `{0}` twice")]
    Twice(String),
    /// A file name that no metadata file has.
    #[error("`{0}` is no metadata file name: expected letters, digits, `%`, `_`, `.`, `-` and the ending `.json`")]
    Name(String),
    /// Bytes that are not the ones the descriptor promises.
    #[error("the bytes of `{name}` are not what the head says: expected {expected}, got {got}")]
    Mismatch {
        /// The file.
        name: String,
        /// The digest or length promised.
        expected: String,
        /// What came.
        got: String,
    },
    /// The compressed form cannot be inflated.
    #[error("`{name}` is not one gzip stream: {message}")]
    Gzip {
        /// The file.
        name: String,
        /// What is wrong with it.
        message: String,
    },
    /// More than the cap allows.
    #[error("{what} is larger than it may be: the limit is {limit}")]
    TooMuch {
        /// What exceeds the limit.
        what: String,
        /// The limit with its unit.
        limit: String,
    },
}

/// The metadata files of a collection as one manifest lists them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    layers: Vec<Layer>,
    annotations: BTreeMap<String, String>,
    digest: Digest,
}

/// A head that is ready to be pushed: first the blobs, then the manifest.
#[derive(Debug, Clone)]
pub struct Draft {
    /// What the manifest says.
    pub head: Head,
    /// The manifest, of the media type [`OCI_MANIFEST`].
    pub manifest: Bytes,
    /// The blobs that the manifest refers to, without those of its predecessor alone.
    pub blobs: Vec<Bytes>,
}

impl Head {
    /// The tag that a head stands under, `trust.tuf`.
    pub fn tag() -> Tag {
        TAG.parse().expect("the name is a tag")
    }

    /// Lays out `files`, by name, as a head that follows `predecessor`. `annotations` are hints and mean nothing.
    ///
    /// # Errors
    /// [`HeadError::Name`] for a name that is no metadata file's, [`HeadError::TooMuch`] for too many or too large files.
    pub fn build(
        files: &BTreeMap<String, Bytes>,
        annotations: &BTreeMap<String, String>,
        predecessor: Option<&Self>,
    ) -> Result<Draft, HeadError> {
        let mut blobs = vec![Bytes::from_static(EMPTY)];
        let mut layers = Vec::with_capacity(files.len());
        let mut inlined = 0;
        for name in by_importance(files.keys()) {
            let inline_max = if name == ABSORBED { 0 } else { INLINE_MAX };
            let mut layer = Layer::make(name, &files[name], inline_max, &mut blobs)?;
            if let Some(data) = &layer.inline {
                let encoded = data.len().div_ceil(3) * 4;
                if inlined + encoded <= INLINE_TOTAL {
                    inlined += encoded;
                } else {
                    layer.inline = None;
                }
            }
            layers.push(layer);
        }
        let mut listed: BTreeSet<Digest> = layers.iter().map(|layer| layer.digest).collect();
        let former = predecessor.into_iter().flat_map(Self::files).filter(|layer| listed.insert(layer.digest));
        layers.extend(former.map(Layer::retired));
        cap_layers(layers.len())?;

        let manifest = Wire::of(&layers, annotations).to_bytes();
        if manifest.len() as u64 > MAX_MANIFEST {
            return Err(too_large());
        }
        let head = Self { layers, annotations: annotations.clone(), digest: Digest::of(&manifest) };
        Ok(Draft { head, manifest, blobs })
    }

    /// Reads a manifest that a location holds under the head's tag.
    ///
    /// Members and layers of kinds that we do not know are ignored.
    ///
    /// # Errors
    /// [`HeadError::Foreign`] for another kind of manifest, the others for what breaks the format's rules or caps.
    pub fn parse(media_type: &str, bytes: &[u8]) -> Result<Self, HeadError> {
        if bytes.len() as u64 > MAX_MANIFEST {
            return Err(too_large());
        }
        let foreign = |expected, got: &str| HeadError::Foreign { expected, got: shown(got) };
        if media_type != OCI_MANIFEST {
            return Err(foreign("an OCI image manifest", media_type));
        }
        let wire: Wire = serde_json::from_slice(bytes).map_err(|e| HeadError::Malformed(shown(&e.to_string())))?;
        if wire.schema_version != 2 {
            return Err(HeadError::Malformed(format!("`schemaVersion` is {}, not 2", wire.schema_version)));
        }
        if let Some(inside) = wire.media_type.as_deref().filter(|inside| *inside != OCI_MANIFEST) {
            return Err(foreign("the `mediaType` of an OCI image manifest", inside));
        }
        if wire.artifact_type.as_deref() != Some(ARTIFACT_TYPE) {
            return Err(foreign("a Boltseal head's `artifactType`", wire.artifact_type.as_deref().unwrap_or("none")));
        }
        cap_layers(wire.layers.len())?;
        let mut layers = Vec::with_capacity(wire.layers.len());
        let mut names = BTreeSet::new();
        for descriptor in &wire.layers {
            let Some(layer) = Layer::parse(descriptor)? else { continue };
            if !layer.former && !names.insert(layer.name.clone()) {
                return Err(HeadError::Twice(layer.name));
            }
            layers.push(layer);
        }
        Ok(Self { layers, annotations: wire.annotations.unwrap_or_default(), digest: Digest::of(bytes) })
    }

    /// The current file of that name.
    pub fn file(&self, name: &str) -> Option<&Layer> {
        self.files().find(|layer| layer.name == name)
    }

    /// The current files, the most wanted first.
    pub fn files(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter().filter(|layer| !layer.former)
    }

    /// The files that only the predecessor had.
    pub fn former(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter().filter(|layer| layer.former)
    }

    /// The manifest's annotations. Hints, believed by nobody.
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        &self.annotations
    }

    /// The digest of the manifest.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

/// Reads the current file `name` of at most `max` plain bytes, from the head itself or as a blob of `repository`.
///
/// None where the head has no such file.
///
/// # Errors
/// Those of [`Repository::blob`]; [`Error::TooMuch`] for a file over `max`; [`Error::Broken`] for a blob that is not
/// the file that the head promises.
pub async fn read(repository: &dyn Repository, head: &Head, name: &str, max: u64) -> Result<Option<Bytes>, Error> {
    let Some(layer) = head.file(name) else { return Ok(None) };
    let fail = |error: HeadError| match error {
        HeadError::TooMuch { what, limit } => Error::TooMuch { what, location: repository.location(), limit },
        error => Error::Broken { location: repository.location(), message: error.to_string() },
    };
    layer.check_size(max).map_err(fail)?;
    let blob = match &layer.inline {
        Some(data) => data.clone(),
        None => repository.blob(&layer.digest, layer.size).await?,
    };
    layer.open(blob, max).map(Some).map_err(fail)
}

/// The descriptor of a file outside a head, with its blob: the same blob that a head has for it.
///
/// # Errors
/// [`HeadError::Name`] for a name that is no metadata file's.
pub fn describe(name: &str, file: &Bytes) -> Result<(serde_json::Value, Bytes), HeadError> {
    let mut blobs = Vec::new();
    let layer = Layer::make(name, file, INLINE_MAX, &mut blobs)?;
    let descriptor = serde_json::to_value(Layer { inline: None, ..layer }.descriptor()).unwrap_or_default();
    Ok((descriptor, blobs.pop().unwrap_or_default()))
}

/// Reads a descriptor that [`describe`] made; none where it is of another media type.
///
/// # Errors
/// [`HeadError::Malformed`] and the others of a head's layers.
pub fn described(descriptor: serde_json::Value) -> Result<Option<Layer>, HeadError> {
    let descriptor = serde_json::from_value(descriptor).map_err(|e| HeadError::Malformed(shown(&e.to_string())))?;
    Layer::parse(&descriptor)
}

fn cap_layers(count: usize) -> Result<(), HeadError> {
    if count > MAX_LAYERS {
        return Err(HeadError::TooMuch { what: "the list of files".to_owned(), limit: format!("{MAX_LAYERS} files") });
    }
    Ok(())
}

fn too_large() -> HeadError {
    HeadError::TooMuch { what: "the head".to_owned(), limit: "4 MiB".to_owned() }
}

/// The order in which readers want files, so that what is inlined is what everyone needs: timestamp, snapshot, the
/// newest root before its forerunners, targets, then the others by name.
fn by_importance<'a>(names: impl Iterator<Item = &'a String>) -> Vec<&'a String> {
    let mut names: Vec<_> = names.collect();
    names.sort_by_cached_key(|name| {
        let stem = name.strip_suffix(".json").unwrap_or(name);
        let (version, role) = match stem.split_once('.') {
            Some((version, role)) => (version.parse::<u64>().unwrap_or(0), role),
            None => (0, stem),
        };
        let rank = ["timestamp", "snapshot", "root", "targets"].iter().position(|top| *top == role).unwrap_or(4);
        (rank, std::cmp::Reverse(version), *name)
    });
    names
}

/// A head as it is written. Struct fields keep their order and maps are sorted, so equal input gives equal bytes.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    schema_version: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    config: layer::Descriptor,
    layers: Vec<layer::Descriptor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<BTreeMap<String, String>>,
}

impl Wire {
    fn of(layers: &[Layer], annotations: &BTreeMap<String, String>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(OCI_MANIFEST.to_owned()),
            artifact_type: Some(ARTIFACT_TYPE.to_owned()),
            config: layer::Descriptor {
                media_type: EMPTY_TYPE.to_owned(),
                digest: Digest::of(EMPTY).to_string(),
                size: EMPTY.len() as u64,
                data: Some(STANDARD.encode(EMPTY)),
                annotations: None,
            },
            layers: layers.iter().map(Layer::descriptor).collect(),
            annotations: (!annotations.is_empty()).then(|| annotations.clone()),
        }
    }

    fn to_bytes(&self) -> Bytes {
        serde_json::to_vec(self).expect("the structure has text keys only").into()
    }
}

#[cfg(test)]
mod tests;
