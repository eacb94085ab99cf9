//! The command line: arguments become plain values, results become text or JSON. Nothing is decided here.
//!
//! - Standard output carries data ([`output`]), standard error talk ([`talk`]); a failure is one sentence with hints,
//!   and exit codes exist in [`report`] alone.
//! - A verb is a file with its `Args` and a `run` that hands them to its use case and renders what comes back.
//! - Nothing is built that a verb does not need: no runtime, no log, no second argument tree.

pub mod bundle;
pub mod completions;
pub mod console;
pub mod copy;
pub mod expiry;
pub mod export;
pub mod file;
pub mod image;
pub mod init;
pub mod inspect;
pub mod key;
pub mod keys;
pub mod log;
pub mod man;
pub mod options;
pub mod output;
pub mod panic;
pub mod ports;
pub mod progress;
pub mod prompt;
pub mod pull;
pub mod quickstart;
pub mod refresh;
pub mod report;
pub mod resolve;
pub mod revoke;
pub mod session;
pub mod sign;
pub mod signer;
pub mod status;
pub mod talk;
pub mod trust;
pub mod tuf_client;
pub mod verdict;
pub mod verify;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser, Subcommand};

use console::Console;
use options::Global;
use output::Format;
use report::{Exit, Failure, Outcome};
use session::Session;

use crate::env::{self, Environment};

/// Content trust for container images, in the image's own registry
///
/// Boltseal signs what a tag is, under The Update Framework (TUF), with keys that it manages. It keeps the signed
/// metadata in the image's own repository and refuses an image that is not what was signed, or no longer current.
#[derive(Debug, Parser)]
#[command(
    name = "boltseal",
    version,
    max_term_width = 100,
    subcommand_value_name = "VERB",
    subcommand_help_heading = "Verbs",
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(after_help = "\
IMAGE is `name[:tag][@digest]`, or `oci:FOLDER:TAG` for an image layout on disk.
Exit codes: 0 done or trusted, 1 unexpected, 2 wrong usage, 10-16 not trusted, 20-22 registry,
30 keys, 31 try again.
`boltseal quickstart` shows the whole story in seconds.")]
pub struct Cli {
    #[command(flatten)]
    global: Global,

    #[command(subcommand)]
    verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Show the whole story: sign, verify, move the tag, see the refusal
    Quickstart(quickstart::Args),
    /// Make the keys and the trust data of an image name
    Init(init::Args),
    /// Sign images: which digest each tag is
    Sign(sign::Args),
    /// Verify images and print their digests
    Verify(verify::Args),
    /// Print `name@digest`, only if it is verified
    Resolve(resolve::Args),
    /// Verify, then pull by the verified digest
    Pull(pull::Args),
    /// Show what is signed, by whom and until when
    Inspect(inspect::Args),
    /// Take back what was signed
    Revoke(revoke::Args),
    /// Sign again what expires soon
    Refresh(refresh::Args),
    /// Show what expires when
    Status(status::Args),
    /// Manage who else may sign
    Signer(signer::Args),
    /// Copy images with their trust data to another location
    Copy(copy::Args),
    /// Write images with their trust data to one file
    Bundle(bundle::Args),
    /// Write the trust data as a standard TUF repository
    Export(export::Args),
    /// Manage keys
    Key(key::Args),
    /// Manage which roots are trusted
    Trust(trust::Args),
    /// Print completions for a shell
    Completions(completions::Args),
    /// Print or write manual pages
    Man(man::Args),
    /// Be a plain TUF client, as the conformance suite drives one
    #[command(hide = true)]
    TufClient(tuf_client::Args),
}

/// Runs the program with the process's arguments and environment.
pub fn main() -> ExitCode {
    panic::install_hook();
    panic::guard(|| run(&std::env::args_os().collect::<Vec<_>>(), Arc::new(env::process))).into()
}

fn run(arguments: &[OsString], environment: Arc<dyn Environment>) -> Exit {
    let cli = match Cli::try_parse_from(arguments).and_then(check_format) {
        Ok(cli) => cli,
        Err(error) => return Console::parser(&error, arguments, &*environment),
    };
    let console = Console::new(&cli.global.speech, &*environment);
    let result = log::start(cli.global.speech.verbose, &*environment)
        .and_then(|()| cli.verb.run(console.clone(), cli.global, environment));
    console.finish(&result)
}

/// `--output docker` is a form of `inspect` alone.
fn check_format(cli: Cli) -> Result<Cli, clap::Error> {
    if cli.global.speech.output == Some(Format::Docker) && !matches!(cli.verb, Verb::Inspect(_)) {
        let message = "`--output docker` is for `inspect` alone: expected `text` or `json`";
        return Err(Cli::command().error(clap::error::ErrorKind::InvalidValue, message));
    }
    Ok(cli)
}

impl Verb {
    fn run(self, console: Console, options: Global, environment: Arc<dyn Environment>) -> Result<Outcome, Failure> {
        // These work however broken the settings are.
        let verb = match self {
            Self::Completions(args) => return Ok(completions::run(&args, &console)),
            Self::Man(args) => return man::run(&args, &console),
            Self::TufClient(args) => return wait(tuf_client::run(args)),
            verb => verb,
        };
        let session = Session::open(console, options, environment)?;
        match verb {
            Self::Completions(_) | Self::Man(_) | Self::TufClient(_) => unreachable!("answered above"),
            Self::Key(args) => key::run(args, &session),
            Self::Trust(args) => trust::run(args, &session),
            Self::Quickstart(args) => wait(quickstart::run(args, &session)),
            Self::Init(args) => wait(init::run(args, &session)),
            Self::Sign(args) => wait(sign::run(args, &session)),
            Self::Verify(args) => wait(verify::run(args, &session)),
            Self::Resolve(args) => wait(resolve::run(args, &session)),
            Self::Pull(args) => wait(pull::run(args, &session)),
            Self::Inspect(args) => wait(inspect::run(args, &session)),
            Self::Revoke(args) => wait(revoke::run(args, &session)),
            Self::Refresh(args) => wait(refresh::run(args, &session)),
            Self::Signer(args) => wait(signer::run(args, &session)),
            Self::Copy(args) => wait(copy::run(args, &session)),
            Self::Bundle(args) => wait(bundle::run(args, &session)),
            Self::Export(args) => wait(export::run(args, &session)),
            Self::Status(args) => wait(status::run(args, &session)),
        }
    }
}

/// Waits for a verb that does I/O, on a runtime of one thread.
fn wait(verb: impl Future<Output = Result<Outcome, Failure>>) -> Result<Outcome, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::failed(format!("cannot start: {error}")))?.block_on(verb)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_argument_tree_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_count_before_and_after_the_verb() {
        for line in
            ["boltseal --quiet --policy a --policy b verify x:1", "boltseal verify x:1 -q --policy a --policy b"]
        {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert!(cli.global.speech.quiet, "{line}");
            assert_eq!(cli.global.trust.policy.len(), 2, "{line}");
        }
    }

    #[test]
    fn contradicting_ways_to_reach_a_registry_are_wrong_usage() {
        for pair in ["--tls --plain-http", "--plain-http --insecure-tls", "--plain-http --ca f"] {
            let line = format!("boltseal verify x:1 {pair}");
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{pair}");
        }
    }
}
