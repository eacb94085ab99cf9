//! A machine with Boltseal on it: memory, keys, policy and logins of its own.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::clients::Clients;
use crate::process::{Ran, run};

/// The passphrase of every key, unless a test sets others.
pub(crate) const PASSPHRASE: &str = "correct horse battery staple";

/// One machine. Two of them share nothing but the servers they talk to.
pub(crate) struct Machine {
    folder: TempDir,
    pub(crate) clients: Clients,
}

impl Machine {
    /// Makes one on which Boltseal was never run.
    pub(crate) fn fresh() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder is made");
        for name in ["home", "work"] {
            fs::create_dir(folder.path().join(name)).expect("a folder in our folder is made");
        }
        Self { folder, clients: Clients::fresh() }
    }

    /// Makes one that trusts what `init` on another machine told its users to trust.
    pub(crate) fn trusting(init: &Ran) -> Self {
        let machine = Self::fresh();
        machine.trust(init);
        machine
    }

    /// Runs the `trust add` line that `init` ended with.
    pub(crate) fn trust(&self, init: &Ran) {
        self.run(trust_line(init)).ok();
    }

    /// The same, for the images of another name.
    pub(crate) fn trust_for(&self, name: &str, init: &Ran) {
        let mut line = trust_line(init);
        name.clone_into(&mut line[2]);
        self.run(line).ok();
    }

    /// `$BOLTSEAL_HOME`: keys and memory.
    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join("boltseal")
    }

    /// The user's policy.
    pub(crate) fn policy(&self) -> PathBuf {
        self.folder.path().join("home/.config/boltseal/policy.toml")
    }

    /// The folder that commands run in.
    pub(crate) fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// A `boltseal` command that sees this machine alone.
    pub(crate) fn boltseal<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Command {
        let mut command = Command::new(binary());
        self.settle(command.args(arguments));
        command
    }

    /// Runs `boltseal` with these arguments.
    pub(crate) fn run<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Ran {
        run(&self.boltseal(arguments))
    }

    /// The same with more in the environment.
    pub(crate) fn run_with<I: AsRef<OsStr>>(
        &self,
        environment: &[(&str, &OsStr)],
        arguments: impl IntoIterator<Item = I>,
    ) -> Ran {
        run(self.boltseal(arguments).envs(environment.iter().copied()))
    }

    /// The same with the clock set forward or back, `+20d` for instance.
    pub(crate) fn run_at<I: AsRef<OsStr>>(&self, shift: &str, arguments: impl IntoIterator<Item = I>) -> Ran {
        let mut command = Command::new("faketime");
        command.args(["-f", shift]).arg(binary());
        self.settle(command.args(arguments));
        // Only the calendar moves: timers go on as they are.
        run(command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1"))
    }

    /// Runs a script as the user of this machine would, with `boltseal` on the PATH.
    pub(crate) fn script(&self, script: &str, environment: &[(&str, &str)]) -> Ran {
        let bin = self.folder.path().join("bin");
        fs::create_dir_all(&bin).expect("a folder in our folder is made");
        let link = bin.join("boltseal");
        if !link.exists() {
            std::os::unix::fs::symlink(binary(), &link).expect("a link in our folder is made");
        }
        let mut command = Command::new("bash");
        self.settle(command.args(["-euo", "pipefail", "-c", script]));
        let path = std::env::var("PATH").expect("there is a PATH");
        run(command.env("PATH", format!("{}:{path}", bin.display())).envs(environment.iter().copied()))
    }

    /// Nothing of the machine that runs the tests is visible but its programs.
    fn settle(&self, command: &mut Command) {
        let path = std::env::var("PATH").expect("there is a PATH");
        let user = self.folder.path().join("home");
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", &user)
            .env("XDG_CONFIG_HOME", user.join(".config"))
            .env("XDG_DATA_HOME", user.join(".local/share"))
            .env("XDG_CACHE_HOME", user.join(".cache"))
            .env("TMPDIR", self.folder.path())
            .env("BOLTSEAL_HOME", self.home())
            .env("BOLTSEAL_PASSPHRASE", PASSPHRASE)
            .env("DOCKER_CONFIG", self.clients.docker_config())
            .env("NO_COLOR", "1")
            .current_dir(self.work());
    }
}

/// The arguments of the `trust add` line: `trust`, `add`, the name, the pin.
fn trust_line(init: &Ran) -> Vec<String> {
    let said = init.all();
    let line = said
        .lines()
        .find_map(|line| line.find("boltseal trust add ").map(|at| &line[at + "boltseal ".len()..]))
        .unwrap_or_else(|| panic!("expected a `trust add` line: {init}"));
    line.trim_end_matches(['`', '.']).split_whitespace().map(|word| word.trim_matches('\'').to_owned()).collect()
}

/// The program under test.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("BOLTSEAL_BIN").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_boltseal")), PathBuf::from)
}
