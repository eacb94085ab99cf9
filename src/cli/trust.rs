//! `boltseal trust`: which roots the policy pins.

pub mod add;
pub mod list;
pub mod remove;

use clap::Subcommand;

use super::report::{Failure, Outcome};
use super::session::Session;

/// Arguments of `trust`.
#[derive(Debug, clap::Args)]
#[command(subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

/// What to do with pins.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Trust a root for images
    Add(add::Args),
    /// List what is trusted
    List(list::Args),
    /// Trust a root no longer
    Remove(remove::Args),
}

/// Runs the verb.
///
/// # Errors
/// What the use case refuses, as an exit code with a sentence.
pub fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    match args.verb {
        Verb::Add(args) => add::run(&args, session),
        Verb::List(args) => list::run(&args, session),
        Verb::Remove(args) => remove::run(&args, session),
    }
}
