//! CNCF distribution from Debian, in three set-ups: open, behind TLS with a password, and with bearer tokens.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use super::token::{self, TokenServer};
use crate::http::{Peer, Response};
use crate::process::{Server, free_port, run, tethered, wait_until};
use crate::tls::Authority;

/// The user that registries with a password, and the token server, know.
pub(crate) const USER: &str = "ci";
/// The password of that user.
pub(crate) const PASSWORD: &str = "open sesame";
/// The same for the registry: bcrypt of [`PASSWORD`], as `htpasswd -Bbn` prints it.
const HTPASSWD: &str = "ci:$2y$05$1E2IryWXv4X3.aS0XaSMSuhj2mm1j.6bWak3JRO.klE3xn/3hLExS\n";

enum Setup {
    Open,
    TlsPassword(Authority),
    Tokens(TokenServer),
}

/// A registry with data of its own, at one address as long as it lives.
pub(crate) struct Registry {
    setup: Setup,
    server: Option<Server>,
    port: u16,
    folder: TempDir,
}

impl Registry {
    /// Plain HTTP, nobody is asked who they are.
    pub(crate) fn open() -> Self {
        Self::launch(|_| Setup::Open)
    }

    /// HTTPS by a private authority, with a password.
    pub(crate) fn tls_password() -> Self {
        Self::launch(|folder| Setup::TlsPassword(Authority::create(folder)))
    }

    /// Plain HTTP with bearer tokens.
    pub(crate) fn tokens() -> Self {
        Self::launch(|folder| Setup::Tokens(TokenServer::start(&folder.join("tokens.crt"))))
    }

    fn launch(setup: impl FnOnce(&Path) -> Setup) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder is made");
        let setup = setup(folder.path());
        let mut registry = Self { setup, server: None, port: 0, folder };
        let mut failure = String::new();
        for _ in 0..5 {
            registry.port = free_port();
            match registry.try_start() {
                Ok(()) => return registry,
                Err(why) => failure = why,
            }
        }
        panic!("{failure}");
    }

    fn try_start(&mut self) -> Result<(), String> {
        fs::write(self.path("config.yml"), self.config()).expect("a file in our folder is written");
        let peer = self.peer();
        let ready = || peer.try_request("GET", "/v2/", &[], b"").is_some();
        let mut command = tethered("docker-registry");
        command.arg("serve").arg(self.path("config.yml")).env("OTEL_TRACES_EXPORTER", "none");
        self.server = Some(Server::start("docker-registry", &mut command, &self.path("log"), ready)?);
        Ok(())
    }

    fn config(&self) -> String {
        let mut config = format!(
            "version: 0.1\nlog: {{level: warn, accesslog: {{disabled: false}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n",
            self.data().display()
        );
        let (mut tls, mut auth) = (String::new(), String::new());
        match &self.setup {
            Setup::Open => {}
            Setup::TlsPassword(authority) => {
                fs::write(self.path("htpasswd"), HTPASSWD).expect("a file in our folder is written");
                let (certificate, key) = (authority.certificate(), authority.key());
                tls = format!(", tls: {{certificate: {}, key: {}}}", certificate.display(), key.display());
                auth = format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", self.path("htpasswd").display());
            }
            Setup::Tokens(tokens) => {
                auth = format!(
                    "auth: {{token: {{realm: '{}', service: '{}', issuer: '{}', rootcertbundle: {}}}}}\n",
                    tokens.realm(),
                    token::SERVICE,
                    token::ISSUER,
                    self.path("tokens.crt").display()
                );
            }
        }
        writeln!(config, "http: {{addr: '{}', secret: one test{tls}}}", self.host()).expect("a string grows");
        config + &auth
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// The registry's address, as it stands in image names.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The full name of an image here, `acme/app:1.0` for instance.
    pub(crate) fn image(&self, rest: &str) -> String {
        format!("{}/{rest}", self.host())
    }

    /// The authority's certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        match &self.setup {
            Setup::TlsPassword(authority) => authority.ca(),
            _ => panic!("this registry speaks plain HTTP"),
        }
    }

    /// How many tokens were asked for.
    pub(crate) fn tokens_asked(&self) -> usize {
        match &self.setup {
            Setup::Tokens(tokens) => tokens.asked(),
            _ => panic!("this registry knows no tokens"),
        }
    }

    /// Ends the server and keeps its data and its address.
    pub(crate) fn stop(&mut self) {
        self.server = None;
    }

    /// Starts a stopped server again where it was.
    pub(crate) fn start(&mut self) {
        self.try_start().unwrap_or_else(|why| panic!("{why}"));
    }

    /// Copies everything the registry holds, to be put back with [`Registry::restore`].
    pub(crate) fn snapshot(&self) -> TempDir {
        let copy = tempfile::tempdir().expect("a temporary folder is made");
        copy_folder(&self.data(), copy.path());
        copy
    }

    /// Puts an earlier state back, as a hostile or badly restored registry would.
    pub(crate) fn restore(&mut self, snapshot: &TempDir) {
        self.stop();
        fs::remove_dir_all(self.data()).expect("our folder can be removed");
        copy_folder(snapshot.path(), &self.data());
        self.start();
    }

    /// Lets the registry serve other bytes under a digest, as a hostile one would.
    pub(crate) fn falsify(&self, digest: &str, bytes: &[u8]) {
        let hex = digest.strip_prefix("sha256:").expect("every digest is SHA-256");
        let blob = self.data().join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data");
        assert!(blob.exists(), "the registry has no {digest}");
        fs::write(blob, bytes).expect("a file in our folder is written");
    }

    /// Copies one repository over another, with all that is tagged there, as a hostile registry would.
    pub(crate) fn clone_repository(&self, from: &str, to: &str) {
        let repositories = self.data().join("docker/registry/v2/repositories");
        let target = repositories.join(to);
        if target.exists() {
            fs::remove_dir_all(&target).expect("our folder can be removed");
        }
        fs::create_dir_all(&target).expect("a folder in our folder is made");
        copy_folder(&repositories.join(from), &target);
    }

    /// Removes a tag as the registry's owner can, by the file that holds it.
    pub(crate) fn forget_tag(&self, repository: &str, tag: &str) {
        let tags = self.data().join("docker/registry/v2/repositories").join(repository).join("_manifests/tags");
        fs::remove_dir_all(tags.join(tag)).expect("the tag is there");
    }

    /// The tags of a repository.
    pub(crate) fn tags(&self, repository: &str) -> Vec<String> {
        let answer = self.request("GET", &format!("/v2/{repository}/tags/list"), &[], b"");
        let list: serde_json::Value = serde_json::from_slice(&answer.body).expect("a list of tags is JSON");
        let tags = list["tags"].as_array().cloned().unwrap_or_default();
        tags.iter().filter_map(|tag| tag.as_str().map(str::to_owned)).collect()
    }

    /// Runs the registry's own garbage collection, while it is stopped.
    pub(crate) fn collect_garbage(&mut self, untagged: bool) {
        self.stop();
        let mut command = Command::new("docker-registry");
        command.arg("garbage-collect");
        if untagged {
            command.arg("--delete-untagged");
        }
        run(command.arg(self.path("config.yml"))).ok();
        self.start();
    }

    fn peer(&self) -> Peer {
        let ca = match &self.setup {
            Setup::TlsPassword(authority) => Some(authority.ca()),
            Setup::Open | Setup::Tokens(_) => None,
        };
        Peer { host: self.host(), ca }
    }

    /// Sends one request as a user who may do everything.
    #[track_caller]
    pub(crate) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let authorization = match &self.setup {
            Setup::Open => None,
            Setup::TlsPassword(_) => Some(token::basic(USER, PASSWORD)),
            Setup::Tokens(tokens) => Some(tokens.bearer(repository_of(path))),
        };
        let mut headers = headers.to_vec();
        headers.extend(authorization.iter().map(|value| ("Authorization", value.as_str())));
        self.peer().request(method, path, &headers, body)
    }

    /// Remembers this moment, to ask [`Registry::since`] later.
    pub(crate) fn mark(&self) -> Mark {
        self.settle();
        Mark(self.lines().len())
    }

    /// What was asked of the registry since the mark, in the order in which it was answered.
    pub(crate) fn since(&self, mark: &Mark) -> Traffic {
        self.settle();
        Traffic { exchanges: self.lines().split_off(mark.0) }
    }

    /// A line is logged a moment after its answer went out: waits for the lines of all answers so far.
    fn settle(&self) {
        let sentinel = format!("/v2/?sentinel={}", SENTINEL.fetch_add(1, Ordering::Relaxed));
        self.peer().request("GET", &sentinel, &[], b"");
        let log = self.path("log");
        let seen = wait_until(Duration::from_secs(10), || {
            fs::read_to_string(&log).is_ok_and(|text| text.contains(&format!("{sentinel} ")))
        });
        assert!(seen, "the access log lacks {sentinel}");
    }

    fn lines(&self) -> Vec<Exchange> {
        let log = fs::read(self.path("log")).unwrap_or_default();
        String::from_utf8_lossy(&log)
            .lines()
            .filter_map(Exchange::parse)
            .filter(|exchange| !exchange.path.starts_with("/v2/?sentinel="))
            .collect()
    }
}

static SENTINEL: AtomicUsize = AtomicUsize::new(0);

/// A moment in the access log.
pub(crate) struct Mark(usize);

/// What went over the wire between two moments.
#[derive(Debug)]
pub(crate) struct Traffic {
    /// The requests in the order of their answers.
    pub(crate) exchanges: Vec<Exchange>,
}

impl Traffic {
    /// How many requests there were.
    pub(crate) fn requests(&self) -> usize {
        self.exchanges.len()
    }

    /// How many bytes of bodies were sent to the client.
    pub(crate) fn bytes(&self) -> u64 {
        self.exchanges.iter().map(|exchange| exchange.bytes).sum()
    }
}

/// One line of the access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exchange {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) status: u16,
    pub(crate) bytes: u64,
}

impl Exchange {
    /// Reads Apache's combined form: `peer - - [time] "METHOD PATH PROTOCOL" STATUS BYTES "referrer" "agent"`.
    fn parse(line: &str) -> Option<Self> {
        let mut quoted = line.split('"');
        let peer = quoted.next()?;
        if !peer.contains(" - ") || !peer.trim_end().ends_with(']') {
            return None;
        }
        let mut request = quoted.next()?.split(' ');
        let (method, path) = (request.next()?.to_owned(), request.next()?.to_owned());
        let mut rest = quoted.next()?.split_whitespace();
        let status = rest.next()?.parse().ok()?;
        let written: u64 = rest.next()?.parse().ok()?;
        // The registry counts what it wrote for HEAD too, but none of that leaves the server.
        let bytes = if method == "HEAD" || status == 304 { 0 } else { written };
        Some(Self { method, path, status, bytes })
    }
}

/// The repository that a path of the registry's API is about.
fn repository_of(path: &str) -> &str {
    let rest = path.strip_prefix("/v2/").unwrap_or(path);
    let end = ["/manifests/", "/blobs/", "/tags/", "/referrers/"].iter().filter_map(|part| rest.find(part)).min();
    &rest[..end.unwrap_or(0)]
}

fn copy_folder(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from.join(".")).arg(to)).ok();
}
