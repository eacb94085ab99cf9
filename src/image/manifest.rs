//! Image manifests and indexes: what a manifest is, and what it refers to.
//!
//! - The bytes are kept as received; the digest is theirs.
//! - One body has one meaning. What two readers could take for two things is refused: a `mediaType` inside that
//!   contradicts the one outside, an image with `manifests`, an index with `layers`, a member twice, or one spelt in
//!   another case (Go's JSON reader ignores case, so docker would read it).
//! - Children of an index are whatever the index lists, attestations included.
//! - Only SHA-256 descriptors exist here, as in [`Digest`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};

use super::Digest;
use super::reference::shown;

/// An OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// A docker image manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// A docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// The configuration of an OCI image.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The configuration of a docker image.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// The media types that a client asks a registry for.
pub const ACCEPTED: [&str; 4] = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];

/// Largest manifest accepted, in bytes: what registries themselves allow. Stops memory from being filled.
pub const MAX_MANIFEST: u64 = 4 * 1024 * 1024;
/// Most children of one index. Stops one signed tag from making a client fetch without end.
const MAX_CHILDREN: usize = 1_000;
/// Most layers of an image; docker itself stops at 127.
const MAX_IMAGE_LAYERS: usize = 1_000;
/// Most layers of an artifact, such as a head, whose layers are files.
const MAX_ARTIFACT_LAYERS: usize = 20_000;

/// The members whose spelling decides what a manifest is.
const MEMBERS: [&str; 8] =
    ["schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject", "annotations"];

/// Why bytes are no manifest of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Docker's first manifest format, which has no layer digests that mean anything.
    #[error("schema 1 manifests are not supported: push the image again with a current client")]
    Schema1,
    /// Something else that registries store.
    #[error("the manifest is no image: it is an artifact of type `{0}`")]
    Artifact(String),
    /// A media type that is neither an image nor an index.
    #[error("the manifest is no image: its media type is `{0}`")]
    MediaType(String),
    /// The body says that it is another thing than the location said.
    #[error("the manifest came as `{given}` but says of itself that it is {inside}")]
    Contradiction {
        /// The media type given beside the bytes.
        given: String,
        /// What the body says.
        inside: String,
    },
    /// The body is not JSON of the expected shape.
    #[error("the manifest is malformed: {0}")]
    Malformed(String),
    /// A cap was exceeded.
    #[error("the manifest has {got} {what}, more than the {limit} allowed")]
    TooMuch {
        /// What there is too much of.
        what: &'static str,
        /// How many came.
        got: u64,
        /// How many may.
        limit: u64,
    },
}

/// What a child of an index runs on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Platform {
    /// The operating system, such as `linux`; `unknown` for attestations.
    #[serde(default)]
    pub os: String,
    /// The processor architecture, such as `arm64`.
    #[serde(default)]
    pub architecture: String,
    /// The variant of the architecture, such as `v8`.
    pub variant: Option<String>,
    /// The version of the operating system; only Windows images have one.
    #[serde(rename = "os.version")]
    pub os_version: Option<String>,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", shown(&self.os), shown(&self.architecture))?;
        if let Some(variant) = self.variant.as_deref().filter(|variant| !variant.is_empty()) {
            write!(f, "/{}", shown(variant))?;
        }
        Ok(())
    }
}

/// A reference from a manifest to a blob or another manifest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is.
    pub media_type: String,
    /// The SHA-256 of the content.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Where else a foreign layer lies.
    #[serde(default, deserialize_with = "or_empty")]
    pub urls: Vec<String>,
    /// What it runs on, where it is a child of an index.
    pub platform: Option<Platform>,
    /// Whatever the producer noted.
    #[serde(default, deserialize_with = "or_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What a manifest is, with everything that it refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// One image (or artifact).
    Image {
        /// The configuration blob.
        config: Box<Descriptor>,
        /// The layer blobs, lowest first.
        layers: Vec<Descriptor>,
    },
    /// A list of manifests, usually one for each platform.
    Index {
        /// The listed manifests in their order.
        children: Vec<Descriptor>,
    },
}

/// A parsed manifest with its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// What it is and refers to.
    pub kind: Kind,
    /// The media type that it came with.
    pub media_type: String,
    /// Set where it is no image but an artifact: of which type. Never set on what [`Manifest::parse`] returns.
    pub artifact_type: Option<String>,
    /// SHA-256 of `bytes`.
    pub digest: Digest,
    /// The bytes as received.
    pub bytes: Bytes,
}

impl Manifest {
    /// Parses the manifest of an image or the index of one.
    ///
    /// # Errors
    /// [`ManifestError`] for schema 1, artifacts, contradictions, malformed bodies and everything over its cap.
    pub fn parse(media_type: &str, bytes: Bytes) -> Result<Self, ManifestError> {
        let manifest = Self::parse_object(media_type, bytes)?;
        match manifest.artifact_type {
            Some(artifact) => Err(ManifestError::Artifact(artifact)),
            None => Ok(manifest),
        }
    }

    /// Parses whatever may travel with an image: as [`Manifest::parse`], but artifacts too, such as a child of an
    /// index that is an attestation.
    ///
    /// # Errors
    /// [`ManifestError`] as [`Manifest::parse`], without [`ManifestError::Artifact`] for image manifests.
    pub fn parse_object(media_type: &str, bytes: Bytes) -> Result<Self, ManifestError> {
        cap("bytes", bytes.len(), MAX_MANIFEST)?;
        if is_schema1(media_type) {
            return Err(ManifestError::Schema1);
        }
        let body = Body::read(&bytes)?;
        if body.schema_version == Some(1) {
            return Err(ManifestError::Schema1);
        }
        let contradiction =
            |inside: &str| ManifestError::Contradiction { given: shown(media_type), inside: inside.to_owned() };
        if let Some(inside) = body.media_type.as_deref().filter(|inside| *inside != media_type) {
            return Err(contradiction(&format!("`{}`", shown(inside))));
        }
        if body.schema_version != Some(2) {
            return Err(ManifestError::Malformed("it has no `schemaVersion` 2".to_owned()));
        }
        let docker = media_type.starts_with("application/vnd.docker.");
        let mut artifact_type = body.artifact_type.filter(|t| !is_image_config(t, docker)).map(|t| shown(&t));
        let kind = match media_type {
            OCI_MANIFEST | DOCKER_MANIFEST => {
                if body.manifests.is_some() {
                    return Err(contradiction("an index: it has `manifests`"));
                }
                let config = body.config.ok_or_else(|| ManifestError::Malformed("it has no `config`".to_owned()))?;
                if artifact_type.is_none() && !is_image_config(&config.media_type, docker) {
                    artifact_type = Some(shown(&config.media_type));
                }
                let layers = body.layers.unwrap_or_default();
                let most = if artifact_type.is_some() { MAX_ARTIFACT_LAYERS } else { MAX_IMAGE_LAYERS };
                cap("layers", layers.len(), most as u64)?;
                Kind::Image { config: Box::new(config), layers }
            }
            OCI_INDEX | DOCKER_LIST => {
                if body.config.is_some() || body.layers.is_some() {
                    return Err(contradiction("an image: it has `config` or `layers`"));
                }
                let children =
                    body.manifests.ok_or_else(|| ManifestError::Malformed("it has no `manifests`".to_owned()))?;
                cap("children", children.len(), MAX_CHILDREN as u64)?;
                Kind::Index { children }
            }
            other => return Err(ManifestError::MediaType(shown(other))),
        };
        Ok(Self { kind, media_type: media_type.to_owned(), artifact_type, digest: Digest::of(&bytes), bytes })
    }

    /// The listed manifests; none for a single image.
    pub fn children(&self) -> &[Descriptor] {
        match &self.kind {
            Kind::Index { children } => children,
            Kind::Image { .. } => &[],
        }
    }

    /// The length in bytes.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }
}

/// The media type that a manifest's bytes show by themselves, for places that keep none beside them.
///
/// None where the bytes are no manifest. A type found so is no proof of anything: [`Manifest::parse`] still decides.
pub fn guess_media_type(bytes: &[u8]) -> Option<String> {
    let body = Body::read(bytes).ok()?;
    match body {
        Body { media_type: Some(media_type), .. } => Some(media_type),
        Body { manifests: Some(_), .. } => Some(OCI_INDEX.to_owned()),
        Body { config: Some(_), layers: Some(_), .. } => Some(OCI_MANIFEST.to_owned()),
        _ => None,
    }
}

fn cap(what: &'static str, got: usize, limit: u64) -> Result<(), ManifestError> {
    let got = got as u64;
    if got > limit { Err(ManifestError::TooMuch { what, got, limit }) } else { Ok(()) }
}

fn is_schema1(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.docker.distribution.manifest.v1+")
}

/// Docker 1.10 pushed images whose configuration is called `application/octet-stream`; they are still about.
fn is_image_config(media_type: &str, docker: bool) -> bool {
    matches!(media_type, OCI_CONFIG | DOCKER_CONFIG) || (docker && media_type == "application/octet-stream")
}

/// Go writes an absent list or map as `null`.
fn or_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The members that say what a manifest is; the rest stays in the bytes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

impl Body {
    fn read(bytes: &[u8]) -> Result<Self, ManifestError> {
        let malformed = |error: serde_json::Error| ManifestError::Malformed(shown(&error.to_string()));
        let Members(names) = serde_json::from_slice(bytes).map_err(malformed)?;
        for name in &names {
            // Both ways, because folding takes U+017F for `s` and U+212A for `k` as Go does.
            let folded = |text: &str| text.to_lowercase().to_uppercase();
            if let Some(known) = MEMBERS.iter().find(|known| *known != name && folded(known) == folded(name)) {
                return Err(ManifestError::Malformed(format!("it spells `{known}` as `{}`", shown(name))));
            }
        }
        serde_json::from_slice(bytes).map_err(malformed)
    }
}

/// The names of an object's members, each of them once.
struct Members(BTreeSet<String>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;

        impl<'de> Visitor<'de> for Names {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut names = BTreeSet::new();
                while let Some((name, _)) = map.next_entry::<String, IgnoredAny>()? {
                    if names.contains(&name) {
                        return Err(serde::de::Error::custom(format_args!("the member `{name}` stands twice")));
                    }
                    names.insert(name);
                }
                Ok(Members(names))
            }
        }

        deserializer.deserialize_map(Names)
    }
}

#[cfg(test)]
mod tests;
