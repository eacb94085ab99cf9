//! `boltseal key import`: takes a key in.

use std::path::PathBuf;

use clap::ValueHint;
use serde::Serialize;

use super::check_purpose;
use super::form::{KeyForm, forms};
use crate::cli::file;
use crate::cli::report::{Failure, Outcome};
use crate::cli::session::Session;
use crate::image::ImageName;
use crate::keystore::Purpose;
use crate::ops;

/// Arguments of `key import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  openssl genpkey -algorithm ed25519 -out root.pem && boltseal key import root.pem --purpose root
  boltseal key import targets.pem --purpose targets --name registry.example.com/acme/app

Taken are Ed25519 and P-256 private keys in PEM: PKCS#8 with and without a passphrase, SEC1, Docker
Content Trust's and cosign's. A backup that `boltseal key export --all` made is taken in whole.")]
pub struct Args {
    /// The file with the private key
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,

    /// What the key is for, where the file does not say it: root, targets, snapshot, timestamp, online, signer:NAME
    #[arg(long, value_name = "PURPOSE")]
    pub purpose: Option<Purpose>,

    /// The image name that the key is for; root keys have none
    #[arg(long, value_name = "NAME")]
    pub name: Option<ImageName>,
}

#[derive(Serialize)]
struct Document {
    added: Vec<KeyForm>,
    present: Vec<KeyForm>,
}

/// Takes the key in and prints its id.
///
/// # Errors
/// What the key store refuses.
pub fn run(args: &Args, session: &Session) -> Result<Outcome, Failure> {
    if let Some(purpose) = &args.purpose {
        check_purpose(purpose, args.name.as_ref())?;
    }
    let bytes = file::read(&args.file)?;
    let imported = ops::key::import(
        &session.key_store(),
        &bytes,
        &args.file.display().to_string(),
        args.purpose.clone(),
        args.name.as_ref(),
        &session.passphrases,
    )?;
    let console = &session.console;
    if console.output.is_json() {
        let document = Document { added: forms(&imported.added), present: forms(&imported.present) };
        console.output.document("key_import", &document);
    }
    for info in &imported.added {
        if !console.output.is_json() {
            console.output.line(&info.id);
        }
        console.talk.info(format_args!("imported {}", info.label()));
    }
    for info in &imported.present {
        console.talk.info(format_args!("{} was here already", info.label()));
    }
    Ok(Outcome::Done)
}
