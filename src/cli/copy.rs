//! `boltseal copy`: moves images with their trust data to another location.

pub mod place;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use self::place::{DestinationArg, SourceArg};
use super::console::Console;
use super::image::NameArg;
use super::ports::{Ports, collection};
use super::progress::Bars;
use super::report::{Failure, Outcome};
use super::session::Session;
use crate::image::{ImageName, Tag};
use crate::ops::bundle;
use crate::ops::copy::{self as ops, Copied, Request, Watch};
use crate::ops::transfer::Progress;
use crate::registry::layout::LayoutRepository;
use crate::trust::policy::{Location, Policy};

/// Arguments of `copy`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal copy registry.example.com/acme/app mirror.internal/acme/app
  boltseal copy registry.example.com/acme/app:1.0 oci:./images
  boltseal copy bundle:app.tar mirror.internal/acme/app --name registry.example.com/acme/app

Copies every signed tag, or the one that SRC names, by its signed digest, then the trust data byte
for byte. What is not signed stays behind and is listed. The image keeps its name: whoever reads the
copy maps it with the `[[mirror]]` lines that are printed. Newer trust data at DST are never
replaced (14).")]
pub struct Args {
    /// `name[:tag]`, `oci:FOLDER[:TAG]`, or `bundle:FILE`
    #[arg(value_name = "SRC")]
    pub source: SourceArg,

    /// `name` or `oci:FOLDER`
    #[arg(value_name = "DST")]
    pub destination: DestinationArg,

    /// Copy this tag too; give it once for each tag
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<Tag>,

    /// The name that the images are expected to have, where SRC is a copy of them
    #[arg(long, value_name = "NAME")]
    pub name: Option<ImageName>,
}

/// Verifies and copies.
///
/// # Errors
/// What the use case refuses, as an exit code with a sentence.
pub async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let ports = Ports::new(session);
    let world = ports.world()?;
    // Lives as long as what is read from it.
    let unpacked = args.source.unpack()?;
    let folder = unpacked.as_ref().map(tempfile::TempDir::path);
    let (name, from) = name_and_place(&args.source, folder, args.name.as_ref(), &world.policy).await?;
    let tags = tags(args.source.tag(), args.destination.tag(), &args.tags)?;
    let to = match &args.destination {
        DestinationArg::Registry(reference) => Location::Repository(reference.name.clone()),
        DestinationArg::Layout(layout) => world.location(&name, Some(&layout.folder))?,
    };
    let watch = Watching(&session.console.bars);
    let mut copied = ops::copy(&world, &Request { name, from, to, tags }, &watch).await?;
    if let SourceArg::Bundle(file) = &args.source {
        copied.from = format!("bundle:{}", file.display());
    }
    if session.console.output.is_json() {
        session.console.output.document("copy", &document(&copied));
    }
    report(&copied, &session.console);
    Ok(Outcome::Done)
}

/// Whose images a source holds, and where, unless that follows from the policy.
pub(super) async fn name_and_place(
    source: &SourceArg,
    unpacked: Option<&Path>,
    name: Option<&ImageName>,
    policy: &Policy,
) -> Result<(ImageName, Option<Location>), Failure> {
    let absolute = |folder: &Path| {
        let path = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        Location::Layout(path.display().to_string())
    };
    match (source, unpacked) {
        (SourceArg::Registry(reference), _) => Ok(match name {
            Some(name) => (name.clone(), Some(Location::Repository(reference.name.clone()))),
            None => (reference.name.clone(), None),
        }),
        (SourceArg::Layout(layout), _) => {
            let target = NameArg::Layout { folder: layout.folder.clone() };
            let (name, _) = collection(&target, name, policy).await?;
            Ok((name, Some(absolute(&layout.folder))))
        }
        (SourceArg::Bundle(file), folder) => {
            let folder = folder.unwrap_or(file);
            match name {
                Some(name) => Ok((name.clone(), Some(absolute(folder)))),
                None => Err(nameless(file, folder).await),
            }
        }
    }
}

async fn nameless(file: &Path, folder: &Path) -> Failure {
    let failure = Failure::usage(format!("the bundle `{}` has no name of its own", file.display()));
    let recorded = match LayoutRepository::new(folder) {
        Ok(layout) => layout.recorded_name().await.ok().flatten(),
        Err(_) => None,
    };
    match recorded {
        Some(name) => failure
            .hint(format!("it records `{name}`; if that is what you expect, say `--name {name}`"))
            .hint("a bundle could record any name, so the expected one is yours to give"),
        None => failure.hint("say which image you expect with `--name NAME`"),
    }
}

/// The tags to copy. A tag is part of what is signed, so it cannot change on the way.
pub(super) fn tags(source: Option<&Tag>, destination: Option<&Tag>, more: &[Tag]) -> Result<BTreeSet<Tag>, Failure> {
    let tags: BTreeSet<Tag> = source.into_iter().chain(more).cloned().collect();
    if let Some(reserved) = tags.iter().find(|tag| tag.is_reserved()) {
        return Err(Failure::usage(format!("`{reserved}` is no image's tag: trust data are copied with the images")));
    }
    match destination {
        Some(tag) if tags.len() != 1 || !tags.contains(tag) => {
            Err(Failure::usage(format!("DST names the tag `{tag}`, and SRC does not name it alone"))
                .hint("a tag is part of what is signed, so an image keeps its tag: leave it out of DST"))
        }
        _ => Ok(tags),
    }
}

impl SourceArg {
    fn unpack(&self) -> Result<Option<tempfile::TempDir>, Failure> {
        let Self::Bundle(file) = self else { return Ok(None) };
        let folder = scratch()?;
        bundle::unpack(file, folder.path())?;
        Ok(Some(folder))
    }
}

/// A folder for the time of this run.
pub(super) fn scratch() -> Result<tempfile::TempDir, Failure> {
    tempfile::Builder::new().prefix("boltseal-").tempdir().map_err(|error| {
        Failure::failed(format!("cannot create a temporary folder: {error}"))
            .hint("`TMPDIR` names another place with more room")
    })
}

/// A progress bar for each image.
pub(super) struct Watching<'a>(pub(super) &'a Arc<Bars>);

impl Watch for Watching<'_> {
    fn image(&self, tag: &Tag) -> Arc<dyn Progress> {
        Arc::new(self.0.bar(tag.as_str()))
    }
}

/// Says what was copied, what stayed behind, and what readers of the copy need.
fn report(copied: &Copied, console: &Console) {
    images(copied, console);
    let (talk, from, to) = (&console.talk, &copied.from, &copied.to);
    let trust = if copied.trust_was_there { "the trust data were there" } else { "with the trust data" };
    talk.info(format_args!("{}: copied {} from {from} to {to}, {trust}", copied.name, count(copied.images.len())));
    if !copied.mirrors.is_empty() {
        talk.info("whoever verifies there needs in the policy:");
    }
    for (location, of) in &copied.mirrors {
        talk.info("[[mirror]]");
        talk.info(format_args!("location = \"{location}\""));
        talk.info(format_args!("of = \"{of}\""));
    }
}

/// Writes a line `DIGEST  IMAGE` for each image, and says what stayed behind.
pub(super) fn images(copied: &Copied, console: &Console) {
    if !console.output.is_json() {
        for image in &copied.images {
            console.output.line(format_args!("{}  {}:{}", image.digest, copied.name, image.tag));
        }
    }
    copied.notices.iter().for_each(|notice| console.talk.warn(notice));
    for (tag, reason) in &copied.left {
        console.talk.warn(format_args!("{}:{tag} was not copied: {reason}", copied.name));
    }
    for image in copied.images.iter().filter(|image| !image.transferred.foreign.is_empty()) {
        let foreign = image.transferred.foreign.len();
        console.talk.warn(format_args!(
            "{}:{} has {foreign} foreign layers, which stay where they are",
            copied.name, image.tag
        ));
    }
}

/// How many images, in words.
pub(super) fn count(images: usize) -> String {
    if images == 1 { "1 image".to_owned() } else { format!("{images} images") }
}

/// The JSON form.
pub(super) fn document(copied: &Copied) -> Value {
    let image = |image: &ops::Image| {
        let moved = &image.transferred;
        json!({
            "tag": image.tag.as_str(), "digest": image.digest, "sent": moved.sent, "present": moved.present,
            "foreign": moved.foreign,
        })
    };
    json!({
        "name": copied.name.to_string(), "from": copied.from, "to": copied.to, "head": copied.head,
        "trust": if copied.trust_was_there { "present" } else { "copied" },
        "images": copied.images.iter().map(image).collect::<Vec<_>>(),
        "left": copied.left.iter().map(|(tag, reason)| json!({"tag": tag.as_str(), "reason": reason})).collect::<Vec<_>>(),
        "mirrors": copied.mirrors.iter().map(|(location, of)| json!({"location": location, "of": of})).collect::<Vec<_>>(),
        "notices": copied.notices,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::report::Exit;

    #[test]
    fn an_image_keeps_its_tag() {
        let tag = |text: &str| text.parse::<Tag>().unwrap();
        let (one, two) = (tag("1"), tag("2"));
        assert_eq!(tags(Some(&one), Some(&one), &[]).unwrap().len(), 1);
        assert_eq!(tags(Some(&one), None, std::slice::from_ref(&two)).unwrap().len(), 2);
        assert!(tags(None, None, &[]).unwrap().is_empty());
        for (source, destination, more) in
            [(Some(&one), &two, vec![]), (None, &one, vec![]), (Some(&one), &one, vec![two.clone()])]
        {
            assert_eq!(tags(source, Some(destination), &more).unwrap_err().exit, Exit::Usage);
        }
        assert_eq!(tags(Some(&tag("trust.tuf")), None, &[]).unwrap_err().exit, Exit::Usage);
    }
}
