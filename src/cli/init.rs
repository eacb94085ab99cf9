//! `boltseal init`: makes the keys and the trust data of an image name.

use super::console::Console;
use super::expiry::ExpiryArg;
use super::image::NameArg;
use super::key::AlgorithmArg;
use super::ports::{Ports, collection};
use super::report::{Failure, Outcome};
use super::session::Session;
use crate::image::ImageName;
use crate::keystore::KeyInfo;
use crate::ops::init::{self as ops, Initialised, Request};
use crate::ops::ring::Ring;
use crate::trust::draft::Lifetimes;
use serde_json::json;

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
pub async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let ports = Ports::new(session);
    let policy_file = session.pin_file(args.system)?;
    let world = ports.world()?;
    let (name, layout) = collection(&args.target, args.name.as_ref(), &world.policy).await?;
    let mut lifetimes = Lifetimes::default();
    args.expiry.iter().for_each(|expiry| lifetimes.set(expiry.role, expiry.life));
    let keys = session.signing_keys()?;
    let ring = Ring::new(&*keys, &session.passphrases);
    let request = Request { name, layout, algorithm: args.algorithm.into(), lifetimes, policy_file };
    let made = ops::init(&world, &ring, &request).await?;
    report(&args.target, &request.name, &made, &session.console);
    Ok(Outcome::Done)
}

fn report(target: &NameArg, name: &ImageName, made: &Initialised, console: &Console) {
    let line = ops::trust_line(name, std::slice::from_ref(&made.root.public), 1);
    if console.output.is_json() {
        let key = |info: &KeyInfo| info.id.to_string();
        let body = json!({
            "name": name.to_string(), "location": made.location,
            "root_key": key(&made.root), "root_key_is_new": made.root_is_new,
            "targets_key": key(&made.targets), "online_key": key(&made.online),
            "policy_file": made.pinned.path.display().to_string(), "trust_line": line,
        });
        console.output.document("init", &body);
        return;
    }
    let talk = &console.talk;
    talk.info(format_args!("{name} has trust data now, at {}", made.location));
    let origin = if made.root_is_new { "new" } else { "found in the key store" };
    talk.info(format_args!("  root key     {} ({origin})", made.root.id));
    talk.info(format_args!("  targets key  {}", made.targets.id));
    talk.info(format_args!("  online key   {} (snapshot and timestamp)", made.online.id));
    talk.info(format_args!("The root is pinned in `{}`. Others trust it with:", made.pinned.path.display()));
    console.output.line(&line);
    talk.info("Next:");
    talk.info(format_args!("  back up      boltseal key export --all --to boltseal-keys.json"));
    talk.info("               then move the root key off this machine: who holds it can replace every other key");
    let named = match target {
        NameArg::Registry(_) => String::new(),
        NameArg::Layout { .. } => format!(" --name {name}"),
    };
    talk.info(format_args!("  sign         boltseal sign {target}:TAG{named}"));
    talk.info(format_args!("  keep fresh   run `boltseal refresh {target}{named}` once a day, from a timer"));
    if let Some((pattern, at)) = &made.pinned.shadows {
        talk.warn(format_args!("the scope `{pattern}` on line {at} of the same file no longer decides `{name}`"));
    }
}
