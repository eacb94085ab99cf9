//! Pins: which roots the person at this machine trusts. There is no silent trust on first use.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use bytes::Bytes;

use super::envelope::{Envelope, Metadata};
use super::error::Error;
use super::key::KeyId;
use super::policy;
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
    /// The pin that a policy states.
    ///
    /// # Errors
    /// [`Error::NotPinned`] for a root file that is no root.
    pub fn of_policy(pin: &policy::Pin) -> Result<Self, Error> {
        match pin {
            policy::Pin::Keys(keys) => Ok(Self {
                keys: keys.keys().clone(),
                threshold: u32::try_from(keys.threshold()).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX),
                min_version: keys.min_version(),
            }),
            policy::Pin::File(file) => {
                let bytes = Bytes::from(file.bytes.clone());
                Envelope::<Root>::parse_untrusted(&RoleKind::Root.into(), bytes)
                    .map(|root| Self::of(root.unverified()))
                    .map_err(|e| not_pinned(format!("`{}` is no root file: {e}", file.path)))
            }
        }
    }

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
