//! Where trust data are copied to: what lies there already, and how it is replaced.

use std::cmp::Ordering;
use std::sync::Arc;

use super::super::client::{Client, Reading, Updated};
use super::super::error::Error;
use super::super::transfer::{self, Progress, TransferError, Unwatched};
use super::super::world::World;
use crate::image::manifest::MAX_MANIFEST;
use crate::image::{Digest, ImageName, Manifest};
use crate::registry::head::Head;
use crate::registry::{self, Conditional, Point, Repository};
use crate::store::MemoryStore;
use crate::trust::policy::{Location, Ruling};
use crate::trust::role::RoleKind;
use crate::trust::update::{Expiry, Trusted};

/// What the tags of a publisher's intents begin with: they belong to one location and are not copied.
const INTENTS: &str = "trust.tuf.i-";

/// How the destination's trust data stand to those of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// There are none.
    Absent,
    /// They are the same.
    Same,
    /// They are older, under this head.
    Older(Digest),
}

/// A destination.
pub(super) struct Destination<'a> {
    world: &'a World<'a>,
    name: &'a ImageName,
    ruling: &'a Ruling,
    repository: Arc<dyn Repository>,
}

impl<'a> Destination<'a> {
    pub(super) fn open(
        world: &'a World<'_>,
        name: &'a ImageName,
        ruling: &'a Ruling,
        to: &Location,
    ) -> Result<Self, Error> {
        Ok(Self { world, name, ruling, repository: world.registries.open(to)? })
    }

    pub(super) fn repository(&self) -> &dyn Repository {
        &*self.repository
    }

    /// Compares what lies here with what is to come. A newer root outranks everything: after its keys were rotated,
    /// the other roles may count from the beginning.
    pub(super) async fn standing(&self, ours: &Updated) -> Result<Standing, Error> {
        let Some(theirs) = self.read().await? else { return Ok(Standing::Absent) };
        let newer =
            |reason: String| Error::Newer { name: self.name.clone(), location: self.repository.location(), reason };
        for kind in [RoleKind::Root, RoleKind::Timestamp] {
            let (have, offered) = (theirs.trusted.versions()[&kind], ours.trusted.versions()[&kind]);
            match have.cmp(&offered) {
                Ordering::Greater => {
                    return Err(newer(format!("its {kind} has version {have}, what was to be copied {offered}")));
                }
                Ordering::Less => return Ok(Standing::Older(theirs.head.digest)),
                Ordering::Equal => {}
            }
        }
        if same(&theirs.trusted, &ours.trusted) {
            return Ok(Standing::Same);
        }
        Err(newer("it holds other metadata under the same versions".to_owned()))
    }

    /// The trust data here, as somebody without memory verifies them; expired ones are still newer or older.
    async fn read(&self) -> Result<Option<Updated>, Error> {
        let store = MemoryStore::new();
        let client = Client {
            repository: Arc::clone(&self.repository),
            store: &store,
            floors: std::collections::BTreeMap::new(),
            ..self.world.client(self.name, None, self.ruling, Expiry::UnsafeIgnore)?
        };
        match client.update(&[], Reading::Whole).await {
            Ok(updated) => Ok(Some(updated)),
            Err(Error::NoTrustData { .. }) => Ok(None),
            Err(source @ (Error::Trust { .. } | Error::Head { .. })) => Err(Error::Occupied {
                name: self.name.clone(),
                location: self.repository.location(),
                source: Box::new(source),
            }),
            Err(e) => Err(e),
        }
    }

    /// Copies the head `digest` with everything below it, blobs first and the head's tag last.
    pub(super) async fn put_trust(
        &self,
        from: &dyn Repository,
        digest: Digest,
        standing: &Standing,
    ) -> Result<(), Error> {
        let to = &*self.repository;
        let found = fetch(from, &Point::Digest(digest)).await?;
        let head = Manifest::parse_object(&found.media_type, found.bytes)
            .map_err(|error| TransferError::Manifest { digest, error })?;
        let unwatched: Arc<dyn Progress> = Arc::new(Unwatched);
        transfer::copy_image(from, &head, to, None, &unwatched).await?;
        self.tag_children(from, &head).await?;

        let point = Point::Tag(Head::tag());
        let present = match fetch(to, &point).await {
            Ok(present) => Some(present),
            Err(e) if e.is_not_found() => None,
            Err(e) => return Err(e.into()),
        };
        let expected = match standing {
            Standing::Older(digest) => Some(*digest),
            Standing::Absent | Standing::Same => None,
        };
        let contended = || Error::Contended { name: self.name.clone(), attempts: 1 };
        if present.as_ref().map(|present| present.digest) != expected {
            return Err(contended());
        }
        let etag = present.and_then(|present| present.etag);
        to.put_manifest(&point, &head.media_type, head.bytes.clone(), etag.as_deref()).await?;
        let seen = fetch(to, &point).await?;
        if seen.digest == digest { Ok(()) } else { Err(contended()) }
    }

    /// Gives children of an index the tags that keep them from being collected as garbage.
    async fn tag_children(&self, from: &dyn Repository, head: &Manifest) -> Result<(), Error> {
        let children = head.children();
        if children.is_empty() {
            return Ok(());
        }
        let own = |tag: &crate::image::Tag| tag.is_reserved() && !tag.as_str().starts_with(INTENTS);
        for tag in from.tags().await?.into_iter().filter(|tag| own(tag) && *tag != Head::tag()) {
            let point = Point::Tag(tag);
            let found = fetch(from, &point).await?;
            if children.iter().any(|child| child.digest == found.digest) {
                self.repository.put_manifest(&point, &found.media_type, found.bytes, None).await?;
            }
        }
        Ok(())
    }
}

/// Whether both are one state; what they share but the signatures does not matter.
fn same(theirs: &Trusted, ours: &Trusted) -> bool {
    theirs.timestamp.bytes() == ours.timestamp.bytes() && theirs.root.bytes() == ours.root.bytes()
}

async fn fetch(from: &dyn Repository, point: &Point) -> Result<registry::Manifest, registry::Error> {
    match from.manifest(point, None, MAX_MANIFEST).await? {
        Conditional::Modified(found) => Ok(found),
        Conditional::NotModified => Err(registry::Error::Broken {
            location: from.location(),
            message: "it says that nothing changed, and was not asked so".to_owned(),
        }),
    }
}
