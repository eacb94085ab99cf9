//! `boltseal signer add`: lets somebody sign some tags.

use std::path::PathBuf;

use clap::ValueHint;

use crate::cli::file;
use crate::cli::image::NameArg;
use crate::cli::ports::{Ports, collection};
use crate::cli::report::{Failure, Outcome};
use crate::cli::session::Session;
use crate::image::ImageName;
use crate::ops::key::read_public;
use crate::ops::ring::Ring;
use crate::ops::signer as ops;
use crate::trust::signer::Signer;

/// Arguments of `signer add`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal signer add registry.example.com/acme/app alice --public-key alice.pub --tags '*'
  boltseal signer add app release --public-key a.pub --public-key b.pub --threshold 2 --tags 'v*' --tags latest

The signer makes the key with `boltseal key generate --purpose signer:NAME` and hands over what
`boltseal key export ID --public` prints; the private key never leaves its machine.")]
pub struct Args {
    /// The image name, or `oci:FOLDER` for an image layout
    #[arg(value_name = "NAME")]
    pub target: NameArg,

    /// The signer's name
    #[arg(value_name = "SIGNER")]
    pub signer: String,

    /// The public key of the signer, in PEM; repeatable
    #[arg(long = "public-key", required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub keys: Vec<PathBuf>,

    /// How many of the keys must sign
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub threshold: u32,

    /// Which tags the signer may sign: a pattern with `*` and `?`; repeatable
    #[arg(long, required = true, value_name = "PATTERN")]
    pub tags: Vec<String>,

    /// The name that the images of a layout are expected to have
    #[arg(long, value_name = "NAME")]
    pub name: Option<ImageName>,
}

/// Publishes the delegation.
///
/// # Errors
/// What the use case refuses, as an exit code with a sentence.
pub async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let ports = Ports::new(session);
    let world = ports.world()?;
    let (name, layout) = collection(&args.target, args.name.as_ref(), &world.policy).await?;
    let mut keys = Vec::with_capacity(args.keys.len());
    for path in &args.keys {
        keys.push(read_public(&file::read(path)?, &path.display().to_string())?);
    }
    let signer = Signer { name: args.signer, keys, threshold: args.threshold, tags: args.tags };
    let store = session.signing_keys()?;
    let ring = Ring::new(&*store, &session.passphrases);
    let signers = ops::add(&world, &ring, &name, layout.as_deref(), signer).await?;
    super::write(&name, &signers, &session.console);
    Ok(Outcome::Done)
}
