//! The options that every verb takes, in groups.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueHint};

use super::output::Format;
use crate::image::ImageName;

/// Options of every verb.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// What is said, and how.
    #[command(flatten)]
    pub speech: Speech,
    /// What is trusted.
    #[command(flatten)]
    pub trust: Trust,
    /// Which keys sign.
    #[command(flatten)]
    pub keys: Keys,
    /// How registries are reached.
    #[command(flatten)]
    pub connection: Connection,
}

/// What is said, and how.
#[derive(Debug, Clone, Default, Args)]
pub struct Speech {
    /// How results are written to standard output [default: text]
    #[arg(long, global = true, value_name = "FORMAT", value_enum)]
    pub output: Option<Format>,

    /// Say only warnings and errors
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Log what happens to standard error; twice for more
    ///
    /// `BOLTSEAL_LOG` takes filters instead, such as `boltseal::registry=trace`.
    #[arg(long, short, global = true, action = ArgAction::Count)]
    pub verbose: u8,

    /// Show progress bars even in quiet mode and where `CI` is set; still on a terminal only
    #[arg(long, global = true, hide_short_help = true, overrides_with = "no_progress")]
    pub progress: bool,

    /// Show no progress bars
    #[arg(long, global = true, hide_short_help = true)]
    pub no_progress: bool,
}

/// What is trusted, and what is remembered.
#[derive(Debug, Clone, Default, Args)]
pub struct Trust {
    /// Keep keys and memory in DIR [env: `BOLTSEAL_HOME`] [default: the user's data folder]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub home: Option<PathBuf>,

    /// Read one more policy file; it can only add to what the others demand
    ///
    /// `/etc/boltseal/policy.toml` and the user's `policy.toml` are always read first. Verbs that write a pin
    /// (`init`, `trust add`, `trust remove`) write it to this file.
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub policy: Vec<PathBuf>,

    /// Trust only collections whose root is signed by this key, for this run [env: `BOLTSEAL_ROOT_KEY`]
    ///
    /// Give it once for each key of the root; all of them must have signed.
    #[arg(long = "root-key", global = true, value_name = "ID", hide_short_help = true)]
    pub root_keys: Vec<String>,

    /// Keep no memory of this run: a rollback is then not noticed
    #[arg(long, global = true, hide_short_help = true)]
    pub stateless: bool,

    /// Read and write what was seen last in FILE, for machines that start fresh [env: `BOLTSEAL_CHECKPOINT`]
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true, value_hint = ValueHint::FilePath)]
    pub checkpoint: Option<PathBuf>,

    /// Find the trust data in another repository than the image's
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub trust_repository: Option<ImageName>,
}

/// Which keys sign.
#[derive(Debug, Clone, Default, Args)]
pub struct Keys {
    /// Sign with the private key in FILE too, without importing it [env: `BOLTSEAL_KEY`, `BOLTSEAL_KEY_FILE`]
    #[arg(long = "key", global = true, value_name = "FILE", hide_short_help = true, value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
}

/// How registries are reached. Loopback names are plain HTTP and everything else HTTPS; one is never tried for the other.
#[derive(Debug, Clone, Default, Args)]
pub struct Connection {
    /// Speak HTTPS to registries on loopback names too
    #[arg(long, global = true, hide_short_help = true, conflicts_with = "plain_http")]
    pub tls: bool,

    /// Speak plain HTTP to registries: anyone on the way can read, and can withhold answers
    #[arg(long, global = true, hide_short_help = true, conflicts_with_all = ["insecure_tls", "ca"])]
    pub plain_http: bool,

    /// Accept any certificate: anyone on the way can pose as the registry and read credentials
    #[arg(long, global = true, hide_short_help = true)]
    pub insecure_tls: bool,

    /// Believe the CA certificates in FILE (PEM), and no others
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true, value_hint = ValueHint::FilePath)]
    pub ca: Option<PathBuf>,

    /// Look for each host's certificates in DIR, as docker does in its `certs.d`
    #[arg(long, global = true, value_name = "DIR", hide_short_help = true, value_hint = ValueHint::DirPath)]
    pub certs_dir: Option<PathBuf>,
}
