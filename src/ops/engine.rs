//! Engines: the programs that keep this machine's images. They pull by digest and set tags; what a tag is, they are
//! told.
//!
//! - An engine uses its own settings, logins and environment (`DOCKER_HOST`, `CONTAINERD_ADDRESS`). It is told how to
//!   reach a registry only where Boltseal itself was told so.
//! - No secret is ever handed to an engine: arguments can be read by everybody on the machine.
//! - `DOCKER_CONTENT_TRUST` is taken out of its environment: the verdict stands already, and an old docker would ask a
//!   Notary server for a second one.

mod arguments;
mod program;

use std::path::PathBuf;

use futures_util::future::BoxFuture;

pub use program::{PATIENCE, Program, Volume};

use super::error::Error;
use crate::config;
use crate::image::{Digest, ImageName};

/// A program that keeps images.
pub trait Engine: Send + Sync {
    /// Which one.
    fn kind(&self) -> config::Engine;

    /// Asks whether it is installed and its daemon is there, for a few seconds at most.
    ///
    /// # Errors
    /// [`Trouble::Missing`], [`Trouble::Silent`] or [`Trouble::Failed`].
    fn answers(&self) -> BoxFuture<'_, Result<(), Trouble>>;

    /// Pulls `repository@digest`, or `repository:tag` where nothing was verified.
    ///
    /// # Errors
    /// [`Trouble`]. That other bytes came than the digest says is one.
    fn pull<'a>(&'a self, image: &'a str, connection: &'a Connection) -> BoxFuture<'a, Result<(), Trouble>>;

    /// Gives an image that was pulled one more name, taking it from whatever had it.
    ///
    /// # Errors
    /// [`Trouble`].
    fn tag<'a>(&'a self, image: &'a str, name: &'a str) -> BoxFuture<'a, Result<(), Trouble>>;

    /// Whether what it keeps under a name is the digest.
    ///
    /// # Errors
    /// [`Trouble`].
    fn holds<'a>(&'a self, name: &'a str, digest: &'a Digest) -> BoxFuture<'a, Result<bool, Trouble>>;
}

/// How the registry is reached, where Boltseal was told something that the engine may not know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connection {
    /// `host[:port]`.
    pub host: String,
    /// By plain HTTP.
    pub plain: bool,
    /// Without a look at certificates (`--insecure-tls`).
    pub unchecked: bool,
    /// The registry's CA.
    pub ca: Option<PathBuf>,
    /// A folder in docker's `certs.d` form that has the host's certificates.
    pub certs_d: Option<PathBuf>,
}

/// Why an engine did not do its part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// There is no such program.
    #[error("{0} is not installed")]
    Missing(&'static str),
    /// It did not end in time.
    #[error("{program} does not answer")]
    Silent {
        /// The program.
        program: &'static str,
        /// What it was to do.
        step: String,
    },
    /// It ended with a failure.
    #[error("`{program} {step}` {ended}")]
    Failed {
        /// The program.
        program: &'static str,
        /// What it was to do.
        step: String,
        /// How it ended, such as `ended with exit status 1`.
        ended: String,
    },
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        let (program, message) = match trouble {
            Trouble::Missing(program) => (program, "it is not installed, or not on the `PATH`".to_owned()),
            Trouble::Silent { program, step } => (program, format!("`{step}` did not end in time")),
            Trouble::Failed { program, step, ended } => (program, format!("`{step}` {ended}")),
        };
        Self::Program { program: program.to_owned(), message }
    }
}

/// The first engine that answers, with what kept those before it.
///
/// # Errors
/// What kept each, where none answers.
pub async fn choose<E: Engine>(engines: &[E]) -> Result<(&E, Vec<String>), Vec<String>> {
    let mut before = Vec::new();
    for engine in engines {
        let name = engine.kind().as_str();
        match engine.answers().await {
            Ok(()) => return Ok((engine, before)),
            Err(Trouble::Missing(_)) => before.push(format!("{name} is not installed")),
            Err(Trouble::Silent { .. }) => before.push(format!("{name} does not answer within {PATIENCE:?}")),
            Err(Trouble::Failed { .. }) if engine.kind() == config::Engine::Podman => {
                before.push("podman does not work here".to_owned());
            }
            Err(Trouble::Failed { .. }) => before.push(format!("no {} daemon answers", daemon(engine.kind()))),
        }
    }
    Err(before)
}

/// Whose daemon an engine needs.
fn daemon(engine: config::Engine) -> &'static str {
    match engine {
        config::Engine::Docker => "docker",
        config::Engine::Podman => "podman",
        config::Engine::Nerdctl | config::Engine::Ctr => "containerd",
    }
}

/// What may help when an engine fails to pull although Boltseal reached the registry.
pub fn advice(engine: config::Engine, connection: &Connection) -> Vec<String> {
    let host = &connection.host;
    let mut advice = Vec::new();
    match engine {
        // Loopback addresses need no telling.
        config::Engine::Docker if connection.plain && !is_loopback(host) => advice.push(format!(
            "dockerd speaks plain HTTP only to the `insecure-registries` in its daemon.json: {host} has to be there"
        )),
        config::Engine::Docker if connection.ca.is_some() || connection.certs_d.is_some() || connection.unchecked => {
            advice.push(format!("dockerd believes the CA in `/etc/docker/certs.d/{host}/ca.crt` on its own machine"));
        }
        config::Engine::Ctr => {
            advice.push("ctr knows no logins: for a registry with a password use nerdctl, or `--to oci:FOLDER`".into());
        }
        _ => {}
    }
    advice.push(format!("what {} said stands above; it uses its own logins and settings", engine.as_str()));
    advice
}

fn is_loopback(host: &str) -> bool {
    format!("{host}/image").parse::<ImageName>().is_ok_and(|name| name.is_loopback())
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// An engine of which only the answer matters.
    struct Fake(config::Engine, Result<(), Trouble>);

    impl Engine for Fake {
        fn kind(&self) -> config::Engine {
            self.0
        }

        fn answers(&self) -> BoxFuture<'_, Result<(), Trouble>> {
            async { self.1.clone() }.boxed()
        }

        fn pull<'a>(&'a self, _: &'a str, _: &'a Connection) -> BoxFuture<'a, Result<(), Trouble>> {
            async { unreachable!("it is only asked") }.boxed()
        }

        fn tag<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<(), Trouble>> {
            async { unreachable!("it is only asked") }.boxed()
        }

        fn holds<'a>(&'a self, _: &'a str, _: &'a Digest) -> BoxFuture<'a, Result<bool, Trouble>> {
            async { unreachable!("it is only asked") }.boxed()
        }
    }

    fn failed(program: &'static str) -> Result<(), Trouble> {
        Err(Trouble::Failed { program, step: "version".to_owned(), ended: "ended with exit status 1".to_owned() })
    }

    fn chosen(engines: &[Fake]) -> Result<(config::Engine, Vec<String>), Vec<String>> {
        let chosen = choose(engines).now_or_never().expect("fakes answer at once");
        chosen.map(|(engine, before)| (engine.kind(), before))
    }

    #[test]
    fn the_first_engine_that_answers_is_used_and_those_before_it_are_explained() {
        use config::Engine::{Ctr, Docker, Nerdctl, Podman};
        let engines = [Fake(Docker, failed("docker")), Fake(Podman, Ok(())), Fake(Ctr, Ok(()))];
        assert_eq!(chosen(&engines), Ok((Podman, vec!["no docker daemon answers".to_owned()])));
        let engines = [Fake(Docker, Ok(())), Fake(Podman, Ok(()))];
        assert_eq!(chosen(&engines), Ok((Docker, vec![])));
        let engines = [
            Fake(Docker, Err(Trouble::Silent { program: "docker", step: "version".to_owned() })),
            Fake(Podman, failed("podman")),
            Fake(Nerdctl, Err(Trouble::Missing("nerdctl"))),
            Fake(Ctr, failed("ctr")),
        ];
        let why = [
            "docker does not answer within 5s",
            "podman does not work here",
            "nerdctl is not installed",
            "no containerd daemon answers",
        ];
        assert_eq!(chosen(&engines), Err(why.map(str::to_owned).to_vec()));
    }

    #[test]
    fn an_engine_that_cannot_be_told_how_to_connect_comes_with_the_place_to_tell_it() {
        let plain = Connection { host: "r.lan:5000".to_owned(), plain: true, ..Connection::default() };
        assert!(advice(config::Engine::Docker, &plain)[0].contains("insecure-registries"));
        let near = Connection { host: "localhost:5000".to_owned(), ..plain.clone() };
        assert_eq!(advice(config::Engine::Docker, &near).len(), 1);
        let private = Connection { plain: false, ca: Some("ca.pem".into()), ..plain };
        assert!(advice(config::Engine::Docker, &private)[0].contains("/etc/docker/certs.d/r.lan:5000/ca.crt"));
        assert!(advice(config::Engine::Ctr, &private)[0].contains("no logins"));
        assert_eq!(advice(config::Engine::Podman, &private).len(), 1);
    }
}
