//! The timestamp and snapshot roles: which versions are current (TUF 4.4, 4.6).

use std::collections::BTreeMap;

use jiff::Timestamp as Instant;
use serde::Deserialize;

use super::envelope::{Binding, Metadata};
use super::hashes::Hashes;
use super::json;
use super::role::{RoleName, Version};
use super::time;

/// What a parent promises of a metadata file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FileMeta {
    /// The version.
    pub version: Version,
    /// The length of the file in bytes.
    #[serde(default, deserialize_with = "json::present")]
    pub length: Option<u64>,
    /// The hashes of the file.
    #[serde(default, deserialize_with = "json::present")]
    pub hashes: Option<Hashes>,
}

impl FileMeta {
    /// Checks a file's bytes against the promised length and hashes, before it is parsed (TUF 5.5.2, 5.6.2).
    ///
    /// # Errors
    /// A reason.
    pub fn check(&self, bytes: &[u8]) -> Result<(), String> {
        if let Some(length) = self.length.filter(|&length| length != bytes.len() as u64) {
            return Err(format!("it has {} bytes, {length} were promised", bytes.len()));
        }
        match &self.hashes {
            Some(hashes) if !hashes.fit(bytes) => Err("its hash is not the promised one".to_owned()),
            _ => Ok(()),
        }
    }
}

/// The signed part of timestamp metadata.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Timestamp {
    version: Version,
    #[serde(deserialize_with = "time::deserialize")]
    expires: Instant,
    meta: TimestampMeta,
    #[serde(rename = "x-boltseal", default)]
    binding: Option<Binding>,
}

/// TUF 4.6: the timestamp describes the snapshot and nothing else.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct TimestampMeta {
    #[serde(rename = "snapshot.json")]
    snapshot: FileMeta,
}

impl Timestamp {
    /// What it promises of the snapshot.
    pub fn snapshot(&self) -> &FileMeta {
        &self.meta.snapshot
    }
}

impl Metadata for Timestamp {
    const TYPE: &'static str = "timestamp";

    fn version(&self) -> Version {
        self.version
    }

    fn expires(&self) -> Instant {
        self.expires
    }

    fn binding(&self) -> Option<&Binding> {
        self.binding.as_ref()
    }
}

/// The signed part of snapshot metadata.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Snapshot {
    version: Version,
    #[serde(deserialize_with = "time::deserialize")]
    expires: Instant,
    meta: BTreeMap<String, FileMeta>,
    #[serde(rename = "x-boltseal", default)]
    binding: Option<Binding>,
}

impl Snapshot {
    /// What it promises of a targets role; none for a role that it does not list.
    pub fn role(&self, role: &RoleName) -> Option<&FileMeta> {
        self.file(&format!("{}.json", role.as_str()))
    }

    /// What it promises of a file, named as metadata spells it (`<role>.json`).
    pub fn file(&self, name: &str) -> Option<&FileMeta> {
        self.meta.get(name)
    }

    /// Every listed file name, as metadata spells it (`<role>.json`), with its promise.
    pub fn files(&self) -> impl Iterator<Item = (&str, &FileMeta)> {
        self.meta.iter().map(|(name, meta)| (name.as_str(), meta))
    }
}

impl Metadata for Snapshot {
    const TYPE: &'static str = "snapshot";

    fn version(&self) -> Version {
        self.version
    }

    fn expires(&self) -> Instant {
        self.expires
    }

    fn binding(&self) -> Option<&Binding> {
        self.binding.as_ref()
    }

    fn check(&self) -> Result<(), String> {
        // TUF 4.4: the top-level targets role is always listed.
        if self.meta.contains_key("targets.json") { Ok(()) } else { Err("it does not list `targets.json`".to_owned()) }
    }
}
