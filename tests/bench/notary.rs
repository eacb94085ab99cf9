//! Notary v1 from Debian: its server, its signer and its client, for figures beside ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::Peer;
use crate::measure::{Cost, median, time};
use crate::process::{Server, free_port, run, tethered, wait_until};
use crate::tls::Authority;

/// The passphrase of every key.
const PASSPHRASE: &str = "correct horse battery staple";

/// What the work that is measured costs Notary's client.
pub(crate) struct Costs {
    pub(crate) verify_cold: Cost,
    pub(crate) verify_warm: Cost,
    pub(crate) sign_one_more: Cost,
}

/// A running server with its signer. All it knows is in memory.
pub(crate) struct Notary {
    _signer: Server,
    server: Server,
    authority: Authority,
    peer: Peer,
    folder: TempDir,
}

impl Notary {
    /// Starts both.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder is made");
        let path = |name: &str| folder.path().join(name);
        let authority = Authority::create(folder.path());
        let (signer_port, server_port) = (free_port(), free_port());
        let storage = json!({ "backend": "memory" });
        let signer = json!({
            "server": {
                "grpc_addr": format!("127.0.0.1:{signer_port}"), "client_ca_file": authority.ca(),
                "tls_cert_file": authority.certificate(), "tls_key_file": authority.key(),
            },
            "logging": { "level": "info" }, "storage": storage,
        });
        let server = json!({
            "server": {
                "http_addr": format!("127.0.0.1:{server_port}"),
                "tls_cert_file": authority.certificate(), "tls_key_file": authority.key(),
            },
            "trust_service": {
                "type": "remote", "hostname": "127.0.0.1", "port": signer_port.to_string(), "key_algorithm": "ecdsa",
                "tls_ca_file": authority.ca(), "tls_client_cert": authority.certificate(), "tls_client_key": authority.key(),
            },
            "logging": { "level": "info" }, "storage": storage,
        });
        fs::write(path("signer.json"), signer.to_string()).expect("a file in our folder is written");
        fs::write(path("server.json"), server.to_string()).expect("a file in our folder is written");

        let start = |program: &'static str, settings: &str, ready: &dyn Fn() -> bool| {
            let mut command = tethered(program);
            command.arg("-config").arg(path(settings));
            let log = path(&format!("{program}.log"));
            Server::start(program, &mut command, &log, ready).unwrap_or_else(|why| panic!("{why}"))
        };
        let listens = || std::net::TcpStream::connect(("127.0.0.1", signer_port)).is_ok();
        let signer = start("notary-signer", "signer.json", &listens);
        let peer = Peer { host: format!("127.0.0.1:{server_port}"), ca: Some(authority.ca()) };
        let healthy =
            || peer.try_request("GET", "/_notary_server/health", &[], b"").is_some_and(|answer| answer.status == 200);
        let server = start("notary-server", "server.json", &healthy);
        Self { _signer: signer, server, authority, peer, folder }
    }

    /// A folder for keys and cache, as one machine would have it.
    fn machine(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A `notary` command of such a machine.
    fn notary(&self, machine: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new("notary");
        command.arg("-d").arg(machine).args(["-s", &format!("https://{}", self.peer.host)]);
        command.arg("--tlscacert").arg(self.authority.ca()).args(arguments);
        for role in ["ROOT", "TARGETS", "SNAPSHOT", "DELEGATION"] {
            command.env(format!("NOTARY_{role}_PASSPHRASE"), PASSPHRASE);
        }
        command
    }

    /// Makes a collection of that many tags, published.
    fn publish(&self, machine: &Path, collection: &str, tags: usize) {
        run(&self.notary(machine, &["init", collection])).ok();
        for number in 0..tags {
            self.stage(machine, collection, &format!("v{number}"));
        }
        run(&self.notary(machine, &["publish", collection])).ok();
    }

    /// Stages one tag; nothing is sent.
    fn stage(&self, machine: &Path, collection: &str, tag: &str) {
        let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(tag));
        run(&self.notary(machine, &["addhash", collection, tag, "1470", "--sha256", &digest])).ok();
    }

    /// What its client costs with a collection of that many tags.
    pub(crate) fn costs(&self, runs: usize, tags: usize) -> Costs {
        let owner = self.machine("owner");
        let collection = format!("localhost:5000/bench/{tags}");
        self.publish(&owner, &collection, tags);
        let lookup = |machine: &str| time(&mut self.notary(&self.machine(machine), &["lookup", &collection, "v7"]));
        let mut fresh = 0;
        let verify_cold = self.cost(runs, || {
            fresh += 1;
            lookup(&format!("fresh-{tags}-{fresh}"))
        });
        let warm = format!("warm-{tags}");
        lookup(&warm);
        let verify_warm = self.cost(runs, || lookup(&warm));
        let mut more = 0;
        let sign_one_more = self.cost(runs, || {
            more += 1;
            self.stage(&owner, &collection, &format!("more-{more}"));
            time(&mut self.notary(&owner, &["publish", &collection]))
        });
        Costs { verify_cold, verify_warm, sign_one_more }
    }

    fn cost(&self, runs: usize, mut work: impl FnMut() -> f64) -> Cost {
        let before = self.traffic();
        work();
        let after = self.traffic();
        Cost { milliseconds: median(runs, work), wire: Some((after.0 - before.0, after.1 - before.1)) }
    }

    /// How many requests the server has answered so far, and with how many bytes of bodies.
    fn traffic(&self) -> (usize, u64) {
        // The line of an answer may come a moment after it: the line of one more answer ends the wait.
        let before = self.answers();
        self.peer.request("GET", "/v2/sentinel/_trust/tuf/root.json", &[], b"");
        let sentinels = |answers: &[Value]| answers.iter().filter(|answer| is_sentinel(answer)).count();
        let wanted = sentinels(&before) + 1;
        let mut answers = Vec::new();
        wait_until(std::time::Duration::from_secs(10), || {
            answers = self.answers();
            sentinels(&answers) >= wanted
        });
        answers.retain(|answer| !is_sentinel(answer));
        (answers.len(), answers.iter().filter_map(|answer| answer["http.response.written"].as_u64()).sum())
    }

    fn answers(&self) -> Vec<Value> {
        let lines = self.server.logged();
        let answers = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        answers.filter(|line| !line["http.response.written"].is_null()).collect()
    }
}

fn is_sentinel(answer: &Value) -> bool {
    answer["http.request.uri"].as_str().is_some_and(|uri| uri.contains("sentinel") || uri.contains("health"))
}
