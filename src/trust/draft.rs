//! Drafts: the `signed` part of a role before it is signed, made new or from what was signed before.
//!
//! A draft of something older is edited as JSON, so that members we do not know survive (TUF 4).

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::canonical;
use super::envelope::{BINDING, SPEC_VERSION};
use super::error::Error;
use super::key::{Key, KeyId};
use super::role::{RoleKind, RoleName, Version};
use super::time;
use crate::image::{Digest, ImageName};

/// How long each role counts from the moment it is signed. Carried by root, so that every publisher uses the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// Root.
    pub root: SignedDuration,
    /// Targets and every delegated role.
    pub targets: SignedDuration,
    /// Snapshot.
    pub snapshot: SignedDuration,
    /// Timestamp.
    pub timestamp: SignedDuration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        let days = |days: i64| SignedDuration::from_hours(days * 24);
        Self { root: days(365), targets: days(365), snapshot: days(30), timestamp: days(14) }
    }
}

impl Lifetimes {
    /// The lifetime of a role.
    pub fn of(&self, role: &RoleName) -> SignedDuration {
        match role {
            RoleName::Top(RoleKind::Root) => self.root,
            RoleName::Top(RoleKind::Snapshot) => self.snapshot,
            RoleName::Top(RoleKind::Timestamp) => self.timestamp,
            RoleName::Top(RoleKind::Targets) | RoleName::Delegated(_) => self.targets,
        }
    }

    /// Sets the lifetime of a top-level role; that of targets holds for delegated roles too.
    pub fn set(&mut self, kind: RoleKind, life: SignedDuration) {
        match kind {
            RoleKind::Root => self.root = life,
            RoleKind::Targets => self.targets = life,
            RoleKind::Snapshot => self.snapshot = life,
            RoleKind::Timestamp => self.timestamp = life,
        }
    }

    fn to_json(self) -> Value {
        json!({
            "root": self.root.as_secs(), "targets": self.targets.as_secs(),
            "snapshot": self.snapshot.as_secs(), "timestamp": self.timestamp.as_secs(),
        })
    }

    /// The lifetimes that a root carries, in seconds; the defaults for those that it does not state.
    pub fn of_root(file: &[u8]) -> Self {
        let mut lifetimes = Self::default();
        let Ok(signed) = signed_object(&RoleKind::Root.into(), file) else { return lifetimes };
        let stated = |name: &str| {
            signed.get(BINDING)?.get("lifetimes")?.get(name)?.as_i64().filter(|s| *s > 0).map(SignedDuration::from_secs)
        };
        for (name, lifetime) in [
            ("root", &mut lifetimes.root),
            ("targets", &mut lifetimes.targets),
            ("snapshot", &mut lifetimes.snapshot),
            ("timestamp", &mut lifetimes.timestamp),
        ] {
            *lifetime = stated(name).unwrap_or(*lifetime);
        }
        lifetimes
    }
}

/// The `signed` part of a role, being edited.
#[derive(Debug, Clone)]
pub struct Draft {
    role: RoleName,
    signed: Map<String, Value>,
}

/// A role ready to be signed.
#[derive(Debug, Clone)]
pub struct Unsigned {
    role: RoleName,
    version: Version,
    /// The text of `signed` in the file.
    text: String,
    message: Bytes,
}

impl Draft {
    fn new(role: impl Into<RoleName>, collection: &ImageName, body: Value) -> Self {
        let role = role.into();
        let kind = match &role {
            RoleName::Top(kind) => *kind,
            RoleName::Delegated(_) => RoleKind::Targets,
        };
        Self::other(role, kind.as_str(), collection, body)
    }

    /// Something else than a role, signed by the keys of `role`.
    pub(super) fn other(role: RoleName, kind: &str, collection: &ImageName, body: Value) -> Self {
        let mut signed = match body {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        signed.insert("_type".to_owned(), kind.into());
        signed.insert("spec_version".to_owned(), SPEC_VERSION.into());
        signed.insert(BINDING.to_owned(), json!({"collection": collection.to_string()}));
        Self { role, signed }
    }

    /// A first root, version 1, without keys.
    pub fn root(collection: &ImageName, lifetimes: Lifetimes) -> Self {
        let none = || json!({"keyids": [], "threshold": 1});
        let roles = json!({"root": none(), "timestamp": none(), "snapshot": none(), "targets": none()});
        let body = json!({"consistent_snapshot": true, "keys": {}, "roles": roles});
        let mut draft = Self::new(RoleKind::Root, collection, body);
        draft.binding().insert("lifetimes".to_owned(), lifetimes.to_json());
        draft.set_version(Version::ONE);
        draft
    }

    /// An empty targets role, top-level or delegated.
    pub fn targets(role: RoleName, collection: &ImageName) -> Self {
        Self::new(role, collection, json!({"targets": {}}))
    }

    /// An empty snapshot.
    pub fn snapshot(collection: &ImageName) -> Self {
        Self::new(RoleKind::Snapshot, collection, json!({"meta": {}}))
    }

    /// A timestamp of a snapshot file.
    pub fn timestamp(collection: &ImageName, snapshot: &Signed) -> Self {
        let body = json!({"meta": {"snapshot.json": {
            "version": snapshot.version,
            "length": snapshot.bytes.len(),
            "hashes": {"sha256": Digest::of(&snapshot.bytes).hex()},
        }}});
        Self::new(RoleKind::Timestamp, collection, body)
    }

    /// A draft of what a file says, for the next version of it.
    ///
    /// # Errors
    /// [`Error::Malformed`] for bytes that were not verified before.
    pub fn of(role: &RoleName, file: &[u8]) -> Result<Self, Error> {
        Ok(Self { role: role.clone(), signed: signed_object(role, file)? })
    }

    /// The role.
    pub fn role(&self) -> &RoleName {
        &self.role
    }

    /// Sets the version.
    pub fn set_version(&mut self, version: Version) {
        self.signed.insert("version".to_owned(), version.get().into());
    }

    /// Sets the instant from which it no longer counts.
    pub fn set_expires(&mut self, at: Timestamp) {
        self.signed.insert("expires".to_owned(), time::format(at).into());
        // A client of this version wrote it, whoever wrote the one before.
        self.signed.insert("spec_version".to_owned(), SPEC_VERSION.into());
    }

    /// The `targets` member of a targets role.
    pub fn entries(&mut self) -> &mut Map<String, Value> {
        self.object("targets")
    }

    /// All members of `signed`.
    pub(super) fn members(&mut self) -> &mut Map<String, Value> {
        &mut self.signed
    }

    /// The `meta` member of a snapshot: lists a targets role. Length and hash are stated for every role but bins.
    pub fn list_role(&mut self, file: &Signed) {
        let meta = json!({
            "version": file.version,
            "length": file.bytes.len(),
            "hashes": {"sha256": Digest::of(&file.bytes).hex()},
        });
        self.object("meta").insert(format!("{}.json", file.role.as_str()), meta);
    }

    /// Our own member of `signed`.
    pub fn binding(&mut self) -> &mut Map<String, Value> {
        self.object(BINDING)
    }

    /// Gives a role of root its keys and threshold. Keys that no role lists any more are dropped.
    ///
    /// # Errors
    /// [`Error::BadEdit`] where the threshold is 0 or above the number of distinct keys.
    pub fn set_role_keys(&mut self, kind: RoleKind, keys: &[Key], threshold: u32) -> Result<(), Error> {
        let by_id: BTreeMap<KeyId, &Key> = keys.iter().map(|key| (key.id(), key)).collect();
        let distinct: std::collections::BTreeSet<_> = keys.iter().map(Key::material).collect();
        if distinct.len() != by_id.len() {
            return Err(Error::BadEdit("one key is given under two ids".to_owned()));
        }
        if threshold == 0 || threshold as usize > distinct.len() {
            return Err(Error::BadEdit(format!(
                "a threshold of {threshold} cannot be met by the {} keys of {kind}",
                distinct.len()
            )));
        }
        let ids: Vec<Value> = by_id.keys().map(|id| id.as_str().into()).collect();
        let all = self.object("keys");
        for (id, key) in by_id {
            all.insert(id.as_str().to_owned(), serde_json::to_value(key).unwrap_or_default());
        }
        self.object("roles").insert(kind.as_str().to_owned(), json!({"keyids": ids, "threshold": threshold}));
        self.drop_unlisted_keys();
        Ok(())
    }

    fn drop_unlisted_keys(&mut self) {
        let roles = self.object("roles").values();
        let listed: std::collections::BTreeSet<String> = roles
            .filter_map(|role| role.get("keyids")?.as_array())
            .flatten()
            .filter_map(|id| id.as_str().map(str::to_owned))
            .collect();
        self.object("keys").retain(|id, _| listed.contains(id));
    }

    fn object(&mut self, name: &str) -> &mut Map<String, Value> {
        let member = self.signed.entry(name).or_insert_with(|| Value::Object(Map::new()));
        if !member.is_object() {
            *member = Value::Object(Map::new());
        }
        match member {
            Value::Object(members) => members,
            _ => unreachable!("made an object just above"),
        }
    }

    /// Closes the draft: from here on only signatures are added.
    ///
    /// # Errors
    /// [`Error::BadEdit`] where no version was set.
    pub fn close(self) -> Result<Unsigned, Error> {
        let version = self.signed.get("version").and_then(Value::as_u64).and_then(Version::new);
        let version = version.ok_or_else(|| Error::BadEdit(format!("the draft of {} has no version", self.role)))?;
        let signed = Value::Object(self.signed);
        let message = canonical::encode(&signed);
        // Canonical on the wire wherever that is valid JSON, so that a reader hashes the raw slice; keys in PEM hold
        // line feeds, which JSON must escape.
        let text = match String::from_utf8(message.clone()) {
            Ok(text) if !text.bytes().any(|byte| byte < 0x20) => text,
            _ => signed.to_string(),
        };
        Ok(Unsigned { role: self.role, version, text, message: message.into() })
    }
}

/// A role's file, signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The role.
    pub role: RoleName,
    /// Its version.
    pub version: Version,
    /// The file.
    pub bytes: Bytes,
}

impl Signed {
    /// The metadata file name under which it is stored and served.
    pub fn file_name(&self) -> String {
        // TUF 6.2: every file but the timestamp carries its version.
        let version = (self.role != RoleKind::Timestamp.into()).then_some(self.version);
        self.role.file_name(version)
    }
}

impl Unsigned {
    /// The role.
    pub fn role(&self) -> &RoleName {
        &self.role
    }

    /// The bytes to sign.
    pub fn message(&self) -> &Bytes {
        &self.message
    }

    /// Adds the signatures and makes the file.
    pub fn seal(self, signatures: &BTreeMap<KeyId, Vec<u8>>) -> Signed {
        let list: Vec<Value> = signatures
            .iter()
            .map(|(id, signature)| json!({"keyid": id.as_str(), "sig": hex::encode(signature)}))
            .collect();
        let bytes = format!("{{\"signatures\":{},\"signed\":{}}}", Value::Array(list), self.text);
        Signed { role: self.role, version: self.version, bytes: bytes.into() }
    }
}

fn signed_object(role: &RoleName, file: &[u8]) -> Result<Map<String, Value>, Error> {
    #[derive(Deserialize)]
    struct Wire<'a> {
        #[serde(borrow)]
        signed: &'a RawValue,
    }
    serde_json::from_slice::<Wire<'_>>(file)
        .and_then(|wire| serde_json::from_str(wire.signed.get()))
        .map_err(|e| Error::Malformed { role: role.clone(), reason: e.to_string() })
}
