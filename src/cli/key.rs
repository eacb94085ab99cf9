//! `boltseal key`: the key store.

pub mod export;
pub mod generate;
pub mod import;
pub mod list;
pub mod passwd;
pub mod remove;
pub mod rotate;

use clap::{Subcommand, ValueEnum};

use super::report::{Failure, Outcome};
use super::session::Session;
use crate::image::ImageName;
use crate::keystore::{Algorithm, Purpose};

/// Arguments of `key`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Passphrases come from the first of these variables that is set, else from a prompt:
  BOLTSEAL_ROOT_PASSPHRASE, and likewise TARGETS, SNAPSHOT, TIMESTAMP, ONLINE, SIGNER_<NAME>
  BOLTSEAL_PASSPHRASE
  DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE, DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE
Each may also name a file that holds the passphrase, with `_FILE` at its end.")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make a key
    Generate(generate::Args),
    /// List the keys
    List(list::Args),
    /// Take a key in from a file
    Import(import::Args),
    /// Give a key, or all of them, out to a file
    Export(export::Args),
    /// Change the passphrase of a key
    Passwd(passwd::Args),
    /// Replace the key of a role by a new one, for every client at once
    Rotate(rotate::Args),
    /// Remove a key from this machine for ever
    Remove(remove::Args),
}

/// Runs the verb.
///
/// # Errors
/// What the use case refuses, as an exit code with a sentence.
pub fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    match args.verb {
        Verb::Generate(args) => generate::run(&args, session),
        Verb::List(args) => list::run(&args, session),
        Verb::Import(args) => import::run(&args, session),
        Verb::Export(args) => export::run(args, session),
        Verb::Passwd(args) => passwd::run(args, session),
        Verb::Rotate(args) => super::wait(rotate::run(args, session)),
        Verb::Remove(args) => remove::run(&args, session),
    }
}

/// Algorithms of new keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AlgorithmArg {
    /// Ed25519
    Ed25519,
    /// ECDSA on P-256
    P256,
}

impl From<AlgorithmArg> for Algorithm {
    fn from(arg: AlgorithmArg) -> Self {
        match arg {
            AlgorithmArg::Ed25519 => Self::Ed25519,
            AlgorithmArg::P256 => Self::P256,
        }
    }
}

/// What a key is for, as `key generate` and `key import` take it.
#[derive(Debug, Clone, clap::Args)]
#[group(multiple = false)]
pub struct PurposeArgs {
    /// What the key is for [default: root]
    #[arg(long, value_enum, value_name = "ROLE")]
    pub purpose: Option<PurposeArg>,

    /// It is the key of the signer NAME
    #[arg(long, value_name = "NAME")]
    pub signer: Option<String>,
}

/// Roles that a key is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PurposeArg {
    /// The root of one or many collections
    Root,
    /// What is signed
    Targets,
    /// Which versions belong together
    Snapshot,
    /// What is current
    Timestamp,
    /// Snapshot and timestamp in one
    Online,
}

impl PurposeArgs {
    /// The purpose, and whether it fits the collection that is given: root keys have none, and the others have one.
    ///
    /// # Errors
    /// Exit 2 where they do not fit.
    pub fn purpose(&self, collection: Option<&ImageName>) -> Result<Purpose, Failure> {
        let purpose = match (&self.signer, self.purpose) {
            (Some(name), _) => return Ok(Purpose::Signer(name.clone())),
            (None, None | Some(PurposeArg::Root)) => Purpose::Root,
            (None, Some(PurposeArg::Targets)) => Purpose::Targets,
            (None, Some(PurposeArg::Snapshot)) => Purpose::Snapshot,
            (None, Some(PurposeArg::Timestamp)) => Purpose::Timestamp,
            (None, Some(PurposeArg::Online)) => Purpose::Online,
        };
        match (&purpose, collection) {
            (Purpose::Root, Some(_)) => {
                Err(Failure::usage("a root key belongs to no image name: expected no `--name`")
                    .hint("leave `--name` out"))
            }
            (Purpose::Root, None) | (_, Some(_)) => Ok(purpose),
            (_, None) => Err(Failure::usage("this key belongs to one image name: expected `--name NAME`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_of_a_collection_take_its_name() {
        let name: ImageName = "h.x/app".parse().unwrap();
        let args = |purpose| PurposeArgs { purpose, signer: None };
        assert_eq!(args(None).purpose(None), Ok(Purpose::Root));
        assert_eq!(args(Some(PurposeArg::Online)).purpose(Some(&name)), Ok(Purpose::Online));
        assert!(args(None).purpose(Some(&name)).is_err());
        assert!(args(Some(PurposeArg::Targets)).purpose(None).is_err());
        let signer = PurposeArgs { purpose: None, signer: Some("alice".to_owned()) };
        assert_eq!(signer.purpose(None), Ok(Purpose::Signer("alice".to_owned())));
    }
}
