//! `boltseal refresh`: signs anew what expires soon.

mod listen;
mod watching;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::ValueHint;
use jiff::SignedDuration;

use self::listen::ListenArg;
use super::console::Console;
use super::file;
use super::image::NameArg;
use super::ports::{Ports, collection};
use super::report::{Exit, Failure, Outcome};
use super::session::Session;
use crate::image::{Digest, ImageName};
use crate::ops::error::Error;
use crate::ops::refresh::{self as ops, Refreshed};
use crate::ops::ring::Ring;
use crate::trust;
use crate::trust::policy::duration::parse_duration;
use serde_json::json;
use watching::Watch;

/// Arguments of `refresh`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal refresh registry.example.com/acme/app
  boltseal refresh app db cache
  boltseal refresh --watch --names collections.txt --listen 9464

Signs each role again that has half of its life behind it, with the keys at hand; usually that is
the online key alone. Fails when a role whose key is elsewhere is in the last quarter of its life.

`--watch` goes on until SIGTERM or SIGINT. Passphrases are asked once, at its start. What is done
is logged to standard error, as JSON with `--output json`. `--listen` answers at /healthz (200
while all is well, else 503 with the reasons) and /metrics (for Prometheus).")]
pub struct Args {
    /// The image names, or `oci:FOLDER` for image layouts
    #[arg(required_unless_present = "names", value_name = "NAME")]
    pub targets: Vec<NameArg>,

    /// Refresh the names in FILE too, one on each line; `#` begins a comment
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub names: Option<PathBuf>,

    /// Go on and refresh each collection whenever it is due
    #[arg(long, conflicts_with = "accept_expired")]
    pub watch: bool,

    /// How often `--watch` looks at each collection, more or less
    #[arg(long, value_name = "DURATION", requires = "watch", default_value = "1h", value_parser = parse_duration)]
    pub every: SignedDuration,

    /// Tell the state of `--watch` at PORT of the loopback address, or at ADDRESS:PORT
    #[arg(long, value_name = "PORT", requires = "watch")]
    pub listen: Option<ListenArg>,

    /// Build on trust data that has expired, if the head's digest is this one
    ///
    /// Whoever controls the registry may have kept an old state there: accept it only if you know that it is the
    /// latest.
    #[arg(long, value_name = "DIGEST", hide_short_help = true)]
    pub accept_expired: Option<Digest>,

    /// The name that the images of a layout are expected to have
    #[arg(long, value_name = "NAME")]
    pub name: Option<ImageName>,
}

/// Signs what is due and publishes it.
///
/// # Errors
/// What the use case refuses, as an exit code with a sentence.
pub async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let mut targets = args.targets;
    if let Some(path) = &args.names {
        targets.extend(names_in(path)?);
    }
    if args.accept_expired.is_some() && targets.len() > 1 {
        return Err(Failure::usage("`--accept-expired` is about one head: expected one NAME"));
    }
    let ports = Ports::new(session);
    let world = ports.world()?;
    if args.watch {
        let mut collections = BTreeMap::new();
        for target in &targets {
            let (name, layout) = collection(target, args.name.as_ref(), &world.policy).await?;
            collections.insert(name, layout);
        }
        let every = args.every.unsigned_abs();
        return watching::run(Watch { collections, every, listen: args.listen }, session).await;
    }
    let keys = session.signing_keys()?;
    let ring = Ring::new(&*keys, &session.passphrases);
    let mut results = Vec::new();
    for target in &targets {
        let (name, layout) = collection(target, args.name.as_ref(), &world.policy).await?;
        let refreshed = ops::refresh(&world, &ring, &name, layout.as_deref(), args.accept_expired).await;
        let result = refreshed.map_err(|error| expired_head(&error, Failure::from(&error)));
        results.push((name, result));
    }
    Ok(report(&results, &session.console))
}

/// The names that a file lists, one on each line.
fn names_in(path: &std::path::Path) -> Result<Vec<NameArg>, Failure> {
    let bytes = file::read(path)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Failure::usage(format!("`{}` is no list of names: it is not UTF-8", path.display())))?;
    let mut names = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let name = line.split('#').next().unwrap_or_default().trim();
        if !name.is_empty() {
            let place = format!("`{}` line {}", path.display(), number + 1);
            names.push(name.parse().map_err(|error| Failure::usage(format!("{place}: {error}")))?);
        }
    }
    if names.is_empty() {
        return Err(Failure::usage(format!("`{}` lists no names", path.display())));
    }
    Ok(names)
}

/// An expired collection is built on only when a person says which head is the latest.
pub(super) fn expired_head(error: &Error, failure: Failure) -> Failure {
    match error {
        Error::Trust { source: trust::Error::Expired { .. }, .. } => failure.hint(
            "if you know that the registry's head is the latest one, `--accept-expired DIGEST` builds on it; `boltseal status NAME` prints its digest",
        ),
        _ => failure,
    }
}

fn report(results: &[(ImageName, Result<Refreshed, Failure>)], console: &Console) -> Outcome {
    let mut exits = Vec::new();
    let mut documents = Vec::new();
    for (name, result) in results {
        let outcome = result.as_ref().map_err(Clone::clone).and_then(|refreshed| say(name, refreshed, console));
        if let Err(failure) = &outcome {
            console.talk.failure(failure);
            exits.push(failure.exit);
        }
        let refreshed = result.as_ref().ok();
        documents.push(json!({
            "name": name.to_string(),
            "signed": refreshed.map(|r| r.signed.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap_or_default(),
            "expires": refreshed.map(|r| r.expires),
            "reason": outcome.err(),
        }));
    }
    if console.output.is_json() {
        console.output.document("refresh", &json!({"results": documents}));
    }
    Outcome::Reported(Exit::of_many(exits))
}

/// Says what was done; a role that will expire because its key is elsewhere is a failure while there is time left.
fn say(name: &ImageName, refreshed: &Refreshed, console: &Console) -> Result<(), Failure> {
    refreshed.ignored.iter().for_each(|notice| console.talk.warn(notice));
    let done: Vec<_> = refreshed.signed.iter().map(ToString::to_string).collect();
    let done = if done.is_empty() { "nothing was due".to_owned() } else { format!("signed {} again", done.join(", ")) };
    console.talk.info(format_args!("{name}: {done}, current until {}", refreshed.expires));
    match refreshed.pressing.first() {
        None => Ok(()),
        Some((kind, at)) => Err(Failure::from(Error::Expiring { name: name.clone(), role: kind.to_string(), at: *at })),
    }
}
