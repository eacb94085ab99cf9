//! Targets roles, the top-level one and delegated ones (TUF 4.5).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::delegation::Delegations;
use super::envelope::{Binding, Metadata};
use super::hashes::Hashes;
use super::json;
use super::role::Version;
use super::time;

/// The signed part of a targets role.
#[derive(Debug, Clone, Deserialize)]
pub struct Targets {
    version: Version,
    #[serde(deserialize_with = "time::deserialize")]
    expires: Timestamp,
    #[serde(rename = "targets")]
    entries: BTreeMap<String, Target>,
    #[serde(default, deserialize_with = "json::present")]
    delegations: Option<Delegations>,
    #[serde(rename = "x-boltseal", default)]
    binding: Option<Binding>,
}

/// What is signed of one target: for an image, of one manifest.
#[derive(Debug, Clone, Deserialize)]
pub struct Target {
    /// The length of the manifest in bytes.
    pub length: u64,
    /// Its hashes.
    pub hashes: Hashes,
    /// What else is said of it; parsed only by who needs it.
    #[serde(default)]
    pub custom: Option<Box<RawValue>>,
}

impl Targets {
    /// The entry of a target path.
    pub fn target(&self, path: &str) -> Option<&Target> {
        self.entries.get(path)
    }

    /// All entries in the order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Target)> {
        self.entries.iter().map(|(path, target)| (path.as_str(), target))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// To whom it delegates.
    pub fn delegations(&self) -> Option<&Delegations> {
        self.delegations.as_ref()
    }
}

impl Metadata for Targets {
    const TYPE: &'static str = "targets";

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
        self.delegations.as_ref().map_or(Ok(()), Delegations::check)
    }
}
