//! Intents in the registry: small manifests under tags of their own, beside the head.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;

use super::error::Error;
use crate::image::manifest::OCI_MANIFEST;
use crate::image::{Digest, ImageName, Tag};
use crate::registry::{self, Conditional, Point, Repository};
use crate::trust::draft::Signed;
use crate::trust::envelope::{Envelope, Metadata, check_binding};
use crate::trust::intent::{Absorbed, Intent, OpId};
use crate::trust::role::RoleKind;
use crate::trust::threshold::{self, Verified};
use crate::trust::update::Trusted;
use crate::trust::{self, RoleName};

/// What every intent's tag begins with; then come 32 hex digits.
const TAG_PREFIX: &str = "trust.tuf.i-";
const ARTIFACT_TYPE: &str = "application/vnd.boltseal.tuf.intent.v1+json";
const INTENT_TYPE: &str = "application/vnd.boltseal.tuf.intent+json";
const ROLE_TYPE: &str = "application/vnd.tuf.metadata+json";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
const TITLE: &str = "org.opencontainers.image.title";
/// Largest intent manifest, in bytes: anyone can write to the registry.
const MAX_MANIFEST: u64 = 64 * 1024;
/// Largest intent or role file in it, in bytes.
const MAX_FILE: u64 = 64 << 20;
/// Most intents read in one publish; the rest wait for the next one.
const MAX_INTENTS: usize = 1000;
/// Most expired intents removed in one publish.
const MAX_REMOVALS: usize = 50;

/// An intent that counts, with the role file that its author signed.
#[derive(Debug)]
pub struct Open {
    /// The intent.
    pub intent: Verified<Intent>,
    /// The author's own next version of the role, unverified.
    pub file: Option<Bytes>,
}

/// What lies beside the head.
#[derive(Debug, Default)]
pub struct Found {
    /// Intents that count and are not absorbed.
    pub open: Vec<Open>,
    /// Sentences about what was ignored, for people.
    pub ignored: Vec<String>,
    /// All tags of intents, by operation.
    pub tags: BTreeMap<OpId, Tag>,
}

/// The tag under which an operation's intent lies.
pub fn tag(op: &OpId) -> Tag {
    format!("{TAG_PREFIX}{op}").parse().expect("the prefix and hex digits are a tag")
}

/// Lays out an intent with the role file that its author signed.
///
/// # Errors
/// Those of the location.
pub async fn put(repository: &dyn Repository, op: &OpId, intent: &Signed, file: &Signed) -> Result<(), Error> {
    let empty = Bytes::from_static(b"{}");
    let file_name = file.file_name();
    let layer = |media_type: &str, bytes: &Bytes, title: &str| {
        json!({
            "mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len(),
            "annotations": {TITLE: title},
        })
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": ARTIFACT_TYPE,
        "config": {"mediaType": EMPTY_TYPE, "digest": Digest::of(&empty), "size": empty.len(), "data": "e30="},
        "layers": [layer(INTENT_TYPE, &intent.bytes, "intent.json"), layer(ROLE_TYPE, &file.bytes, &file_name)],
    });
    let bytes = Bytes::from(manifest.to_string());
    let blobs = [empty, intent.bytes.clone(), file.bytes.clone()].map(|blob| repository.put_blob(blob));
    futures_util::future::try_join_all(blobs).await?;
    repository.put_manifest(&Point::Tag(tag(op)), OCI_MANIFEST, bytes, None).await?;
    Ok(())
}

/// Lists the intents beside a head, and reads those that it has not absorbed.
///
/// One that is unsigned, signed by others, expired, of another collection or malformed is ignored and told of.
///
/// # Errors
/// Those of the location: a list that cannot be had is no empty list.
pub async fn find(
    repository: &dyn Repository,
    name: &ImageName,
    trusted: &Trusted,
    absorbed: &Absorbed,
    now: Timestamp,
) -> Result<Found, Error> {
    let mut found = Found::default();
    for tag in repository.tags().await? {
        if let Some(op) = tag.as_str().strip_prefix(TAG_PREFIX).and_then(|op| op.parse().ok()) {
            found.tags.insert(op, tag);
        }
    }
    let unknown: Vec<_> = found.tags.iter().filter(|(op, _)| !absorbed.contains(op)).take(MAX_INTENTS).collect();
    for (op, tag) in unknown {
        match read(repository, name, trusted, op, tag, now).await {
            Ok(open) => found.open.push(open),
            Err(Unread::Gone) => {}
            Err(Unread::Ignored(reason)) => found.ignored.push(format!("ignored the intent `{tag}`: {reason}")),
            Err(Unread::Failed(e)) => return Err(e.into()),
        }
    }
    Ok(found)
}

/// Removes intents that are absorbed in signed metadata and have expired. Best effort: what stays is ignored anyway.
pub async fn clean(repository: &dyn Repository, found: &Found, absorbed: &Absorbed, now: Timestamp) {
    let expired = absorbed.expired(now);
    for (_, tag) in found.tags.iter().filter(|(op, _)| expired.contains(op)).take(MAX_REMOVALS) {
        let Ok(Conditional::Modified(manifest)) =
            repository.manifest(&Point::Tag(tag.clone()), None, MAX_MANIFEST).await
        else {
            continue;
        };
        if let Err(e) = repository.delete_manifest(&manifest.digest).await {
            tracing::debug!("the intent `{tag}` stays: {e}");
            return;
        }
    }
}

/// Why an intent is not taken up.
enum Unread {
    /// Somebody removed it meanwhile.
    Gone,
    /// It does not count.
    Ignored(String),
    /// It could not be found out.
    Failed(registry::Error),
}

impl From<registry::Error> for Unread {
    fn from(error: registry::Error) -> Self {
        match error {
            // What its author pushed wrongly or another wrote there is not the location's failure.
            registry::Error::TooMuch { .. } | registry::Error::Mismatch { .. } => Self::Ignored(error.to_string()),
            error if error.is_not_found() => Self::Gone,
            error => Self::Failed(error),
        }
    }
}

async fn read(
    repository: &dyn Repository,
    name: &ImageName,
    trusted: &Trusted,
    op: &OpId,
    tag: &Tag,
    now: Timestamp,
) -> Result<Open, Unread> {
    let ignored = |reason: &str| Unread::Ignored(reason.to_owned());
    let answer = repository.manifest(&Point::Tag(tag.clone()), None, MAX_MANIFEST).await?;
    let Conditional::Modified(manifest) = answer else { return Err(Unread::Gone) };
    let manifest: Wire = serde_json::from_slice(&manifest.bytes).map_err(|_| ignored("its manifest is malformed"))?;
    if manifest.artifact_type.as_deref() != Some(ARTIFACT_TYPE) {
        return Err(ignored("it is something else"));
    }
    let layer = |media_type: &str| manifest.layers.iter().find(|layer| layer.media_type == media_type);
    let intent = layer(INTENT_TYPE).ok_or_else(|| ignored("it holds no intent"))?;
    let bytes = repository.blob(&intent.digest, intent.size.min(MAX_FILE)).await?;
    let intent = verify(name, trusted, op, bytes, now).map_err(|e| Unread::Ignored(e.to_string()))?;
    let file = match layer(ROLE_TYPE) {
        Some(layer) => Some(repository.blob(&layer.digest, layer.size.min(MAX_FILE)).await?),
        None => None,
    };
    Ok(Open { intent, file })
}

/// An intent counts as a role does: by the keys and threshold of the role that it changes.
fn verify(
    name: &ImageName,
    trusted: &Trusted,
    op: &OpId,
    bytes: Bytes,
    now: Timestamp,
) -> Result<Verified<Intent>, trust::Error> {
    let role = RoleName::TARGETS;
    let malformed = |reason: &str| trust::Error::Malformed { role: role.clone(), reason: reason.to_owned() };
    let envelope = Envelope::<Intent>::parse_untrusted(&role, bytes)?;
    let intent = threshold::verify(&role, envelope, &[trusted.root.authority(RoleKind::Targets)])?;
    check_binding(&role, intent.binding(), name)?;
    if intent.expires() <= now {
        return Err(trust::Error::Expired { role, at: intent.expires() });
    }
    if intent.op != *op {
        return Err(malformed("the intent is of another operation than its tag"));
    }
    if intent.role != RoleKind::Targets.as_str() {
        return Err(malformed("the intent is about another role than its signers"));
    }
    Ok(intent)
}

#[derive(serde::Deserialize)]
struct Wire {
    #[serde(rename = "artifactType")]
    artifact_type: Option<String>,
    layers: Vec<WireLayer>,
}

#[derive(serde::Deserialize)]
struct WireLayer {
    #[serde(rename = "mediaType")]
    media_type: String,
    digest: Digest,
    size: u64,
}
