//! The second stage: the timestamp, always fetched, never lower than the one in memory (TUF 5.4).

use std::cmp::Ordering;

use super::snapshot::SnapshotStage;
use super::{Answer, Context, Notice, Profile, Request, Stage, Step, recalled, required};
use crate::trust::envelope::Metadata;
use crate::trust::error::Error;
use crate::trust::role::{RoleKind, RoleName};
use crate::trust::root::Root;
use crate::trust::snapshot::Timestamp;
use crate::trust::threshold::Verified;

const TIMESTAMP: RoleName = RoleName::Top(RoleKind::Timestamp);

#[derive(Debug)]
pub(super) struct TimestampStage {
    root: Verified<Root>,
    /// The one in memory, perhaps expired: the floor.
    floor: Option<Verified<Timestamp>>,
    recalled: bool,
}

impl TimestampStage {
    pub(super) fn new(root: Verified<Root>) -> Self {
        Self { root, floor: None, recalled: false }
    }

    pub(super) fn want(&self, context: &Context) -> Step {
        if self.recalled {
            // TUF 5.4.1: its name never carries a version.
            Step::Fetch(Request { role: TIMESTAMP, version: None, max: context.rules.limits.timestamp })
        } else {
            Step::Recall(TIMESTAMP)
        }
    }

    pub(super) fn answer(mut self: Box<Self>, answer: Answer, context: &mut Context) -> Result<Stage, Error> {
        let authority = self.root.authority(RoleKind::Timestamp);
        if !self.recalled {
            self.recalled = true;
            if let Some(bytes) = recalled(answer) {
                match (context.verify(&TIMESTAMP, bytes, &[authority]), &context.rules.profile) {
                    (Ok(floor), _) => self.floor = Some(floor),
                    (Err(e), Profile::Image { .. }) => {
                        return Err(Error::Damaged { role: TIMESTAMP, reason: e.to_string() });
                    }
                    // Nothing may brick a plain client (TUF 5.1): it goes on without.
                    (Err(_), Profile::Plain) => {}
                }
            }
            return Ok(Stage::Timestamp(self));
        }
        let offered: Verified<Timestamp> = context.verify(&TIMESTAMP, required(&TIMESTAMP, answer)?, &[authority])?;
        let timestamp = match self.floor {
            None => accept(offered, context)?,
            Some(floor) => match offered.version().cmp(&floor.version()) {
                // TUF 5.4.3.1: the same version again is no error and changes nothing.
                Ordering::Equal => {
                    if offered.message() != floor.message() {
                        context.notices.push(Notice::Rival { role: TIMESTAMP, version: floor.version() });
                    }
                    check_lifetime(&floor, context)?;
                    floor
                }
                Ordering::Less => {
                    return Err(Error::Rollback { role: TIMESTAMP, have: floor.version(), got: offered.version() });
                }
                Ordering::Greater => {
                    // TUF 5.4.3.2: the snapshot inside must not go down either.
                    let (have, got) = (floor.snapshot().version, offered.snapshot().version);
                    if got < have {
                        return Err(Error::Rollback { role: RoleKind::Snapshot.into(), have, got });
                    }
                    accept(offered, context)?
                }
            },
        };
        Ok(Stage::Snapshot(Box::new(SnapshotStage::new(self.root, timestamp))))
    }
}

fn accept(offered: Verified<Timestamp>, context: &mut Context) -> Result<Verified<Timestamp>, Error> {
    check_lifetime(&offered, context)?;
    context.persist(&TIMESTAMP, &offered);
    Ok(offered)
}

/// TUF 5.4.4, and for images the cap on how far ahead a timestamp may promise.
fn check_lifetime(timestamp: &Timestamp, context: &Context) -> Result<(), Error> {
    context.check_expiry(&TIMESTAMP, timestamp)?;
    match &context.rules.profile {
        Profile::Image { max_timestamp_life, .. }
            if timestamp.expires().duration_since(context.rules.now) > *max_timestamp_life =>
        {
            Err(Error::TooLongLived { at: timestamp.expires(), days: max_timestamp_life.as_hours() / 24 })
        }
        _ => Ok(()),
    }
}
