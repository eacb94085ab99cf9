//! `boltseal signer add`: lets somebody sign some tags.

use std::path::Path;

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
  boltseal signer add registry.example.com/acme/app alice --key alice.pub --tags '*'
  boltseal signer add app release --key a.pub --key b.pub --threshold 2 --tags 'v*' --tags latest

The signer makes the key with `boltseal key generate --purpose signer:NAME` and hands over what
`boltseal key export ID --public` prints; the private key never leaves its machine. Here `--key FILE`
names public keys as well as private ones to publish with.")]
pub struct Args {
    /// The image name, or `oci:FOLDER` for an image layout
    #[arg(value_name = "NAME")]
    pub target: NameArg,

    /// The signer's name
    #[arg(value_name = "SIGNER")]
    pub signer: String,

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
    let (public, private): (Vec<_>, Vec<_>) =
        session.options.keys.files.iter().cloned().partition(|path| is_public(path));
    if public.is_empty() {
        return Err(Failure::usage("a signer needs a key: expected `--key FILE` with its public key in PEM")
            .hint("the signer prints it with `boltseal key export ID --public`"));
    }
    let mut keys = Vec::with_capacity(public.len());
    for path in &public {
        keys.push(read_public(&file::read(path)?, &path.display().to_string())?);
    }
    let signer = Signer { name: args.signer, keys, threshold: args.threshold, tags: args.tags };
    let store = session.signing_keys_from(&private)?;
    let ring = Ring::new(&*store, &session.passphrases);
    let signers = ops::add(&world, &ring, &name, layout.as_deref(), signer).await?;
    super::write(&name, &signers, &session.console);
    Ok(Outcome::Done)
}

/// Whether a file holds a public key; what cannot be read is told by whoever reads it as a private one.
fn is_public(path: &Path) -> bool {
    file::read(path).is_ok_and(|bytes| read_public(&bytes, &path.display().to_string()).is_ok())
}
