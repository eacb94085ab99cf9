//! `boltseal signer list`: who may sign what.

use crate::cli::image::NameArg;
use crate::cli::ports::{Ports, collection};
use crate::cli::report::{Failure, Outcome};
use crate::cli::session::Session;
use crate::image::ImageName;
use crate::ops::signer as ops;

/// Arguments of `signer list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal signer list registry.example.com/acme/app
  boltseal signer list app --output json")]
pub struct Args {
    /// The image name, or `oci:FOLDER` for an image layout
    #[arg(value_name = "NAME")]
    pub target: NameArg,

    /// The name that the images of a layout are expected to have
    #[arg(long, value_name = "NAME")]
    pub name: Option<ImageName>,
}

/// Shows the signers in the order in which they are asked.
///
/// # Errors
/// What the use case refuses, as an exit code with a sentence.
pub async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let ports = Ports::new(session);
    let world = ports.world()?;
    let (name, layout) = collection(&args.target, args.name.as_ref(), &world.policy).await?;
    let signers = ops::list(&world, &name, layout.as_deref()).await?;
    super::write(&name, &signers, &session.console);
    Ok(Outcome::Done)
}
