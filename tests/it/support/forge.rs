//! What somebody with stolen keys, or with write access to the registry, can make of a collection's metadata.

use std::collections::BTreeMap;

use boltseal::image::Digest;
use boltseal::image::manifest::{MAX_MANIFEST, OCI_MANIFEST};
use boltseal::keystore::{PrivateKey, Signer};
use boltseal::registry::head::{self, Head};
use boltseal::registry::{Conditional, Point, Repository};
use boltseal::trust::canonical;
use bytes::Bytes;
use serde_json::{Value, json};

/// The metadata files of a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// All files by their names in the head.
    pub files: BTreeMap<String, Bytes>,
}

impl State {
    /// Reads the head.
    pub async fn read(repository: &dyn Repository) -> Self {
        let answer = repository.manifest(&Point::Tag(Head::tag()), None, MAX_MANIFEST).await.unwrap();
        let Conditional::Modified(manifest) = answer else { panic!("nothing was known") };
        let head = Head::parse(&manifest.media_type, &manifest.bytes).unwrap();
        let mut files = BTreeMap::new();
        for layer in head.files() {
            let bytes = head::read(repository, &head, &layer.name, 16 << 20).await.unwrap().unwrap();
            files.insert(layer.name.clone(), bytes);
        }
        Self { files }
    }

    /// Puts the files as the head, over whatever is there.
    pub async fn put(&self, repository: &dyn Repository) -> Digest {
        let draft = Head::build(&self.files, &BTreeMap::new(), None).unwrap();
        for blob in draft.blobs {
            repository.put_blob(blob).await.unwrap();
        }
        repository.put_manifest(&Point::Tag(Head::tag()), OCI_MANIFEST, draft.manifest, None).await.unwrap()
    }

    /// The name in the head of a role's file; of root, of the newest.
    pub fn name(&self, role: &str) -> String {
        let plain = format!("{role}.json");
        let version = |name: &String| name.split('.').next().and_then(|number| number.parse::<u64>().ok());
        let versioned =
            self.files.keys().filter(|name| name.ends_with(&format!(".{plain}"))).max_by_key(|n| version(n));
        versioned.cloned().unwrap_or(plain)
    }

    /// A role's file.
    pub fn file(&self, role: &str) -> Bytes {
        self.files[&self.name(role)].clone()
    }

    /// The `signed` part of a role.
    pub fn signed(&self, role: &str) -> Value {
        serde_json::from_slice::<Value>(&self.file(role)).unwrap()["signed"].take()
    }

    /// The version of a role.
    pub fn version(&self, role: &str) -> u64 {
        self.signed(role)["version"].as_u64().unwrap()
    }

    /// Puts another file in the place of a role's.
    pub fn replace(&mut self, role: &str, bytes: Bytes) {
        let former = self.name(role);
        let version = serde_json::from_slice::<Value>(&bytes).unwrap()["signed"]["version"].clone();
        self.files.remove(&former);
        let name = if role == "timestamp" { "timestamp.json".to_owned() } else { format!("{version}.{role}.json") };
        self.files.insert(name, bytes);
    }

    /// Changes the `signed` part of a role, raises its version, and signs it with these keys.
    pub fn edit(&mut self, role: &str, keys: &[&PrivateKey], edit: impl FnOnce(&mut Value)) {
        let mut signed = self.signed(role);
        signed["version"] = (signed["version"].as_u64().unwrap() + 1).into();
        edit(&mut signed);
        self.replace(role, file(&signed, keys));
    }

    /// Lets the snapshot list the present targets, signed with these keys.
    pub fn list_targets(&mut self, keys: &[&PrivateKey]) {
        let meta = describe(&self.file("targets"));
        self.edit("snapshot", keys, |signed| signed["meta"]["targets.json"] = meta);
    }

    /// Lets the timestamp promise the present snapshot, signed with these keys.
    pub fn promise_snapshot(&mut self, keys: &[&PrivateKey]) {
        let meta = describe(&self.file("snapshot"));
        self.edit("timestamp", keys, |signed| signed["meta"]["snapshot.json"] = meta);
    }

    /// Signs snapshot and timestamp anew over the present targets.
    pub fn publish(&mut self, online: &[&PrivateKey]) {
        self.list_targets(online);
        self.promise_snapshot(online);
    }
}

/// A metadata file of `signed` with the signatures of these keys.
pub fn file(signed: &Value, keys: &[&PrivateKey]) -> Bytes {
    let message = canonical::encode(signed);
    let signatures: Vec<Value> = keys
        .iter()
        .map(|key| json!({"keyid": key.id().as_str(), "sig": hex::encode(key.sign(&message).unwrap())}))
        .collect();
    json!({"signatures": signatures, "signed": signed}).to_string().into()
}

/// What a parent says of a file.
pub fn describe(file: &Bytes) -> Value {
    let version = serde_json::from_slice::<Value>(file).unwrap()["signed"]["version"].clone();
    json!({"version": version, "length": file.len(), "hashes": {"sha256": Digest::of(file).hex()}})
}

/// The entries that say that a tag holds a manifest.
pub fn entries(name: &str, tag: &str, digest: Digest, length: usize) -> [(String, Value); 2] {
    let hashes = json!({"sha256": digest.hex()});
    let entry = |custom: Value| json!({"length": length, "hashes": hashes, "custom": custom});
    [
        (format!("{name}:{tag}"), entry(json!({"mediaType": OCI_MANIFEST}))),
        (format!("{name}@{digest}"), entry(json!({"mediaType": OCI_MANIFEST, "tags": [tag]}))),
    ]
}
