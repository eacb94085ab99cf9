//! A collection with its owner: keys, a registry with signed images, and machines that trust it.

use std::sync::Arc;

use boltseal::image::manifest::{OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use boltseal::image::{Digest, ImageName};
use boltseal::keystore::{Algorithm, PrivateKey, Purpose};
use boltseal::registry::memory::MemoryRepository;
use boltseal::registry::{Point, Repository};
use boltseal::trust::KeyId;
use serde_json::json;

use super::machine::{Machine, Net};
use super::registry::{Repo, TestRegistry};

/// The private keys of a collection.
pub struct Keys {
    pub root: PrivateKey,
    pub targets: PrivateKey,
    pub online: PrivateKey,
}

impl Keys {
    /// New ones.
    pub fn generate() -> Self {
        let key = || PrivateKey::generate(Algorithm::Ed25519).unwrap();
        Self { root: key(), targets: key(), online: key() }
    }
}

/// A registry with one collection, `acme/app`, whose tag `1.0` is signed.
pub struct Scene {
    pub registry: TestRegistry,
    pub net: Arc<Net>,
    pub name: ImageName,
    pub keys: Keys,
    pub owner: Arc<Machine>,
    /// What `1.0` is signed as.
    pub signed: Digest,
}

impl Scene {
    /// A registry over HTTP with a signed `1.0`.
    pub async fn start() -> Self {
        let registry = TestRegistry::start();
        let net = Net::new();
        let name: ImageName = format!("{}/acme/app", registry.host()).parse().unwrap();
        let keys = Keys::generate();
        let owner = Arc::new(owner(&net, &name, &keys));
        owner.init(&name).await.unwrap();
        let signed = push(&*net.repository(&name), "1.0", "one").await;
        owner.sign(&[&format!("{name}:1.0")]).await.unwrap();
        Self { registry, net, name, keys, owner, signed }
    }

    /// `NAME:tag`
    pub fn image(&self, tag: &str) -> String {
        format!("{}:{tag}", self.name)
    }

    /// The repository, seen from inside the registry.
    pub fn repo(&self) -> Repo<'_> {
        self.registry.repo("acme/app")
    }

    /// The repository, as a client sees it.
    pub fn client(&self) -> Arc<dyn Repository> {
        self.net.repository(&self.name)
    }

    /// A machine that trusts the root and has seen nothing.
    pub fn reader(&self) -> Machine {
        reader(&self.net, &self.name, &self.keys)
    }

    /// Pushes an image and signs it.
    pub async fn sign(&self, tag: &str, text: &str) -> Digest {
        let digest = push(&*self.client(), tag, text).await;
        self.owner.sign(&[&self.image(tag)]).await.unwrap();
        digest
    }
}

/// A repository inside the test with one collection.
pub struct Inside {
    pub net: Arc<Net>,
    pub name: ImageName,
    pub keys: Keys,
    pub owner: Arc<Machine>,
    pub repository: MemoryRepository,
}

impl Inside {
    /// A collection whose tag `1.0` is signed, and `count` pushed images `t0`, `t1`, .. that are not.
    pub async fn start(count: usize) -> Self {
        let net = Net::new();
        let name: ImageName = "registry.example.com/acme/app".parse().unwrap();
        let repository = net.inside(&name);
        let keys = Keys::generate();
        let owner = Arc::new(owner(&net, &name, &keys));
        owner.init(&name).await.unwrap();
        push(&repository, "1.0", "one").await;
        for at in 0..count {
            push(&repository, &format!("t{at}"), &format!("image {at}")).await;
        }
        owner.sign(&[&format!("{name}:1.0")]).await.unwrap();
        Self { net, name, keys, owner, repository }
    }

    /// `NAME:tag`
    pub fn image(&self, tag: &str) -> String {
        format!("{}:{tag}", self.name)
    }

    /// A machine that trusts the root and has seen nothing.
    pub fn reader(&self) -> Machine {
        reader(&self.net, &self.name, &self.keys)
    }

    /// Another machine with every key but the root's.
    pub fn publisher(&self) -> Arc<Machine> {
        let machine = self.reader();
        machine.hold(&self.keys.targets, Purpose::Targets, Some(&self.name));
        machine.hold(&self.keys.online, Purpose::Online, Some(&self.name));
        Arc::new(machine)
    }
}

/// A machine that holds every key of a collection and trusts its root.
pub fn owner(net: &Arc<Net>, name: &ImageName, keys: &Keys) -> Machine {
    let machine = Machine::new(net);
    machine.hold(&keys.root, Purpose::Root, None);
    machine.hold(&keys.targets, Purpose::Targets, Some(name));
    machine.hold(&keys.online, Purpose::Online, Some(name));
    machine.trusts(&name.to_string(), &keys.root.id(), "");
    machine
}

/// A machine that trusts the root of a collection.
pub fn reader(net: &Arc<Net>, name: &ImageName, keys: &Keys) -> Machine {
    trusting(net, name, &keys.root.id())
}

/// A machine that trusts one root key for a name.
pub fn trusting(net: &Arc<Net>, name: &ImageName, root: &KeyId) -> Machine {
    let machine = Machine::new(net);
    machine.trusts(&name.to_string(), root, "");
    machine
}

/// An image manifest whose digest depends on `text`, with its blobs.
pub fn image(text: &str) -> (Vec<u8>, [Vec<u8>; 2]) {
    let config = json!({"os": "linux", "architecture": "amd64", "comment": text}).to_string().into_bytes();
    let layer = format!("layer of {text}").into_bytes();
    let described =
        |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len()});
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": described(OCI_CONFIG, &config),
        "layers": [described("application/vnd.oci.image.layer.v1.tar", &layer)],
    });
    (manifest.to_string().into_bytes(), [config, layer])
}

/// Pushes an image under a tag.
pub async fn push(repository: &dyn Repository, tag: &str, text: &str) -> Digest {
    let (manifest, blobs) = image(text);
    for blob in blobs {
        repository.put_blob(blob.into()).await.unwrap();
    }
    let point = Point::Tag(tag.parse().unwrap());
    repository.put_manifest(&point, OCI_MANIFEST, manifest.into(), None).await.unwrap()
}

/// Pushes an index of two images under a tag: the digests of the index and of its children.
pub async fn push_index(repository: &dyn Repository, tag: &str, text: &str) -> (Digest, [Digest; 2]) {
    let mut children = Vec::new();
    let mut listed = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let (manifest, blobs) = image(&format!("{text} {architecture}"));
        for blob in blobs {
            repository.put_blob(blob.into()).await.unwrap();
        }
        let digest = Digest::of(&manifest);
        listed.push(json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": manifest.len(),
            "platform": {"os": "linux", "architecture": architecture}}));
        repository.put_manifest(&Point::Digest(digest), OCI_MANIFEST, manifest.into(), None).await.unwrap();
        children.push(digest);
    }
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}).to_string();
    let point = Point::Tag(tag.parse().unwrap());
    let digest = repository.put_manifest(&point, OCI_INDEX, index.into_bytes().into(), None).await.unwrap();
    (digest, [children[0], children[1]])
}
