//! How a verdict is written: one JSON object, or a line of data and a line of talk.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::console::Console;
use super::report::{Exit, Failure, Outcome};
use crate::image::Reference;
use crate::ops::verify::Verdict;

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
    /// Since when something newer holds the tag, where the digest is a former one of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub superseded: Option<Timestamp>,
    /// The signer's notes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What was odd and changes nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
    /// Why it is refused.
    pub reason: Option<Failure>,
}

/// What a verb asks of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// The truth, whatever the policy's mode: `verify`, `resolve`.
    Truth,
    /// Whether the image may pass: `pull` and gates.
    Passage,
}

impl VerdictForm {
    /// The form of a verdict.
    pub fn of(verdict: &Verdict, asked: Asked) -> Self {
        let reference = &verdict.subject.reference;
        let endorsement = verdict.outcome.as_ref().ok();
        Self {
            allow: if asked == Asked::Truth { verdict.verified() } else { verdict.allow() },
            verified: verdict.verified(),
            name: reference.name.to_string(),
            tag: reference.tag.as_ref().map(ToString::to_string),
            digest: endorsement.map(|endorsement| endorsement.digest.to_string()),
            media_type: endorsement.map(|endorsement| endorsement.media_type.clone()),
            signers: endorsement.map(|endorsement| endorsement.signers.clone()).unwrap_or_default(),
            versions: endorsement.map(|endorsement| endorsement.versions.clone()).unwrap_or_default(),
            expires: endorsement.map(|endorsement| endorsement.expires),
            superseded: endorsement.and_then(|endorsement| endorsement.superseded),
            annotations: endorsement.map(|endorsement| endorsement.annotations.clone()).unwrap_or_default(),
            notices: verdict.notices.clone(),
            reason: verdict.outcome.as_ref().err().map(|error| Failure::from(&**error)),
        }
    }

    /// The form where nothing was asked, and everything passes.
    pub fn unasked(reference: &Reference) -> Self {
        Self {
            allow: true,
            verified: false,
            name: reference.name.to_string(),
            tag: reference.tag.as_ref().map(ToString::to_string),
            digest: None,
            media_type: None,
            signers: Vec::new(),
            versions: BTreeMap::new(),
            expires: None,
            superseded: None,
            annotations: BTreeMap::new(),
            notices: Vec::new(),
            reason: None,
        }
    }

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
        verdict.notices.iter().for_each(|notice| console.talk.warn(notice));
        if let Some(since) = verdict.superseded {
            console
                .talk
                .warn(format_args!("{}: superseded since {since}, the tag holds another digest", verdict.image()));
        }
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
/// Writes `name@digest` of each verified image, and nothing else.
pub fn write_resolved(console: &Console, verdicts: &[VerdictForm]) -> Outcome {
    if console.output.is_json() {
        return write(console, verdicts);
    }
    for verdict in verdicts {
        verdict.notices.iter().for_each(|notice| console.talk.warn(notice));
        match (&verdict.reason, &verdict.digest) {
            (Some(reason), _) => console.talk.failure(reason),
            (None, Some(digest)) => console.output.line(format_args!("{}@{digest}", verdict.name)),
            (None, None) => {}
        }
    }
    Outcome::Reported(Exit::of_many(verdicts.iter().map(VerdictForm::exit)))
}
