//! The verdict: what the trusted metadata and the policy together say of one reference. Every gate renders it; none
//! decides by itself.
//!
//! - A name with a tag is decided by the tag's entry alone. A digest written beside it must equal the entry's, or,
//!   where the policy says `pinned = "signed"`, be a signed digest that holds or held the tag.
//! - A digest without a tag is decided by its own entry, which counts only where one of the tags that it names is one
//!   that the same role may sign and the policy trusts.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::entry::Entry;
use super::envelope::Metadata;
use super::error::Error;
use super::policy::{Pinned, Ruling};
use super::role::RoleKind;
use super::update::{Found, Trusted};
use crate::image::{Digest, ImageName, Reference, Tag};

/// What is vouched for, by whom and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endorsement {
    /// The digest that the reference stands for.
    pub digest: Digest,
    /// The length of the manifest in bytes.
    pub length: u64,
    /// The media type of the manifest.
    pub media_type: String,
    /// Whose word it is: `targets` or signers.
    pub signers: Vec<String>,
    /// The versions of the roles that lead to it.
    pub versions: BTreeMap<String, u64>,
    /// The first instant at which one of those roles expires.
    pub expires: Timestamp,
    /// Since when something newer holds the tag, where the digest is a former one of the tag.
    pub superseded: Option<Timestamp>,
    /// The signer's notes.
    pub annotations: BTreeMap<String, String>,
}

/// Why a reference is refused although the metadata is in order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody whose word counts has signed it.
    #[error("no valid trust data for {what}: it is not signed")]
    NotSigned {
        /// The tag or digest.
        what: String,
    },
    /// The digest beside the tag is not the signed one.
    #[error("{tag} is signed as {signed}, not as {asked}")]
    OtherDigest {
        /// The tag.
        tag: Tag,
        /// The signed digest.
        signed: Digest,
        /// The digest asked for.
        asked: Digest,
    },
    /// It was signed once, and the time that the policy gives to former digests is over.
    #[error("no valid trust data for {what}: it was superseded at {since}, longer ago than the policy allows")]
    Superseded {
        /// The digest.
        what: String,
        /// Since when.
        since: Timestamp,
    },
    /// The policy does not trust the tag, whoever signed it.
    #[error("the policy trusts other tags of this image only: not {what}")]
    TagNotTrusted {
        /// The tag, or the tags that name the digest.
        what: String,
    },
    /// An entry is malformed.
    #[error(transparent)]
    Trust(#[from] Error),
}

/// The target paths that have to be looked up to judge a reference.
pub fn wanted(reference: &Reference) -> Vec<String> {
    let tag = reference.tag.as_ref().map(|tag| reference.name.tag_path(tag));
    let digest = reference.digest.as_ref().map(|digest| reference.name.digest_path(digest));
    tag.into_iter().chain(digest).collect()
}

/// Judges a reference whose paths ([`wanted`]) were looked up.
///
/// # Errors
/// Why it is refused.
pub fn judge(
    trusted: &Trusted,
    reference: &Reference,
    ruling: &Ruling,
    now: Timestamp,
) -> Result<Endorsement, Refusal> {
    match (&reference.tag, &reference.digest) {
        (Some(tag), asked) => judge_tag(trusted, &reference.name, tag, *asked, ruling, now),
        (None, Some(digest)) => judge_digest(trusted, &reference.name, digest, ruling, now),
        (None, None) => Err(Refusal::NotSigned { what: reference.name.to_string() }),
    }
}

fn judge_tag(
    trusted: &Trusted,
    name: &ImageName,
    tag: &Tag,
    asked: Option<Digest>,
    ruling: &Ruling,
    now: Timestamp,
) -> Result<Endorsement, Refusal> {
    if !ruling.allows_tag(tag) {
        return Err(Refusal::TagNotTrusted { what: tag.to_string() });
    }
    let (found, entry) =
        look_up(trusted, &name.tag_path(tag))?.ok_or_else(|| Refusal::NotSigned { what: tag.to_string() })?;
    let signed = entry.manifest.digest;
    let Some(asked) = asked.filter(|asked| *asked != signed) else {
        return Ok(endorse(trusted, &found, entry, None));
    };
    let other = Refusal::OtherDigest { tag: tag.clone(), signed, asked };
    if ruling.pinned == Pinned::Current {
        return Err(other);
    }
    let Some((found, entry)) = look_up(trusted, &name.digest_path(&asked))? else { return Err(other) };
    if !entry.names(tag) || !may_sign(trusted, &found, name, tag.as_str()) {
        return Err(other);
    }
    check_superseded(&entry, ruling, now)?;
    // Still signed under another tag, it has no instant of its own: then it is superseded for this tag as of now.
    let since = entry.superseded.unwrap_or(now);
    Ok(endorse(trusted, &found, entry, Some(since)))
}

fn judge_digest(
    trusted: &Trusted,
    name: &ImageName,
    digest: &Digest,
    ruling: &Ruling,
    now: Timestamp,
) -> Result<Endorsement, Refusal> {
    let not_signed = || Refusal::NotSigned { what: digest.to_string() };
    let (found, entry) = look_up(trusted, &name.digest_path(digest))?.ok_or_else(not_signed)?;
    if entry.manifest.digest != *digest {
        return Err(not_signed());
    }
    if !entry.counts_by(|tag| may_sign(trusted, &found, name, tag)) {
        return Err(not_signed());
    }
    let trusted_tag =
        |tag: &str| may_sign(trusted, &found, name, tag) && tag.parse().is_ok_and(|tag: Tag| ruling.allows_tag(&tag));
    if !entry.counts_by(trusted_tag) {
        let tags: Vec<_> = entry.custom.tags.iter().chain(&entry.custom.former).map(String::as_str).collect();
        return Err(Refusal::TagNotTrusted { what: tags.join(", ") });
    }
    check_superseded(&entry, ruling, now)?;
    let superseded = entry.superseded;
    Ok(endorse(trusted, &found, entry, superseded))
}

fn look_up(trusted: &Trusted, path: &str) -> Result<Option<(Found, Entry)>, Error> {
    let Some(found) = trusted.found.get(path).and_then(Option::as_ref) else { return Ok(None) };
    let entry = Entry::of(&found.role, path, &found.target)?;
    Ok(Some((found.clone(), entry)))
}

/// Whether the role under which an entry was found may sign a tag: a signer only within its tag patterns.
fn may_sign(trusted: &Trusted, found: &Found, name: &ImageName, tag: &str) -> bool {
    let path = format!("{name}:{tag}");
    let delegations = trusted.targets.delegations().map(super::delegation::Delegations::roles).unwrap_or_default();
    delegations
        .iter()
        .find(|delegation| delegation.name() == found.signer)
        .is_none_or(|delegation| delegation.covers(&path))
}

fn check_superseded(entry: &Entry, ruling: &Ruling, now: Timestamp) -> Result<(), Refusal> {
    match (entry.superseded, ruling.superseded_for) {
        (Some(since), Some(allowed)) if now.duration_since(since) > allowed => {
            Err(Refusal::Superseded { what: entry.manifest.digest.to_string(), since })
        }
        _ => Ok(()),
    }
}

fn endorse(trusted: &Trusted, found: &Found, entry: Entry, superseded: Option<Timestamp>) -> Endorsement {
    let mut versions = BTreeMap::from([
        (RoleKind::Root.to_string(), trusted.root.version().get()),
        (RoleKind::Timestamp.to_string(), trusted.timestamp.version().get()),
        (RoleKind::Snapshot.to_string(), trusted.snapshot.version().get()),
        (RoleKind::Targets.to_string(), trusted.targets.version().get()),
    ]);
    versions.insert(found.role.to_string(), found.version.get());
    let expiries = [
        trusted.root.expires(),
        trusted.timestamp.expires(),
        trusted.snapshot.expires(),
        trusted.targets.expires(),
        found.expires,
    ];
    Endorsement {
        digest: entry.manifest.digest,
        length: entry.manifest.length,
        media_type: entry.manifest.media_type,
        signers: vec![found.signer.clone()],
        versions,
        expires: expiries.into_iter().min().unwrap_or(found.expires),
        superseded,
        annotations: entry.custom.annotations,
    }
}
