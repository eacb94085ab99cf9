//! `boltseal key rotate`: replaces the key of a role.

use clap::ValueEnum;

use super::AlgorithmArg;
use crate::cli::image::NameArg;
use crate::cli::report::{Failure, Outcome};
use crate::cli::session::Session;
use crate::image::ImageName;
use crate::trust::RoleKind;

/// Arguments of `key rotate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal key rotate registry.example.com/acme/app timestamp
  boltseal key rotate app root --with 3f2a9c

The root signs the change, so its key must be at hand. Clients follow by themselves. When the root
key itself is replaced, give others the new pin for machines that start fresh: `boltseal trust add`.")]
pub struct Args {
    /// The image name, or `oci:FOLDER` for an image layout
    #[arg(value_name = "NAME")]
    pub target: NameArg,

    /// The role
    #[arg(value_enum)]
    pub role: RoleArg,

    /// Use this key of the key store instead of a new one
    #[arg(long = "with", value_name = "ID", conflicts_with = "algorithm")]
    pub key: Option<String>,

    /// The algorithm of the new key
    #[arg(long, value_enum, default_value = "ed25519")]
    pub algorithm: AlgorithmArg,

    /// The name that the images of a layout are expected to have
    #[arg(long, value_name = "NAME")]
    pub name: Option<ImageName>,
}

/// Roles whose key can be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleArg {
    /// The root
    Root,
    /// What is signed
    Targets,
    /// Which versions belong together
    Snapshot,
    /// What is current
    Timestamp,
}

impl From<RoleArg> for RoleKind {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Root => Self::Root,
            RoleArg::Targets => Self::Targets,
            RoleArg::Snapshot => Self::Snapshot,
            RoleArg::Timestamp => Self::Timestamp,
        }
    }
}

/// Replaces the key and publishes the change.
///
/// # Errors
/// What the use case refuses, as an exit code with a sentence.
#[expect(clippy::unused_async, reason = "the use case that it waits for is not wired")]
pub async fn run(_args: Args, _session: &Session) -> Result<Outcome, Failure> {
    Err(Failure::not_wired("key rotate"))
}
