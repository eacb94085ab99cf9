//! `boltseal refresh`: signs anew what expires soon.

use super::image::NameArg;
use super::report::{Failure, Outcome};
use super::session::Session;
use crate::image::ImageName;

/// Arguments of `refresh`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal refresh registry.example.com/acme/app
  boltseal refresh app db cache

Signs each role again that has half of its life behind it, with the keys at hand; usually that is
the online key alone. Fails when a role whose key is elsewhere is in the last quarter of its life.")]
pub struct Args {
    /// The image names, or `oci:FOLDER` for image layouts
    #[arg(required = true, value_name = "NAME")]
    pub targets: Vec<NameArg>,

    /// The name that the images of a layout are expected to have
    #[arg(long, value_name = "NAME")]
    pub name: Option<ImageName>,
}

/// Signs what is due and publishes it.
///
/// # Errors
/// What the use case refuses, as an exit code with a sentence.
#[expect(clippy::unused_async, reason = "the use case that it waits for is not wired")]
pub async fn run(_args: Args, _session: &Session) -> Result<Outcome, Failure> {
    Err(Failure::not_wired("refresh"))
}
