//! `boltseal trust add`: pins a root.

use std::path::PathBuf;

use clap::ValueHint;

use crate::cli::report::{Failure, Outcome};
use crate::cli::session::Session;

/// Arguments of `trust add`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal trust add registry.example.com/acme/app --root-key 3f2a9c...
  boltseal trust add 'host.example/acme/**' --root-key 3f2a9c... --root-key 77b0e1... --threshold 2
  boltseal trust add registry.example.com/acme/app --root acme-root.json --system

`boltseal init` prints the line that others run. The pin goes to the user's policy, to
`/etc/boltseal/policy.toml` with `--system`, or to `--policy FILE`; comments in the file are kept.")]
pub struct Args {
    /// The image name, or a pattern such as `registry.example.com/acme/**`
    #[arg(value_name = "IMAGES")]
    pub images: String,

    /// Trust the root keys and the threshold of the root metadata in FILE
    #[arg(long, value_name = "FILE", conflicts_with_all = ["root_keys", "threshold"], value_hint = ValueHint::FilePath)]
    pub root: Option<PathBuf>,

    /// How many of the root keys must have signed [default: all of them]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub threshold: Option<u8>,

    /// Write to `/etc/boltseal/policy.toml` instead of the user's policy
    #[arg(long, conflicts_with = "policy")]
    pub system: bool,
}

/// Writes the pin.
///
/// # Errors
/// What the policy refuses.
pub fn run(_args: Args, _session: &Session) -> Result<Outcome, Failure> {
    Err(Failure::not_wired("trust add"))
}
