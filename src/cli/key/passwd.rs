//! `boltseal key passwd`: changes a passphrase.

use crate::cli::report::{Failure, Outcome};
use crate::cli::session::Session;

/// Arguments of `key passwd`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal key passwd 3f2a9c

Asks for the old passphrase and twice for the new one; it needs a terminal.")]
pub struct Args {
    /// The key's id, or the beginning of it
    #[arg(value_name = "ID")]
    pub id: String,
}

/// Changes the passphrase.
///
/// # Errors
/// What the key store refuses.
pub fn run(_args: Args, _session: &Session) -> Result<Outcome, Failure> {
    Err(Failure::not_wired("key passwd"))
}
