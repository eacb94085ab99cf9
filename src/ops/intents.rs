//! Intents in the registry: small manifests under tags of their own, beside the head.
//!
//! An operation's id, and so its tag, tells when it expires: what counts no more is not read, and is removed some time
//! later.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::error::Error;
use crate::image::manifest::OCI_MANIFEST;
use crate::image::{Digest, ImageName, Tag};
use crate::registry::head::{self, Head, Layer};
use crate::registry::{self, Conditional, Point, Repository};
use crate::trust::draft::Signed;
use crate::trust::envelope::{Envelope, Metadata, check_binding};
use crate::trust::intent::{Absorbed, Intent, OpId};
use crate::trust::role::RoleKind;
use crate::trust::root::Root;
use crate::trust::targets::Targets;
use crate::trust::threshold::{self, Authority, Verified};
use crate::trust::{self, RoleName};

/// What every intent's tag begins with; then come 32 hex digits.
const TAG_PREFIX: &str = "trust.tuf.i-";
const ARTIFACT_TYPE: &str = "application/vnd.boltseal.tuf.intent.v1+json";
const INTENT_TYPE: &str = "application/vnd.boltseal.tuf.intent+json";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
const TITLE: &str = "org.opencontainers.image.title";
/// Largest intent manifest, in bytes: anyone can write to the registry.
const MAX_MANIFEST: u64 = 64 * 1024;
/// Largest intent or role file in it, in bytes.
const MAX_FILE: u64 = 64 << 20;
/// Largest intent that stands in its manifest, in bytes, so that it is read with one request.
const MAX_INLINE: usize = 16 * 1024;
/// Most intents that count at one time. Beyond, nothing is published: to pass one over would be to lose it.
const MAX_INTENTS: usize = 1000;
/// How often the tags are listed where the list lags behind what was put.
const LISTINGS: u32 = 10;
/// The pause between two listings.
const LISTING_PAUSE: Duration = Duration::from_millis(200);
/// How many intents are read at a time.
const AT_ONCE: usize = 8;
/// Most expired intents removed in one publish.
const MAX_REMOVALS: usize = 50;
/// How long after it expired an intent is removed: clocks differ.
const REMOVAL_DELAY: SignedDuration = SignedDuration::from_mins(30);

/// An intent that counts.
#[derive(Debug)]
pub struct Open {
    /// The intent.
    pub intent: Verified<Intent>,
    /// The author's own next version of the role, not fetched yet.
    pub file: Option<Layer>,
}

/// A new root that somebody has signed and that is not in the chain of roots yet.
#[derive(Debug)]
pub struct OpenRoot {
    /// The operation.
    pub op: OpId,
    /// The root, which follows the trusted one.
    pub root: Verified<Root>,
}

/// What lies beside the head.
#[derive(Debug, Default)]
pub struct Found {
    /// Intents that count and are not absorbed.
    pub open: Vec<Open>,
    /// New roots that count and are not in force.
    pub roots: Vec<OpenRoot>,
    /// Sentences about what was ignored, for people.
    pub ignored: Vec<String>,
    /// All tags of intents, by operation.
    pub tags: BTreeMap<OpId, Tag>,
}

impl Found {
    /// Whether nothing waits to be merged.
    pub fn is_quiet(&self) -> bool {
        self.open.is_empty() && self.roots.is_empty()
    }
}

/// By which roots the intents beside a head count.
#[derive(Debug, Clone, Copy)]
pub struct Judges<'a> {
    /// The trusted root.
    pub root: &'a Verified<Root>,
    /// The trusted targets role, which says who the signers are.
    pub targets: &'a Targets,
    /// The root from which this run began: what its targets keys meant is not lost to the run that rotates them.
    pub former: &'a Root,
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
    let mut layer = json!({
        "mediaType": INTENT_TYPE, "digest": Digest::of(&intent.bytes), "size": intent.bytes.len(),
        "annotations": {TITLE: "intent.json"},
    });
    if intent.bytes.len() <= MAX_INLINE {
        layer["data"] = STANDARD.encode(&intent.bytes).into();
    }
    let (role_layer, blob) = head::describe(&file.file_name(), &file.bytes)
        .map_err(|e| Error::Head { location: repository.location(), reason: e.to_string() })?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": ARTIFACT_TYPE,
        "config": {"mediaType": EMPTY_TYPE, "digest": Digest::of(&empty), "size": empty.len(), "data": "e30="},
        "layers": [layer, role_layer],
    });
    let bytes = Bytes::from(manifest.to_string());
    let blobs = [empty, intent.bytes.clone(), blob].map(|blob| repository.put_blob(blob));
    futures_util::future::try_join_all(blobs).await?;
    repository.put_manifest(&Point::Tag(tag(op)), OCI_MANIFEST, bytes, None).await?;
    Ok(())
}

/// Lists the intents beside a head, and reads those that count still and that it has not absorbed.
///
/// One that is unsigned, signed by others, of another collection or malformed is ignored and told of. `own` is the
/// intent that this run laid out.
///
/// # Errors
/// Those of the location: a list that cannot be had is no empty list, nor is one that does not show what is there.
pub async fn find(
    repository: &dyn Repository,
    name: &ImageName,
    judges: Judges<'_>,
    absorbed: &Absorbed,
    own: Option<&OpId>,
    now: Timestamp,
) -> Result<Found, Error> {
    let mut found = Found { tags: list(repository, own).await?, ..Found::default() };
    let unknown: Vec<(OpId, Tag)> = found
        .tags
        .iter()
        .filter(|(op, _)| op.expires() > now && !absorbed.contains(op))
        .map(|(op, tag)| (*op, tag.clone()))
        .collect();
    if unknown.len() > MAX_INTENTS {
        return Err(Error::Registry(registry::Error::TooMuch {
            what: format!("{TAG_PREFIX}*"),
            location: repository.location(),
            limit: format!("{MAX_INTENTS} intents at one time"),
        }));
    }
    let reads = unknown.into_iter().map(|(op, tag)| async move {
        let read = read(repository, name, judges, &op, &tag, now).await;
        (tag, read)
    });
    let mut reads = futures_util::stream::iter(reads).buffered(AT_ONCE);
    while let Some((tag, read)) = reads.next().await {
        match read {
            Ok(Read::Open(open)) => found.open.push(*open),
            Ok(Read::Root(root)) => found.roots.push(*root),
            Ok(Read::Nothing) => {}
            Err(Unread::Ignored(reason)) => found.ignored.push(format!("ignored the intent `{tag}`: {reason}")),
            Err(Unread::Failed(e)) => return Err(e.into()),
        }
    }
    drop(reads);
    Ok(found)
}

/// The tags of all intents, from a list that shows what is known to be there: the head, and the intent `own`.
async fn list(repository: &dyn Repository, own: Option<&OpId>) -> Result<BTreeMap<OpId, Tag>, Error> {
    let head = Head::tag();
    let mut tries = 0;
    loop {
        let listed = repository.tags().await?;
        let tags: BTreeMap<OpId, Tag> = listed
            .iter()
            .filter_map(|tag| Some((tag.as_str().strip_prefix(TAG_PREFIX)?.parse().ok()?, tag.clone())))
            .collect();
        let missing = match own.filter(|op| !tags.contains_key(op)) {
            Some(op) => Some(tag(op)),
            None => (!listed.contains(&head)).then(|| head.clone()),
        };
        let Some(missing) = missing else { return Ok(tags) };
        tries += 1;
        if tries == LISTINGS {
            // Whoever lists so could lack the intent of a rival as well, and what it holds would be lost.
            return Err(Error::Registry(registry::Error::Broken {
                location: repository.location(),
                message: format!("its list of tags does not show `{missing}`, which is there"),
            }));
        }
        tokio::time::sleep(LISTING_PAUSE).await;
    }
}

/// Removes intents that expired some time ago. Best effort: what stays is not even read.
pub async fn clean(repository: &dyn Repository, found: &Found, now: Timestamp) {
    let past = |op: &OpId| op.expires().checked_add(REMOVAL_DELAY).is_ok_and(|at| at <= now);
    for (_, tag) in found.tags.iter().filter(|(op, _)| past(op)).take(MAX_REMOVALS) {
        if let Err(e) = remove(repository, tag).await {
            tracing::debug!("the intent `{tag}` stays: {e}");
            return;
        }
    }
}

/// Removes what lies under an intent's tag, if it is an intent: deleting a manifest takes every tag that it has, and
/// anybody who can write may have put the tag of an intent on something that lives.
///
/// # Errors
/// Those of the location.
pub async fn remove(repository: &dyn Repository, tag: &Tag) -> Result<(), registry::Error> {
    let answer = repository.manifest(&Point::Tag(tag.clone()), None, MAX_MANIFEST).await;
    let manifest = match answer {
        Ok(Conditional::Modified(manifest)) => manifest,
        Ok(Conditional::NotModified) | Err(registry::Error::NotFound { .. } | registry::Error::TooMuch { .. }) => {
            return Ok(());
        }
        Err(e) => return Err(e),
    };
    let wire: Option<Wire> = serde_json::from_slice(&manifest.bytes).ok();
    if wire.is_none_or(|wire| wire.artifact_type.as_deref() != Some(ARTIFACT_TYPE)) {
        return Ok(());
    }
    match repository.delete_manifest(&manifest.digest).await {
        Err(e) if e.is_not_found() => Ok(()),
        other => other,
    }
}

/// What an intent turned out to be.
enum Read {
    Open(Box<Open>),
    Root(Box<OpenRoot>),
    /// Somebody removed it meanwhile, or what it means is in force.
    Nothing,
}

/// Why an intent is not taken up.
enum Unread {
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
            error => Self::Failed(error),
        }
    }
}

impl From<trust::Error> for Unread {
    fn from(error: trust::Error) -> Self {
        Self::Ignored(error.to_string())
    }
}

async fn read(
    repository: &dyn Repository,
    name: &ImageName,
    judges: Judges<'_>,
    op: &OpId,
    tag: &Tag,
    now: Timestamp,
) -> Result<Read, Unread> {
    let ignored = |reason: &str| Unread::Ignored(reason.to_owned());
    let manifest = match repository.manifest(&Point::Tag(tag.clone()), None, MAX_MANIFEST).await {
        Ok(Conditional::Modified(manifest)) => manifest,
        Ok(Conditional::NotModified) => return Ok(Read::Nothing),
        Err(e) if e.is_not_found() => return Ok(Read::Nothing),
        Err(e) => return Err(e.into()),
    };
    let mut wire: Wire = serde_json::from_slice(&manifest.bytes).map_err(|_| ignored("its manifest is malformed"))?;
    if wire.artifact_type.as_deref() != Some(ARTIFACT_TYPE) {
        return Err(ignored("it is something else"));
    }
    let at = wire.layers.iter().position(|layer| layer["mediaType"] == INTENT_TYPE);
    let layer: WireLayer = at
        .and_then(|at| serde_json::from_value(wire.layers.swap_remove(at)).ok())
        .ok_or_else(|| ignored("it holds no intent"))?;
    let bytes = match layer.data.and_then(|data| STANDARD.decode(data).ok()) {
        Some(data) => data.into(),
        None => match repository.blob(&layer.digest, layer.size.min(MAX_FILE)).await {
            Err(e) if e.is_not_found() => return Err(ignored("what it lists is not there")),
            other => other?,
        },
    };
    let intent = verify(name, judges, op, &bytes, now)?;
    let file = wire.layers.into_iter().find_map(|layer| head::described(layer).ok().flatten());
    if intent.role != RoleKind::Root.as_str() {
        return Ok(Read::Open(Box::new(Open { intent, file })));
    }
    let file = fetch(repository, &file.ok_or_else(|| ignored("it holds no root"))?).await?;
    let file = file.ok_or_else(|| ignored("what it lists is not there"))?;
    next_root(name, judges.root, *op, file)
}

/// The plain bytes of an intent's role file; none where it is not there.
///
/// # Errors
/// Those of the location.
pub async fn fetch(repository: &dyn Repository, layer: &Layer) -> Result<Option<Bytes>, registry::Error> {
    match repository.blob(&layer.digest, layer.size.min(MAX_FILE)).await {
        Ok(blob) => Ok(layer.open(blob, MAX_FILE).ok()),
        Err(e) if e.is_not_found() => Ok(None),
        Err(e) => Err(e),
    }
}

/// A root counts by the trusted one and by itself, as in the chain.
fn next_root(name: &ImageName, trusted: &Verified<Root>, op: OpId, file: Bytes) -> Result<Read, Unread> {
    let role: RoleName = RoleKind::Root.into();
    let envelope = Envelope::<Root>::parse_untrusted(&role, file)?;
    let own = envelope.unverified().clone();
    if own.version() <= trusted.version() {
        return Ok(Read::Nothing);
    }
    let authorities = [trusted.authority(RoleKind::Root), own.authority(RoleKind::Root)];
    let root = threshold::verify(&role, envelope, &authorities)?;
    check_binding(&role, root.binding(), name)?;
    if Some(root.version()) != trusted.version().successor() || root.online_root_key().is_some() {
        return Err(Unread::Ignored("its root does not follow the trusted one".to_owned()));
    }
    Ok(Read::Root(Box::new(OpenRoot { op, root })))
}

/// An intent counts as a role does: by the keys and threshold of the role that it changes.
fn verify(
    name: &ImageName,
    judges: Judges<'_>,
    op: &OpId,
    bytes: &Bytes,
    now: Timestamp,
) -> Result<Verified<Intent>, trust::Error> {
    let role = RoleName::TARGETS;
    let malformed = |reason: &str| trust::Error::Malformed { role: role.clone(), reason: reason.to_owned() };
    let parse = || Envelope::<Intent>::parse_untrusted(&role, bytes.clone());
    let by = |authority: Authority<'_>| threshold::verify(&role, parse()?, &[authority]);
    let about = parse()?.unverified().role.clone();
    let intent = match about.parse() {
        Ok(kind @ (RoleKind::Targets | RoleKind::Root)) => by(judges.root.authority(kind)).or_else(|e| match kind {
            RoleKind::Targets => by(judges.former.authority(kind)).map_err(|_| e),
            _ => Err(e),
        })?,
        Ok(_) => return Err(malformed("the intent is about a role that has none")),
        Err(()) => {
            let delegated = RoleName::delegated(&about).and_then(|role| judges.targets.delegations()?.authority(&role));
            let (keys, role) =
                delegated.ok_or_else(|| malformed("the intent is about a role that is not delegated"))?;
            by(Authority { keys, role: &role, whose: None })?
        }
    };
    check_binding(&role, intent.binding(), name)?;
    if intent.op != *op {
        return Err(malformed("the intent is of another operation than its tag"));
    }
    if intent.expires() != op.expires() || intent.expires() <= now {
        return Err(trust::Error::Expired { role, at: intent.expires() });
    }
    Ok(intent)
}

#[derive(serde::Deserialize)]
struct Wire {
    #[serde(rename = "artifactType")]
    artifact_type: Option<String>,
    layers: Vec<Value>,
}

#[derive(serde::Deserialize)]
struct WireLayer {
    digest: Digest,
    size: u64,
    data: Option<String>,
}
