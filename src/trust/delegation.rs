//! Delegations: who else may say what of which targets (TUF 4.5, TAP 15).

use serde::Deserialize;

use super::json;
use super::key::KeyId;
use super::limits::MAX_DELEGATIONS;
use super::role::RoleName;
use super::threshold::{Keys, RoleKeys};
use crate::image::Digest;

/// Widest spread of TAP 15 bins: 2^20.
const MAX_BIT_LENGTH: u32 = 20;

/// The delegations of one targets role: ordinary roles in the order of their priority, or bins.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Delegations {
    keys: Keys,
    #[serde(default, deserialize_with = "json::present")]
    roles: Option<Vec<Delegation>>,
    #[serde(default, deserialize_with = "json::present")]
    succinct_roles: Option<Bins>,
}

/// One delegated role.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Delegation {
    name: String,
    keyids: Vec<KeyId>,
    threshold: std::num::NonZeroU32,
    #[serde(default)]
    terminating: bool,
    #[serde(default, deserialize_with = "json::present")]
    paths: Option<Vec<String>>,
    #[serde(default, deserialize_with = "json::present")]
    path_hash_prefixes: Option<Vec<String>>,
}

/// TAP 15 succinct hash bins: 2^`bit_length` roles with one set of keys, named by their number.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Bins {
    keyids: Vec<KeyId>,
    threshold: std::num::NonZeroU32,
    bit_length: u32,
    name_prefix: String,
}

impl Bins {
    /// The number of bins.
    pub fn count(&self) -> u32 {
        1 << self.bit_length
    }

    /// How many bits of a path's hash choose its bin.
    pub fn bit_length(&self) -> u32 {
        self.bit_length
    }

    /// The prefix of the bins' role names.
    pub fn name_prefix(&self) -> &str {
        &self.name_prefix
    }

    /// The number of the bin that answers for a target path: the first bits of its SHA-256 (TAP 15).
    pub fn number(&self, path: &str) -> u32 {
        let hash = Digest::of(path.as_bytes());
        let [a, b, c, d, ..] = *hash.as_bytes();
        // A shift by the whole width is no shift in Rust, so one bin is its own case.
        if self.bit_length == 0 { 0 } else { u32::from_be_bytes([a, b, c, d]) >> (32 - self.bit_length) }
    }

    /// The role name of a bin: prefix, `-`, and the number in hex, as wide as the last one's.
    pub fn name(&self, number: u32) -> String {
        let width = format!("{:x}", self.count() - 1).len();
        format!("{}-{number:0width$x}", self.name_prefix)
    }

    fn owns(&self, name: &str) -> bool {
        let Some(suffix) = name.strip_prefix(self.name_prefix.as_str()).and_then(|rest| rest.strip_prefix('-')) else {
            return false;
        };
        u32::from_str_radix(suffix, 16).is_ok_and(|number| number < self.count() && self.name(number) == name)
    }
}

/// A delegated role that may answer for a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The role.
    pub role: RoleName,
    /// Whether the search ends with it and its own delegations.
    pub terminating: bool,
}

impl Delegations {
    pub(super) fn check(&self) -> Result<(), String> {
        match (&self.roles, &self.succinct_roles) {
            (Some(roles), None) => check_roles(roles),
            (None, Some(bins)) => check_bins(bins),
            _ => Err("delegations have ordinary roles or bins, one of the two".to_owned()),
        }
    }

    /// The keys that delegated roles are signed with.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The ordinary roles in the order of their priority.
    pub fn roles(&self) -> &[Delegation] {
        self.roles.as_deref().unwrap_or_default()
    }

    /// The bins, where entries are spread over bins.
    pub fn bins(&self) -> Option<&Bins> {
        self.succinct_roles.as_ref()
    }

    /// The roles that may answer for a target path, in order (TUF 5.6.7.2).
    pub fn candidates(&self, path: &str) -> Vec<Candidate> {
        if let Some(bins) = &self.succinct_roles {
            let role = RoleName::Delegated(bins.name(bins.number(path)));
            return vec![Candidate { role, terminating: true }];
        }
        let matching = self.roles().iter().filter(|delegation| delegation.covers(path));
        matching
            .map(|delegation| Candidate {
                role: RoleName::Delegated(delegation.name.clone()),
                terminating: delegation.terminating,
            })
            .collect()
    }

    /// The keys and threshold of a delegated role; none for a role that is not delegated here.
    pub fn authority(&self, role: &RoleName) -> Option<(&Keys, RoleKeys)> {
        let name = role.as_str();
        let (keyids, threshold) = match &self.succinct_roles {
            Some(bins) if bins.owns(name) => (&bins.keyids, bins.threshold),
            Some(_) => return None,
            None => {
                let found = self.roles().iter().find(|delegation| delegation.name == name)?;
                (&found.keyids, found.threshold)
            }
        };
        Some((&self.keys, RoleKeys { keyids: keyids.clone(), threshold }))
    }
}

impl Delegation {
    /// The role's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path patterns; none where the delegation is by hash prefixes.
    pub fn paths(&self) -> &[String] {
        self.paths.as_deref().unwrap_or_default()
    }

    /// Whether a search ends with this role.
    pub fn terminating(&self) -> bool {
        self.terminating
    }

    /// The ids of the keys that may sign.
    pub fn keyids(&self) -> &[KeyId] {
        &self.keyids
    }

    /// How many of them must.
    pub fn threshold(&self) -> u32 {
        self.threshold.get()
    }

    /// Whether a target path lies in this delegation.
    pub fn covers(&self, path: &str) -> bool {
        match (&self.paths, &self.path_hash_prefixes) {
            (Some(patterns), _) => patterns.iter().any(|pattern| matches(pattern, path)),
            (None, Some(prefixes)) => {
                let hash = Digest::of(path.as_bytes()).hex();
                prefixes.iter().any(|prefix| hash.starts_with(prefix.as_str()))
            }
            (None, None) => false,
        }
    }
}

/// TUF 4.5 path patterns: `*` any characters and `?` one character, neither crossing `/`; case counts.
pub fn matches(pattern: &str, path: &str) -> bool {
    let (mut patterns, mut parts) = (pattern.split('/'), path.split('/'));
    loop {
        match (patterns.next(), parts.next()) {
            (Some(pattern), Some(part)) if component_matches(pattern.as_bytes(), part.as_bytes()) => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

/// Greedy matching with one point of return, so no pattern costs more than pattern times text.
fn component_matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(b'?') => {
                p += 1;
                t += character_length(text[t]);
            }
            Some(byte) if *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    t == text.len() && pattern[p..].iter().all(|byte| *byte == b'*')
}

/// How many bytes the UTF-8 character that begins with this byte has.
fn character_length(first: u8) -> usize {
    match first {
        0xF0.. => 4,
        0xE0.. => 3,
        0xC0.. => 2,
        _ => 1,
    }
}

fn check_roles(roles: &[Delegation]) -> Result<(), String> {
    if roles.len() > MAX_DELEGATIONS {
        return Err("it delegates to too many roles".to_owned());
    }
    let mut names = std::collections::BTreeSet::new();
    for delegation in roles {
        let shown = delegation.name.escape_debug();
        if RoleName::delegated(&delegation.name).is_none() {
            return Err(format!("it delegates to a role with the reserved or malformed name `{shown}`"));
        }
        // TUF 4.5: names are unique within one delegations object.
        if !names.insert(&delegation.name) {
            return Err(format!("it delegates to the role `{shown}` twice"));
        }
        if delegation.paths.is_some() == delegation.path_hash_prefixes.is_some() {
            return Err(format!("the delegation to `{shown}` has not exactly one of `paths` and `path_hash_prefixes`"));
        }
        RoleKeys { keyids: delegation.keyids.clone(), threshold: delegation.threshold }.check(&delegation.name)?;
    }
    Ok(())
}

fn check_bins(bins: &Bins) -> Result<(), String> {
    // TAP 15 wants 1 to 32; nobody needs the millions of roles beyond our cap (go-tuf #716).
    if !(1..=MAX_BIT_LENGTH).contains(&bins.bit_length) {
        return Err(format!("its bins have a bit length of {}, not 1 to {MAX_BIT_LENGTH}", bins.bit_length));
    }
    if RoleName::delegated(&bins.name(0)).is_none() {
        return Err("its bins have a malformed name prefix".to_owned());
    }
    RoleKeys { keyids: bins.keyids.clone(), threshold: bins.threshold }.check(&bins.name_prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_do_not_cross_slashes() {
        for (pattern, path) in [
            ("*", "a"),
            ("targets/*.tgz", "targets/a.tgz"),
            ("foo-version-?.tgz", "foo-version-2.tgz"),
            ("a/*/c", "a/b/c"),
            ("library/app:*", "library/app:v1"),
            ("*b*", "abc"),
            ("a**b", "axxb"),
            ("?", "é"),
            ("", ""),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("*", "a/b"),
            ("targets/*.tgz", "targets/a/b.tgz"),
            ("foo-?.tgz", "foo-alpha.tgz"),
            ("A", "a"),
            ("a/*", "a"),
            ("a?", "a"),
            ("?", ""),
            ("*.tgz", "targets/foo.tgz"),
            ("a", "/a"),
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn a_hostile_pattern_is_matched_in_bounded_time() {
        assert!(!matches(&"*a".repeat(2_000), &"a".repeat(1_999)));
    }

    #[test]
    fn bins_are_named_and_numbered_by_the_first_bits() {
        let bins =
            Bins { keyids: vec![], threshold: std::num::NonZeroU32::MIN, bit_length: 8, name_prefix: "bin".to_owned() };
        let number = bins.number("file1.txt");
        assert_eq!(number, u32::from(Digest::of(b"file1.txt").as_bytes()[0]));
        assert_eq!(bins.name(7), "bin-07");
        assert!(bins.owns("bin-ff") && !bins.owns("bin-100") && !bins.owns("bin-7") && !bins.owns("bin-FF"));
    }
}
