//! Clients without a server of their own: podman and skopeo with private folders, and logins as docker keeps them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use tempfile::TempDir;

/// Folders in which clients find their settings and leave their data.
pub(crate) struct Clients {
    folder: TempDir,
}

impl Clients {
    /// Makes fresh ones: no logins, no images, every signature policy open.
    pub(crate) fn fresh() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder is made");
        let clients = Self { folder };
        let write = |name: &str, text: &str| {
            fs::write(clients.path(name), text).expect("a file in our folder is written");
        };
        write("policy.json", r#"{"default":[{"type":"insecureAcceptAnything"}]}"#);
        write("registries.conf", "unqualified-search-registries = []\n[[registry]]\nlocation = \"127.0.0.1\"\n");
        write(
            "storage.conf",
            &format!(
                "[storage]\ndriver = \"vfs\"\ngraphroot = \"{0}/root\"\nrunroot = \"{0}/run\"\n",
                clients.folder.path().display()
            ),
        );
        write(
            "containers.conf",
            &format!(
                "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"none\"\ntmp_dir = \"{}/tmp\"\n",
                clients.folder.path().display()
            ),
        );
        fs::create_dir(clients.path("docker")).expect("a folder in our folder is made");
        write("docker/config.json", "{}");
        clients
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Lets every client log in to `host`, as `docker login` without a credential helper would.
    pub(crate) fn login(&self, host: &str, user: &str, password: &str) {
        let auth = BASE64_STANDARD.encode(format!("{user}:{password}"));
        let config = json!({ "auths": { host: { "auth": auth } } });
        fs::write(self.path("docker/config.json"), config.to_string()).expect("a file in our folder is written");
    }

    /// The folder for `DOCKER_CONFIG`.
    pub(crate) fn docker_config(&self) -> PathBuf {
        self.path("docker")
    }

    /// A folder as `--cert-dir` wants it, with the authority of a registry.
    pub(crate) fn cert_dir(&self, ca: &Path) -> PathBuf {
        let folder = self.path("certs");
        fs::create_dir_all(&folder).expect("a folder in our folder is made");
        fs::copy(ca, folder.join("ca.crt")).expect("a file in our folder is written");
        folder
    }

    /// A folder as containerd's `--hosts-dir` and `certs.d` want it: `host` speaks TLS by that authority.
    pub(crate) fn hosts_dir(&self, host: &str, ca: &Path) -> PathBuf {
        let folder = self.path("hosts");
        fs::create_dir_all(folder.join(host)).expect("a folder in our folder is made");
        let hosts = format!(
            "server = \"https://{host}\"\n[host.\"https://{host}\"]\ncapabilities = [\"pull\", \"resolve\"]\nca = \"{}\"\n",
            ca.display()
        );
        fs::write(folder.join(host).join("hosts.toml"), hosts).expect("a file in our folder is written");
        folder
    }

    /// What podman needs in its environment, for a program that calls it.
    pub(crate) fn podman_environment(&self) -> Vec<(&'static str, PathBuf)> {
        vec![
            ("CONTAINERS_STORAGE_CONF", self.path("storage.conf")),
            ("CONTAINERS_CONF", self.path("containers.conf")),
            ("CONTAINERS_REGISTRIES_CONF", self.path("registries.conf")),
            ("REGISTRY_AUTH_FILE", self.path("docker/config.json")),
            ("XDG_RUNTIME_DIR", self.folder.path().to_owned()),
        ]
    }

    /// A `podman` command.
    pub(crate) fn podman(&self) -> Command {
        let mut command = Command::new("podman");
        command.envs(self.podman_environment());
        command
    }

    /// A `skopeo` command.
    pub(crate) fn skopeo(&self) -> Command {
        let mut command = Command::new("skopeo");
        command.arg("--policy").arg(self.path("policy.json")).envs(self.podman_environment());
        command
    }
}
