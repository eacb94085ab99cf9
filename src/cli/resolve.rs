//! `boltseal resolve`: a tag becomes a digest that can be trusted.

use super::image::ImageArg;
use super::report::{Failure, Outcome};
use super::session::Session;
use crate::image::ImageName;

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
#[expect(clippy::unused_async, reason = "the use case that it waits for is not wired")]
pub async fn run(_args: Args, _session: &Session) -> Result<Outcome, Failure> {
    Err(Failure::not_wired("resolve"))
}
