//! Role names and versions.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest role name accepted, in bytes: it becomes a file name after percent-encoding.
const MAX_ROLE_NAME: usize = 200;

/// The four top-level roles of TUF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleKind {
    /// Says which keys every top-level role has.
    Root,
    /// Says which snapshot is current.
    Timestamp,
    /// Says which version of every targets role is current.
    Snapshot,
    /// Says what the targets are, and delegates.
    Targets,
}

impl RoleKind {
    /// All four, in the order of the specification's client workflow.
    pub const ALL: [Self; 4] = [Self::Root, Self::Timestamp, Self::Snapshot, Self::Targets];

    /// The role's name in metadata, lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Timestamp => "timestamp",
            Self::Snapshot => "snapshot",
            Self::Targets => "targets",
        }
    }
}

impl fmt::Display for RoleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RoleKind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(())
    }
}

/// The name of any role: one of the four, or a delegated targets role.
///
/// Delegated names are arbitrary text; they are percent-encoded wherever they become part of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleName {
    /// A top-level role.
    Top(RoleKind),
    /// A delegated targets role.
    Delegated(String),
}

impl RoleName {
    /// The targets role.
    pub const TARGETS: Self = Self::Top(RoleKind::Targets);

    /// The name as metadata spells it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Top(kind) => kind.as_str(),
            Self::Delegated(name) => name,
        }
    }

    /// The name of a delegated role; none where the text is a top-level name, empty or over 200 bytes.
    pub fn delegated(name: &str) -> Option<Self> {
        let valid = !name.is_empty() && name.len() <= MAX_ROLE_NAME && name.parse::<RoleKind>().is_err();
        valid.then(|| Self::Delegated(name.to_owned()))
    }

    /// The name with every byte percent-encoded that is not `[A-Za-z0-9_-]`, safe in file names and URLs.
    pub fn encoded(&self) -> String {
        use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
        const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');
        utf8_percent_encode(self.as_str(), KEPT).to_string()
    }

    /// The metadata file name of this role, `<version>.<role>.json`, or unversioned without a version.
    pub fn file_name(&self, version: Option<Version>) -> String {
        match version {
            Some(version) => format!("{version}.{}.json", self.encoded()),
            None => format!("{}.json", self.encoded()),
        }
    }
}

impl From<RoleKind> for RoleName {
    fn from(kind: RoleKind) -> Self {
        Self::Top(kind)
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A name comes from outside: control characters must not reach a terminal.
        self.as_str().chars().flat_map(char::escape_debug).try_for_each(|c| fmt::Write::write_char(f, c))
    }
}

/// A metadata version: a positive integer (TUF 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(NonZeroU64);

impl Version {
    /// Version 1.
    pub const ONE: Self = Self(NonZeroU64::MIN);
    /// Versions that we write stay below 2^53, so that every JSON reader keeps them exactly.
    const WRITTEN_LIMIT: u64 = 1 << 53;
    /// Bits of the random low part of the versions that we write for every role but root.
    const RANDOM_BITS: u32 = 20;

    /// A version from a number; none for 0.
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// The version as a number.
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// The version after this one, as root versions count (TUF 5.3.5); none past the largest integer.
    pub fn successor(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }

    /// The major part of a version that we wrote: how many publishes deep it stands.
    pub fn major(self) -> u64 {
        self.get() >> Self::RANDOM_BITS
    }

    /// The highest version of everything signed before that second of the calendar, as clocks go. Years from 2106 on
    /// count as 2106: one clock that far off must not use up the versions there are.
    pub fn before_second(second: i64) -> Self {
        let second = u32::try_from(second.max(0)).unwrap_or(u32::MAX);
        Self::new(u64::from(second) << Self::RANDOM_BITS)
            .and_then(|version| Self::new(version.get() - 1))
            .unwrap_or(Self::ONE)
    }

    /// The version of the next publish above all of `seen`: (highest major + 1) * 2^20 + 20 bits of `random`, so
    /// that two publishers who build on one base do not give one version to two contents (docs/format.md).
    ///
    /// None where that would reach 2^53: only rotation of the role's keys, which lets clients start anew, helps then.
    pub fn next_publish(seen: impl IntoIterator<Item = Self>, random: u32) -> Option<Self> {
        let major = seen.into_iter().map(Self::major).max().unwrap_or(0).checked_add(1)?;
        let high = major.checked_mul(1 << Self::RANDOM_BITS)?;
        let low = u64::from(random) & ((1 << Self::RANDOM_BITS) - 1);
        let number = high.checked_add(low)?;
        (number < Self::WRITTEN_LIMIT).then_some(number).and_then(Self::new)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_versions_grow_with_the_highest_seen_and_differ_by_chance() {
        let seen = [Version::new(7).unwrap(), Version::new((5 << 20) + 99).unwrap()];
        let next = Version::next_publish(seen, u32::MAX).unwrap();
        assert_eq!(next.get(), (6 << 20) + 0xF_FFFF);
        assert_eq!(Version::next_publish([], 0).unwrap().get(), 1 << 20);
        assert_eq!(Version::next_publish([Version::new(u64::MAX).unwrap()], 0), None);
        assert_eq!(Version::next_publish([Version::new((1 << 53) - 1).unwrap()], 0), None);
    }

    #[test]
    fn what_is_signed_later_outranks_what_was_signed_earlier_and_not_seen() {
        let next = |second, random| Version::next_publish([Version::before_second(second)], random).unwrap();
        assert!(next(1_800_000_001, 0) > next(1_800_000_000, u32::MAX));
        assert_eq!(next(1_800_000_000, 0).major(), 1_800_000_000);
        let far = next(i64::MAX, 0);
        assert!(Version::next_publish([far], 0).is_some());
        assert_eq!(Version::before_second(-5), Version::ONE);
    }

    #[test]
    fn hostile_role_names_become_harmless_file_names() {
        for (name, file) in [
            ("../x", "%2E%2E%2Fx.json"),
            ("a?b#c", "a%3Fb%23c.json"),
            ("C:\\x\0", "C%3A%5Cx%00.json"),
            ("é", "%C3%A9.json"),
        ] {
            assert_eq!(RoleName::delegated(name).unwrap().file_name(None), file);
        }
        assert_eq!(RoleName::delegated("root"), None);
        assert_eq!(RoleName::delegated(&"x".repeat(201)), None);
    }
}
