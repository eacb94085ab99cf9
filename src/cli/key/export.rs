//! `boltseal key export`: gives keys out.

use std::path::PathBuf;

use clap::ValueHint;

use crate::cli::report::{Failure, Outcome};
use crate::cli::session::Session;

/// Arguments of `key export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal key export --all --to backup.pem
  boltseal key export 3f2a9c --to root.pem
  boltseal key export 3f2a9c --public

A private key leaves only under its passphrase, as PKCS#8 that `openssl pkey` reads.")]
pub struct Args {
    /// The key's id, or the beginning of it
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    pub id: Option<String>,

    /// Give out every key: the backup
    #[arg(long, requires = "to")]
    pub all: bool,

    /// Give out the public key alone
    #[arg(long, conflicts_with = "all")]
    pub public: bool,

    /// Write to FILE, which must not exist, instead of standard output
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub to: Option<PathBuf>,
}

/// Writes the key or keys.
///
/// # Errors
/// What the key store refuses.
pub fn run(_args: Args, _session: &Session) -> Result<Outcome, Failure> {
    Err(Failure::not_wired("key export"))
}
