//! `boltseal key list`: the keys of this machine.

use std::collections::BTreeMap;

use super::form::forms;
use crate::cli::report::{Failure, Outcome};
use crate::cli::session::Session;
use crate::ops;

/// Arguments of `key list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal key list
  boltseal key list --output json")]
pub struct Args {}

/// Lists the keys; none is unlocked.
///
/// # Errors
/// What the key store refuses.
pub fn run(_args: &Args, session: &Session) -> Result<Outcome, Failure> {
    let keys = ops::key::list(&session.key_store())?;
    let output = &session.console.output;
    if output.is_json() {
        output.document("key_list", &BTreeMap::from([("keys", forms(&keys))]));
    } else {
        output.table(
            &["key id", "purpose", "algorithm", "image name"],
            keys.iter().map(|info| {
                let purpose = info.purpose.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
                let name = info.collection.clone().unwrap_or_else(|| "-".to_owned());
                [info.id.to_string(), purpose, info.public.algorithm().to_owned(), name]
            }),
        );
        if keys.is_empty() {
            session
                .console
                .talk
                .info("there are no keys; `boltseal init NAME` makes the ones that an image name needs");
        }
    }
    Ok(Outcome::Done)
}
