//! `boltseal status`: what expires when.

use super::console::Console;
use super::image::NameArg;
use super::inspect;
use super::ports::{Ports, collection};
use super::report::{Exit, Failure, Outcome};
use super::session::Session;
use crate::image::ImageName;
use crate::ops::inspect::{self as ops, Collection, Stale};
use serde_json::json;

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal status registry.example.com/acme/app
  boltseal status app db --output json")]
pub struct Args {
    /// The image names, or `oci:FOLDER` for image layouts
    #[arg(required = true, value_name = "NAME")]
    pub targets: Vec<NameArg>,

    /// The name that the images of a layout are expected to have
    #[arg(long, value_name = "NAME")]
    pub name: Option<ImageName>,
}

/// Shows each role with its version, keys and expiry.
///
/// # Errors
/// What the use case refuses, as an exit code with a sentence.
pub async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let ports = Ports::new(session);
    let world = ports.world()?;
    let keys = session.known_keys();
    let mut results = Vec::new();
    for target in &args.targets {
        let (name, layout) = collection(target, args.name.as_ref(), &world.policy).await?;
        let found = ops::inspect(&world, &*keys, &name, layout.as_deref(), Stale::Show).await;
        results.push((name, found.map_err(Failure::from)));
    }
    Ok(report(&results, &session.console))
}

fn report(results: &[(ImageName, Result<Collection, Failure>)], console: &Console) -> Outcome {
    let mut exits = Vec::new();
    let mut documents = Vec::new();
    for (name, result) in results {
        let outcome = result.as_ref().map_err(Clone::clone).and_then(|found| {
            if !console.output.is_json() {
                show(found, console);
            }
            check(found)
        });
        if let Err(failure) = &outcome {
            console.talk.failure(failure);
            exits.push(failure.exit);
        }
        let mut document = result.as_ref().map_or_else(|_| json!({}), inspect::document);
        document["name"] = name.to_string().into();
        document["reason"] = serde_json::to_value(outcome.err()).unwrap_or_default();
        documents.push(document);
    }
    if console.output.is_json() {
        console.output.document("status", &json!({"results": documents}));
    }
    Outcome::Reported(Exit::of_many(exits))
}

fn show(found: &Collection, console: &Console) {
    console.output.line(format_args!("{}  head {}", found.name, found.head));
    console.output.table(&["ROLE", "VERSION", "EXPIRES", "STATE", "KEYS", "AT HAND"], inspect::role_rows(found));
    found.notices.iter().for_each(|notice| console.talk.warn(notice));
}

/// What has expired is a failure, so that a monitor needs no parser.
fn check(found: &Collection) -> Result<(), Failure> {
    match found.roles.iter().find(|role| role.expired) {
        None => Ok(()),
        Some(role) => Err(Failure::new(
            Exit::Expired,
            format!("{}: the {} metadata expired at {}", found.name, role.kind, role.expires),
        )
        .hint(format!(
            "`boltseal refresh {} --accept-expired {}` signs it again, if that head is the latest one",
            found.name, found.head
        ))),
    }
}
