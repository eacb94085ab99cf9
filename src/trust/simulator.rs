//! A repository in memory that signs whatever it is told to, and a client with memory to run against it.
//!
//! - The repository knows no rule: a test edits the `signed` part of a role as JSON, and publishes it. What was
//!   published stays served under its version; the unversioned name is the last one published.
//! - Keys are Ed25519 from a seed of one byte, so a test names a key by a number and every run signs the same bytes.
//! - Every request is logged by file name, also those that find nothing.

mod client;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};

pub(crate) use self::client::{Client, NOW, pin};
use super::canonical;
use super::envelope::{BINDING, SPEC_VERSION};
use super::key::Key;
use super::update::Answer;
use crate::image::Digest;

/// The expiry of everything unless a test says otherwise: 20 days from [`NOW`].
pub(crate) const LATER: &str = "2027-01-21T00:00:00Z";
/// An instant before [`NOW`].
pub(crate) const PAST: &str = "2026-12-31T00:00:00Z";
/// The collection of repositories for the image client.
pub(crate) const COLLECTION: &str = "registry.example.com/acme/app";
const TOP: [&str; 4] = ["root", "timestamp", "snapshot", "targets"];

/// The repository.
#[derive(Debug, Clone)]
pub(crate) struct Simulator {
    /// The `signed` part of every role, as it is published next.
    pub(crate) signed: BTreeMap<String, Value>,
    /// The seeds of the keys that sign each role.
    pub(crate) signers: BTreeMap<String, Vec<u8>>,
    /// What is served, by file name.
    pub(crate) files: BTreeMap<String, Bytes>,
    /// File names for which the answer is a failure.
    pub(crate) failing: BTreeSet<String>,
    /// Whether snapshot and timestamp list length and hashes.
    pub(crate) hashes: bool,
    /// The file names asked for.
    pub(crate) requests: Vec<String>,
    published: BTreeSet<String>,
}

/// The public key of a seed, as metadata holds it.
pub(crate) fn key(seed: u8) -> Key {
    Key::ed25519(SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes()).unwrap()
}

/// The id of a seed's key.
pub(crate) fn id(seed: u8) -> String {
    key(seed).id().to_string()
}

/// A signature entry of a seed over a `signed` part.
pub(crate) fn signature(seed: u8, signed: &Value) -> Value {
    let signature = SigningKey::from_bytes(&[seed; 32]).sign(&canonical::encode(signed));
    json!({"keyid": id(seed), "sig": hex::encode(signature.to_bytes())})
}

/// A metadata file: `signed` with a signature of each seed.
pub(crate) fn file(signed: &Value, seeds: &[u8]) -> Bytes {
    let signatures: Vec<_> = seeds.iter().map(|seed| signature(*seed, signed)).collect();
    json!({"signed": signed, "signatures": signatures}).to_string().into()
}

impl Simulator {
    /// A repository of a plain TUF client, everything at version 1: root, timestamp, snapshot and targets are signed
    /// by the keys 1 to 4.
    pub(crate) fn plain() -> Self {
        Self::new(|_| ())
    }

    /// The same for the image client, every role bound to [`COLLECTION`].
    pub(crate) fn image() -> Self {
        Self::new(|signed| signed[BINDING] = json!({"collection": COLLECTION}))
    }

    fn new(bind: impl Fn(&mut Value)) -> Self {
        let mut simulator = Self {
            signed: BTreeMap::new(),
            signers: BTreeMap::new(),
            files: BTreeMap::new(),
            failing: BTreeSet::new(),
            hashes: false,
            requests: Vec::new(),
            published: BTreeSet::new(),
        };
        for (role, body) in [
            ("root", json!({"consistent_snapshot": true, "keys": {}, "roles": {}})),
            ("timestamp", json!({"meta": {"snapshot.json": {"version": 1}}})),
            ("snapshot", json!({"meta": {"targets.json": {"version": 1}}})),
            ("targets", json!({"targets": {}})),
        ] {
            let mut signed = Self::empty(role, body);
            bind(&mut signed);
            simulator.signed.insert(role.to_owned(), signed);
        }
        for (role, seed) in TOP.into_iter().zip(1..) {
            simulator.set_keys(role, &[seed], 1);
        }
        simulator.publish(&["root", "targets", "snapshot", "timestamp"]);
        simulator
    }

    fn empty(kind: &str, body: Value) -> Value {
        let mut signed = body;
        signed["_type"] = kind.into();
        signed["spec_version"] = SPEC_VERSION.into();
        signed["version"] = 1.into();
        signed["expires"] = LATER.into();
        signed
    }

    /// The `signed` part of a role, to be edited.
    pub(crate) fn edit(&mut self, role: &str) -> &mut Value {
        self.signed.get_mut(role).unwrap()
    }

    /// Gives a top-level role these keys and this threshold in the root to be published next.
    pub(crate) fn set_keys(&mut self, role: &str, seeds: &[u8], threshold: u32) {
        let root = self.edit("root");
        for seed in seeds {
            root["keys"][id(*seed)] = serde_json::to_value(key(*seed)).unwrap();
        }
        let ids: Vec<_> = seeds.iter().map(|seed| id(*seed)).collect();
        root["roles"][role] = json!({"keyids": ids, "threshold": threshold});
        self.signers.insert(role.to_owned(), seeds.to_vec());
    }

    /// Adds a delegation, last in priority, and an empty role where there is none yet.
    pub(crate) fn delegate(&mut self, from: &str, to: &str, seed: u8, paths: &[&str], terminating: bool) {
        let binding = self.signed["targets"].get(BINDING).cloned();
        self.signers.entry(to.to_owned()).or_default().push(seed);
        self.signed.entry(to.to_owned()).or_insert_with(|| {
            let mut signed = Self::empty("targets", json!({"targets": {}}));
            if let Some(binding) = binding {
                signed[BINDING] = binding;
            }
            signed
        });
        let delegator = self.edit(from);
        if delegator.get("delegations").is_none() {
            delegator["delegations"] = json!({"keys": {}, "roles": []});
        }
        delegator["delegations"]["keys"][id(seed)] = serde_json::to_value(key(seed)).unwrap();
        let delegation = json!({
            "name": to, "keyids": [id(seed)], "threshold": 1, "paths": paths, "terminating": terminating,
        });
        delegator["delegations"]["roles"].as_array_mut().unwrap().push(delegation);
    }

    /// Spreads a role over TAP 15 bins, all signed by one key, all empty.
    pub(crate) fn add_bins(&mut self, from: &str, prefix: &str, bit_length: u32, seed: u8) -> Vec<String> {
        let last = (1_u32 << bit_length) - 1;
        let width = format!("{last:x}").len();
        let names: Vec<_> = (0..=last).map(|number| format!("{prefix}-{number:0width$x}")).collect();
        for name in &names {
            self.signers.insert(name.clone(), vec![seed]);
            self.signed.insert(name.clone(), Self::empty("targets", json!({"targets": {}})));
        }
        self.edit(from)["delegations"] = json!({
            "keys": {id(seed): serde_json::to_value(key(seed)).unwrap()},
            "succinct_roles":
                {"keyids": [id(seed)], "threshold": 1, "bit_length": bit_length, "name_prefix": prefix},
        });
        names
    }

    /// Adds a target of these bytes to a role.
    pub(crate) fn add_target(&mut self, role: &str, path: &str, content: &[u8]) {
        self.edit(role)["targets"][path] =
            json!({"length": content.len(), "hashes": {"sha256": Digest::of(content).hex()}});
    }

    /// Publishes roles in this order, each one version up, and tells the role above of it without publishing that.
    pub(crate) fn publish(&mut self, roles: &[&str]) {
        for role in roles {
            if !self.published.insert((*role).to_owned()) {
                let version = self.version(role);
                self.edit(role)["version"] = (version + 1).into();
            }
            self.put(role);
        }
    }

    /// Publishes a role under the version that its `signed` part says.
    pub(crate) fn put(&mut self, role: &str) {
        let bytes = file(&self.signed[role], &self.signers[role]);
        self.serve(role, self.version(role), bytes);
    }

    /// Serves bytes as a role's file and makes the role above promise them.
    pub(crate) fn serve(&mut self, role: &str, version: u64, bytes: Bytes) {
        let mut promise = json!({"version": version});
        if self.hashes {
            promise["length"] = bytes.len().into();
            promise["hashes"] = json!({"sha256": Digest::of(&bytes).hex()});
        }
        match role {
            "root" | "timestamp" => {}
            "snapshot" => self.edit("timestamp")["meta"]["snapshot.json"] = promise,
            _ => self.edit("snapshot")["meta"][format!("{role}.json")] = promise,
        }
        self.files.insert(format!("{version}.{role}.json"), bytes.clone());
        self.files.insert(format!("{role}.json"), bytes);
    }

    /// The version of a role as last published or to be published next.
    pub(crate) fn version(&self, role: &str) -> u64 {
        self.signed[role]["version"].as_u64().unwrap()
    }

    /// A served file.
    pub(crate) fn file(&self, name: &str) -> Bytes {
        self.files[name].clone()
    }

    /// Answers a request and logs it.
    pub(crate) fn fetch(&mut self, name: &str) -> Answer {
        self.requests.push(name.to_owned());
        if self.failing.contains(name) {
            return Answer::Failed("500".to_owned());
        }
        // File names carry percent-encoded role names; ours in tests need no encoding unless a test is about that.
        let decoded = percent_encoding::percent_decode_str(name).decode_utf8().unwrap();
        self.files.get(decoded.as_ref()).cloned().map_or(Answer::Absent, Answer::Found)
    }

    /// The requests since the last call.
    pub(crate) fn take_requests(&mut self) -> Vec<String> {
        std::mem::take(&mut self.requests)
    }
}
