//! `boltseal revoke`: takes back what was signed.

use super::image::ImageArg;
use super::report::{Failure, Outcome};
use super::session::Session;
use crate::image::ImageName;

/// Arguments of `revoke`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal revoke registry.example.com/acme/app:1.0
  boltseal revoke app@sha256:... --yes
  boltseal revoke app:1.0 --all-digests

Fails if the image still verifies afterwards, and names who vouches for it. The image itself stays
in the registry.")]
pub struct Args {
    /// The image: a tag, a digest or both
    #[arg(value_name = "IMAGE")]
    pub image: ImageArg,

    /// Also take back every digest that the tag had before
    #[arg(long)]
    pub all_digests: bool,

    /// Do not ask
    #[arg(long, short = 'y')]
    pub yes: bool,

    /// The name that the images of a layout are expected to have
    #[arg(long, value_name = "NAME")]
    pub name: Option<ImageName>,
}

/// Takes the image back, and checks that it no longer verifies.
///
/// # Errors
/// What the use case refuses, as an exit code with a sentence.
#[expect(clippy::unused_async, reason = "the use case that it waits for is not wired")]
pub async fn run(_args: Args, _session: &Session) -> Result<Outcome, Failure> {
    Err(Failure::not_wired("revoke"))
}
