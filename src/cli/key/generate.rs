//! `boltseal key generate`: makes a key.

use super::{AlgorithmArg, PurposeArgs};
use crate::cli::report::{Failure, Outcome};
use crate::cli::session::Session;
use crate::image::ImageName;

/// Arguments of `key generate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal key generate
  boltseal key generate --purpose online --name registry.example.com/acme/app
  boltseal key generate --signer alice --algorithm p256")]
pub struct Args {
    /// What the key is for.
    #[command(flatten)]
    pub purpose: PurposeArgs,

    /// The image name that the key is for; root keys have none
    #[arg(long, value_name = "NAME")]
    pub name: Option<ImageName>,

    /// The algorithm
    #[arg(long, value_enum, default_value = "ed25519")]
    pub algorithm: AlgorithmArg,
}

/// Makes the key and prints its id.
///
/// # Errors
/// What the key store refuses.
pub fn run(args: &Args, _session: &Session) -> Result<Outcome, Failure> {
    args.purpose.purpose(args.name.as_ref())?;
    Err(Failure::not_wired("key generate"))
}
