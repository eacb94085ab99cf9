//! `boltseal key list`: the keys of this machine.

use std::collections::BTreeMap;

use serde::Serialize;

use super::form::KeyForm;
use crate::cli::report::{Failure, Outcome};
use crate::cli::session::Session;
use crate::keystore::KeyInfo;
use crate::ops;

/// Arguments of `key list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal key list
  boltseal key list --output json")]
pub struct Args {}

/// A key with where it is kept: `folder`, `token LABEL` or `signer NAME`.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    key: KeyForm,
    store: String,
}

/// Lists the keys; none is unlocked.
///
/// # Errors
/// What the key store refuses.
pub fn run(_args: &Args, session: &Session) -> Result<Outcome, Failure> {
    let mut keys: Vec<(String, KeyInfo)> = Vec::new();
    for place in session.key_places()? {
        keys.extend(ops::key::list(&*place.store)?.into_iter().map(|info| (place.shown.clone(), info)));
    }
    let output = &session.console.output;
    if output.is_json() {
        let listed: Vec<_> =
            keys.iter().map(|(store, info)| Listed { key: info.into(), store: store.clone() }).collect();
        output.document("key_list", &BTreeMap::from([("keys", listed)]));
    } else {
        output.table(
            &["key id", "purpose", "algorithm", "kept in", "image name"],
            keys.iter().map(|(store, info)| {
                let purpose = info.purpose.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
                let name = info.collection.clone().unwrap_or_else(|| "-".to_owned());
                [info.id.to_string(), purpose, info.public.algorithm().to_owned(), store.clone(), name]
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
