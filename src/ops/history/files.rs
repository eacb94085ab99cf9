//! The metadata files that are still held: by the head, as its predecessor's, and in this machine's memory.

use bytes::Bytes;

use super::super::error::Error;
use super::super::world::World;
use super::Held;
use crate::image::ImageName;
use crate::registry::head::{self, Head, Layer};
use crate::registry::{self, Repository};
use crate::trust::limits::Limits;
use crate::trust::role::{RoleKind, RoleName};
use crate::trust::snapshot::FileMeta;

/// Most former timestamps that are read: a head has one. Stops a hostile one from listing thousands.
const MAX_FORMER: usize = 16;

/// Where files are looked for.
pub(super) struct Files<'a> {
    repository: &'a dyn Repository,
    head: Option<&'a Head>,
    /// Timestamp, snapshot and targets as this machine remembers them.
    remembered: Vec<(RoleKind, Bytes)>,
}

impl<'a> Files<'a> {
    pub(super) fn of(
        repository: &'a dyn Repository,
        head: Option<&'a Head>,
        world: &World<'_>,
        name: &ImageName,
    ) -> Result<Self, Error> {
        let memory = world.store.open(name)?;
        let mut remembered = Vec::new();
        for kind in [RoleKind::Timestamp, RoleKind::Snapshot, RoleKind::Targets] {
            if let Some(bytes) = memory.read(&RoleName::Top(kind).file_name(None))? {
                remembered.push((kind, bytes));
            }
        }
        Ok(Self { repository, head, remembered })
    }

    /// Every timestamp that is held, with the place.
    pub(super) async fn timestamps(&self, notices: &mut Vec<String>) -> Result<Vec<(Held, Bytes)>, Error> {
        let (file, max) = (RoleName::from(RoleKind::Timestamp).file_name(None), Limits::default().timestamp);
        let mut found = Vec::new();
        if let Some(head) = self.head {
            let present = head::read(self.repository, head, &file, max).await?;
            found.extend(present.map(|bytes| (Held::Head, bytes)));
            for layer in head.former().filter(|layer| layer.name == file).take(MAX_FORMER) {
                match self.open(layer, max).await {
                    Ok(bytes) => found.push((Held::Predecessor, bytes)),
                    Err(e) => notices.push(format!("a former timestamp cannot be read: {e}")),
                }
            }
        }
        let own = self.remembered.iter().find(|(kind, _)| *kind == RoleKind::Timestamp);
        found.extend(own.map(|(_, bytes)| (Held::Memory, bytes.clone())));
        Ok(found)
    }

    /// The file of a role that fits a promise, wherever it is held; none where it is nowhere.
    pub(super) async fn promised(&self, role: &RoleName, promise: &FileMeta) -> Result<Option<Bytes>, Error> {
        let limits = Limits::default();
        let max = promise.length.unwrap_or(if *role == RoleName::TARGETS { limits.targets } else { limits.snapshot });
        for (kind, bytes) in &self.remembered {
            if RoleName::Top(*kind) == *role && promise.check(bytes).is_ok() {
                return Ok(Some(bytes.clone()));
            }
        }
        let file = role.file_name(Some(promise.version));
        let layers = self.head.into_iter().flat_map(|head| head.files().chain(head.former()));
        for layer in layers.filter(|layer| layer.name == file).take(MAX_FORMER) {
            // A former file that is gone or spoilt is one that is not held.
            match self.open(layer, max).await {
                Ok(bytes) if promise.check(&bytes).is_ok() => return Ok(Some(bytes)),
                _ => {}
            }
        }
        Ok(None)
    }

    async fn open(&self, layer: &Layer, max: u64) -> Result<Bytes, registry::Error> {
        let broken = |e: head::HeadError| registry::Error::Broken {
            location: self.repository.location(),
            message: e.to_string(),
        };
        layer.check_size(max).map_err(broken)?;
        let blob = match &layer.inline {
            Some(data) => data.clone(),
            None => self.repository.blob(&layer.digest, layer.size).await?,
        };
        layer.open(blob, max).map_err(broken)
    }
}
