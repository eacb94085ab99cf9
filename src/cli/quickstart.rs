//! `boltseal quickstart`: the whole story in seconds.

use super::report::{Failure, Outcome};
use super::session::Session;

/// Arguments of `quickstart`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal quickstart
  boltseal quickstart --registry localhost:5000")]
pub struct Args {
    /// Use a registry instead of an image layout on disk
    #[arg(long, value_name = "HOST")]
    pub registry: Option<String>,
}

/// Makes an image, signs and verifies it, moves its tag and shows the refusal.
///
/// # Errors
/// What the use case refuses, as an exit code with a sentence.
#[expect(clippy::unused_async, reason = "the use case that it waits for is not wired")]
pub async fn run(_args: Args, _session: &Session) -> Result<Outcome, Failure> {
    Err(Failure::not_wired("quickstart"))
}
