//! Signers: delegated targets roles with a person's or pipeline's name, keys, threshold and tag patterns.
//!
//! - The order under targets is `revoked`, `tags`, then the signers in the order in which they came; only `revoked`
//!   terminates (docs/format.md).
//! - A signer's paths are its tag patterns and every digest of the collection; a digest's entry counts only through a
//!   tag that the signer may sign.
//! - `revoked` holds no entries: a path in it is answered by nobody, in every TUF client.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::entry::Change;
use super::error::Error;
use super::key::{Key, KeyId};
use super::role::RoleName;
use crate::image::ImageName;

/// Most signers of a collection: a search visits at most 32 roles, of which `targets`, `revoked`, `tags` and bins take
/// some.
pub const MAX_SIGNERS: usize = 24;
/// The role that blocks paths.
pub const REVOKED: &str = "revoked";
/// The role that holds the targets keys' own entries where they are many.
pub const TAGS: &str = "tags";
/// Names that no signer may have, beside those of the top-level roles.
const RESERVED: [&str; 2] = [REVOKED, TAGS];
/// Longest signer name, in bytes.
const MAX_NAME: usize = 64;
/// Most tag patterns of a signer.
const MAX_PATTERNS: usize = 64;

/// A signer as the targets role delegates to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signer {
    /// The name.
    pub name: String,
    /// The keys.
    pub keys: Vec<Key>,
    /// How many of them must sign.
    pub threshold: u32,
    /// Patterns of the tags that it may sign: `*` and `?`.
    pub tags: Vec<String>,
}

impl Signer {
    /// Checks what an edit may say of a signer.
    ///
    /// # Errors
    /// [`Error::BadEdit`] naming what is wrong.
    pub fn check(&self) -> Result<(), Error> {
        check_name(&self.name)?;
        let bad = |reason: String| Err(Error::BadEdit(format!("the signer `{}` {reason}", self.name)));
        let distinct: BTreeSet<_> = self.keys.iter().map(Key::material).collect();
        if distinct.len() != self.keys.len() {
            return bad("has one key twice".to_owned());
        }
        if self.threshold == 0 || self.threshold as usize > distinct.len() {
            return bad(format!("cannot meet a threshold of {} with {} keys", self.threshold, distinct.len()));
        }
        if self.tags.is_empty() || self.tags.len() > MAX_PATTERNS {
            return bad(format!("has {} tag patterns, not 1 to {MAX_PATTERNS}", self.tags.len()));
        }
        match self.tags.iter().find(|pattern| !is_tag_pattern(pattern)) {
            Some(pattern) => bad(format!("has the pattern `{}`, which no tag matches", pattern.escape_debug())),
            None => Ok(()),
        }
    }

    fn paths(&self, name: &ImageName) -> Vec<String> {
        let tags = self.tags.iter().map(|pattern| format!("{name}:{pattern}"));
        tags.chain([format!("{name}@sha256:*")]).collect()
    }
}

/// A signer's name: what a person types, a variable and a file can carry, and no role of ours has.
///
/// # Errors
/// [`Error::BadEdit`].
pub fn check_name(name: &str) -> Result<(), Error> {
    let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    let plain = name.len() <= MAX_NAME
        && name.bytes().all(letters)
        && name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    // Bins are named by a prefix, `-` and hex digits.
    let like_a_bin = name
        .rsplit_once('-')
        .is_some_and(|(_, end)| !end.is_empty() && end.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f')));
    if !plain || RESERVED.contains(&name) || like_a_bin || RoleName::delegated(name).is_none() {
        return Err(Error::BadEdit(format!(
            "`{}` cannot be a signer's name: expected up to {MAX_NAME} of `a-z0-9._-`, not a role's name, not ending in `-` and hex digits",
            name.escape_debug()
        )));
    }
    Ok(())
}

fn is_tag_pattern(pattern: &str) -> bool {
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'*' | b'?');
    !pattern.is_empty() && pattern.len() <= 128 && pattern.bytes().all(valid) && !pattern.starts_with(['.', '-'])
}

/// Applies a change of signers to the `delegations` of a targets draft. `own` are the targets keys themselves, which
/// sign `revoked` and `tags`.
///
/// # Errors
/// [`Error::BadEdit`] where the change makes no sense on this state.
pub fn apply(
    name: &ImageName,
    signed: &mut Map<String, Value>,
    change: &Change,
    own: (&[Key], u32),
) -> Result<(), Error> {
    let mut table = Table::read(signed)?;
    match change {
        Change::SetSigner(signer) => {
            signer.check()?;
            let known = table.roles.iter().position(|role| role["name"] == signer.name.as_str());
            let count = table.roles.iter().filter(|role| !is_reserved(role)).count();
            if known.is_none() && count >= MAX_SIGNERS {
                return Err(Error::BadEdit(format!("there are {MAX_SIGNERS} signers already")));
            }
            let role = table.role(&signer.name, &signer.keys, signer.threshold, &signer.paths(name), false)?;
            match known {
                Some(at) => table.roles[at] = role,
                None => table.roles.push(role),
            }
        }
        Change::RemoveSigner { signer } => {
            check_name(signer)?;
            table.roles.retain(|role| role["name"] != signer.as_str());
        }
        Change::Block { path } => {
            let mut paths = table.blocked();
            if paths.insert(path.clone()) {
                table.block(paths, own)?;
            }
        }
        Change::Unblock { path } => {
            let mut paths = table.blocked();
            if paths.remove(path) {
                table.block(paths, own)?;
            }
        }
        _ => return Err(Error::BadEdit("a change of entries is no change of signers".to_owned())),
    }
    table.write(signed);
    Ok(())
}

/// Lets `revoked` be signed by the targets keys of today.
///
/// # Errors
/// [`Error::BadEdit`] for delegations that are not ours.
pub fn rekey(signed: &mut Map<String, Value>, own: (&[Key], u32)) -> Result<(), Error> {
    if signed.get("delegations").is_none_or(|delegations| delegations.get("roles").is_none()) {
        return Ok(());
    }
    let mut table = Table::read(signed)?;
    let blocked = table.blocked();
    if !blocked.is_empty() {
        table.block(blocked, own)?;
        table.write(signed);
    }
    Ok(())
}

fn is_reserved(role: &Value) -> bool {
    role["name"].as_str().is_some_and(|name| RESERVED.contains(&name))
}

/// The `delegations` member while it is edited.
struct Table {
    keys: Map<String, Value>,
    roles: Vec<Value>,
}

impl Table {
    fn read(signed: &Map<String, Value>) -> Result<Self, Error> {
        let empty = Value::Null;
        let delegations = signed.get("delegations").unwrap_or(&empty);
        if delegations.get("succinct_roles").is_some() {
            return Err(Error::BadEdit("bins stand where signers would: TAP 15 forbids both in one role".to_owned()));
        }
        let keys = delegations.get("keys").and_then(Value::as_object).cloned().unwrap_or_default();
        let roles = delegations.get("roles").and_then(Value::as_array).cloned().unwrap_or_default();
        Ok(Self { keys, roles })
    }

    fn role(
        &mut self,
        name: &str,
        keys: &[Key],
        threshold: u32,
        paths: &[String],
        terminating: bool,
    ) -> Result<Value, Error> {
        let ids: BTreeSet<KeyId> = keys.iter().map(Key::id).collect();
        for key in keys {
            let value = serde_json::to_value(key).map_err(|e| Error::BadEdit(e.to_string()))?;
            self.keys.insert(key.id().as_str().to_owned(), value);
        }
        let ids: Vec<&str> = ids.iter().map(KeyId::as_str).collect();
        Ok(json!({
            "name": name, "keyids": ids, "threshold": threshold, "terminating": terminating, "paths": paths,
        }))
    }

    fn blocked(&self) -> BTreeSet<String> {
        let role = self.roles.iter().find(|role| role["name"] == REVOKED);
        let paths = role.and_then(|role| role["paths"].as_array()).into_iter().flatten();
        paths.filter_map(|path| path.as_str().map(str::to_owned)).collect()
    }

    /// `revoked` stands first: it must be asked before anybody can answer. Without paths it is not needed.
    fn block(&mut self, paths: BTreeSet<String>, own: (&[Key], u32)) -> Result<(), Error> {
        self.roles.retain(|role| role["name"] != REVOKED);
        if !paths.is_empty() {
            let role = self.role(REVOKED, own.0, own.1, &paths.into_iter().collect::<Vec<_>>(), true)?;
            self.roles.insert(0, role);
        }
        Ok(())
    }

    fn write(mut self, signed: &mut Map<String, Value>) {
        let listed: BTreeSet<String> = self
            .roles
            .iter()
            .filter_map(|role| role["keyids"].as_array())
            .flatten()
            .filter_map(|id| id.as_str().map(str::to_owned))
            .collect();
        self.keys.retain(|id, _| listed.contains(id));
        if self.roles.is_empty() {
            signed.remove("delegations");
        } else {
            signed.insert("delegations".to_owned(), json!({"keys": self.keys, "roles": self.roles}));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> Key {
        let secret = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
        Key::ed25519(secret.verifying_key().to_bytes()).unwrap()
    }

    fn signer(name: &str, keys: &[u8], threshold: u32, tags: &[&str]) -> Signer {
        let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
        Signer { name: name.to_owned(), keys: keys.iter().map(|seed| key(*seed)).collect(), threshold, tags }
    }

    fn applied(changes: &[Change]) -> Result<Map<String, Value>, Error> {
        let name: ImageName = "registry.example.com/acme/app".parse().unwrap();
        let mut signed = Map::new();
        for change in changes {
            apply(&name, &mut signed, change, (&[key(9)], 1))?;
        }
        Ok(signed)
    }

    fn names(signed: &Map<String, Value>) -> Vec<String> {
        let roles = signed.get("delegations").and_then(|delegations| delegations["roles"].as_array());
        roles.into_iter().flatten().filter_map(|role| role["name"].as_str().map(str::to_owned)).collect()
    }

    #[test]
    fn signers_stand_in_the_order_in_which_they_came_and_revoked_before_them() {
        let signed = applied(&[
            Change::SetSigner(signer("qa", &[1], 1, &["*"])),
            Change::SetSigner(signer("alice", &[2], 1, &["release-*"])),
            Change::Block { path: "registry.example.com/acme/app:1.0".to_owned() },
            Change::SetSigner(signer("qa", &[3], 1, &["qa-*"])),
        ])
        .unwrap();
        assert_eq!(names(&signed), ["revoked", "qa", "alice"]);
        let delegations: crate::trust::delegation::Delegations =
            serde_json::from_value(signed["delegations"].clone()).unwrap();
        assert!(delegations.roles()[0].terminating() && !delegations.roles()[1].terminating());
        assert!(delegations.roles()[2].covers("registry.example.com/acme/app:release-1"));
        assert!(!delegations.roles()[2].covers("registry.example.com/acme/app:1.0"));
        assert_eq!(delegations.keys().iter().count(), 3, "the former key of `qa` is gone");
    }

    #[test]
    fn removing_the_last_signer_leaves_nothing_behind() {
        let remove = Change::RemoveSigner { signer: "qa".to_owned() };
        let signed = applied(&[Change::SetSigner(signer("qa", &[1], 1, &["*"])), remove]).unwrap();
        assert!(!signed.contains_key("delegations"));
    }

    #[test]
    fn a_path_that_may_be_answered_again_is_no_longer_blocked() {
        let path = "registry.example.com/acme/app:1.0".to_owned();
        let block = Change::Block { path: path.clone() };
        assert!(!applied(&[block.clone(), Change::Unblock { path }]).unwrap().contains_key("delegations"));
        assert_eq!(names(&applied(&[block.clone(), block]).unwrap()), ["revoked"]);
    }

    #[test]
    fn names_thresholds_keys_and_patterns_that_cannot_be_are_refused() {
        let bad = [
            signer("targets", &[1], 1, &["*"]),
            signer("revoked", &[1], 1, &["*"]),
            signer("tags", &[1], 1, &["*"]),
            signer("tags-0f", &[1], 1, &["*"]),
            signer("Alice", &[1], 1, &["*"]),
            signer("../x", &[1], 1, &["*"]),
            signer("", &[1], 1, &["*"]),
            signer("a", &[], 1, &["*"]),
            signer("a", &[1], 2, &["*"]),
            signer("a", &[1], 0, &["*"]),
            signer("a", &[1, 1], 2, &["*"]),
            signer("a", &[1], 1, &[]),
            signer("a", &[1], 1, &["a/b"]),
            signer("a", &[1], 1, &["-x"]),
        ];
        for signer in bad {
            assert!(applied(&[Change::SetSigner(signer.clone())]).is_err(), "{signer:?}");
        }
        assert!(applied(&[Change::SetSigner(signer("release-bot.2", &[1, 2], 2, &["v?.*"]))]).is_ok());
    }

    #[test]
    fn there_are_at_most_24_signers() {
        let many: Vec<_> =
            (0..25).map(|n| Change::SetSigner(signer(&format!("signer{n}x"), &[n + 1], 1, &["*"]))).collect();
        assert!(applied(&many[..24]).is_ok());
        assert!(applied(&many).is_err());
    }
}
