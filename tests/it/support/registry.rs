//! An OCI registry inside the test process, with bad manners on demand.
//!
//! It really stores manifests, tags and blobs for each repository, on a free loopback port, and ends when dropped.
//! Manners are switched at run time; every request is logged.
//!
//! ```ignore
//! let registry = TestRegistry::start();                       // or start_tls()
//! registry.repo("acme/app").push("1.0", OCI_MANIFEST, b"{}");
//! registry.with(|m| m.auth = Auth::bearer("user", "secret"));
//! registry.with(|m| m.busy = Some(Busy { requests: 2, status: 429, retry_after: Some("0".into()) }));
//! // ... let the code under test talk to registry.host() ...
//! assert_eq!(registry.lines(), ["GET /v2/acme/app/manifests/1.0 200"]);
//! let before = registry.repo("acme/app").snapshot();          // later: restore(before), a rollback
//! ```

mod access;
mod answers;
mod asked;
mod content;
mod handle;
mod manners;
mod serve;
mod spoil;
mod state;
mod tls;

pub use manners::{Auth, Busy, Cheat, Manners, Target, Upload};
pub use state::{Entry, RepoState, StoredManifest};

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use state::State;

/// Media type of an OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A running registry.
pub struct TestRegistry {
    address: SocketAddr,
    shared: Arc<Mutex<State>>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    ca: Option<(tempfile::TempDir, String)>,
}

/// One repository of a running registry, seen from inside.
pub struct Repo<'a> {
    shared: &'a Mutex<State>,
    name: String,
}

impl TestRegistry {
    /// A registry on plain HTTP with good manners.
    pub fn start() -> Self {
        Self::launch(false)
    }

    /// A registry on TLS, its certificate, for `127.0.0.1` and no other name, from a CA made for it ([`Self::ca_file`]).
    pub fn start_tls() -> Self {
        Self::launch(true)
    }

    /// `127.0.0.1:<port>`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// `http://127.0.0.1:<port>` or `https://...`.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.ca.is_some() { "https" } else { "http" }, self.address)
    }

    /// The CA's certificate in PEM as a file, of a registry on TLS.
    pub fn ca_file(&self) -> PathBuf {
        self.ca.as_ref().expect("the registry was started with TLS").0.path().join("ca.crt")
    }

    /// Changes the manners from the next request on.
    pub fn with<T>(&self, change: impl FnOnce(&mut Manners) -> T) -> T {
        change(&mut self.shared.lock().unwrap().manners)
    }

    /// Every request so far, with its answer.
    pub fn log(&self) -> Vec<Entry> {
        self.shared.lock().unwrap().log.clone()
    }

    /// Every request so far as `METHOD /path?query STATUS`.
    pub fn lines(&self) -> Vec<String> {
        self.log().iter().map(|e| format!("{} {} {}", e.method, e.path, e.status)).collect()
    }

    /// Forgets the log.
    pub fn clear_log(&self) {
        self.shared.lock().unwrap().log.clear();
    }

    /// A repository, made where it is not there yet.
    pub fn repo(&self, name: &str) -> Repo<'_> {
        Repo { shared: &self.shared, name: name.to_owned() }
    }

    fn launch(secure: bool) -> Self {
        let shared = Arc::new(Mutex::new(State::default()));
        let (certificates, ca) = if secure {
            let (settings, pem) = tls::certificates();
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("ca.crt"), &pem).unwrap();
            (Some(settings), Some((folder, pem)))
        } else {
            (None, None)
        };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let state = Arc::clone(&shared);
        let base = format!("{}://{address}", if secure { "https" } else { "http" });
        let thread = std::thread::spawn(move || serve::run(listener, certificates, state, base, stopped));
        Self { address, shared, stop: Some(stop), thread: Some(thread), ca }
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
