//! `boltseal trust list`: what is pinned.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::cli::report::{Failure, Outcome};
use crate::cli::session::Session;
use crate::ops::trust::{self as pins, Listed};
use crate::trust::pin::Pin;
use crate::trust::policy::Mode;

/// Arguments of `trust list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal trust list
  boltseal trust list --output json")]
pub struct Args {}

/// A scope in the form of `boltseal.trust_list/v1`.
#[derive(Debug, Serialize)]
struct ScopeForm {
    file: String,
    line: usize,
    images: Vec<String>,
    mode: &'static str,
    root: Option<RootForm>,
    signers: Option<Vec<String>>,
    tags: Option<Vec<String>>,
}

/// The root of a scope.
#[derive(Debug, Serialize)]
struct RootForm {
    keys: Vec<String>,
    threshold: u32,
    min_version: u64,
}

/// Lists the scopes of all policy files.
///
/// # Errors
/// What the policy files hold that cannot be read.
pub fn run(_args: &Args, session: &Session) -> Result<Outcome, Failure> {
    let policy = session.policy()?;
    let forms = pins::list(&policy).iter().map(form).collect::<Result<Vec<_>, _>>()?;
    let output = &session.console.output;
    if output.is_json() {
        output.document("trust_list", &BTreeMap::from([("scopes", &forms)]));
        return Ok(Outcome::Done);
    }
    if forms.is_empty() {
        session.console.talk.info("no root is trusted; `boltseal trust add IMAGES --root-key ID` trusts one");
    }
    output.table(
        &["images", "mode", "root keys", "needs", "from"],
        forms.iter().map(|scope| {
            let (keys, needs) = scope.root.as_ref().map_or_else(
                || ("-".to_owned(), "-".to_owned()),
                |root| (root.keys.join(" "), format!("{} of {}", root.threshold, root.keys.len())),
            );
            [scope.images.join(" "), scope.mode.to_owned(), keys, needs, format!("{}:{}", scope.file, scope.line)]
        }),
    );
    Ok(Outcome::Done)
}

fn form(listed: &Listed<'_>) -> Result<ScopeForm, Failure> {
    let scope = listed.scope;
    let root = scope.root.as_ref().map(Pin::of_policy).transpose()?.map(|pin| RootForm {
        keys: pin.keys.iter().map(ToString::to_string).collect(),
        threshold: pin.threshold.get(),
        min_version: pin.min_version.get(),
    });
    Ok(ScopeForm {
        file: listed.file.to_owned(),
        line: scope.line,
        images: scope.images.iter().map(ToString::to_string).collect(),
        mode: match scope.mode {
            Mode::Enforce => "enforce",
            Mode::Audit => "audit",
            Mode::Off => "off",
        },
        root,
        signers: scope.signers.as_ref().map(|signers| signers.iter().cloned().collect()),
        tags: scope.tags.as_ref().map(|tags| tags.iter().map(ToString::to_string).collect()),
    })
}
