//! Pins: which roots the person at this machine trusts. There is no silent trust on first use.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use super::envelope::Metadata;
use super::error::Error;
use super::key::KeyId;
use super::role::{RoleKind, Version};
use super::root::Root;
use super::threshold::{self, Authority, RoleKeys, Verified};

/// A pinned root: so many of these keys must have signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Key ids by the specification's rule.
    pub keys: BTreeSet<KeyId>,
    /// How many of them.
    pub threshold: NonZeroU32,
    /// The lowest root version that counts.
    pub min_version: Version,
}

impl Pin {
    /// The pin that a root file stands for: its root keys, its own threshold, and its version as the lowest.
    pub fn of(root: &Root) -> Self {
        Self {
            keys: root.keys_of(RoleKind::Root).map(|(_, key)| key.id()).collect(),
            threshold: root.role(RoleKind::Root).threshold,
            min_version: root.version(),
        }
    }

    /// Whether a root, already verified by its own threshold, meets this pin.
    pub fn is_met_by(&self, root: &Verified<Root>) -> bool {
        // Pins name keys by the id that we compute; the root may list them under other ids.
        let keyids = root.keys().iter().filter(|(_, key)| self.keys.contains(&key.id())).map(|(id, _)| id.clone());
        let role = RoleKeys { keyids: keyids.collect(), threshold: self.threshold };
        let authority = Authority { keys: root.keys(), role: &role, whose: None };
        root.version() >= self.min_version
            && threshold::verify(&RoleKind::Root.into(), root.envelope().clone(), &[authority]).is_ok()
    }
}

/// The error when no root meets the pins.
pub(super) fn not_pinned(reason: impl Into<String>) -> Error {
    Error::NotPinned { reason: reason.into() }
}
