//! `boltseal pull`: verifies, then pulls by the verified digest.

use super::image::{ImageArg, LayoutArg};
use super::report::{Failure, Outcome};
use super::session::Session;
use crate::config::Engine;
use crate::image::ImageName;

/// Arguments of `pull`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal pull registry.example.com/acme/app:1.0
  boltseal pull app:1.0 --with podman
  boltseal pull app:1.0 --to oci:./images

The engine is `--with`, else `BOLTSEAL_ENGINE`, else the first of docker, podman, nerdctl and ctr
that answers. The tag is set as `docker pull` sets it. `DOCKER_CONTENT_TRUST=0` turns verification
off where the policy allows that.")]
pub struct Args {
    /// The image
    #[arg(value_name = "IMAGE")]
    pub image: ImageArg,

    /// The engine that pulls
    #[arg(long = "with", value_enum, value_name = "ENGINE", conflicts_with = "to")]
    pub engine: Option<EngineArg>,

    /// Write into an image layout instead: `oci:FOLDER[:TAG]`
    #[arg(long, value_name = "LAYOUT")]
    pub to: Option<LayoutArg>,

    /// The name that the images of a layout are expected to have
    #[arg(long, value_name = "NAME")]
    pub name: Option<ImageName>,
}

/// Programs that pull images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineArg {
    /// Docker's client, for dockerd
    Docker,
    /// Podman
    Podman,
    /// nerdctl, for containerd
    Nerdctl,
    /// ctr, containerd's own client
    Ctr,
}

impl From<EngineArg> for Engine {
    fn from(arg: EngineArg) -> Self {
        match arg {
            EngineArg::Docker => Self::Docker,
            EngineArg::Podman => Self::Podman,
            EngineArg::Nerdctl => Self::Nerdctl,
            EngineArg::Ctr => Self::Ctr,
        }
    }
}

/// Verifies the image, has it pulled by its digest and sets the tag.
///
/// # Errors
/// What the use case refuses, as an exit code with a sentence.
#[expect(clippy::unused_async, reason = "the use case that it waits for is not wired")]
pub async fn run(_args: Args, _session: &Session) -> Result<Outcome, Failure> {
    Err(Failure::not_wired("pull"))
}
