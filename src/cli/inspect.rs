//! `boltseal inspect`: what is signed, by whom and until when.

use super::image::NameArg;
use super::report::{Failure, Outcome};
use super::session::Session;
use crate::image::ImageName;

/// Arguments of `inspect`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal inspect registry.example.com/acme/app
  boltseal inspect app --history
  boltseal inspect app --output docker

`--output docker` prints what `docker trust inspect` prints.")]
pub struct Args {
    /// The image name, or `oci:FOLDER` for an image layout
    #[arg(value_name = "NAME")]
    pub target: NameArg,

    /// Show what this machine has seen before, too
    #[arg(long)]
    pub history: bool,

    /// The name that the images of a layout are expected to have
    #[arg(long, value_name = "NAME")]
    pub name: Option<ImageName>,
}

/// Verifies the collection and shows what it says.
///
/// # Errors
/// What the use case refuses, as an exit code with a sentence.
#[expect(clippy::unused_async, reason = "the use case that it waits for is not wired")]
pub async fn run(_args: Args, _session: &Session) -> Result<Outcome, Failure> {
    Err(Failure::not_wired("inspect"))
}
