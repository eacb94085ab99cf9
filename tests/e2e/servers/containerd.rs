//! A containerd with data and socket of its own, and `ctr` commands that talk to no other.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::process::{Server, contained};

/// A running containerd.
pub(crate) struct Containerd {
    _server: Server,
    folder: TempDir,
}

impl Containerd {
    /// Starts one. It needs root.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder is made");
        let path = |name: &str| folder.path().join(name);
        let config = "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n";
        std::fs::write(path("config.toml"), config).expect("a file in our folder is written");
        let mut command = contained("containerd");
        command
            .arg("--root")
            .arg(path("root"))
            .arg("--state")
            .arg(path("state"))
            .arg("--address")
            .arg(path("sock"))
            .arg("--config")
            .arg(path("config.toml"));
        let ready = || {
            let mut probe = Command::new("ctr");
            probe.arg("--address").arg(path("sock")).arg("version");
            probe.output().is_ok_and(|out| out.status.success())
        };
        let server =
            Server::start("containerd", &mut command, &path("log"), ready).unwrap_or_else(|why| panic!("{why}"));
        Self { _server: server, folder }
    }

    /// The socket, for `CONTAINERD_ADDRESS`.
    pub(crate) fn address(&self) -> PathBuf {
        self.folder.path().join("sock")
    }

    /// A `ctr` command for this containerd.
    pub(crate) fn ctr(&self) -> Command {
        let mut command = Command::new("ctr");
        // Native snapshots need nothing of the file system below.
        command.env("CONTAINERD_ADDRESS", self.address()).env("CONTAINERD_SNAPSHOTTER", "native");
        command
    }
}
