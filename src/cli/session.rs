//! What the verbs that act work with, built once from the options and the environment.

use crate::clock::{Clock, SystemClock};

use super::console::{Console, Environment};
use super::options::Global;
use super::report::Failure;

/// One run of the program.
pub struct Session {
    /// Results, talk, questions and progress.
    pub console: Console,
    /// The options that every verb takes.
    pub options: Global,
    /// The environment's variables.
    pub environment: Environment,
    /// What time it is.
    pub clock: Box<dyn Clock>,
}

impl Session {
    /// Builds a session.
    ///
    /// # Errors
    /// Exit 2 where options and variables contradict one another.
    pub fn open(console: Console, options: Global, environment: Environment) -> Result<Self, Failure> {
        let session = Self { console, options, environment, clock: Box::new(SystemClock) };
        session.warn_of_loosened_connection();
        Ok(session)
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

    fn warn_of_loosened_connection(&self) {
        if self.options.connection.insecure_tls {
            self.console
                .talk
                .warn("`--insecure-tls`: certificates are not checked, anyone on the way can read credentials");
        }
        if self.options.connection.plain_http {
            self.console.talk.warn("`--plain-http`: nothing is encrypted, anyone on the way can read credentials");
        }
    }
}
