//! `verify`, `resolve` and every gate: the verdict on references.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::client::{Client, Reading, Updated};
use super::error::Error;
use super::world::{Subject, World};
use crate::image::{Digest, ImageName};
use crate::registry::Point;
use crate::trust::policy::{Mode, Ruling};
use crate::trust::update::{Expiry, Notice};
use crate::trust::verdict::{self, Endorsement};

/// The verdict on one subject. Every gate renders it; none decides by itself.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// What was asked.
    pub subject: Subject,
    /// How strictly the policy takes the name.
    pub mode: Mode,
    /// What is vouched for; or why it is refused.
    pub outcome: Result<Endorsement, Arc<Error>>,
    /// What was odd and changes nothing, in sentences.
    pub notices: Vec<String>,
}

impl Verdict {
    /// Whether signatures, freshness and policy are all in order.
    pub fn verified(&self) -> bool {
        self.outcome.is_ok()
    }

    /// Whether a gate lets the image pass.
    pub fn allow(&self) -> bool {
        self.verified() || self.mode != Mode::Enforce
    }
}

/// Whether what the registry serves is compared with what is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// It is not asked.
    Ignore,
    /// It is asked, and a difference is a refusal.
    Compare,
}

/// Judges subjects, one update for each collection. The verdicts come in the order of the subjects.
pub async fn verify(world: &World<'_>, subjects: &[Subject], served: Served) -> Vec<Verdict> {
    let mut groups: BTreeMap<(ImageName, Option<&std::path::Path>), Vec<usize>> = BTreeMap::new();
    for (at, subject) in subjects.iter().enumerate() {
        let key = (subject.reference.name.clone(), subject.layout.as_deref());
        groups.entry(key).or_default().push(at);
    }
    let mut verdicts: BTreeMap<usize, Verdict> = BTreeMap::new();
    for ((name, layout), members) in groups {
        let (ruling, outcome) = match world.rule(&name) {
            Ok(ruling) => {
                let paths: Vec<String> =
                    members.iter().flat_map(|&at| verdict::wanted(&subjects[at].reference)).collect();
                let outcome = update(world, &name, layout, &ruling, &paths).await;
                (Some(ruling), outcome)
            }
            Err(e) => (None, Err(e)),
        };
        let outcome = outcome.map_err(Arc::new);
        for at in members {
            let subject = &subjects[at];
            let mode = ruling.as_ref().map_or(Mode::Enforce, |ruling| ruling.mode);
            let judged = match (&outcome, &ruling) {
                (Ok(updated), Some(ruling)) => judge(world, subject, ruling, updated, served).await.map_err(Arc::new),
                (Err(e), _) => Err(Arc::clone(e)),
                (Ok(_), None) => continue,
            };
            let notices = outcome.as_ref().map(notices).unwrap_or_default();
            verdicts.insert(at, Verdict { subject: subject.clone(), mode, outcome: judged, notices });
        }
    }
    verdicts.into_values().collect()
}

async fn update(
    world: &World<'_>,
    name: &ImageName,
    layout: Option<&std::path::Path>,
    ruling: &Ruling,
    paths: &[String],
) -> Result<Updated, Error> {
    update_by(&world.client(name, layout, ruling, Expiry::Enforce)?, ruling, paths, Reading::Conditional).await
}

/// Brings a client up to date and looks up paths, where the ruling lets anything be verified at all.
pub(super) async fn update_by(
    client: &Client<'_>,
    ruling: &Ruling,
    paths: &[String],
    reading: Reading,
) -> Result<Updated, Error> {
    let name = client.name;
    if ruling.pins.is_empty() {
        return Err(Error::Forbidden(format!("no scope names a root for `{name}`, so nothing can be verified")));
    }
    let updated = client.update(paths, reading).await?;
    if ruling.require_memory && !updated.remembered && client.floors.is_empty() {
        return Err(Error::Forbidden(format!(
            "`{name}` is trusted only by a machine that remembers it, and this one has not seen it before"
        )));
    }
    Ok(updated)
}

async fn judge(
    world: &World<'_>,
    subject: &Subject,
    ruling: &Ruling,
    updated: &Updated,
    served: Served,
) -> Result<Endorsement, Error> {
    let reference = &subject.reference;
    let endorsement = verdict::judge(&updated.trusted, reference, ruling, world.now)
        .map_err(|source| Error::Refused { name: reference.name.clone(), source: Box::new(source) })?;
    if served == Served::Compare {
        compare(world, subject, endorsement.digest).await?;
    }
    Ok(endorsement)
}

/// Asks what the location serves under the reference, and refuses what differs from the signed digest.
pub(super) async fn compare(world: &World<'_>, subject: &Subject, signed: Digest) -> Result<(), Error> {
    let repository = world.images(&subject.reference.name, subject.layout.as_deref())?;
    let point = match (&subject.reference.tag, subject.reference.digest) {
        (Some(tag), None) => Point::Tag(tag.clone()),
        _ => Point::Digest(signed),
    };
    let wrong =
        |served: String| Error::WrongBytes { image: subject.shown(), signed, served, location: repository.location() };
    let answer = repository.manifest(&point, None, crate::image::manifest::MAX_MANIFEST).await;
    match answer {
        Ok(crate::registry::Conditional::Modified(manifest)) if manifest.digest == signed => Ok(()),
        Ok(crate::registry::Conditional::Modified(manifest)) => Err(wrong(manifest.digest.to_string())),
        Ok(crate::registry::Conditional::NotModified) => Err(wrong("nothing new".to_owned())),
        Err(e) if e.is_not_found() => Err(wrong("nothing".to_owned())),
        Err(crate::registry::Error::Mismatch { got, .. }) => Err(wrong(got.to_string())),
        Err(e) => Err(e.into()),
    }
}

/// What was odd in an update, in sentences.
pub(super) fn notices(updated: &Updated) -> Vec<String> {
    let say = |notice: &Notice| match notice {
        Notice::Rival { role, version } => {
            format!("the registry offers another {role} metadata under the trusted version {version}; it was ignored")
        }
    };
    updated.trusted.notices.iter().map(say).collect()
}
