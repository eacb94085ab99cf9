//! The fourth stage: the top-level targets role that the snapshot promises (TUF 5.6).

use super::search::SearchStage;
use super::{Answer, Context, Request, Stage, Step, recalled, required};
use crate::trust::error::Error;
use crate::trust::role::{RoleKind, RoleName};
use crate::trust::root::Root;
use crate::trust::snapshot::{FileMeta, Snapshot, Timestamp};
use crate::trust::targets::Targets;
use crate::trust::threshold::Verified;

const TARGETS: RoleName = RoleName::TARGETS;

#[derive(Debug)]
pub(super) struct TargetsStage {
    root: Verified<Root>,
    timestamp: Verified<Timestamp>,
    snapshot: Verified<Snapshot>,
    recalled: bool,
}

impl TargetsStage {
    pub(super) fn new(root: Verified<Root>, timestamp: Verified<Timestamp>, snapshot: Verified<Snapshot>) -> Self {
        Self { root, timestamp, snapshot, recalled: false }
    }

    pub(super) fn want(&self, context: &Context) -> Step {
        if !self.recalled {
            return Step::Recall(TARGETS);
        }
        Step::Fetch(request(&TARGETS, self.promise(), &self.root, context))
    }

    fn promise(&self) -> &FileMeta {
        self.snapshot.role(&TARGETS).expect("a snapshot without targets.json does not parse")
    }

    pub(super) fn answer(mut self: Box<Self>, answer: Answer, context: &mut Context) -> Result<Stage, Error> {
        let authority = self.root.authority(RoleKind::Targets);
        let targets: Verified<Targets> = if self.recalled {
            let offered = context.verify_promised(&TARGETS, required(&TARGETS, answer)?, self.promise(), authority)?;
            context.persist(&TARGETS, &offered);
            offered
        } else {
            self.recalled = true;
            let remembered = recalled(answer);
            // What memory holds of an older version is no floor: the snapshot already is.
            match remembered.and_then(|b| context.verify_promised(&TARGETS, b, self.promise(), authority).ok()) {
                Some(current) => current,
                None => return Ok(Stage::Targets(self)),
            }
        };
        SearchStage::begin(self.root, self.timestamp, self.snapshot, targets, context)
    }
}

/// The request for a targets file, delegated or not (TUF 5.6.1).
pub(super) fn request(role: &RoleName, promise: &FileMeta, root: &Root, context: &Context) -> Request {
    let cap = context.rules.limits.targets;
    Request {
        role: role.clone(),
        version: root.consistent_snapshot().then_some(promise.version),
        max: promise.length.unwrap_or(cap).min(cap),
    }
}
