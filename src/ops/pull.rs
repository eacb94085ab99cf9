//! `pull`: verifies, then has exactly what was verified pulled, and sets the tag.
//!
//! - One verification resolves the tag once: the digest that was verified is the digest that is pulled. The registry's
//!   tag is never asked, so a tag that moved after it was signed still yields the signed image.
//! - A reference with a digest is verified too. It is pulled, and no tag is set, as docker does.
//! - Under `audit` an image that is refused is told of and pulled all the same, and under `off` nothing is verified:
//!   both by the tag, as docker would.
//! - An engine takes images from registries. What lies in a layout is copied by `--to`.

use std::path::Path;
use std::sync::Arc;

use super::engine::{Connection, Engine};
use super::error::Error;
use super::transfer::{self, Progress, TransferError, Transferred};
use super::verify::{self, Served, Verdict};
use super::world::{Subject, World};
use crate::image::manifest::MAX_MANIFEST;
use crate::image::{Digest, ImageName, Manifest, Reference, Tag};
use crate::registry::layout::LayoutRepository;
use crate::registry::{self, Conditional, Point};
use crate::trust::policy::{Location, Mode};
use crate::trust::verdict::Endorsement;

/// Whether an image may be pulled, and as what.
#[derive(Debug)]
pub struct Decision {
    /// The image.
    pub subject: Subject,
    /// The verdict; none where the policy or the user switched verification off.
    pub verdict: Option<Verdict>,
}

impl Decision {
    /// Whether the image may be pulled.
    pub fn allow(&self) -> bool {
        self.verdict.as_ref().is_none_or(Verdict::allow)
    }

    /// What is vouched for; none where nothing is.
    pub fn endorsement(&self) -> Option<&Endorsement> {
        self.verdict.as_ref().and_then(|verdict| verdict.outcome.as_ref().ok())
    }

    /// What is asked for: the verified digest, else what the user wrote.
    fn point(&self) -> Result<Point, Error> {
        let reference = &self.subject.reference;
        match (self.endorsement(), reference.digest, &reference.tag) {
            (Some(endorsement), ..) => Ok(Point::Digest(endorsement.digest)),
            (None, Some(digest), _) => Ok(Point::Digest(digest)),
            (None, None, Some(tag)) => Ok(Point::Tag(tag.clone())),
            (None, None, None) => Err(Error::Usage(format!("`{reference}` has neither tag nor digest"))),
        }
    }

    /// The tag to set: a digest that the user wrote is pulled without one.
    fn tag(&self) -> Option<&Tag> {
        self.subject.reference.tag.as_ref().filter(|_| self.subject.reference.digest.is_none())
    }
}

/// What was pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Where it came from, with the digest or tag that was asked for.
    pub from: String,
    /// The digest, where it is known for certain.
    pub digest: Option<Digest>,
    /// The name that was given to it.
    pub tagged: Option<String>,
}

/// Judges an image. Where the mode is off, nothing is asked.
pub async fn judge(world: &World<'_>, subject: &Subject) -> Decision {
    let off = world.rule(&subject.reference.name).is_ok_and(|ruling| ruling.mode == Mode::Off);
    let verdict =
        if off { None } else { verify::verify(world, std::slice::from_ref(subject), Served::Ignore).await.pop() };
    Decision { subject: subject.clone(), verdict }
}

/// The repository that an engine is to pull an image from.
///
/// # Errors
/// [`Error::Usage`] where the image lies in a layout.
pub fn source(world: &World<'_>, subject: &Subject) -> Result<ImageName, Error> {
    match world.location(&subject.reference.name, subject.layout.as_deref())? {
        Location::Repository(name) => Ok(name),
        Location::Layout(folder) => Err(Error::Usage(format!(
            "`{}` lies in the image layout `{folder}`, and engines pull from registries: expected `--to oci:FOLDER`",
            subject.reference
        ))),
    }
}

/// Has an engine pull what was decided on, and sets the tag. `say` is told of each step, in docker's words.
///
/// # Errors
/// [`Error::Program`] where the engine fails; [`Error::WrongBytes`] where that is because the registry no longer holds
/// what was signed, or where the tag stands for something else in the end.
pub async fn by_engine(
    world: &World<'_>,
    decision: &Decision,
    engine: &dyn Engine,
    connection: &Connection,
    say: &(dyn Fn(String) + Sync),
) -> Result<Pulled, Error> {
    check(decision)?;
    let from = source(world, &decision.subject)?;
    let reference = &decision.subject.reference;
    let (image, shown, digest) = match decision.point()? {
        Point::Digest(digest) => {
            let written = Reference { digest: Some(digest), ..reference.clone() };
            (format!("{from}@{digest}"), written.to_string(), Some(digest))
        }
        Point::Tag(tag) => (format!("{from}:{tag}"), reference.to_string(), None),
    };
    say(format!("Pull (1 of 1): {shown}"));
    if let Err(trouble) = engine.pull(&image, connection).await {
        // Where the registry lost or changed the signed manifest, that is the answer, whatever the engine made of it.
        if decision.endorsement().is_some()
            && let Some(digest) = digest
        {
            still_there(world, &decision.subject, digest).await?;
        }
        return Err(trouble.into());
    }
    let tagged = decision.tag().map(|tag| format!("{}:{tag}", reference.name));
    if let Some(name) = tagged.as_deref().filter(|name| *name != image) {
        say(format!("Tagging {image} as {name}"));
        engine.tag(&image, name).await?;
    }
    if let (Some(name), Some(signed)) = (&tagged, digest)
        && !engine.holds(name, &signed).await?
    {
        return Err(Error::WrongBytes {
            image: name.clone(),
            signed,
            served: "another image under that name".to_owned(),
            location: engine.kind().as_str().to_owned(),
        });
    }
    Ok(Pulled { from: image, digest, tagged })
}

/// Copies what was decided on into an image layout. The bytes are checked here, whatever the registry said of them.
///
/// # Errors
/// [`Error::WrongBytes`] where the location does not hold what was signed; those of both locations.
pub async fn into_layout(
    world: &World<'_>,
    decision: &Decision,
    folder: &Path,
    tag: Option<&Tag>,
    progress: &Arc<dyn Progress>,
) -> Result<(Pulled, Transferred), Error> {
    check(decision)?;
    let subject = &decision.subject;
    let tag = tag.or(decision.tag()).ok_or_else(|| {
        Error::Usage(format!("`{}` has no tag to be kept under: expected `--to oci:FOLDER:TAG`", subject.reference))
    })?;
    if tag.is_reserved() {
        return Err(Error::Usage(format!("`{tag}` is no tag for an image: `trust.tuf` and the like hold trust data")));
    }
    let from = world.images(&subject.reference.name, subject.layout.as_deref())?;
    let point = decision.point()?;
    let endorsement = decision.endorsement();
    let max = endorsement.map_or(MAX_MANIFEST, |endorsement| endorsement.length.min(MAX_MANIFEST));
    let wrong = |signed: Digest, served: String| Error::WrongBytes {
        image: subject.shown(),
        signed,
        served,
        location: from.location(),
    };
    let found = match (from.manifest(&point, None, max).await, endorsement) {
        (Ok(Conditional::Modified(found)), _) => found,
        (Ok(Conditional::NotModified), _) => {
            let message = "it answered an unconditional request as a conditional one".to_owned();
            return Err(registry::Error::Broken { location: from.location(), message }.into());
        }
        (Err(registry::Error::NotFound { .. }), Some(signed)) => {
            return Err(wrong(signed.digest, "nothing under that digest".to_owned()));
        }
        // The limit is the signed length.
        (Err(registry::Error::TooMuch { limit, .. }), Some(signed)) => {
            return Err(wrong(signed.digest, format!("more than {limit} under that digest")));
        }
        (Err(registry::Error::Mismatch { got, .. }), Some(signed)) => {
            return Err(wrong(signed.digest, got.to_string()));
        }
        (Err(e), _) => return Err(e.into()),
    };
    if let Some(signed) = endorsement {
        let size = found.bytes.len() as u64;
        if Digest::of(&found.bytes) != signed.digest {
            return Err(wrong(signed.digest, Digest::of(&found.bytes).to_string()));
        }
        if size != signed.length || found.media_type != signed.media_type {
            return Err(wrong(signed.digest, format!("it as {size} bytes of {}", found.media_type)));
        }
    }
    let manifest = Manifest::parse(&found.media_type, found.bytes)
        .map_err(|source| Error::Manifest { image: subject.shown(), source })?;
    let to = LayoutRepository::new(folder)?;
    let done = transfer::copy_image(&*from, &manifest, &to, Some(tag), progress)
        .await
        .map_err(|e| of_transfer(e, from.location()))?;
    let written = format!("oci:{}:{tag}", folder.display());
    let source = match &point {
        Point::Digest(digest) => format!("{}@{digest}", from.location()),
        Point::Tag(tag) => format!("{}:{tag}", from.location()),
    };
    Ok((Pulled { from: source, digest: Some(manifest.digest), tagged: Some(written) }, done))
}

/// A refused image goes nowhere, whoever asks.
fn check(decision: &Decision) -> Result<(), Error> {
    if decision.allow() {
        return Ok(());
    }
    Err(Error::Forbidden(format!("`{}` was not verified", decision.subject.shown())))
}

/// Whether the location still holds a signed manifest. What else is wrong with it is left to the engine to say.
async fn still_there(world: &World<'_>, subject: &Subject, digest: Digest) -> Result<(), Error> {
    let name = subject.reference.name.clone();
    let reference = Reference { name, tag: None, digest: Some(digest) };
    let subject = Subject { reference, layout: subject.layout.clone() };
    match verify::compare(world, &subject, digest).await {
        Err(wrong @ Error::WrongBytes { .. }) => Err(wrong),
        _ => Ok(()),
    }
}

fn of_transfer(error: TransferError, location: String) -> Error {
    match error {
        TransferError::Registry(e) => Error::Registry(e),
        TransferError::Manifest { digest, error } => Error::Manifest { image: digest.to_string(), source: error },
        odd => Error::Registry(registry::Error::Broken { location, message: odd.to_string() }),
    }
}

#[cfg(test)]
mod tests;
