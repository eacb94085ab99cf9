//! A Docker Engine with data, socket and containerd of its own, and clients that talk to no other.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::process::{Server, contained};

/// A running engine.
pub(crate) struct Dockerd {
    _server: Server,
    folder: TempDir,
}

impl Dockerd {
    /// Starts one. It needs root.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder is made");
        let path = |name: &str| folder.path().join(name);
        let host = format!("unix://{}", path("sock").display());
        let mut command = contained("dockerd");
        command
            .arg("--data-root")
            .arg(path("data"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("pid"))
            .args(["--host", &host])
            .args(["--iptables=false", "--bridge=none", "--storage-driver=vfs", "--insecure-registry=127.0.0.0/8"])
            // The engine finds neither a proxy nor the settings of an engine installed beside it.
            .env_remove("HTTP_PROXY")
            .env_remove("HTTPS_PROXY")
            .arg("--config-file")
            .arg(path("daemon.json"));
        std::fs::write(path("daemon.json"), "{}").expect("a file in our folder is written");
        let ready = || {
            Command::new("docker")
                .arg("version")
                .env("DOCKER_HOST", &host)
                .output()
                .is_ok_and(|out| out.status.success())
        };
        let server = Server::start("dockerd", &mut command, &path("log"), ready).unwrap_or_else(|why| panic!("{why}"));
        Self { _server: server, folder }
    }

    /// The address, for `DOCKER_HOST`.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.folder.path().join("sock").display())
    }

    /// A `docker` command for this engine, with the logins of `config` (a `DOCKER_CONFIG` folder).
    pub(crate) fn docker(&self, config: &Path) -> Command {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", self.host()).env("DOCKER_CONFIG", config).env_remove("DOCKER_CONTENT_TRUST");
        command
    }
}
