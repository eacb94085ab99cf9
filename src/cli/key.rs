//! `boltseal key`: the key store.

pub mod export;
pub mod form;
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
#[command(subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
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
        Verb::Export(args) => export::run(&args, session),
        Verb::Passwd(args) => passwd::run(&args, session),
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

/// A purpose and an image name fit: root keys have no name, keys of a collection's own roles have one.
///
/// # Errors
/// Exit 2 where they do not fit.
fn check_purpose(purpose: &Purpose, name: Option<&ImageName>) -> Result<(), Failure> {
    match (purpose, name) {
        (Purpose::Root, Some(_)) => {
            Err(Failure::usage("a root key belongs to no image name: expected no `--name`").hint("leave `--name` out"))
        }
        (Purpose::Root | Purpose::Signer(_), None) | (_, Some(_)) => Ok(()),
        (_, None) => Err(Failure::usage(format!("a {purpose} key belongs to one image name: expected `--name NAME`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_of_a_collection_take_its_name() {
        let name: ImageName = "h.x/app".parse().unwrap();
        let signer = Purpose::Signer("alice".to_owned());
        for (purpose, name, fits) in [
            (&Purpose::Root, None, true),
            (&Purpose::Root, Some(&name), false),
            (&Purpose::Online, Some(&name), true),
            (&Purpose::Targets, None, false),
            (&signer, None, true),
            (&signer, Some(&name), true),
        ] {
            assert_eq!(check_purpose(purpose, name).is_ok(), fits, "{purpose} {name:?}");
        }
    }
}
