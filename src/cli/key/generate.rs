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
  boltseal key generate --purpose signer:alice --algorithm p256
  boltseal key generate --purpose targets --name registry.example.com/acme/app --pkcs11 release")]
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

    /// Make it in the PKCS#11 token with this label, which `config.toml` names; it never leaves the token
    #[arg(long, value_name = "TOKEN")]
    pub pkcs11: Option<String>,
}

/// Makes the key and prints its id.
///
/// # Errors
/// What the key store refuses.
pub fn run(args: &Args, session: &Session) -> Result<Outcome, Failure> {
    check_purpose(&args.purpose, args.name.as_ref())?;
    let store = match &args.pkcs11 {
        Some(label) => session.token(label)?,
        None => Box::new(session.key_store()),
    };
    let info = ops::key::generate(
        &*store,
        args.algorithm.into(),
        args.purpose.clone(),
        args.name.as_ref(),
        &session.passphrases,
    )?;
    write_one(&session.console, "key_generate", &info);
    let talk = &session.console.talk;
    match &args.pkcs11 {
        Some(label) => talk.info(format_args!("made {} in token `{label}`; it has no copy elsewhere", info.label())),
        None => talk.info(format_args!("made {}; back it up: `boltseal key export --all --to FILE`", info.label())),
    }
    Ok(Outcome::Done)
}
