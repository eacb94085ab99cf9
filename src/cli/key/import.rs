//! `boltseal key import`: takes a key in.

use std::path::PathBuf;

use clap::ValueHint;

use super::PurposeArgs;
use crate::cli::report::{Failure, Outcome};
use crate::cli::session::Session;
use crate::image::ImageName;

/// Arguments of `key import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  openssl genpkey -algorithm ed25519 -out root.pem && boltseal key import root.pem
  boltseal key import targets.pem --purpose targets --name registry.example.com/acme/app

Taken are Ed25519 and P-256 private keys in PEM: PKCS#8 with and without a passphrase, SEC1, Docker
Content Trust's and cosign's. What a file says of its purpose counts where no option says it.")]
pub struct Args {
    /// The file with the private key
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,

    /// What the key is for.
    #[command(flatten)]
    pub purpose: PurposeArgs,

    /// The image name that the key is for; root keys have none
    #[arg(long, value_name = "NAME")]
    pub name: Option<ImageName>,
}

/// Takes the key in and prints its id.
///
/// # Errors
/// What the key store refuses.
pub fn run(args: &Args, _session: &Session) -> Result<Outcome, Failure> {
    args.purpose.purpose(args.name.as_ref())?;
    Err(Failure::not_wired("key import"))
}
