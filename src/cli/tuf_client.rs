//! `boltseal tuf-client`: a plain TUF client, as the TUF conformance suite drives one. Not in the help.
//!
//! Its exit codes are the suite's: 0, and 1 for every failure.

use std::path::PathBuf;

use super::report::{Failure, Outcome};
use crate::clock::{Clock, SystemClock};
use crate::ops::tuf_client::{self, Download};

/// Arguments of `tuf-client`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder of the trusted metadata
    #[arg(long, value_name = "FOLDER")]
    pub metadata_dir: PathBuf,

    /// The address below which the metadata lie
    #[arg(long, value_name = "URL")]
    pub metadata_url: Option<String>,

    /// The path of a target to download; may be given more than once
    #[arg(long, value_name = "PATH")]
    pub target_name: Vec<String>,

    /// The folder for verified targets
    #[arg(long, value_name = "FOLDER")]
    pub target_dir: Option<PathBuf>,

    /// The address below which the targets lie
    #[arg(long, value_name = "URL")]
    pub target_base_url: Option<String>,

    #[command(subcommand)]
    step: Step,
}

/// One step of the protocol.
#[derive(Debug, clap::Subcommand)]
pub enum Step {
    /// Trust a root file
    Init {
        /// The root file
        #[arg(value_name = "FILE")]
        trusted_root: PathBuf,
    },
    /// Bring the metadata up to date
    Refresh,
    /// Bring the metadata up to date and download targets
    Download,
}

/// Does one step.
///
/// # Errors
/// Why it failed; the exit code is always 1.
pub async fn run(args: Args) -> Result<Outcome, Failure> {
    let now = SystemClock.now();
    let folder = &args.metadata_dir;
    let missing = |option: &str| Failure::failed(format!("`{option}` is missing"));
    let done = match &args.step {
        Step::Init { trusted_root } => tuf_client::init(folder, trusted_root, now),
        Step::Refresh => {
            let url = args.metadata_url.ok_or_else(|| missing("--metadata-url"))?;
            tuf_client::refresh(folder, &url, now).await
        }
        Step::Download => {
            let url = args.metadata_url.ok_or_else(|| missing("--metadata-url"))?;
            let what = Download {
                targets: args.target_name,
                base_url: args.target_base_url.ok_or_else(|| missing("--target-base-url"))?,
                folder: args.target_dir.ok_or_else(|| missing("--target-dir"))?,
            };
            if what.targets.is_empty() {
                return Err(missing("--target-name"));
            }
            tuf_client::download(folder, &url, now, &what).await
        }
    };
    done.map(|()| Outcome::Done).map_err(|error| Failure::failed(error.to_string()))
}
