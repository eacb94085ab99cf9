use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;

use super::super::engine::Trouble;
use super::super::transfer::Unwatched;
use super::super::world::Registries;
use super::*;
use crate::config;
use crate::image::manifest::{DOCKER_MANIFEST, OCI_MANIFEST};
use crate::registry::Repository;
use crate::registry::memory::MemoryRepository;
use crate::store::MemoryStore;
use crate::store::checkpoint::Checkpoint;
use crate::trust::policy::{Overrides, Policy};

const NAME: &str = "registry.example.com/acme/app";

struct Only(MemoryRepository);

impl Registries for Only {
    fn open(&self, _: &Location) -> Result<Arc<dyn Repository>, registry::Error> {
        Ok(Arc::new(self.0.clone()))
    }
}

/// A registry with an image under the tag 1.0, and what is vouched for.
struct Scene {
    registry: Only,
    store: MemoryStore,
    folder: tempfile::TempDir,
    signed: Endorsement,
}

impl Scene {
    async fn new() -> Self {
        let repository = MemoryRepository::new(NAME);
        let config = Bytes::from_static(b"{}");
        let digest = repository.put_blob(config.clone()).await.unwrap();
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [],
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": 2},
        });
        let bytes = Bytes::from(manifest.to_string());
        let point = Point::Tag("1.0".parse().unwrap());
        let digest = repository.put_manifest(&point, OCI_MANIFEST, bytes.clone(), None).await.unwrap();
        let signed = Endorsement {
            digest,
            length: bytes.len() as u64,
            media_type: OCI_MANIFEST.to_owned(),
            signers: vec!["targets".to_owned()],
            versions: BTreeMap::new(),
            expires: Timestamp::UNIX_EPOCH,
            superseded: None,
            annotations: BTreeMap::new(),
        };
        let folder = tempfile::tempdir().unwrap();
        Self { registry: Only(repository), store: MemoryStore::new(), folder, signed }
    }

    fn world(&self) -> World<'_> {
        World {
            registries: &self.registry,
            store: &self.store,
            policy: Policy::default(),
            overrides: Overrides::default(),
            max_timestamp_life: None,
            trust_repository: None,
            checkpoint: Checkpoint::new(),
            now: Timestamp::UNIX_EPOCH,
        }
    }

    fn decision(&self, reference: &str) -> Decision {
        let subject = Subject { reference: reference.parse().unwrap(), layout: None };
        let outcome = Ok(self.signed.clone());
        let verdict = Verdict { subject: subject.clone(), mode: Mode::Enforce, outcome, notices: Vec::new() };
        Decision { subject, verdict: Some(verdict) }
    }

    fn copy(&self) -> PathBuf {
        self.folder.path().join("copy")
    }

    async fn copied(&self, decision: &Decision) -> Result<Pulled, Error> {
        let progress: Arc<dyn Progress> = Arc::new(Unwatched);
        let pulled = into_layout(&self.world(), decision, &self.copy(), None, &progress).await;
        pulled.map(|(pulled, _)| pulled)
    }

    async fn pull(&self) -> Result<Pulled, Error> {
        self.copied(&self.decision(&format!("{NAME}:1.0"))).await
    }

    /// What is stored under the signed digest, changed.
    fn spoil(&self, spoil: impl FnOnce(&mut (String, Bytes))) {
        let mut content = self.registry.0.content();
        spoil(content.manifests.get_mut(&self.signed.digest).unwrap());
        self.registry.0.restore(content);
    }

    async fn is_refused(&self) {
        let refusal = self.pull().await.unwrap_err();
        assert!(matches!(refusal, Error::WrongBytes { .. }), "{refusal}");
        assert!(!self.copy().exists());
    }
}

#[tokio::test]
async fn a_tag_that_moved_is_not_asked() {
    let scene = Scene::new().await;
    let mut content = scene.registry.0.content();
    content.tags.clear();
    scene.registry.0.restore(content);
    let pulled = scene.pull().await.unwrap();
    assert_eq!(pulled.digest, Some(scene.signed.digest));
    assert_eq!(pulled.tagged, Some(format!("oci:{}:1.0", scene.copy().display())));
}

#[tokio::test]
async fn other_bytes_than_the_signed_ones_are_refused_and_leave_nothing() {
    for text in ["{}", " ", &"x".repeat(4000)] {
        let scene = Scene::new().await;
        scene.spoil(|(_, bytes)| *bytes = Bytes::copy_from_slice(text.as_bytes()));
        scene.is_refused().await;
    }
    let scene = Scene::new().await;
    scene.spoil(|(media_type, _)| DOCKER_MANIFEST.clone_into(media_type));
    scene.is_refused().await;
    let scene = Scene::new().await;
    let mut content = scene.registry.0.content();
    content.manifests.clear();
    scene.registry.0.restore(content);
    scene.is_refused().await;
}

#[tokio::test]
async fn what_is_refused_goes_nowhere() {
    let scene = Scene::new().await;
    let mut decision = scene.decision(&format!("{NAME}:1.0"));
    if let Some(verdict) = &mut decision.verdict {
        verdict.outcome = Err(Arc::new(Error::Forbidden("no".to_owned())));
    }
    assert!(matches!(scene.copied(&decision).await, Err(Error::Forbidden(_))));
    let engine = Recorder::default();
    let pulled = by_engine(&scene.world(), &decision, &engine, &Connection::default(), &|_| {}).await;
    assert!(matches!(pulled, Err(Error::Forbidden(_))));
    assert_eq!(engine.taken(), Vec::<String>::new());
}

#[tokio::test]
async fn a_digest_without_a_tag_needs_one_to_be_kept_under() {
    let scene = Scene::new().await;
    let decision = scene.decision(&format!("{NAME}@{}", scene.signed.digest));
    assert!(matches!(scene.copied(&decision).await, Err(Error::Usage(_))));
}

/// An engine that notes what it is told, and holds whatever it is asked for.
#[derive(Default)]
struct Recorder(Mutex<Vec<String>>);

impl Recorder {
    fn note(&self, line: String) -> BoxFuture<'_, Result<(), Trouble>> {
        self.0.lock().unwrap().push(line);
        async { Ok(()) }.boxed()
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Engine for Recorder {
    fn kind(&self) -> config::Engine {
        config::Engine::Podman
    }

    fn answers(&self) -> BoxFuture<'_, Result<(), Trouble>> {
        self.note("answers".to_owned())
    }

    fn pull<'a>(&'a self, image: &'a str, _: &'a Connection) -> BoxFuture<'a, Result<(), Trouble>> {
        self.note(format!("pull {image}"))
    }

    fn tag<'a>(&'a self, image: &'a str, name: &'a str) -> BoxFuture<'a, Result<(), Trouble>> {
        self.note(format!("tag {image} {name}"))
    }

    fn holds<'a>(&'a self, name: &'a str, digest: &'a Digest) -> BoxFuture<'a, Result<bool, Trouble>> {
        self.note(format!("holds {name} {digest}")).map(|noted| noted.map(|()| true)).boxed()
    }
}

#[tokio::test]
async fn an_engine_is_told_the_verified_digest_and_a_written_digest_gets_no_tag() {
    let scene = Scene::new().await;
    let digest = scene.signed.digest;
    let pulled = format!("pull {NAME}@{digest}");
    let engine = Recorder::default();
    let (world, connection) = (scene.world(), Connection::default());
    let run = async |reference: &str| {
        by_engine(&world, &scene.decision(reference), &engine, &connection, &|_| {}).await.unwrap();
        engine.taken()
    };
    assert_eq!(
        run(&format!("{NAME}:1.0")).await,
        [pulled.clone(), format!("tag {NAME}@{digest} {NAME}:1.0"), format!("holds {NAME}:1.0 {digest}")]
    );
    assert_eq!(run(&format!("{NAME}@{digest}")).await, std::slice::from_ref(&pulled));
    assert_eq!(run(&format!("{NAME}:1.0@{digest}")).await, [pulled]);
}
