//! `boltseal status`: what expires when.

use super::image::NameArg;
use super::report::{Failure, Outcome};
use super::session::Session;
use crate::image::ImageName;

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal status registry.example.com/acme/app
  boltseal status app db --output json")]
pub struct Args {
    /// The image names, or `oci:FOLDER` for image layouts
    #[arg(required = true, value_name = "NAME")]
    pub targets: Vec<NameArg>,

    /// The name that the images of a layout are expected to have
    #[arg(long, value_name = "NAME")]
    pub name: Option<ImageName>,
}

/// Shows each role with its version, keys and expiry.
///
/// # Errors
/// What the use case refuses, as an exit code with a sentence.
#[expect(clippy::unused_async, reason = "the use case that it waits for is not wired")]
pub async fn run(_args: Args, _session: &Session) -> Result<Outcome, Failure> {
    Err(Failure::not_wired("status"))
}
