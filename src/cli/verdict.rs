//! How a verdict is written: one JSON object, or a line of data and a line of talk.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::console::Console;
use super::report::{Exit, Failure, Outcome};

/// A verdict in the form of `boltseal.verify/v1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerdictForm {
    /// Whether a gate lets the image pass.
    pub allow: bool,
    /// Whether its signatures were verified.
    pub verified: bool,
    /// The image name.
    pub name: String,
    /// The tag that was asked for.
    pub tag: Option<String>,
    /// The verified digest.
    pub digest: Option<String>,
    /// The media type of the signed manifest.
    pub media_type: Option<String>,
    /// The roles that vouch for it.
    pub signers: Vec<String>,
    /// The version of each role that was used.
    pub versions: BTreeMap<String, u64>,
    /// When the first of them expires.
    pub expires: Option<Timestamp>,
    /// Why it is refused.
    pub reason: Option<Failure>,
}

impl VerdictForm {
    /// The exit that this verdict stands for.
    pub fn exit(&self) -> Exit {
        self.reason.as_ref().map_or(Exit::Done, |reason| reason.exit)
    }

    /// The image as the user knows it: `name:tag`, or the name alone.
    fn image(&self) -> String {
        match &self.tag {
            Some(tag) => format!("{}:{tag}", self.name),
            None => self.name.clone(),
        }
    }
}

/// Writes verdicts in argument order, and says what follows from all of them.
///
/// As text, each verified image is a line `DIGEST  IMAGE` on standard output, as `sha256sum` has it; who signed it,
/// and why others are refused, is said on standard error.
pub fn write(console: &Console, verdicts: &[VerdictForm]) -> Outcome {
    if console.output.is_json() {
        console.output.document("verify", &BTreeMap::from([("results", verdicts)]));
    }
    for verdict in verdicts {
        match (&verdict.reason, &verdict.digest) {
            (Some(reason), _) => console.talk.failure(reason),
            (None, Some(digest)) if !console.output.is_json() => {
                console.output.line(format_args!("{digest}  {}", verdict.image()));
                let until = verdict.expires.map_or_else(String::new, |at| format!(", current until {at}"));
                console.talk.info(format_args!("{}: signed by {}{until}", verdict.image(), verdict.signers.join(", ")));
            }
            (None, _) => {}
        }
    }
    Outcome::Reported(Exit::of_many(verdicts.iter().map(VerdictForm::exit)))
}
