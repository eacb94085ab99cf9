//! `boltseal resolve`: a tag becomes a digest that can be trusted.

use super::image::ImageArg;
use super::ports::{Ports, subject};
use super::report::{Failure, Outcome};
use super::session::Session;
use super::verdict::{self, Asked, VerdictForm};
use crate::image::ImageName;
use crate::ops::verify::{self as ops, Served};

/// Arguments of `resolve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  img=$(boltseal resolve registry.example.com/acme/app:1.0) && docker run \"$img\"
  kubectl set image deployment/app app=$(boltseal resolve app:1.0)

Prints `name@sha256:...` and nothing else, and only if it is verified.")]
pub struct Args {
    /// The image
    #[arg(value_name = "IMAGE")]
    pub image: ImageArg,

    /// The name that the images of a layout are expected to have
    #[arg(long, value_name = "NAME")]
    pub name: Option<ImageName>,
}

/// Verifies the image and prints its name with the digest.
///
/// # Errors
/// What the use case refuses, as an exit code with a sentence.
pub async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let ports = Ports::new(session);
    let world = ports.world()?;
    let subject = subject(&args.image, args.name.as_ref(), &world.policy).await?;
    let verdicts = ops::verify(&world, &[subject], Served::Ignore).await;
    ports.save_checkpoint(&verdicts)?;
    let forms: Vec<VerdictForm> = verdicts.iter().map(|verdict| VerdictForm::of(verdict, Asked::Truth)).collect();
    Ok(verdict::write_resolved(&session.console, &forms))
}
