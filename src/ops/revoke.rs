//! `revoke`: takes back what was signed, truthfully.
//!
//! Afterwards the verdict that a client would give is computed: what still verifies is a failure that names who
//! vouches, never a success (Notary v1 said "successfully deleted" of what went on verifying).

use std::path::PathBuf;

use super::client::Reading;
use super::error::Error;
use super::publish::{Publisher, Voice, Work};
use super::ring::Ring;
use super::sign::{is_blocked, signers};
use super::world::{World, unlock_role_keys};
use crate::image::{Digest, ImageName, Reference, Tag};
use crate::trust::entry::{Change, Entry};
use crate::trust::policy::{Pinned, Ruling};
use crate::trust::targets::Targets;
use crate::trust::update::{Breadth, Expiry, Trusted};
use crate::trust::verdict;
use crate::trust::{RoleKind, RoleName};

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
    let mut client = world.client(name, layout.as_deref(), &ruling, Expiry::Enforce)?;
    client.rules.breadth = Breadth::Signers;
    let wanted = wanted(name, what);
    let before = super::publish::look(&client, &wanted, Reading::Whole).await?;
    check_signed(name, &before.trusted, what)?;
    let held = entries(name, &before.trusted);
    let works = works(ring, name, &before.trusted, what, all_digests)?;
    let publisher = Publisher { client, ring };
    let mut after = None;
    for work in works {
        let work = Work { due: true, wanted: wanted.clone(), ..work };
        after = Some(publisher.publish(&work).await?.updated.trusted);
    }
    let after = after.as_ref().unwrap_or(&before.trusted);
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

/// What to publish: a change in each role that vouches and whose keys are at hand; and, where another one vouches,
/// the targets keys block what it says, which every TUF client obeys.
fn works(
    ring: &Ring<'_>,
    name: &ImageName,
    trusted: &Trusted,
    what: &What,
    all_digests: bool,
) -> Result<Vec<Work>, Error> {
    let change = match what {
        What::Tag(tag) | What::TagAt(tag, _) => Change::RemoveTag { tag: tag.to_string(), all_digests },
        What::Digest(digest) => Change::RemoveDigest { digest: *digest },
        What::All => Change::RemoveAll,
    };
    let mut works = Vec::new();
    let mut blocks = Vec::new();
    for (role, metadata) in roles(trusted) {
        let paths = paths(name, metadata, what)?;
        if paths.is_empty() {
            continue;
        }
        let voice = Voice::of(trusted, &role);
        if voice.is_some_and(|voice| ring.can_sign(&voice.authority()).unwrap_or(false)) {
            works.push(Work { role, changes: vec![change.clone()], ..Work::default() });
        } else if role != RoleName::TARGETS {
            blocks.extend(paths.into_iter().map(|path| Change::Block { path }));
        }
    }
    blocks.extend(unread(name, trusted, what).into_iter().map(|path| Change::Block { path }));
    let able = ring.can_sign(&trusted.root.authority(RoleKind::Targets))?;
    // Nobody at hand may change anything: the publish says whose key is missing.
    if (able && !blocks.is_empty()) || works.is_empty() {
        let changes = if blocks.is_empty() { vec![change] } else { blocks };
        works.push(Work { changes, ..Work::default() });
    }
    Ok(works)
}

/// The paths that a signer may answer for whose role could not be read, because it expired or its keys were replaced.
/// Signed again, it would say what it said before.
fn unread(name: &ImageName, trusted: &Trusted, what: &What) -> Vec<String> {
    let paths: Vec<String> = match what {
        What::Tag(tag) | What::TagAt(tag, _) => vec![name.tag_path(tag)],
        What::Digest(digest) => vec![name.digest_path(digest)],
        What::All => Vec::new(),
    };
    let silent = |role: &str| {
        let listed = trusted.snapshot.role(&RoleName::Delegated(role.to_owned())).is_some();
        listed && trusted.signer(role).is_none()
    };
    let covered = |path: &String| signers(trusted).any(|signer| silent(signer.name()) && signer.covers(path));
    paths.into_iter().filter(covered).collect()
}

/// The roles that hold entries, in the order in which they are asked.
fn roles(trusted: &Trusted) -> Vec<(RoleName, &Targets)> {
    let signers = signers(trusted).filter_map(|delegation| {
        let role = RoleName::Delegated(delegation.name().to_owned());
        trusted.signer(delegation.name()).map(|metadata| (role, &**metadata))
    });
    std::iter::once((RoleName::TARGETS, &*trusted.targets)).chain(signers).collect()
}

/// The paths by which a role vouches for what is taken back.
fn paths(name: &ImageName, metadata: &Targets, what: &What) -> Result<Vec<String>, Error> {
    let held = |path: &String| metadata.target(path).is_some();
    Ok(match what {
        What::Tag(tag) | What::TagAt(tag, _) => {
            let path = name.tag_path(tag);
            let Some(target) = metadata.target(&path) else { return Ok(Vec::new()) };
            let entry = Entry::of(&RoleName::TARGETS, &path, target).map_err(Error::of(name))?;
            let digest = name.digest_path(&entry.manifest.digest);
            [path, digest].into_iter().filter(held).collect()
        }
        What::Digest(digest) => [name.digest_path(digest)].into_iter().filter(held).collect(),
        What::All => metadata.iter().map(|(path, _)| path.to_owned()).collect(),
    })
}

fn entries(name: &ImageName, trusted: &Trusted) -> std::collections::BTreeSet<String> {
    let prefixes = [format!("{name}:"), format!("{name}@")];
    let ours = |path: &&str| prefixes.iter().any(|prefix| path.starts_with(prefix.as_str()));
    let answered = |role: &RoleName, path: &str| *role == RoleName::TARGETS || !is_blocked(trusted, path);
    let paths = roles(trusted)
        .into_iter()
        .flat_map(|(role, metadata)| metadata.iter().map(|(path, _)| path).filter(move |path| answered(&role, path)));
    paths.filter(ours).map(str::to_owned).collect()
}

fn tag_entry(name: &ImageName, trusted: &Trusted, tag: &Tag) -> Result<Option<Entry>, Error> {
    let path = name.tag_path(tag);
    let Some(found) = trusted.found.get(&path).and_then(Option::as_ref) else { return Ok(None) };
    Entry::of(&found.role, &path, &found.target).map(Some).map_err(Error::of(name))
}

/// Revoking what was never signed is a mistake in the name, not a success.
fn check_signed(name: &ImageName, trusted: &Trusted, what: &What) -> Result<(), Error> {
    let refused = |source| Error::Refused { name: name.clone(), source: Box::new(source) };
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
        What::All if entries(name, trusted).is_empty() => Err(not_signed(name.to_string())),
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
