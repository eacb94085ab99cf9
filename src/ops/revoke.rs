//! `revoke`: takes back what was signed, truthfully.
//!
//! Afterwards the verdict that a client would give is computed: what still verifies is a failure that names who
//! vouches, never a success (Notary v1 said "successfully deleted" of what went on verifying).

use std::path::PathBuf;

use super::error::Error;
use super::publish::{Publisher, Work};
use super::ring::Ring;
use super::world::{World, unlock_role_keys};
use crate::image::{Digest, ImageName, Reference, Tag};
use crate::trust::RoleKind;
use crate::trust::entry::{Change, Entry};
use crate::trust::policy::{Pinned, Ruling};
use crate::trust::update::{Expiry, Trusted};
use crate::trust::verdict;

/// What is taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A tag, with what only it holds.
    Tag(Tag),
    /// A tag, if it is this digest.
    TagAt(Tag, Digest),
    /// A digest, with every tag that holds it.
    Digest(Digest),
    /// Everything.
    All,
}

/// What `revoke` did.
#[derive(Debug)]
pub struct Revoked {
    /// The tags that no longer verify.
    pub tags: Vec<String>,
    /// The digests that no longer verify.
    pub digests: Vec<Digest>,
    /// The digest that the tag held and another tag still holds, where that is so.
    pub still_held: Option<Digest>,
}

/// Takes back what was signed.
///
/// # Errors
/// [`Error::Refused`] for what is not signed; [`Error::StillSigned`] for what verifies afterwards; those of publishing.
pub async fn revoke(
    world: &World<'_>,
    ring: &Ring<'_>,
    name: &ImageName,
    layout: Option<PathBuf>,
    what: &What,
    all_digests: bool,
) -> Result<Revoked, Error> {
    let ruling = world.rule(name)?;
    unlock_role_keys(world, ring, name, &[RoleKind::Targets, RoleKind::Snapshot, RoleKind::Timestamp])?;
    let client = world.client(name, layout.as_deref(), &ruling, Expiry::Enforce)?;
    let wanted = wanted(name, what);
    let before = client.update(&wanted, super::client::Reading::Whole).await?;
    check_signed(name, &before.trusted, what)?;
    let change = match what {
        What::Tag(tag) | What::TagAt(tag, _) => Change::RemoveTag { tag: tag.to_string(), all_digests },
        What::Digest(digest) => Change::RemoveDigest { digest: *digest },
        What::All => Change::RemoveAll,
    };
    let held = entries(name, &before.trusted);
    let publisher = Publisher { client, ring };
    let published = publisher.publish(&Work { changes: vec![change], due: true, wanted, ..Work::default() }).await?;
    let after = &published.updated.trusted;
    check_gone(world, name, &ruling, after, what)?;
    let left = entries(name, after);
    let gone = |path: &String| !left.contains(path);
    let tags = held.iter().filter(|path| gone(path)).filter_map(|path| path.strip_prefix(&format!("{name}:")));
    let digests = held.iter().filter(|path| gone(path)).filter_map(|path| path.strip_prefix(&format!("{name}@")));
    let still_held = match what {
        What::Tag(tag) | What::TagAt(tag, _) => tag_entry(name, &before.trusted, tag)?
            .map(|entry| entry.manifest.digest)
            .filter(|digest| left.contains(&name.digest_path(digest))),
        What::Digest(_) | What::All => None,
    };
    Ok(Revoked {
        tags: tags.map(str::to_owned).collect(),
        digests: digests.filter_map(|digest| digest.parse().ok()).collect(),
        still_held,
    })
}

fn wanted(name: &ImageName, what: &What) -> Vec<String> {
    match what {
        What::Tag(tag) => vec![name.tag_path(tag)],
        What::TagAt(tag, digest) => vec![name.tag_path(tag), name.digest_path(digest)],
        What::Digest(digest) => vec![name.digest_path(digest)],
        What::All => Vec::new(),
    }
}

fn entries(name: &ImageName, trusted: &Trusted) -> std::collections::BTreeSet<String> {
    let prefixes = [format!("{name}:"), format!("{name}@")];
    let ours = |path: &&str| prefixes.iter().any(|prefix| path.starts_with(prefix.as_str()));
    trusted.targets.iter().map(|(path, _)| path).filter(ours).map(str::to_owned).collect()
}

fn tag_entry(name: &ImageName, trusted: &Trusted, tag: &Tag) -> Result<Option<Entry>, Error> {
    let path = name.tag_path(tag);
    let Some(found) = trusted.found.get(&path).and_then(Option::as_ref) else { return Ok(None) };
    Entry::of(&found.role, &path, &found.target).map(Some).map_err(Error::of(name))
}

/// Revoking what was never signed is a mistake in the name, not a success.
fn check_signed(name: &ImageName, trusted: &Trusted, what: &What) -> Result<(), Error> {
    let refused = |source| Error::Refused { name: name.clone(), source };
    let not_signed = |what: String| refused(verdict::Refusal::NotSigned { what });
    match what {
        What::Tag(tag) => match tag_entry(name, trusted, tag)? {
            Some(_) => Ok(()),
            None => Err(not_signed(tag.to_string())),
        },
        What::TagAt(tag, digest) => match tag_entry(name, trusted, tag)? {
            Some(entry) if entry.manifest.digest == *digest => Ok(()),
            Some(entry) => Err(refused(verdict::Refusal::OtherDigest {
                tag: tag.clone(),
                signed: entry.manifest.digest,
                asked: *digest,
            })),
            None => Err(not_signed(tag.to_string())),
        },
        What::Digest(digest) => match trusted.found.get(&name.digest_path(digest)) {
            Some(Some(_)) => Ok(()),
            _ => Err(not_signed(digest.to_string())),
        },
        What::All if trusted.targets.is_empty() => Err(not_signed(name.to_string())),
        What::All => Ok(()),
    }
}

/// Judges as the most lenient reader would: any tag, any age.
fn check_gone(
    world: &World<'_>,
    name: &ImageName,
    ruling: &Ruling,
    trusted: &Trusted,
    what: &What,
) -> Result<(), Error> {
    let lenient =
        Ruling { tags: Vec::new(), superseded_for: None, pinned: Pinned::Signed, signers: None, ..ruling.clone() };
    let (tag, digest) = match what {
        What::Tag(tag) | What::TagAt(tag, _) => (Some(tag.clone()), None),
        What::Digest(digest) => (None, Some(*digest)),
        What::All => return Ok(()),
    };
    let reference = Reference { name: name.clone(), tag, digest };
    match verdict::judge(trusted, &reference, &lenient, world.now) {
        Ok(endorsement) => Err(Error::StillSigned { image: reference.to_string(), by: endorsement.signers.join(", ") }),
        Err(_) => Ok(()),
    }
}
