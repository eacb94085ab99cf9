//! `boltseal inspect`: what is signed, by whom and until when.

mod history;

use super::console::Console;
use super::image::NameArg;
use super::output::Format;
use super::ports::{Ports, collection};
use super::report::{Failure, Outcome};
use super::session::Session;
use crate::image::ImageName;
use crate::ops::inspect::{self as ops, Collection, Stale};
use crate::trust::{KeyId, RoleKind};
use serde_json::{Value, json};

/// Arguments of `inspect`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal inspect registry.example.com/acme/app
  boltseal inspect app --output docker
  boltseal inspect app --history

`--history` goes back as far as the registry still holds former states, and shows forks.
`--output docker` prints what `docker trust inspect` prints.")]
pub struct Args {
    /// The image name, or `oci:FOLDER` for an image layout
    #[arg(value_name = "NAME")]
    pub target: NameArg,

    /// Show who signed what, and when
    #[arg(long)]
    pub history: bool,

    /// The name that the images of a layout are expected to have
    #[arg(long, value_name = "NAME")]
    pub name: Option<ImageName>,
}

/// Verifies the collection and shows what it says.
///
/// # Errors
/// What the use case refuses, as an exit code with a sentence.
pub async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let ports = Ports::new(session);
    let world = ports.world()?;
    let (name, layout) = collection(&args.target, args.name.as_ref(), &world.policy).await?;
    if args.history {
        if session.console.output.format() == Format::Docker {
            return Err(Failure::usage("`--history` has no form of docker's: expected `text` or `json`"));
        }
        let found = crate::ops::history::history(&world, &name, layout.as_deref()).await?;
        return Ok(history::show(&found, &session.console));
    }
    let keys = session.known_keys();
    let found = ops::inspect(&world, &*keys, &name, layout.as_deref(), Stale::Refuse).await?;
    let console = &session.console;
    match console.output.format() {
        Format::Json => console.output.document("inspect", &document(&found)),
        Format::Docker => console.output.json(&docker_form(&found)),
        Format::Text => show(&found, console),
    }
    Ok(Outcome::Done)
}

fn show(found: &Collection, console: &Console) {
    let out = &console.output;
    out.line(format_args!("{}  at {}, head {}", found.name, found.location, found.head));
    if found.tags.is_empty() {
        out.line("no tag is signed");
    } else {
        let rows = found.tags.iter().map(|tag| {
            let notes: Vec<_> = tag.annotations.iter().map(|(key, value)| format!("{key}={value}")).collect();
            [tag.tag.clone(), tag.digest.to_string(), tag.signers.join(", "), notes.join(" ")]
        });
        out.table(&["TAG", "DIGEST", "SIGNED BY", "NOTES"], rows);
    }
    out.table(&["ROLE", "VERSION", "EXPIRES", "STATE", "KEYS", "AT HAND"], role_rows(found));
    found.notices.iter().for_each(|notice| console.talk.warn(notice));
}

/// A row for each role.
pub(super) fn role_rows(found: &Collection) -> Vec<[String; 6]> {
    let row = |role: &ops::Role| {
        let state = match (role.expired, role.due) {
            (true, _) => "expired",
            (false, true) => "due",
            (false, false) => "current",
        };
        let keys: Vec<_> = role.keys.iter().map(KeyId::short).collect();
        let of = format!("{} of {}", role.threshold, role.keys.len());
        [
            role.kind.to_string(),
            role.version.to_string(),
            role.expires.to_string(),
            state.to_owned(),
            format!("{} ({of})", keys.join(", ")),
            role.at_hand.len().to_string(),
        ]
    };
    found.roles.iter().map(row).collect()
}

/// The JSON form.
pub(super) fn document(found: &Collection) -> Value {
    let role = |role: &ops::Role| {
        json!({
            "role": role.kind.to_string(), "version": role.version, "expires": role.expires, "due": role.due,
            "expired": role.expired, "threshold": role.threshold,
            "keys": role.keys.iter().map(KeyId::as_str).collect::<Vec<_>>(),
            "at_hand": role.at_hand.iter().map(KeyId::as_str).collect::<Vec<_>>(),
        })
    };
    let tag = |tag: &ops::SignedTag| {
        json!({
            "tag": tag.tag, "digest": tag.digest, "media_type": tag.media_type, "signers": tag.signers,
            "annotations": tag.annotations,
        })
    };
    json!({
        "name": found.name.to_string(), "location": found.location, "head": found.head,
        "signed_at": found.signed_at, "manifests": found.manifests,
        "tags": found.tags.iter().map(tag).collect::<Vec<_>>(),
        "roles": found.roles.iter().map(role).collect::<Vec<_>>(),
        "notices": found.notices,
    })
}

/// Docker's name for the targets keys, and the signers' own.
fn docker_signers(signers: &[String]) -> Vec<&str> {
    signers.iter().map(|signer| if signer == "targets" { "Repo Admin" } else { signer }).collect()
}

/// What `docker trust inspect` prints (docker CLI 28): digests without algorithm, administrative keys by name.
fn docker_form(found: &Collection) -> Value {
    let keys = |kind: RoleKind| -> Vec<Value> {
        let role = found.roles.iter().find(|role| role.kind == kind);
        role.map(|role| role.keys.iter().map(|id| json!({"ID": id.as_str()})).collect()).unwrap_or_default()
    };
    let tag = |tag: &ops::SignedTag| json!({"SignedTag": tag.tag, "Digest": tag.digest.hex(), "Signers": docker_signers(&tag.signers)});
    json!([{
        "Name": found.name.to_string(),
        "SignedTags": found.tags.iter().map(tag).collect::<Vec<_>>(),
        "Signers": [],
        "AdministrativeKeys": [
            {"Name": "Root", "Keys": keys(RoleKind::Root)},
            {"Name": "Repository", "Keys": keys(RoleKind::Targets)},
        ],
    }])
}
