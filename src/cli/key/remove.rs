//! `boltseal key remove`: removes a key for ever.

use crate::cli::report::{Failure, Outcome};
use crate::cli::session::Session;

/// Arguments of `key remove`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal key remove 3f2a9c
  boltseal key remove 3f2a9c --yes

Collections that list the key go on listing it: `boltseal key rotate` replaces it there.")]
pub struct Args {
    /// The key's id, or the beginning of it
    #[arg(value_name = "ID")]
    pub id: String,

    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,
}

/// Removes the key.
///
/// # Errors
/// What the key store refuses.
pub fn run(args: &Args, session: &Session) -> Result<Outcome, Failure> {
    session.confirm(&format!("remove key {} for ever?", args.id), args.yes)?;
    Err(Failure::not_wired("key remove"))
}
