//! `boltseal trust list`: what is pinned.

use crate::cli::report::{Failure, Outcome};
use crate::cli::session::Session;

/// Arguments of `trust list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal trust list
  boltseal trust list --output json")]
pub struct Args {}

/// Lists the scopes of all policy files.
///
/// # Errors
/// What the policy files hold that cannot be read.
pub fn run(_args: &Args, _session: &Session) -> Result<Outcome, Failure> {
    Err(Failure::not_wired("trust list"))
}
