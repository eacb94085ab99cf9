//! The root role: which keys every top-level role has (TUF 4.3).

use jiff::Timestamp;
use serde::Deserialize;

use super::envelope::{Binding, Metadata};
use super::key::{Key, KeyId, Material};
use super::role::{RoleKind, Version};
use super::threshold::{Authority, Keys, RoleKeys};
use super::time;

/// The signed part of root metadata.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Root {
    version: Version,
    #[serde(deserialize_with = "time::deserialize")]
    expires: Timestamp,
    #[serde(default)]
    consistent_snapshot: bool,
    keys: Keys,
    roles: Roles,
    #[serde(rename = "x-boltseal", default)]
    binding: Option<Binding>,
}

/// The four roles that root must define; a missing one does not parse.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Roles {
    root: RoleKeys,
    timestamp: RoleKeys,
    snapshot: RoleKeys,
    targets: RoleKeys,
}

impl Root {
    /// All keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The key ids and threshold of a role.
    pub fn role(&self, kind: RoleKind) -> &RoleKeys {
        match kind {
            RoleKind::Root => &self.roles.root,
            RoleKind::Timestamp => &self.roles.timestamp,
            RoleKind::Snapshot => &self.roles.snapshot,
            RoleKind::Targets => &self.roles.targets,
        }
    }

    /// The authority of a role under this root.
    pub fn authority(&self, kind: RoleKind) -> Authority<'_> {
        Authority { keys: &self.keys, role: self.role(kind), whose: None }
    }

    /// The keys of a role.
    pub fn keys_of(&self, kind: RoleKind) -> impl Iterator<Item = (&KeyId, &Key)> {
        self.keys.of(self.role(kind))
    }

    /// Whether metadata files carry their version in their names (TUF 6.2).
    pub fn consistent_snapshot(&self) -> bool {
        self.consistent_snapshot
    }

    /// Whether `next` asks more for a role than this root did: a key is gone or has another id, or the threshold went
    /// up. Files signed under this root then need not verify under the next one (TUF 5.3.11).
    pub fn rotates(&self, kind: RoleKind, next: &Root) -> bool {
        let kept: Vec<_> = next.keys_of(kind).map(|(id, key)| (id, key.material())).collect();
        self.role(kind).threshold < next.role(kind).threshold
            || self.keys_of(kind).any(|(id, key)| !kept.contains(&(id, key.material())))
    }

    /// A key that is both a root key and a key of timestamp or snapshot, where there is one: whoever holds the online
    /// key would hold the root.
    pub fn online_root_key(&self) -> Option<&KeyId> {
        let online: Vec<&Material> = [RoleKind::Timestamp, RoleKind::Snapshot]
            .into_iter()
            .flat_map(|kind| self.keys_of(kind))
            .map(|(_, key)| key.material())
            .collect();
        self.keys_of(RoleKind::Root).find(|(_, key)| online.contains(&key.material())).map(|(id, _)| id)
    }
}

impl Metadata for Root {
    const TYPE: &'static str = "root";

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
        RoleKind::ALL.into_iter().try_for_each(|kind| self.role(kind).check(kind.as_str()))
    }
}
