//! `boltseal trust remove`: takes a pin back.

use crate::cli::report::{Failure, Outcome};
use crate::cli::session::Session;

/// Arguments of `trust remove`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal trust remove registry.example.com/acme/app

Without a scope of its own the name is decided by wider scopes, or by the default, which is to
refuse.")]
pub struct Args {
    /// The image name or pattern, as `boltseal trust list` shows it
    #[arg(value_name = "IMAGES")]
    pub images: String,

    /// Remove it from `/etc/boltseal/policy.toml` instead of the user's policy
    #[arg(long, conflicts_with = "policy")]
    pub system: bool,
}

/// Removes the scope.
///
/// # Errors
/// What the policy refuses.
pub fn run(_args: Args, _session: &Session) -> Result<Outcome, Failure> {
    Err(Failure::not_wired("trust remove"))
}
