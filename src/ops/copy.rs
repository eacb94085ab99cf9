//! `copy`: moves verified images with their trust data to another location.
//!
//! - Identity never changes: the trust data go byte for byte and go on to speak for the image name. Whoever reads the
//!   destination maps it with a `[[mirror]]`, and verification there is the same verification.
//! - Only what verifies here is copied, under the policy, by its signed digest; what is not signed stays behind.
//! - Images go before trust data: a reader of the destination never sees a signed tag without its image.
//! - Newer trust data at the destination are never replaced. They are read as a client without memory reads them, so
//!   that what lies there cannot change what this machine remembers.

mod destination;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::client::{Client, Reading, Updated};
use super::error::Error;
use super::transfer::{self, Progress, Transferred};
use super::verify::{notices, update_by};
use super::world::World;
use crate::image::manifest::MAX_MANIFEST;
use crate::image::{Digest, ImageName, Manifest, Reference, Tag};
use crate::registry::head::{self, Head};
use crate::registry::layout::LayoutRepository;
use crate::registry::{self, Conditional, Point, Repository};
use crate::trust::envelope::Envelope;
use crate::trust::policy::{Location, Ruling};
use crate::trust::role::RoleName;
use crate::trust::targets::Targets;
use crate::trust::update::{Expiry, Notice};
use crate::trust::verdict::{self, Endorsement};
use destination::{Destination, Standing};

/// How often the list of signed tags is made anew because the head moved meanwhile.
const MAX_ATTEMPTS: u32 = 5;
/// What the metadata files are called that are no targets roles.
const NO_TARGETS: [&str; 4] = ["root", "timestamp", "snapshot", "absorbed"];
/// Largest targets file that is looked through for tags, in bytes.
const MAX_TARGETS: u64 = 16 << 20;

/// What to copy, and where to.
#[derive(Debug, Clone)]
pub struct Request {
    /// The image name, which stays what it is.
    pub name: ImageName,
    /// Where the bytes come from; by the policy where it is not said.
    pub from: Option<Location>,
    /// Where they go.
    pub to: Location,
    /// The tags; every signed one where there is none.
    pub tags: BTreeSet<Tag>,
}

/// What was copied.
#[derive(Debug)]
pub struct Copied {
    /// The image name.
    pub name: ImageName,
    /// Where the bytes came from.
    pub from: String,
    /// Where they are now.
    pub to: String,
    /// The images.
    pub images: Vec<Image>,
    /// Tags that stayed behind, with the reason.
    pub left: Vec<(Tag, String)>,
    /// The digest of the head.
    pub head: Digest,
    /// Whether the destination had these trust data already.
    pub trust_was_there: bool,
    /// The mirrors that a reader of the destination needs, `location` and `of`.
    pub mirrors: Vec<(String, String)>,
    /// What was odd, in sentences.
    pub notices: Vec<String>,
}

/// A copied image.
#[derive(Debug)]
pub struct Image {
    /// The tag.
    pub tag: Tag,
    /// The signed digest.
    pub digest: Digest,
    /// What went over the wire.
    pub transferred: Transferred,
}

/// Makes the progress of one image.
pub trait Watch: Sync {
    /// The progress of the image under a tag.
    fn image(&self, tag: &Tag) -> Arc<dyn Progress>;
}

/// Copies images and trust data.
///
/// # Errors
/// What a client of the collection refuses; the refusal of a tag that was named; [`Error::Newer`] and
/// [`Error::Occupied`] of the destination; those of both locations.
pub async fn copy(world: &World<'_>, request: &Request, watch: &dyn Watch) -> Result<Copied, Error> {
    let name = &request.name;
    let ruling = world.rule(name)?;
    let source = Source::open(world, request, &ruling)?;
    let verified = source.verify(world, &ruling, &request.tags).await?;
    let to = Destination::open(world, name, &ruling, &request.to)?;
    if to.repository().location() == source.images.location() {
        return Err(Error::Usage(format!("{} is both the source and the destination", source.images.location())));
    }
    let standing = to.standing(&verified.updated).await?;

    let mut images = Vec::new();
    for (tag, endorsement) in &verified.signed {
        let manifest = source.image(name, tag, endorsement).await?;
        let progress = watch.image(tag);
        let transferred =
            transfer::copy_image(&*source.images, &manifest, to.repository(), Some(tag), &progress).await?;
        images.push(Image { tag: tag.clone(), digest: endorsement.digest, transferred });
    }
    if let Location::Layout(folder) = &request.to {
        LayoutRepository::new(Path::new(folder))?.record_name(name).await?;
    }
    let head = verified.updated.head.digest;
    if standing != Standing::Same {
        to.put_trust(&*source.client.repository, head, &standing).await?;
    }
    Ok(Copied {
        name: name.clone(),
        from: source.images.location(),
        to: to.repository().location(),
        images,
        left: verified.left,
        head,
        trust_was_there: standing == Standing::Same,
        mirrors: mirrors(world, name, &ruling, &request.to)?,
        notices: verified.notices,
    })
}

/// The `[[mirror]]` lines without which the policy would look elsewhere than at the destination.
fn mirrors(
    world: &World<'_>,
    name: &ImageName,
    ruling: &Ruling,
    to: &Location,
) -> Result<Vec<(String, String)>, Error> {
    let elsewhere = world.trust_repository.as_ref().or(ruling.trust_repository.as_ref());
    let mut lines = Vec::new();
    for of in std::iter::once(name).chain(elsewhere) {
        if world.policy.location_of(of)? != *to {
            lines.push((to.to_string(), of.to_string()));
        }
    }
    Ok(lines)
}

/// Where images and trust data come from.
struct Source<'a> {
    images: Arc<dyn Repository>,
    client: Client<'a>,
}

/// What verified at the source.
struct Checked {
    updated: Updated,
    signed: BTreeMap<Tag, Endorsement>,
    left: Vec<(Tag, String)>,
    notices: Vec<String>,
}

impl<'a> Source<'a> {
    fn open(world: &'a World<'_>, request: &'a Request, ruling: &Ruling) -> Result<Self, Error> {
        let name = &request.name;
        let mut client = world.client(name, None, ruling, Expiry::Enforce)?;
        let images = match &request.from {
            Some(location) => {
                // What was copied out lies beside its images, whatever the policy says of the first location.
                client.repository = world.registries.open(location)?;
                Arc::clone(&client.repository)
            }
            None => world.images(name, None)?,
        };
        Ok(Self { images, client })
    }

    /// Verifies the wanted tags, or every one that is signed, against one state of the collection.
    async fn verify(&self, world: &World<'_>, ruling: &Ruling, wanted: &BTreeSet<Tag>) -> Result<Checked, Error> {
        let mut odd = Vec::new();
        let listed = if wanted.is_empty() { self.listed(&mut odd).await? } else { wanted.clone() };
        for _ in 0..MAX_ATTEMPTS {
            let mut tags = listed.clone();
            let seen = update_by(&self.client, ruling, &[], Reading::Whole).await?;
            if let Some(rival) = seen.trusted.notices.first() {
                let Notice::Rival { role, version } = rival;
                return Err(Error::Head {
                    location: self.client.repository.location(),
                    reason: format!("it holds other {role} metadata than the trusted under version {version}"),
                });
            }
            if let (true, Some(head)) = (wanted.is_empty(), &seen.manifest) {
                tags.extend(self.named(head).await?);
            }
            let references = tags.iter().map(|tag| self.reference(tag));
            let paths: Vec<String> = references.flat_map(|reference| verdict::wanted(&reference)).collect();
            let updated = update_by(&self.client, ruling, &paths, Reading::Conditional).await?;
            if updated.head.digest == seen.head.digest {
                odd.extend(notices(&updated));
                return self.judge(world, ruling, tags, wanted, updated, odd);
            }
        }
        Err(Error::Contended { name: self.client.name.clone(), attempts: MAX_ATTEMPTS })
    }

    fn judge(
        &self,
        world: &World<'_>,
        ruling: &Ruling,
        tags: BTreeSet<Tag>,
        wanted: &BTreeSet<Tag>,
        updated: Updated,
        notices: Vec<String>,
    ) -> Result<Checked, Error> {
        let (mut signed, mut left) = (BTreeMap::new(), Vec::new());
        for tag in tags {
            match verdict::judge(&updated.trusted, &self.reference(&tag), ruling, world.now) {
                Ok(endorsement) => {
                    signed.insert(tag, endorsement);
                }
                Err(source) if wanted.contains(&tag) => {
                    return Err(Error::Refused { name: self.client.name.clone(), source: Box::new(source) });
                }
                Err(refusal) => left.push((tag, refusal.to_string())),
            }
        }
        Ok(Checked { updated, signed, left, notices })
    }

    fn reference(&self, tag: &Tag) -> Reference {
        Reference { name: self.client.name.clone(), tag: Some(tag.clone()), digest: None }
    }

    /// The tags that the location lists. One that does not list them still has its signed tags copied.
    async fn listed(&self, odd: &mut Vec<String>) -> Result<BTreeSet<Tag>, Error> {
        use registry::Error as E;
        match self.images.tags().await {
            Ok(tags) => Ok(tags.into_iter().filter(|tag| !tag.is_reserved()).collect()),
            Err(E::NotFound { .. }) => Ok(BTreeSet::new()),
            Err(error @ (E::Unsupported { .. } | E::Denied { .. })) => {
                odd.push(format!("unsigned tags are not listed: {error}"));
                Ok(BTreeSet::new())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The tags that any targets role of the head names. Nothing is believed: each of them is looked up and judged.
    async fn named(&self, head: &Head) -> Result<BTreeSet<Tag>, Error> {
        let prefix = format!("{}:", self.client.name);
        let mut tags = BTreeSet::new();
        for layer in head.files() {
            let stem = layer.name.strip_suffix(".json").unwrap_or_default();
            let role = stem.split_once('.').map_or(stem, |(_, role)| role);
            if NO_TARGETS.contains(&role) {
                continue;
            }
            let Some(bytes) = head::read(&*self.client.repository, head, &layer.name, MAX_TARGETS).await? else {
                continue;
            };
            let Ok(file) = Envelope::<Targets>::parse_untrusted(&RoleName::TARGETS, bytes) else { continue };
            let paths =
                file.unverified().iter().filter_map(|(path, _)| path.strip_prefix(&prefix)?.parse::<Tag>().ok());
            tags.extend(paths.filter(|tag| !tag.is_reserved()));
        }
        Ok(tags)
    }

    /// The manifest that is signed, from wherever the tag points now.
    async fn image(&self, name: &ImageName, tag: &Tag, endorsement: &Endorsement) -> Result<Manifest, Error> {
        let image = name.tag_path(tag);
        let location = self.images.location();
        let wrong = |served: String| Error::WrongBytes {
            image: image.clone(),
            signed: endorsement.digest,
            served,
            location: location.clone(),
        };
        let found = match self.images.manifest(&Point::Digest(endorsement.digest), None, MAX_MANIFEST).await {
            Ok(Conditional::Modified(found)) => found,
            Ok(Conditional::NotModified) => return Err(wrong("nothing new".to_owned())),
            Err(e) if e.is_not_found() => return Err(wrong("no such manifest".to_owned())),
            Err(e) => return Err(e.into()),
        };
        if found.digest != endorsement.digest || found.bytes.len() as u64 != endorsement.length {
            return Err(wrong(format!("{} of {} bytes", found.digest, found.bytes.len())));
        }
        Manifest::parse(&endorsement.media_type, found.bytes)
            .map_err(|error| transfer::TransferError::Manifest { digest: endorsement.digest, error }.into())
    }
}
