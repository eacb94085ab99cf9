//! `boltseal trust remove`: takes a pin back.

use std::collections::BTreeMap;

use crate::cli::report::{Failure, Outcome};
use crate::cli::session::Session;
use crate::ops::trust as pins;
use crate::trust::policy::ImagePattern;

/// Arguments of `trust remove`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal trust remove registry.example.com/acme/app

Without a scope of its own the name is decided by wider scopes, or by the default, which is to
refuse.")]
pub struct Args {
    /// The image name or pattern, as `boltseal trust list` shows it
    #[arg(value_name = "IMAGES")]
    pub images: ImagePattern,

    /// Remove it from `/etc/boltseal/policy.toml` instead of the user's policy
    #[arg(long, conflicts_with = "policy")]
    pub system: bool,
}

/// Removes the scope.
///
/// # Errors
/// What the policy refuses.
pub fn run(args: &Args, session: &Session) -> Result<Outcome, Failure> {
    let path = pins::remove(&session.pin_file(args.system)?, &args.images)?.display().to_string();
    let (output, talk) = (&session.console.output, &session.console.talk);
    if output.is_json() {
        let images = args.images.to_string();
        output.document("trust_remove", &BTreeMap::from([("file", &path), ("images", &images)]));
    }
    talk.info(format_args!("`{path}` has no scope for `{}` any more", args.images));
    Ok(Outcome::Done)
}
