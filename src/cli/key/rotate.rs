//! `boltseal key rotate`: replaces the key of a role.

use clap::ValueEnum;

use super::AlgorithmArg;
use crate::cli::console::Console;
use crate::cli::image::NameArg;
use crate::cli::ports::{Ports, collection};
use crate::cli::report::{Failure, Outcome};
use crate::cli::session::Session;
use crate::image::ImageName;
use crate::ops::init::trust_line;
use crate::ops::ring::Ring;
use crate::ops::rotate::{self as ops, NewKey, Rotated};
use crate::trust::KeyId;
use crate::trust::RoleKind;
use serde_json::json;

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
pub async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let ports = Ports::new(session);
    let world = ports.world()?;
    let (name, layout) = collection(&args.target, args.name.as_ref(), &world.policy).await?;
    let keys = session.signing_keys()?;
    let ring = Ring::new(&*keys, &session.passphrases);
    let new = match &args.key {
        Some(id) => NewKey::Held(crate::ops::key::find(&*keys, id)?),
        None => NewKey::Generate(args.algorithm.into()),
    };
    let rotated = ops::rotate(&world, &ring, &name, layout.as_deref(), args.role.into(), new).await?;
    report(&name, &rotated, &session.console);
    Ok(Outcome::Done)
}

fn report(name: &ImageName, rotated: &Rotated, console: &Console) {
    let line = trust_line(name, &rotated.root_keys, rotated.root_threshold);
    if console.output.is_json() {
        let body = json!({
            "name": name.to_string(), "role": rotated.kind.to_string(), "key": rotated.key.id.as_str(),
            "retired": rotated.retired.iter().map(KeyId::as_str).collect::<Vec<_>>(),
            "root_version": rotated.root_version, "trust_line": line,
        });
        console.output.document("key_rotate", &body);
        return;
    }
    let talk = &console.talk;
    console.output.line(rotated.key.id.as_str());
    let root = rotated.root_version;
    talk.info(format_args!("{name}: the {} key is {} since root version {root}", rotated.kind, rotated.key.id.short()));
    for id in &rotated.retired {
        talk.info(format_args!(
            "  {} no longer counts; `boltseal key remove {}` removes it from this machine",
            id.short(),
            id.short()
        ));
    }
    talk.info("Clients that verified before follow by themselves: nothing has to change on any machine.");
    if rotated.kind == RoleKind::Root {
        talk.info("Machines that start fresh and pin the former root key still follow while they trust it. Give them the new pin:");
        talk.info(format_args!("  {line}"));
        talk.info("Back up the new root key: `boltseal key export --all --to FILE`");
    }
}
