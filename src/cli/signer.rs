//! `boltseal signer`: who else may sign.

pub mod add;
pub mod list;
pub mod remove;

use clap::Subcommand;
use serde_json::json;

use super::console::Console;
use super::report::{Failure, Outcome};
use super::session::Session;
use crate::image::ImageName;
use crate::ops::signer::Listed;
use crate::trust::KeyId;

/// Arguments of `signer`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A signer is a person or a pipeline with keys of its own, who may sign some tags of an image. The
targets keys say who may; each signer signs alone, and every verdict names who vouched.")]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

/// What to do with signers.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Let a signer sign some tags; or change the keys, threshold or tags of a known one
    Add(add::Args),
    /// Let a signer sign no more: what only it vouches for no longer verifies
    Remove(remove::Args),
    /// List the signers
    List(list::Args),
}

/// Runs the verb.
///
/// # Errors
/// What the use case refuses, as an exit code with a sentence.
pub async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    match args.verb {
        Verb::Add(args) => add::run(args, session).await,
        Verb::Remove(args) => remove::run(args, session).await,
        Verb::List(args) => list::run(args, session).await,
    }
}

/// Writes the signers of a collection.
fn write(name: &ImageName, signers: &[Listed], console: &Console) {
    if console.output.is_json() {
        let form = |signer: &Listed| {
            json!({
                "signer": signer.name, "threshold": signer.threshold, "tags": signer.tags,
                "keys": signer.keys.iter().map(KeyId::as_str).collect::<Vec<_>>(),
                "signed_tags": signer.signed, "expires": signer.expires,
            })
        };
        let body = json!({"name": name.to_string(), "signers": signers.iter().map(form).collect::<Vec<_>>()});
        console.output.document("signer_list", &body);
        return;
    }
    if signers.is_empty() {
        console.output.line(format_args!("{name} has no signers: the targets keys sign alone"));
        return;
    }
    let row = |signer: &Listed| {
        let keys: Vec<_> = signer.keys.iter().map(KeyId::short).collect();
        [
            signer.name.clone(),
            signer.tags.join(" "),
            format!("{} ({} of {})", keys.join(", "), signer.threshold, signer.keys.len()),
            signer.signed.map_or_else(|| "nothing yet".to_owned(), |count| count.to_string()),
            signer.expires.map_or_else(|| "-".to_owned(), |at| at.to_string()),
        ]
    };
    console.output.table(&["SIGNER", "TAGS", "KEYS", "SIGNED", "EXPIRES"], signers.iter().map(row));
}
