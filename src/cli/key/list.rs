//! `boltseal key list`: the keys of this machine.

use crate::cli::report::{Failure, Outcome};
use crate::cli::session::Session;

/// Arguments of `key list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal key list
  boltseal key list --output json")]
pub struct Args {}

/// Lists the keys; none is unlocked.
///
/// # Errors
/// What the key store refuses.
pub fn run(_args: &Args, _session: &Session) -> Result<Outcome, Failure> {
    Err(Failure::not_wired("key list"))
}
