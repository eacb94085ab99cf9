//! What a watch knows of its collections: for people who ask whether all is well, and for machines that count.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::image::ImageName;
use crate::ops::refresh::Refreshed;
use crate::trust::RoleKind;

/// The state of a watch.
#[derive(Debug)]
pub struct State(Mutex<BTreeMap<ImageName, Seen>>);

/// What is known of one collection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// When each top-level role expires, as the last good refresh read it.
    pub expiries: BTreeMap<RoleKind, Timestamp>,
    /// When the last good refresh ended.
    pub last_success: Option<Timestamp>,
    /// How many refreshes went well.
    pub successes: u64,
    /// How many failed.
    pub failures: u64,
    /// How often each role was signed again.
    pub signed: BTreeMap<RoleKind, u64>,
    /// Why the last refresh failed, where it did.
    pub failing: Option<String>,
    /// Roles that will expire because their keys are elsewhere.
    pub pressing: Vec<(RoleKind, Timestamp)>,
}

impl State {
    /// Of these collections, none refreshed yet.
    pub fn new(names: &[ImageName]) -> Self {
        Self(Mutex::new(names.iter().map(|name| (name.clone(), Seen::default())).collect()))
    }

    /// Notes how a refresh ended.
    pub fn note(&self, name: &ImageName, now: Timestamp, outcome: &Result<Refreshed, String>) {
        let mut all = self.lock();
        let seen = all.entry(name.clone()).or_default();
        match outcome {
            Ok(refreshed) => {
                seen.expiries.clone_from(&refreshed.expiries);
                seen.pressing.clone_from(&refreshed.pressing);
                seen.last_success = Some(now);
                seen.successes += 1;
                seen.failing = None;
                for role in &refreshed.signed {
                    *seen.signed.entry(*role).or_default() += 1;
                }
            }
            Err(reason) => {
                seen.failures += 1;
                seen.failing = Some(reason.clone());
            }
        }
    }

    /// Everything that is known.
    pub fn all(&self) -> BTreeMap<ImageName, Seen> {
        self.lock().clone()
    }

    /// Why not all is well: a collection that was never refreshed, has expired, or whose last refresh failed. None
    /// where all is.
    pub fn reasons(&self, now: Timestamp) -> Vec<String> {
        self.lock().iter().flat_map(|(name, seen)| seen.reasons(name, now)).collect()
    }

    /// What a person has to do something about before it becomes a reason.
    pub fn warnings(&self) -> Vec<String> {
        let say = |name: &ImageName, (role, at): &(RoleKind, Timestamp)| {
            format!("{name}: {role} expires at {at}, and its key is not at hand")
        };
        self.lock().iter().flat_map(|(name, seen)| seen.pressing.iter().map(move |role| say(name, role))).collect()
    }

    /// What is noted is whole whatever a thread did that held it.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ImageName, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn reasons(&self, name: &ImageName, now: Timestamp) -> Vec<String> {
        let expired = self.expiries.iter().filter(|(_, at)| **at <= now);
        let mut reasons: Vec<String> = expired.map(|(role, at)| format!("{name}: {role} expired at {at}")).collect();
        match (&self.failing, self.last_success) {
            (Some(reason), _) => reasons.push(format!("{name}: the last refresh failed: {reason}")),
            (None, None) => reasons.push(format!("{name}: not refreshed yet")),
            (None, Some(_)) => {}
        }
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> ImageName {
        "h.x/app".parse().unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn refreshed(expires: i64) -> Refreshed {
        Refreshed {
            signed: [RoleKind::Timestamp].into(),
            expires: at(expires),
            expiries: BTreeMap::from([(RoleKind::Timestamp, at(expires)), (RoleKind::Root, at(9_000))]),
            pressing: Vec::new(),
            ignored: Vec::new(),
        }
    }

    #[test]
    fn all_is_well_only_after_a_good_refresh_and_until_something_expires() {
        let state = State::new(&[name()]);
        assert_eq!(state.reasons(at(0)), ["h.x/app: not refreshed yet"]);
        state.note(&name(), at(0), &Ok(refreshed(100)));
        assert!(state.reasons(at(99)).is_empty());
        assert_eq!(state.reasons(at(100)).len(), 1);
    }

    #[test]
    fn a_failure_counts_until_a_refresh_goes_well_again() {
        let state = State::new(&[name()]);
        state.note(&name(), at(0), &Ok(refreshed(100)));
        state.note(&name(), at(1), &Err("no route".to_owned()));
        assert_eq!(state.reasons(at(2)), ["h.x/app: the last refresh failed: no route"]);
        state.note(&name(), at(3), &Ok(refreshed(100)));
        assert!(state.reasons(at(4)).is_empty());
        let seen = &state.all()[&name()];
        assert_eq!((seen.successes, seen.failures, seen.signed[&RoleKind::Timestamp]), (2, 1, 2));
        assert_eq!(seen.last_success, Some(at(3)));
    }
}
