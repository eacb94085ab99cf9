//! `boltseal key remove`: removes a key for ever.

use super::form::write_one;
use crate::cli::report::{Failure, Outcome};
use crate::cli::session::Session;
use crate::ops;

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
    let store = session.known_keys();
    let info = ops::key::find(&*store, &args.id)?;
    session.confirm(&format!("remove {} for ever?", info.label()), args.yes)?;
    let info = ops::key::remove(&*store, info.id.as_str())?;
    write_one(&session.console, "key_remove", &info);
    session.console.talk.info(format_args!("removed {}", info.label()));
    Ok(Outcome::Done)
}
