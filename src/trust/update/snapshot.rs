//! The third stage: the snapshot that the timestamp promises, with no listed role gone or lowered (TUF 5.5).

use super::targets::TargetsStage;
use super::{Answer, Context, Profile, Request, Stage, Step, recalled, required};
use crate::trust::envelope::Metadata;
use crate::trust::error::Error;
use crate::trust::role::{RoleKind, RoleName};
use crate::trust::root::Root;
use crate::trust::snapshot::{Snapshot, Timestamp};
use crate::trust::threshold::Verified;

const SNAPSHOT: RoleName = RoleName::Top(RoleKind::Snapshot);

#[derive(Debug)]
pub(super) struct SnapshotStage {
    root: Verified<Root>,
    timestamp: Verified<Timestamp>,
    /// The one in memory, perhaps expired: the floor.
    floor: Option<Verified<Snapshot>>,
    recalled: bool,
}

impl SnapshotStage {
    pub(super) fn new(root: Verified<Root>, timestamp: Verified<Timestamp>) -> Self {
        Self { root, timestamp, floor: None, recalled: false }
    }

    pub(super) fn want(&self, context: &Context) -> Step {
        if !self.recalled {
            return Step::Recall(SNAPSHOT);
        }
        let promise = self.timestamp.snapshot();
        Step::Fetch(Request {
            role: SNAPSHOT,
            version: self.root.consistent_snapshot().then_some(promise.version),
            max: promise.length.unwrap_or(context.rules.limits.snapshot).min(context.rules.limits.snapshot),
        })
    }

    pub(super) fn answer(mut self: Box<Self>, answer: Answer, context: &mut Context) -> Result<Stage, Error> {
        let authority = self.root.authority(RoleKind::Snapshot);
        let promise = self.timestamp.snapshot();
        if !self.recalled {
            self.recalled = true;
            let Some(bytes) = recalled(answer) else { return Ok(Stage::Snapshot(self)) };
            if let Ok(current) = context.verify_promised(&SNAPSHOT, bytes.clone(), promise, authority) {
                return Ok(Stage::Targets(Box::new(TargetsStage::new(self.root, self.timestamp, current))));
            }
            match (context.verify(&SNAPSHOT, bytes, &[authority]), &context.rules.profile) {
                (Ok(floor), _) => self.floor = Some(floor),
                (Err(e), Profile::Image { .. }) => {
                    return Err(Error::Damaged { role: SNAPSHOT, reason: e.to_string() });
                }
                (Err(_), Profile::Plain) => {}
            }
            return Ok(Stage::Snapshot(self));
        }
        let snapshot: Verified<Snapshot> =
            context.verify_promised(&SNAPSHOT, required(&SNAPSHOT, answer)?, promise, authority)?;
        if let Some(floor) = &self.floor {
            check_rollback(floor, &snapshot)?;
        }
        context.persist(&SNAPSHOT, &snapshot);
        Ok(Stage::Targets(Box::new(TargetsStage::new(self.root, self.timestamp, snapshot))))
    }
}

/// TUF 5.5.5: no listed targets file may vanish or go down; also where hashes are given, also where the floor expired.
/// Nor may the snapshot itself, where the timestamp that promised the floor is no longer remembered.
fn check_rollback(floor: &Verified<Snapshot>, offered: &Verified<Snapshot>) -> Result<(), Error> {
    if offered.version() < floor.version() {
        return Err(Error::Rollback { role: SNAPSHOT, have: floor.version(), got: offered.version() });
    }
    for (file, before) in floor.files() {
        let now = offered.file(file);
        if now.is_some_and(|now| now.version >= before.version) {
            continue;
        }
        let name = file.strip_suffix(".json").unwrap_or(file);
        let role = name.parse::<RoleKind>().map_or_else(|()| RoleName::Delegated(name.to_owned()), RoleName::Top);
        return Err(match now {
            Some(now) => Error::Rollback { role, have: before.version, got: now.version },
            None => Error::Contradiction { role, reason: "the snapshot no longer lists it".to_owned() },
        });
    }
    Ok(())
}
