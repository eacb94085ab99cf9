//! `sign`: signs what tags are. No layers are pulled; all images of a collection are one publish.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::client::Reading;
use super::error::Error;
use super::publish::{Publisher, Voice, Work};
use super::ring::Ring;
use super::world::{Subject, World, unlock_role_keys};
use crate::image::manifest::{Kind, MAX_MANIFEST};
use crate::image::{Digest, ImageName, Manifest, Reference, Tag};
use crate::registry::{Conditional, Point, Repository};
use crate::trust::delegation::{Delegation, Delegations};
use crate::trust::entry::{Change, Described, Entry};
use crate::trust::policy::Ruling;
use crate::trust::update::{Breadth, Expiry, Trusted};
use crate::trust::verdict;
use crate::trust::{RoleKind, RoleName, signer};

/// One image to sign.
#[derive(Debug, Clone)]
pub struct Image {
    /// The image; with a tag.
    pub subject: Subject,
    /// What a build reported, where it did.
    pub built: Option<Built>,
}

/// What a build reported of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Built {
    /// The digest of its manifest.
    Manifest(Digest),
    /// The digest of its configuration (docker's image id).
    Config(Digest),
}

/// How to sign.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether what the tags held before loses its entries at once.
    pub supersede: bool,
    /// Notes for the tags' entries.
    pub annotations: BTreeMap<String, String>,
    /// The role to sign in, where the user chose one: `targets` or a signer.
    pub role: Option<String>,
    /// A head whose expired state is built on all the same.
    pub accept_expired: Option<Digest>,
}

/// A signed image.
#[derive(Debug, Clone)]
pub struct Signed {
    /// The image.
    pub subject: Subject,
    /// The manifest.
    pub manifest: Described,
    /// How many manifests were signed with it.
    pub children: usize,
    /// Whether it was signed so already, and nothing was published.
    pub already: bool,
}

/// Signs images; one publish for each collection.
///
/// # Errors
/// What is no image, what the registry holds otherwise, keys that are missing, and those of publishing.
pub async fn sign(
    world: &World<'_>,
    ring: &Ring<'_>,
    images: &[Image],
    options: &Options,
) -> Result<Vec<Signed>, Error> {
    for image in images {
        check_tag(&image.subject)?;
    }
    let mut groups: BTreeMap<(ImageName, Option<PathBuf>), Vec<&Image>> = BTreeMap::new();
    for image in images {
        let key = (image.subject.reference.name.clone(), image.subject.layout.clone());
        groups.entry(key).or_default().push(image);
    }
    for (name, _) in groups.keys() {
        unlock_role_keys(world, ring, name, &[RoleKind::Targets, RoleKind::Snapshot, RoleKind::Timestamp])?;
    }
    let mut signed = Vec::new();
    for ((name, layout), members) in groups {
        // Boxed: it holds whole states across many waits.
        signed.extend(Box::pin(sign_collection(world, ring, &name, layout, &members, options)).await?);
    }
    Ok(signed)
}

fn check_tag(subject: &Subject) -> Result<(), Error> {
    match &subject.reference.tag {
        None => {
            Err(Error::Usage(format!("`{}` has no tag: what is signed is a tag and what it holds", subject.shown())))
        }
        Some(tag) if tag.is_reserved() => {
            Err(Error::Usage(format!("`{tag}` cannot be signed: tags that begin with `trust.tuf` hold the trust data")))
        }
        Some(_) => Ok(()),
    }
}

async fn sign_collection(
    world: &World<'_>,
    ring: &Ring<'_>,
    name: &ImageName,
    layout: Option<PathBuf>,
    images: &[&Image],
    options: &Options,
) -> Result<Vec<Signed>, Error> {
    let ruling = world.rule(name)?;
    let expiry = if options.accept_expired.is_some() { Expiry::UnsafeIgnore } else { Expiry::Enforce };
    let mut client = world.client(name, layout.as_deref(), &ruling, expiry)?;
    client.rules.breadth = Breadth::Signers;
    let repository = world.images(name, layout.as_deref())?;
    let mut found = Vec::new();
    for image in images {
        let manifest = read(&repository, image).await?;
        found.push((*image, describe(&manifest), children(&manifest)));
    }
    let known = super::publish::look(&client, &[], Reading::Conditional).await?.trusted;
    let mut works: BTreeMap<RoleName, Work> = BTreeMap::new();
    for (image, described, children) in &found {
        let reference = Reference { digest: None, ..image.subject.reference.clone() };
        let Some(tag) = &reference.tag else { continue };
        let new = |role: &RoleName| Work {
            role: role.clone(),
            due: true,
            accept_expired: options.accept_expired,
            ..Work::default()
        };
        for role in voices(&known, ring, name, tag, options.role.as_deref())? {
            let work = works.entry(role.clone()).or_insert_with(|| new(&role));
            work.wanted.extend(verdict::wanted(&reference));
            work.changes.push(Change::SetTag {
                tag: tag.to_string(),
                manifest: described.clone(),
                children: children.clone(),
                annotations: options.annotations.clone(),
                supersede: options.supersede,
            });
        }
        let blocked = [name.tag_path(tag), name.digest_path(&described.digest)]
            .into_iter()
            .filter(|path| is_blocked(&known, path));
        for path in blocked {
            let work = works.entry(RoleName::TARGETS).or_insert_with(|| new(&RoleName::TARGETS));
            work.changes.push(Change::Unblock { path });
        }
    }
    let publisher = Publisher { client, ring };
    let mut already = true;
    let mut last = None;
    for work in works.values() {
        let published = Box::pin(publisher.publish_unless(work, |trusted| nothing_to_do(trusted, work))).await?;
        already &= published.signed.is_empty();
        last = Some(published.updated.trusted);
    }
    // One publish for each role: the last one's state holds them all.
    let last = last.ok_or_else(|| Error::Usage("there is nothing to sign".to_owned()))?;
    check_result(world, name, &ruling, &last, &found)?;
    Ok(found
        .into_iter()
        .map(|(image, manifest, children)| Signed {
            subject: image.subject.clone(),
            manifest,
            children: children.len(),
            already,
        })
        .collect())
}

/// The roles to sign a tag in: the one that was chosen; else every signer that may sign it and whose keys are at hand;
/// else targets.
fn voices(
    trusted: &Trusted,
    ring: &Ring<'_>,
    name: &ImageName,
    tag: &Tag,
    chosen: Option<&str>,
) -> Result<Vec<RoleName>, Error> {
    if chosen == Some(RoleName::TARGETS.as_str()) {
        return Ok(vec![RoleName::TARGETS]);
    }
    let path = name.tag_path(tag);
    let mut voices = Vec::new();
    for delegation in signers(trusted) {
        let role = RoleName::Delegated(delegation.name().to_owned());
        let chosen_one = chosen == Some(delegation.name());
        if chosen_one && !delegation.covers(&path) {
            return Err(Error::Usage(format!(
                "the signer `{role}` may not sign `{tag}`: `boltseal signer list {name}`"
            )));
        }
        let Some(voice) = Voice::of(trusted, &role).filter(|_| delegation.covers(&path)) else { continue };
        if chosen_one || (chosen.is_none() && ring.can_sign(&voice.authority())?) {
            voices.push(role);
        }
    }
    match chosen {
        Some(other) if voices.is_empty() => {
            Err(Error::Usage(format!("`{name}` has no signer `{}`", other.escape_debug())))
        }
        _ if voices.is_empty() => Ok(vec![RoleName::TARGETS]),
        _ => Ok(voices),
    }
}

/// The signers of a collection, without the roles of our own.
pub(super) fn signers(trusted: &Trusted) -> impl Iterator<Item = &Delegation> {
    let roles = trusted.targets.delegations().map(Delegations::roles).unwrap_or_default();
    roles.iter().filter(|delegation| ![signer::REVOKED, signer::TAGS].contains(&delegation.name()))
}

/// Whether no signer may answer for a path.
pub(super) fn is_blocked(trusted: &Trusted, path: &str) -> bool {
    let roles = trusted.targets.delegations().map(Delegations::roles).unwrap_or_default();
    roles.iter().any(|delegation| delegation.name() == signer::REVOKED && delegation.covers(path))
}

/// Whether every tag already holds what it is to hold, by the word of the role that is asked to say so.
fn nothing_to_do(trusted: &Trusted, work: &Work) -> bool {
    let holds = |change: &Change| match change {
        Change::SetTag { tag, manifest, annotations, supersede: false, .. } => {
            trusted.found.iter().any(|(path, found)| {
                let Some(found) = found.as_ref().filter(|_| path.ends_with(&format!(":{tag}"))) else { return false };
                found.role == work.role
                    && Entry::of(&found.role, path, &found.target)
                        .is_ok_and(|entry| entry.manifest == *manifest && entry.custom.annotations == *annotations)
            })
        }
        _ => false,
    };
    work.changes.iter().all(holds)
}

/// The verdict that a client gives on what was just signed: shadowed or changed by others, it is no success.
fn check_result(
    world: &World<'_>,
    name: &ImageName,
    ruling: &Ruling,
    trusted: &Trusted,
    found: &[(&Image, Described, Vec<Described>)],
) -> Result<(), Error> {
    for (image, manifest, _) in found {
        let reference = Reference { digest: None, ..image.subject.reference.clone() };
        let refused = |source| Error::Refused { name: name.clone(), source: Box::new(source) };
        let endorsed = verdict::judge(trusted, &reference, ruling, world.now).map_err(refused)?;
        if endorsed.digest != manifest.digest {
            return Err(Error::WrongBytes {
                image: image.subject.shown(),
                signed: endorsed.digest,
                served: manifest.digest.to_string(),
                location: "what was to be signed".to_owned(),
            });
        }
    }
    Ok(())
}

/// Reads the manifest that the location holds under the tag, and compares it with what was given.
async fn read(repository: &Arc<dyn Repository>, image: &Image) -> Result<Manifest, Error> {
    let subject = &image.subject;
    let Some(tag) = subject.reference.tag.clone() else { return Err(Error::Usage("a tag is missing".to_owned())) };
    let answer = repository.manifest(&Point::Tag(tag), None, MAX_MANIFEST).await?;
    let Conditional::Modified(found) = answer else {
        return Err(Error::Usage("the location answered another question".to_owned()));
    };
    let manifest = Manifest::parse(&found.media_type, found.bytes)
        .map_err(|source| Error::Manifest { image: subject.shown(), source })?;
    let differs = |signed: Digest, served: String| Error::WrongBytes {
        image: subject.shown(),
        signed,
        served,
        location: repository.location(),
    };
    let expected = match (&image.built, subject.reference.digest) {
        (Some(Built::Manifest(digest)), _) => Some(*digest),
        (_, digest) => digest,
    };
    if let Some(expected) = expected.filter(|expected| *expected != manifest.digest) {
        return Err(differs(expected, manifest.digest.to_string()));
    }
    if let Some(Built::Config(expected)) = &image.built {
        let config = match &manifest.kind {
            Kind::Image { config, .. } => config.digest,
            Kind::Index { .. } => return Err(differs(*expected, "an index of several images".to_owned())),
        };
        if config != *expected {
            return Err(differs(*expected, format!("an image with the id {config}")));
        }
    }
    Ok(manifest)
}

fn describe(manifest: &Manifest) -> Described {
    Described { digest: manifest.digest, length: manifest.size(), media_type: manifest.media_type.clone() }
}

fn children(manifest: &Manifest) -> Vec<Described> {
    let described = |child: &crate::image::manifest::Descriptor| Described {
        digest: child.digest,
        length: child.size,
        media_type: child.media_type.clone(),
    };
    manifest.children().iter().map(described).collect()
}
