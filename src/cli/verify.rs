//! `boltseal verify`: what tags are, by those who sign them.

use super::image::ImageArg;
use super::ports::{Ports, subject};
use super::report::{Failure, Outcome};
use super::session::Session;
use super::verdict::{self, Asked, VerdictForm};
use crate::image::ImageName;
use crate::ops::verify::{self as ops, Served};

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal verify registry.example.com/acme/app:1.0
  boltseal verify app:1.0 app:latest --output json
  boltseal verify --registry app:1.0
  boltseal verify oci:./images:1.0 --name registry.example.com/acme/app

Each verified image is a line `DIGEST  IMAGE`. The verdict is the true one, whatever the policy's
mode.")]
pub struct Args {
    /// The images
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<ImageArg>,

    /// Also ask what the registry serves under the tag, and fail (15) when it differs
    #[arg(long)]
    pub registry: bool,

    /// The name that the images of a layout are expected to have
    #[arg(long, value_name = "NAME")]
    pub name: Option<ImageName>,
}

/// Verifies the images and prints their digests.
///
/// # Errors
/// What the use case refuses, as an exit code with a sentence.
pub async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let ports = Ports::new(session);
    let world = ports.world()?;
    let mut subjects = Vec::with_capacity(args.images.len());
    for image in &args.images {
        subjects.push(subject(image, args.name.as_ref(), &world.policy).await?);
    }
    let served = if args.registry { Served::Compare } else { Served::Ignore };
    let verdicts = ops::verify(&world, &subjects, served).await;
    ports.save_checkpoint(&verdicts)?;
    let forms: Vec<VerdictForm> = verdicts.iter().map(|verdict| VerdictForm::of(verdict, Asked::Truth)).collect();
    Ok(verdict::write(&session.console, &forms))
}
