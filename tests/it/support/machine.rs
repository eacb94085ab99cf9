//! A machine: a home with memory and policy, keys, a clock that stands where the test puts it, and the use cases.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use boltseal::cli::report::Failure;
use boltseal::config;
use boltseal::image::{Digest, ImageName, Reference};
use boltseal::keystore::{
    Algorithm, Error as KeyError, KeyInfo, MemoryKeyStore, Passphrase, Passphrases, PrivateKey, Purpose,
};
use boltseal::ops::error::Error;
use boltseal::ops::refresh::Refreshed;
use boltseal::ops::revoke::{Revoked, What};
use boltseal::ops::ring::Ring;
use boltseal::ops::sign::{Image, Options as SignOptions, Signed};
use boltseal::ops::verify::{self, Served, Verdict};
use boltseal::ops::world::{Registries, Subject, World};
use boltseal::ops::{init, refresh, revoke, sign};
use boltseal::registry::http::{Client, Limits, Options};
use boltseal::registry::memory::MemoryRepository;
use boltseal::registry::{self, Repository};
use boltseal::store::Store;
use boltseal::store::checkpoint::Checkpoint;
use boltseal::store::dir::DirStore;
use boltseal::trust::KeyId;
use boltseal::trust::draft::Lifetimes;
use boltseal::trust::policy::{Location, Overrides, Policy};
use boltseal::trust::verdict::Endorsement;
use jiff::{SignedDuration, Timestamp};

/// Where every test's clock begins.
pub const START: &str = "2026-11-21T00:00:00Z";

/// What machines reach: registries over HTTP, and repositories inside the test.
pub struct Net {
    client: Client,
    inside: Mutex<HashMap<String, MemoryRepository>>,
}

impl Net {
    /// Registries over HTTP, with bounds short enough for a test.
    pub fn new() -> Arc<Self> {
        let limits = Limits {
            connect: Duration::from_secs(2),
            idle: Duration::from_millis(400),
            total: Duration::from_secs(2),
            back_off: Duration::from_millis(4),
            unsettled_within: Duration::from_millis(60),
            ..Limits::default()
        };
        let client = Client::new(Options { certs_d: Vec::new(), limits, ..Options::default() });
        Arc::new(Self { client, inside: Mutex::default() })
    }

    /// A repository inside the test under an image name.
    pub fn inside(&self, name: &ImageName) -> MemoryRepository {
        let mut inside = self.inside.lock().unwrap();
        inside.entry(name.to_string()).or_insert_with(|| MemoryRepository::new(&name.to_string())).clone()
    }

    /// The repository of an image name.
    pub fn repository(&self, name: &ImageName) -> Arc<dyn Repository> {
        self.open(&Location::Repository(name.clone())).unwrap()
    }
}

impl Registries for Net {
    fn open(&self, location: &Location) -> Result<Arc<dyn Repository>, registry::Error> {
        if let Location::Repository(name) = location
            && let Some(inside) = self.inside.lock().unwrap().get(&name.to_string())
        {
            return Ok(Arc::new(inside.clone()));
        }
        self.client.open(location)
    }
}

/// Every key has one passphrase.
struct OnePassphrase;

impl Passphrases for OnePassphrase {
    fn unlock(&self, _key: &KeyInfo, _attempt: u32) -> Result<Passphrase, KeyError> {
        Ok("correct horse".to_owned().into())
    }

    fn choose(&self, _purpose: &Purpose, _collection: Option<&str>) -> Result<Passphrase, KeyError> {
        Ok("correct horse".to_owned().into())
    }
}

/// A machine.
pub struct Machine {
    pub net: Arc<Net>,
    pub home: tempfile::TempDir,
    pub keys: MemoryKeyStore,
    store: Mutex<Arc<dyn Store>>,
    now: Mutex<Timestamp>,
    pub overrides: Mutex<Overrides>,
    pub checkpoint: Mutex<Checkpoint>,
    pub lifetimes: Lifetimes,
}

impl Machine {
    /// A machine that has seen nothing, trusts nothing and holds no key.
    pub fn new(net: &Arc<Net>) -> Self {
        let home = tempfile::tempdir().unwrap();
        let store = DirStore::new(home.path()).with_lock_wait(Duration::from_millis(300));
        Self {
            net: Arc::clone(net),
            keys: MemoryKeyStore::new(),
            store: Mutex::new(Arc::new(store)),
            now: Mutex::new(START.parse().unwrap()),
            overrides: Mutex::default(),
            checkpoint: Mutex::new(Checkpoint::new()),
            lifetimes: Lifetimes::default(),
            home,
        }
    }

    /// Another memory than the folder in `home`.
    pub fn with_store(self, store: impl Store + 'static) -> Self {
        *self.store.lock().unwrap() = Arc::new(store);
        self
    }

    /// Where the policy lies.
    pub fn policy_file(&self) -> PathBuf {
        self.home.path().join("policy.toml")
    }

    /// Adds to the policy.
    pub fn policy(&self, text: &str) {
        let path = self.policy_file();
        let before = fs::read_to_string(&path).unwrap_or_else(|_| "version = 1\n".to_owned());
        fs::write(path, format!("{before}\n{text}\n")).unwrap();
    }

    /// Trusts a root key for some images, with more fields for the scope.
    pub fn trusts(&self, images: &str, root: &KeyId, more: &str) {
        self.policy(&format!(
            "[[scope]]\nimages = [\"{images}\"]\nroot = {{ keys = [\"{root}\"], threshold = 1 }}\n{more}"
        ));
    }

    /// Where memory of a collection lies.
    pub fn memory(&self, name: &ImageName) -> PathBuf {
        DirStore::new(self.home.path()).folder(name)
    }

    /// The clock.
    pub fn now(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }

    /// Sets the clock forward, or back.
    pub fn pass(&self, time: SignedDuration) {
        let mut now = self.now.lock().unwrap();
        *now = now.checked_add(time).unwrap();
    }

    /// Sets the clock.
    pub fn set_clock(&self, now: Timestamp) {
        *self.now.lock().unwrap() = now;
    }

    /// Takes in a key of a collection.
    pub fn hold(&self, key: &PrivateKey, purpose: Purpose, name: Option<&ImageName>) -> KeyInfo {
        self.keys.hold(key, Some(purpose), name.map(ToString::to_string).as_deref())
    }

    /// Runs a use case in this machine's world.
    pub async fn run<T>(&self, work: impl AsyncFnOnce(&World<'_>, &Ring<'_>) -> T) -> T {
        let store = Arc::clone(&*self.store.lock().unwrap());
        let files = config::policy::load_file(&self.policy_file()).unwrap().into_iter().collect();
        let world = World {
            registries: &*self.net,
            store: &*store,
            policy: Policy { files },
            overrides: self.overrides.lock().unwrap().clone(),
            max_timestamp_life: None,
            trust_repository: None,
            checkpoint: self.checkpoint.lock().unwrap().clone(),
            now: self.now(),
        };
        let ring = Ring::new(&self.keys, &OnePassphrase);
        work(&world, &ring).await
    }

    /// `init NAME`
    pub async fn init(&self, name: &ImageName) -> Result<init::Initialised, Error> {
        let request = init::Request {
            name: name.clone(),
            layout: None,
            algorithm: Algorithm::Ed25519,
            lifetimes: self.lifetimes,
            policy_file: self.policy_file(),
        };
        self.run(async |world, ring| init::init(world, ring, &request).await).await
    }

    /// `sign IMAGE...`
    pub async fn sign(&self, images: &[&str]) -> Result<Vec<Signed>, Error> {
        self.sign_with(images, &SignOptions::default()).await
    }

    /// `sign IMAGE...` with options.
    pub async fn sign_with(&self, images: &[&str], options: &SignOptions) -> Result<Vec<Signed>, Error> {
        let images: Vec<Image> = images.iter().map(|image| Image { subject: subject(image), built: None }).collect();
        self.run(async |world, ring| sign::sign(world, ring, &images, options).await).await
    }

    /// `revoke NAME:TAG`
    pub async fn revoke(&self, image: &str) -> Result<Revoked, Error> {
        let reference: Reference = image.parse().unwrap();
        let what = match (reference.tag, reference.digest) {
            (Some(tag), None) => What::Tag(tag),
            (Some(tag), Some(digest)) => What::TagAt(tag, digest),
            (None, Some(digest)) => What::Digest(digest),
            (None, None) => What::All,
        };
        let name = reference.name;
        self.run(async |world, ring| revoke::revoke(world, ring, &name, None, &what, false).await).await
    }

    /// `refresh NAME`
    pub async fn refresh(&self, name: &ImageName) -> Result<Refreshed, Error> {
        self.refresh_expired(name, None).await
    }

    /// `refresh NAME --accept-expired DIGEST`
    pub async fn refresh_expired(&self, name: &ImageName, accept: Option<Digest>) -> Result<Refreshed, Error> {
        self.run(async |world, ring| refresh::refresh(world, ring, name, None, accept).await).await
    }

    /// `verify IMAGE`
    pub async fn verify(&self, image: &str) -> Result<Endorsement, Arc<Error>> {
        self.verdict(image, Served::Ignore).await.outcome
    }

    /// `verify --registry IMAGE`
    pub async fn compare(&self, image: &str) -> Result<Endorsement, Arc<Error>> {
        self.verdict(image, Served::Compare).await.outcome
    }

    /// The whole verdict.
    pub async fn verdict(&self, image: &str, served: Served) -> Verdict {
        let subjects = [subject(image)];
        self.run(async |world, _| verify::verify(world, &subjects, served).await).await.remove(0)
    }

    /// The exit code of `verify IMAGE`, 0 where it verifies.
    pub async fn exit(&self, image: &str) -> u8 {
        self.verify(image).await.map_or_else(|error| exit(&error), |_| 0)
    }

    /// The exit code of `verify --registry IMAGE`.
    pub async fn compare_exit(&self, image: &str) -> u8 {
        self.compare(image).await.map_or_else(|error| exit(&error), |_| 0)
    }
}

/// The exit code that the command line gives for an error.
pub fn exit(error: &Error) -> u8 {
    Failure::from(error).exit.code()
}

/// The exit code of a result.
pub fn exit_of<T>(result: &Result<T, Error>) -> u8 {
    result.as_ref().map_or_else(exit, |_| 0)
}

/// What somebody means who writes an image reference.
pub fn subject(image: &str) -> Subject {
    Subject { reference: image.parse::<Reference>().unwrap().or_latest(), layout: None }
}

/// Days.
pub fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}
