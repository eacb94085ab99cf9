//! An engine as a child process.
//!
//! What it says goes to standard error, standard output being for our own data. It is never asked anything, reads
//! nothing from us, and does not outlive us.

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::process::Command;

use super::{Connection, Engine, Trouble, arguments};
use crate::config;
use crate::env::DOCKER_CONTENT_TRUST;
use crate::image::Digest;

/// How long an engine may take to say that it is there. Stops a hanging daemon from hanging us.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take to set a tag or to look one up.
const SHORT: Duration = Duration::from_secs(60);
/// Most bytes that are read of what it prints for us. Stops a mad program from filling the memory.
const MAX_PRINTED: u64 = 1 << 20;

/// How much of what an engine says is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volume {
    /// Its errors.
    Quiet,
    /// All of it.
    Normal,
}

/// An engine on this machine.
#[derive(Debug, Clone)]
pub struct Program {
    engine: config::Engine,
    volume: Volume,
    /// More for its environment; `PATH` is where the program is then looked for.
    environment: Vec<(OsString, OsString)>,
    patience: Duration,
}

impl Program {
    /// The engine found on the `PATH`.
    pub fn new(engine: config::Engine, volume: Volume) -> Self {
        Self { engine, volume, environment: Vec::new(), patience: PATIENCE }
    }

    /// Whether the folders of a `PATH` hold the program.
    pub fn is_on(&self, path: &OsStr) -> bool {
        std::env::split_paths(path).any(|folder| folder.join(self.engine.as_str()).is_file())
    }

    fn command(&self, arguments: Vec<OsString>) -> Command {
        let mut command = Command::new(self.engine.as_str());
        command
            .args(arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env_remove(DOCKER_CONTENT_TRUST)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs a step whose talk is for people.
    async fn run(&self, step: &str, arguments: Vec<OsString>) -> Result<(), Trouble> {
        let mut command = self.command(arguments);
        let stdout = match self.volume {
            Volume::Quiet => Stdio::null(),
            // The same terminal, so that progress bars stay what they are.
            Volume::Normal => std::io::stderr().as_fd().try_clone_to_owned().map_or_else(|_| Stdio::null(), Into::into),
        };
        let mut child =
            command.stdout(stdout).stderr(Stdio::inherit()).spawn().map_err(|e| self.not_started(step, &e))?;
        let status = child.wait().await.map_err(|e| self.failed(step, format!("was lost: {e}")))?;
        self.check(step, status)
    }

    /// Runs a step whose output is read, and which has to end in time.
    async fn ask(&self, step: &str, arguments: Vec<OsString>, limit: Duration) -> Result<String, Trouble> {
        let mut command = self.command(arguments);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(|e| self.not_started(step, &e))?;
        let stdout = child.stdout.take().expect("standard output is piped");
        let answer = async {
            let mut text = Vec::new();
            let mut capped = tokio::io::AsyncReadExt::take(stdout, MAX_PRINTED);
            tokio::io::AsyncReadExt::read_to_end(&mut capped, &mut text).await?;
            drop(capped);
            child.wait().await.map(|status| (text, status))
        };
        let silent = |_| Trouble::Silent { program: self.engine.as_str(), step: step.to_owned() };
        let (text, status) = tokio::time::timeout(limit, answer)
            .await
            .map_err(silent)?
            .map_err(|e| self.failed(step, format!("was lost: {e}")))?;
        self.check(step, status)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn not_started(&self, step: &str, error: &std::io::Error) -> Trouble {
        match error.kind() {
            std::io::ErrorKind::NotFound => Trouble::Missing(self.engine.as_str()),
            _ => self.failed(step, format!("cannot be started: {error}")),
        }
    }

    fn check(&self, step: &str, status: ExitStatus) -> Result<(), Trouble> {
        match status.code() {
            Some(0) => Ok(()),
            Some(code) => Err(self.failed(step, format!("ended with exit status {code}"))),
            None => Err(self.failed(step, format!("was ended by a {status}"))),
        }
    }

    fn failed(&self, step: &str, ended: String) -> Trouble {
        Trouble::Failed { program: self.engine.as_str(), step: step.to_owned(), ended }
    }

    /// A `certs.d` folder of our own with the connection's CA, for engines that take certificates in no other form.
    fn private_certs(&self, connection: &Connection) -> std::io::Result<Option<tempfile::TempDir>> {
        let told = self.engine != config::Engine::Docker && !connection.plain && !connection.unchecked;
        let Some(ca) = connection.ca.as_ref().filter(|_| told) else { return Ok(None) };
        let folder = tempfile::tempdir()?;
        let host = folder.path().join(&connection.host);
        std::fs::create_dir(&host)?;
        std::fs::copy(ca, host.join("ca.crt"))?;
        Ok(Some(folder))
    }
}

impl Engine for Program {
    fn kind(&self) -> config::Engine {
        self.engine
    }

    fn answers(&self) -> BoxFuture<'_, Result<(), Trouble>> {
        async {
            let probe = arguments::probe(self.engine);
            let step = probe[0].to_string_lossy().into_owned();
            self.ask(&step, probe, self.patience).await.map(drop)
        }
        .boxed()
    }

    fn pull<'a>(&'a self, image: &'a str, connection: &'a Connection) -> BoxFuture<'a, Result<(), Trouble>> {
        async move {
            let step = format!("pull {image}");
            let private = self
                .private_certs(connection)
                .map_err(|e| self.failed(&step, format!("was not begun, as the CA cannot be handed over: {e}")))?;
            let certs_d = private.as_ref().map(tempfile::TempDir::path);
            let line = arguments::pull(self.engine, image, connection, certs_d, self.volume);
            self.run(&step, line).await
        }
        .boxed()
    }

    fn tag<'a>(&'a self, image: &'a str, name: &'a str) -> BoxFuture<'a, Result<(), Trouble>> {
        let step = format!("tag {image} {name}");
        async move { self.ask(&step, arguments::tag(self.engine, image, name), SHORT).await.map(drop) }.boxed()
    }

    fn holds<'a>(&'a self, name: &'a str, digest: &'a Digest) -> BoxFuture<'a, Result<bool, Trouble>> {
        let step = format!("inspect {name}");
        async move {
            let printed = self.ask(&step, arguments::digests(self.engine, name), SHORT).await?;
            Ok(printed.contains(&digest.to_string()))
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A folder with a script in the place of docker, and the engine that runs it.
    fn docker(script: &str) -> (tempfile::TempDir, Program) {
        let folder = tempfile::tempdir().unwrap();
        // Renamed into its place: a child of another test may still hold what was open for writing.
        let (draft, file) = (folder.path().join("draft"), folder.path().join("docker"));
        fs::write(&draft, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(draft, file).unwrap();
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        let environment = vec![
            ("PATH".into(), path.into()),
            ("LOG".into(), folder.path().join("log").into_os_string()),
            ("DIGEST".into(), Digest::of(b"signed").to_string().into()),
        ];
        let program = Program {
            environment,
            patience: Duration::from_secs(20),
            ..Program::new(config::Engine::Docker, Volume::Quiet)
        };
        (folder, program)
    }

    fn logged(folder: &tempfile::TempDir) -> String {
        fs::read_to_string(folder.path().join("log")).unwrap()
    }

    #[tokio::test]
    async fn each_step_is_one_run_of_the_program() {
        let (folder, program) = docker("echo \"$*\" >>\"$LOG\"; echo \"[\\\"x@$DIGEST\\\"]\"");
        let connection = Connection::default();
        program.answers().await.unwrap();
        program.pull("h.x/app@sha256:ab", &connection).await.unwrap();
        program.tag("h.x/app@sha256:ab", "h.x/app:1").await.unwrap();
        assert!(program.holds("h.x/app:1", &Digest::of(b"signed")).await.unwrap());
        assert!(!program.holds("h.x/app:1", &Digest::of(b"another")).await.unwrap());
        let inspect = "image inspect --format {{json .RepoDigests}} h.x/app:1";
        assert_eq!(
            logged(&folder).lines().collect::<Vec<_>>(),
            [
                "version --format {{.Server.Version}}",
                "pull --quiet h.x/app@sha256:ab",
                "tag h.x/app@sha256:ab h.x/app:1",
                inspect,
                inspect,
            ]
        );
    }

    #[tokio::test]
    async fn a_failure_says_the_step_and_how_it_ended() {
        let (_folder, program) = docker("exit 7");
        let failure = program.pull("h.x/app@sha256:ab", &Connection::default()).await.unwrap_err();
        assert_eq!(failure.to_string(), "`docker pull h.x/app@sha256:ab` ended with exit status 7");
        let (_folder, program) = docker("kill -9 $$");
        assert!(program.answers().await.unwrap_err().to_string().contains("signal: 9"));
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_told_from_one_that_fails() {
        let (folder, program) = docker("exit 0");
        fs::remove_file(folder.path().join("docker")).unwrap();
        let only = vec![("PATH".into(), folder.path().as_os_str().to_owned())];
        let program = Program { environment: only, ..program };
        assert_eq!(program.answers().await, Err(Trouble::Missing("docker")));
        assert!(!program.is_on(folder.path().as_os_str()));
        fs::write(folder.path().join("docker"), "").unwrap();
        assert!(program.is_on(folder.path().as_os_str()));
    }

    #[tokio::test]
    async fn a_daemon_that_hangs_is_given_up() {
        let (_folder, program) = docker("exec sleep 600");
        let program = Program { patience: Duration::from_millis(50), ..program };
        let silent = Trouble::Silent { program: "docker", step: "version".to_owned() };
        assert_eq!(program.answers().await, Err(silent));
    }

    #[tokio::test]
    async fn the_old_switch_of_docker_is_not_handed_on() {
        let (folder, program) = docker("echo \"${DOCKER_CONTENT_TRUST-unset}\" >>\"$LOG\"");
        let mut program = program;
        program.environment.push((DOCKER_CONTENT_TRUST.into(), "1".into()));
        program.pull("h.x/app:1", &Connection::default()).await.unwrap();
        assert_eq!(logged(&folder), "unset\n");
    }

    #[tokio::test]
    async fn a_ca_is_handed_over_in_a_folder_that_lives_as_long_as_the_pull() {
        let (folder, program) = docker("cat \"$3/ca.crt\" >>\"$LOG\"; echo \"$3\" >>\"$LOG\"");
        fs::rename(folder.path().join("docker"), folder.path().join("podman")).unwrap();
        let program = Program { engine: config::Engine::Podman, ..program };
        let ca = folder.path().join("company.pem");
        fs::write(&ca, "a certificate\n").unwrap();
        let connection = Connection { host: "h.x:5000".to_owned(), ca: Some(ca), ..Connection::default() };
        program.pull("h.x:5000/app@sha256:ab", &connection).await.unwrap();
        let log = logged(&folder);
        let (certificate, path) = log.trim_end().split_once('\n').unwrap();
        assert_eq!(certificate, "a certificate");
        assert!(path.ends_with("/h.x:5000") && !std::path::Path::new(path).exists(), "{path}");
    }
}
