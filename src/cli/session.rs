//! What the verbs that act work with, built once from the options, the environment and the settings.
//!
//! Only what every verb needs is built at once; the policy, the stores and the HTTP side are made when asked for.

use std::path::PathBuf;
use std::sync::Arc;

use super::console::Console;
use super::options::Global;
use super::output::Format;
use super::report::Failure;
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Engine, Folders, Settings};
use crate::env::{self, Environment};
use crate::keystore::EnvPassphrases;
use crate::registry::http;
use crate::store::{DirStore, MemoryStore, Store};
use crate::trust::policy::{Overrides, Pin, Policy, RootKeys};
use crate::trust::{KeyId, Version};

/// One run of the program.
pub struct Session {
    /// Results, talk, questions and progress.
    pub console: Console,
    /// The options that every verb takes.
    pub options: Global,
    /// The environment's variables.
    pub environment: Arc<dyn Environment>,
    /// What time it is.
    pub clock: Box<dyn Clock>,
    /// Where things lie on this machine.
    pub folders: Folders,
    /// What `config.toml` sets.
    pub settings: Settings,
    /// Where passphrases come from, and the PINs of tokens.
    pub passphrases: Arc<EnvPassphrases>,
}

impl Session {
    /// Builds a session.
    ///
    /// # Errors
    /// What is wrong with the settings, or with where they lie.
    pub fn open(console: Console, options: Global, environment: Arc<dyn Environment>) -> Result<Self, Failure> {
        let home = options.trust.home.as_deref();
        let folders = Folders::locate(home, &*environment)?;
        let settings = Settings::load(&folders)?;
        let folders = folders.with_settings_home(settings.home.as_deref(), home, &*environment);
        if settings.output == Some(config::Output::Json) {
            console.output.prefer(Format::Json);
        }
        let variables = Arc::clone(&environment);
        let passphrases = Arc::new(EnvPassphrases::new(move |name: &str| variables.variable(name), console.prompt));
        let clock = Box::new(SystemClock);
        let session = Self { console, options, environment, clock, folders, settings, passphrases };
        session.warn_of_loosened_connection();
        Ok(session)
    }

    /// What this machine remembers; nothing with `--stateless`.
    pub fn store(&self) -> Box<dyn Store> {
        if self.options.trust.stateless {
            Box::new(MemoryStore::new())
        } else {
            Box::new(DirStore::new(&self.folders.home))
        }
    }

    /// All policy files as one.
    ///
    /// # Errors
    /// What is wrong with one of them: the rest might be looser.
    pub fn policy(&self) -> Result<Policy, Failure> {
        Ok(config::policy::load(&self.folders, &self.options.trust.policy)?)
    }

    /// What flags and variables ask for in this run beside the policy.
    ///
    /// # Errors
    /// Exit 2 where a given root key id is none.
    pub fn overrides(&self) -> Result<Overrides, Failure> {
        let stateless = self.options.trust.stateless;
        Ok(Overrides { pin: self.given_pin()?, stateless, ..Overrides::default() })
    }

    /// The policy file that a pin is written to: the system's, the one of `--policy`, else the user's.
    ///
    /// # Errors
    /// Exit 2 where several are given, 1 where there is no place for the user's.
    pub fn pin_file(&self, system: bool) -> Result<PathBuf, Failure> {
        match self.options.trust.policy.as_slice() {
            _ if system => Ok(self.folders.system_policy()),
            [] => Ok(self.folders.user_policy()?),
            [file] => Ok(file.clone()),
            several => Err(Failure::usage(format!(
                "a pin goes to one policy file: expected one `--policy`, got {}",
                several.len()
            ))),
        }
    }

    /// The file that carries what was seen last, by flag or variable.
    pub fn checkpoint(&self) -> Option<PathBuf> {
        let variable = || self.environment.value(env::CHECKPOINT).map(PathBuf::from);
        self.options.trust.checkpoint.clone().or_else(variable)
    }

    /// The engine that is to pull: by flag, variable or settings.
    ///
    /// # Errors
    /// Exit 2 where the variable names none.
    pub fn engine(&self, flag: Option<Engine>) -> Result<Option<Engine>, Failure> {
        if let Some(engine) = flag {
            return Ok(Some(engine));
        }
        let Some(name) = self.environment.value(env::ENGINE) else { return Ok(self.settings.engine) };
        let known = Engine::ALL.into_iter().find(|engine| name == engine.as_str());
        known.map(Some).ok_or_else(|| {
            let name = name.to_string_lossy();
            Failure::usage(format!("`{}` is `{name}`: expected docker, podman, nerdctl or ctr", env::ENGINE))
        })
    }

    /// How a registry is reached. Flags count for every host, settings for the hosts that they list.
    pub fn http(&self, host: &str) -> http::Options {
        let connection = &self.options.connection;
        let lists = |hosts: &Option<Vec<String>>| hosts.as_ref().is_some_and(|hosts| hosts.iter().any(|h| h == host));
        let scheme = if connection.tls {
            http::Scheme::Tls
        } else if connection.plain_http {
            http::Scheme::UnsafePlain
        } else if lists(&self.settings.tls) {
            http::Scheme::Tls
        } else if lists(&self.settings.plain_http) {
            http::Scheme::UnsafePlain
        } else {
            http::Scheme::ByName
        };
        let certificates =
            if connection.insecure_tls { http::Certificates::UnsafeIgnore } else { http::Certificates::Verify };
        let usual = http::Options::default();
        let folders = self.settings.certs.clone().unwrap_or(usual.certs_d);
        http::Options {
            scheme,
            certificates,
            ca: connection.ca.clone().or_else(|| self.settings.ca.clone()),
            certs_d: connection.certs_dir.iter().cloned().chain(folders).collect(),
            credentials: http::CredentialSources::usual(|name| self.environment.variable(name)),
            ..http::Options::default()
        }
    }

    /// Asks before something that cannot be undone; `yes` is the answer given on the command line.
    ///
    /// # Errors
    /// Exit 1 where the answer is no, 2 where there is nobody to ask.
    pub fn confirm(&self, question: &str, yes: bool) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        match self.console.prompt.confirm(question) {
            Some(true) => Ok(()),
            Some(false) => Err(Failure::failed("nothing was done: the answer was no")),
            None => Err(Failure::usage("this cannot be undone, and there is no terminal to ask at: expected `--yes`")
                .hint("add `--yes` if it is what you want")),
        }
    }

    /// The roots of `--root-key`, or of `BOLTSEAL_ROOT_KEY` with commas between them: all of them must have signed.
    fn given_pin(&self) -> Result<Option<Pin>, Failure> {
        let variable = self.environment.value(env::ROOT_KEY).map(|ids| ids.to_string_lossy().into_owned());
        let ids: Vec<&str> = match self.options.trust.root_keys.as_slice() {
            [] => variable.iter().flat_map(|ids| ids.split(',')).map(str::trim).collect(),
            flags => flags.iter().map(String::as_str).collect(),
        };
        if ids.is_empty() {
            return Ok(None);
        }
        let keys = ids.iter().map(|id| root_key_id(id)).collect::<Result<std::collections::BTreeSet<_>, _>>()?;
        let threshold = keys.len();
        RootKeys::new(keys, threshold, Version::ONE).map(|keys| Some(Pin::Keys(keys))).map_err(Failure::usage)
    }

    fn warn_of_loosened_connection(&self) {
        let talk = &self.console.talk;
        if self.options.connection.insecure_tls {
            talk.warn("`--insecure-tls`: certificates are not checked, anyone on the way can read credentials");
        }
        if self.options.connection.plain_http {
            talk.warn("`--plain-http`: nothing is encrypted, anyone on the way can read credentials");
        }
    }
}

/// A key id as an option gives it.
///
/// # Errors
/// Exit 2 where it is none.
pub fn root_key_id(text: &str) -> Result<KeyId, Failure> {
    KeyId::new(text).ok_or_else(|| {
        Failure::usage(format!("`{text}` is no key id: expected 64 hex digits"))
            .hint("`boltseal init` printed the whole id, and `boltseal key list` shows it")
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::report::Exit;

    /// A session of a command line and variables, whose home is a place that does not exist.
    fn session(arguments: &str, variables: &'static [(&str, &str)]) -> Session {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            options: Global,
        }
        let options = Line::parse_from(["boltseal"].into_iter().chain(arguments.split_whitespace())).options;
        let environment = Arc::new(move |name: &str| {
            let home = [("HOME", "/nowhere"), ("BOLTSEAL_HOME", "/nowhere/home")];
            home.iter().chain(variables).find(|(key, _)| *key == name).map(|(_, value)| value.into())
        });
        let console = Console::new(&options.speech, &*environment);
        Session::open(console, options, environment).unwrap()
    }

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn given_root_keys_must_all_have_signed_and_the_flag_beats_the_variable() {
        let threshold = |session: &Session| match session.overrides().unwrap().pin {
            Some(Pin::Keys(keys)) => keys.threshold(),
            _ => 0,
        };
        let b = "b".repeat(64);
        assert_eq!(threshold(&session(&format!("--root-key {A} --root-key {b}"), &[])), 2);
        assert_eq!(threshold(&session("", &[("BOLTSEAL_ROOT_KEY", A)])), 1);
        assert_eq!(threshold(&session("", &[])), 0);
        let given = session(&format!("--root-key {b}"), &[("BOLTSEAL_ROOT_KEY", "no id")]);
        assert_eq!(threshold(&given), 1);
        assert_eq!(session("--root-key zz", &[]).overrides().unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn the_scheme_follows_the_name_unless_a_flag_says_otherwise() {
        let scheme = |arguments| session(arguments, &[]).http("h.x").scheme;
        assert_eq!(scheme(""), http::Scheme::ByName);
        assert_eq!(scheme("--tls"), http::Scheme::Tls);
        assert_eq!(scheme("--plain-http"), http::Scheme::UnsafePlain);
    }

    #[test]
    fn the_engine_is_the_flags_then_the_variables_and_never_a_guess() {
        let podman = session("", &[("BOLTSEAL_ENGINE", "podman")]);
        assert_eq!(podman.engine(Some(Engine::Ctr)), Ok(Some(Engine::Ctr)));
        assert_eq!(podman.engine(None), Ok(Some(Engine::Podman)));
        assert_eq!(session("", &[]).engine(None), Ok(None));
        assert_eq!(session("", &[("BOLTSEAL_ENGINE", "rkt")]).engine(None).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn a_pin_goes_to_one_file() {
        let file = |arguments, system| session(arguments, &[]).pin_file(system).map_err(|failure| failure.exit);
        assert_eq!(file("", true), Ok("/etc/boltseal/policy.toml".into()));
        assert_eq!(file("--policy p.toml", false), Ok("p.toml".into()));
        assert_eq!(file("--policy p.toml --policy q.toml", false), Err(Exit::Usage));
    }
}
