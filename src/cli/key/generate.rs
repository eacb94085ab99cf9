//! `boltseal key generate`: makes a key.

use super::form::write_one;
use super::{AlgorithmArg, check_purpose};
use crate::cli::report::{Failure, Outcome};
use crate::cli::session::Session;
use crate::image::ImageName;
use crate::keystore::Purpose;
use crate::ops;

/// Arguments of `key generate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal key generate
  boltseal key generate --purpose online --name registry.example.com/acme/app
  boltseal key generate --purpose signer:alice --algorithm p256")]
pub struct Args {
    /// What the key is for: root, targets, snapshot, timestamp, online (both of the last) or signer:NAME
    #[arg(long, value_name = "PURPOSE", default_value = "root")]
    pub purpose: Purpose,

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
pub fn run(args: &Args, session: &Session) -> Result<Outcome, Failure> {
    check_purpose(&args.purpose, args.name.as_ref())?;
    let info = ops::key::generate(
        &session.key_store(),
        args.algorithm.into(),
        args.purpose.clone(),
        args.name.as_ref(),
        &session.passphrases,
    )?;
    write_one(&session.console, "key_generate", &info);
    session.console.talk.info(format_args!("made {}; back it up: `boltseal key export --all --to FILE`", info.label()));
    Ok(Outcome::Done)
}
