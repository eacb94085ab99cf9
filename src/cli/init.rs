//! `boltseal init`: makes the keys and the trust data of an image name.

use super::expiry::ExpiryArg;
use super::image::NameArg;
use super::key::AlgorithmArg;
use super::report::{Failure, Outcome};
use super::session::Session;
use crate::image::ImageName;

/// Arguments of `init`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal init registry.example.com/acme/app
  boltseal init localhost:5000/app --expiry timestamp=2d --expiry root=730d
  boltseal init oci:./images --name registry.example.com/acme/app

The root key that the policy already pins for NAME is used where the key store holds it, else one
is made. Back up the root key afterwards: `boltseal key export --all --to FILE`.")]
pub struct Args {
    /// The image name, or `oci:FOLDER` for an image layout
    #[arg(value_name = "NAME")]
    pub target: NameArg,

    /// The image name that a layout's trust data is made for
    #[arg(long, value_name = "NAME")]
    pub name: Option<ImageName>,

    /// Pin the root in `/etc/boltseal/policy.toml` instead of the user's policy
    #[arg(long, conflicts_with = "policy")]
    pub system: bool,

    /// The algorithm of new keys
    #[arg(long, value_enum, default_value = "ed25519")]
    pub algorithm: AlgorithmArg,

    /// How long a role's signatures count; repeatable [default: root and targets 365d, snapshot 30d, timestamp 14d]
    #[arg(long, value_name = "ROLE=DURATION")]
    pub expiry: Vec<ExpiryArg>,
}

/// Makes keys and the collection, publishes it and pins its root.
///
/// # Errors
/// What the use case refuses, as an exit code with a sentence.
#[expect(clippy::unused_async, reason = "the use case that it waits for is not wired")]
pub async fn run(_args: Args, _session: &Session) -> Result<Outcome, Failure> {
    Err(Failure::not_wired("init"))
}
