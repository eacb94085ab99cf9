//! Intents: what a publisher means to change, signed and laid beside the head before the head is touched.
//!
//! Registries have no compare-and-swap, so a publisher who loses a race must still be found by the one who won it.
//! Anyone can write to a registry: an intent counts only when the keys of the role that it changes signed it, over
//! collection, operation, changes, the role version it started from, and an expiry. One that is unsigned, expired or
//! absorbed already does nothing, and a replayed one does nothing either.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::draft::{Draft, Unsigned};
use super::entry::Change;
use super::envelope::{Binding, Metadata};
use super::error::Error;
use super::role::{RoleKind, RoleName, Version};
use super::time;
use crate::image::ImageName;

/// How long an intent counts. A publisher that stalled longer gives up.
pub const INTENT_LIFE: SignedDuration = SignedDuration::from_hours(1);
/// Most changes in one intent: endless data from whoever can write to the registry.
const MAX_CHANGES: usize = 200_000;

/// The id of one publish: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId([u8; 16]);

impl OpId {
    /// An id from random bytes.
    pub fn new(random: [u8; 16]) -> Self {
        Self(random)
    }
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpId({self})")
    }
}

impl FromStr for OpId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut bytes = [0; 16];
        let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        hex::decode_to_slice(text, &mut bytes).ok().filter(|()| lower).map(|()| Self(bytes)).ok_or(())
    }
}

impl Serialize for OpId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OpId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|()| serde::de::Error::custom("an operation id is not 32 hex digits"))
    }
}

/// The signed part of an intent.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Intent {
    version: Version,
    #[serde(deserialize_with = "time::deserialize")]
    expires: Timestamp,
    /// The operation.
    pub op: OpId,
    /// The role that it changes.
    pub role: String,
    /// The version of that role that its author saw.
    pub base: Version,
    /// What its author means.
    pub changes: Vec<Change>,
    #[serde(rename = "x-boltseal", default)]
    binding: Option<Binding>,
}

impl Intent {
    /// A new intent, to be signed by the keys of `role`.
    ///
    /// # Errors
    /// [`Error::BadEdit`] for more changes than one intent may hold.
    pub fn draft(
        collection: &ImageName,
        op: OpId,
        role: &RoleName,
        base: Version,
        changes: &[Change],
        now: Timestamp,
    ) -> Result<Unsigned, Error> {
        if changes.len() > MAX_CHANGES {
            return Err(Error::BadEdit(format!("one publish changes at most {MAX_CHANGES} tags")));
        }
        let expires = now.checked_add(INTENT_LIFE).map_err(|e| Error::BadEdit(e.to_string()))?;
        Draft::other(
            role.clone(),
            Self::TYPE,
            collection,
            json!({
                "version": 1, "expires": time::format(expires), "op": op, "role": role.as_str(), "base": base,
                "changes": changes,
            }),
        )
        .close()
    }
}

impl Metadata for Intent {
    const TYPE: &'static str = "boltseal-intent";

    fn version(&self) -> Version {
        self.version
    }

    fn expires(&self) -> Timestamp {
        self.expires
    }

    fn binding(&self) -> Option<&Binding> {
        self.binding.as_ref()
    }

    fn check(&self) -> Result<(), String> {
        if self.changes.len() > MAX_CHANGES {
            return Err("it has too many changes".to_owned());
        }
        Ok(())
    }
}

/// The operations that a state has absorbed, with the instants at which their intents expire.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Absorbed(BTreeMap<OpId, Timestamp>);

impl Absorbed {
    /// Reads the list.
    ///
    /// # Errors
    /// A reason.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let role: RoleName = RoleKind::Timestamp.into();
        let malformed = |reason: String| Error::Malformed { role: role.clone(), reason };
        let raw: BTreeMap<OpId, String> = serde_json::from_slice(bytes).map_err(|e| malformed(e.to_string()))?;
        let read = raw.into_iter().map(|(op, at)| Ok((op, time::parse(&at).map_err(malformed)?)));
        read.collect::<Result<_, Error>>().map(Self)
    }

    /// Writes the list; equal lists give equal bytes.
    pub fn encode(&self) -> Bytes {
        let raw: BTreeMap<OpId, String> = self.0.iter().map(|(op, at)| (*op, time::format(*at))).collect();
        serde_json::to_vec(&raw).unwrap_or_default().into()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an operation is absorbed.
    pub fn contains(&self, op: &OpId) -> bool {
        self.0.contains_key(op)
    }

    /// Notes an operation.
    pub fn add(&mut self, op: OpId, expires: Timestamp) {
        self.0.insert(op, expires);
    }

    /// The operations whose intents have expired: those may be removed from the registry.
    pub fn expired(&self, now: Timestamp) -> BTreeSet<OpId> {
        self.0.iter().filter(|(_, at)| **at <= now).map(|(op, _)| *op).collect()
    }

    /// Drops what has expired: an expired intent counts no more, also when somebody lays it out again.
    pub fn prune(&mut self, now: Timestamp) {
        self.0.retain(|_, at| *at > now);
    }
}
