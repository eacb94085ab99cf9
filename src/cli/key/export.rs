//! `boltseal key export`: gives keys out.

use std::path::PathBuf;

use clap::ValueHint;
use zeroize::Zeroizing;

use crate::cli::report::{Failure, Outcome};
use crate::cli::session::Session;
use crate::keystore::write_new_private;
use crate::ops;
use crate::ops::key::ExportUnder;

/// Arguments of `key export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal key export --all --to backup.json
  boltseal key export 3f2a9c --to root.pem
  boltseal key export 3f2a9c --public

A private key leaves only under its passphrase, as PKCS#8 that `openssl pkey` reads. Keys in tokens
and behind external signers never leave; their public keys do.")]
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

    /// Put the copy under another passphrase, which is asked for
    #[arg(long, conflicts_with_all = ["all", "public"])]
    pub new_passphrase: bool,

    /// Write to FILE, which must not exist, instead of standard output
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub to: Option<PathBuf>,
}

/// Writes the key or keys.
///
/// # Errors
/// What the key store refuses.
pub fn run(args: &Args, session: &Session) -> Result<Outcome, Failure> {
    if let Some(to) = args.to.as_deref().filter(|to| to.symlink_metadata().is_ok()) {
        return Err(Failure::usage(format!("`{}` is there already: expected the name of a new file", to.display())));
    }
    let talk = &session.console.talk;
    let Some(id) = &args.id else {
        let to = args.to.as_deref().ok_or_else(|| Failure::usage("`--all` needs `--to FILE`"))?;
        let count = ops::key::export_all(&session.key_store(), to)?;
        talk.info(format_args!("wrote {count} keys to `{}`, each under its own passphrase", to.display()));
        return Ok(Outcome::Done);
    };
    let store = &*session.known_keys();
    let pem = if args.public {
        Zeroizing::new(ops::key::export_public(store, id)?)
    } else {
        let under = if args.new_passphrase { ExportUnder::New } else { ExportUnder::Present };
        ops::key::export_private(store, id, under, &session.passphrases)?
    };
    match &args.to {
        Some(to) => {
            write_new_private(to, pem.as_bytes())?;
            talk.info(format_args!("wrote `{}`", to.display()));
        }
        None => session.console.output.bytes(pem.as_bytes()),
    }
    Ok(Outcome::Done)
}
