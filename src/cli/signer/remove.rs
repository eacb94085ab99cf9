//! `boltseal signer remove`: lets somebody sign no more.

use crate::cli::image::NameArg;
use crate::cli::ports::{Ports, collection};
use crate::cli::report::{Failure, Outcome};
use crate::cli::session::Session;
use crate::image::ImageName;
use crate::ops::ring::Ring;
use crate::ops::signer as ops;

/// Arguments of `signer remove`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal signer remove registry.example.com/acme/app alice

Really removes: what only this signer vouches for no longer verifies, and the others go on signing.")]
pub struct Args {
    /// The image name, or `oci:FOLDER` for an image layout
    #[arg(value_name = "NAME")]
    pub target: NameArg,

    /// The signer's name
    #[arg(value_name = "SIGNER")]
    pub signer: String,

    /// The name that the images of a layout are expected to have
    #[arg(long, value_name = "NAME")]
    pub name: Option<ImageName>,
}

/// Publishes that the signer's word counts no more.
///
/// # Errors
/// What the use case refuses, as an exit code with a sentence.
pub async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let ports = Ports::new(session);
    let world = ports.world()?;
    let (name, layout) = collection(&args.target, args.name.as_ref(), &world.policy).await?;
    let store = session.signing_keys()?;
    let ring = Ring::new(&*store, &session.passphrases);
    let left = ops::remove(&world, &ring, &name, layout.as_deref(), &args.signer).await?;
    super::write(&name, &left, &session.console);
    Ok(Outcome::Done)
}
