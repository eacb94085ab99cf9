//! The program itself, where exit codes and messages matter.

use std::path::Path;
use std::process::{Command, Output};

/// The program in an environment of its own.
pub struct Program {
    home: tempfile::TempDir,
}

/// How a run of the program ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Program {
    /// A user who never used it.
    pub fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    /// The user's home.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Runs it.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, &[])
    }

    /// Runs it with more variables.
    pub fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
        let home = self.home.path();
        let output = Command::new(env!("CARGO_BIN_EXE_boltseal"))
            .args(arguments)
            .env_clear()
            .env("HOME", home)
            .env("XDG_CONFIG_HOME", home.join("config"))
            .env("BOLTSEAL_HOME", home.join("data"))
            .env("BOLTSEAL_PASSPHRASE", "correct horse")
            .envs(variables.iter().copied())
            .current_dir(home)
            .output()
            .unwrap();
        Ran::of(&output)
    }
}

impl Ran {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Expects success.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// Expects an exit code and words on stderr.
    #[track_caller]
    pub fn fails(self, code: i32, words: &str) -> Self {
        assert!(self.code == code && self.stderr.contains(words), "expected {code} and `{words}`: {self:?}");
        self
    }
}
