//! `boltseal key passwd`: changes a passphrase.

use super::form::write_one;
use crate::cli::report::{Failure, Outcome};
use crate::cli::session::Session;
use crate::ops;

/// Arguments of `key passwd`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal key passwd 3f2a9c

Asks for the old passphrase and twice for the new one. Without a terminal the new one comes from
BOLTSEAL_NEW_PASSPHRASE or the file in BOLTSEAL_NEW_PASSPHRASE_FILE.")]
pub struct Args {
    /// The key's id, or the beginning of it
    #[arg(value_name = "ID")]
    pub id: String,
}

/// Changes the passphrase.
///
/// # Errors
/// What the key store refuses.
pub fn run(args: &Args, session: &Session) -> Result<Outcome, Failure> {
    let info = ops::key::passwd(&*session.known_keys(), &args.id, &session.passphrases)?;
    write_one(&session.console, "key_passwd", &info);
    session
        .console
        .talk
        .info(format_args!("{} has another passphrase; copies of it keep the former one", info.label()));
    Ok(Outcome::Done)
}
