//! `boltseal bundle`: images with their trust data as one file.

use std::path::PathBuf;

use clap::ValueHint;
use serde_json::json;

use super::copy::place::SourceArg;
use super::copy::{self, Watching};
use super::ports::Ports;
use super::report::{Failure, Outcome};
use super::session::Session;
use crate::image::{ImageName, Tag};
use crate::ops::bundle;
use crate::ops::copy::{self as ops, Request};
use crate::trust::policy::Location;

/// Arguments of `bundle`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal bundle registry.example.com/acme/app app.tar
  boltseal bundle registry.example.com/acme/app --tag 1.0 --tag 1.1 app.tar

The file is an image layout as a tar archive, the same bytes for the same content. Carry it, then
`boltseal copy bundle:app.tar DST --name NAME` unpacks it into a registry or a layout, verified
again.")]
pub struct Args {
    /// `name[:tag]` or `oci:FOLDER[:TAG]`
    #[arg(value_name = "SRC")]
    pub source: SourceArg,

    /// The file to write; it must not be there yet
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,

    /// Bundle this tag too; give it once for each tag
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<Tag>,

    /// The name that the images are expected to have, where SRC is a copy of them
    #[arg(long, value_name = "NAME")]
    pub name: Option<ImageName>,
}

/// Verifies, copies into a layout for the time of this run, and packs that.
///
/// # Errors
/// What the use case refuses, as an exit code with a sentence.
pub async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    if let SourceArg::Bundle(_) = &args.source {
        return Err(Failure::usage("a bundle is one file already: expected `name[:tag]` or `oci:FOLDER[:TAG]`"));
    }
    if args.file.exists() {
        return Err(Failure::failed(format!("`{}` is there already", args.file.display()))
            .hint("remove it, or choose another name: nothing is overwritten"));
    }
    let ports = Ports::new(session);
    let world = ports.world()?;
    let (name, from) = copy::name_and_place(&args.source, None, args.name.as_ref(), &world.policy).await?;
    let tags = copy::tags(args.source.tag(), None, &args.tags)?;
    let folder = copy::scratch()?;
    let to = Location::Layout(folder.path().display().to_string());
    let request = Request { name, from, to, tags };
    let copied = ops::copy(&world, &request, &Watching(&session.console.bars)).await?;
    let length = bundle::write(folder.path(), &args.file)?;

    let console = &session.console;
    let file = args.file.display();
    if console.output.is_json() {
        let mut document = copy::document(&copied);
        document["to"] = json!(format!("bundle:{file}"));
        document["length"] = json!(length);
        document["mirrors"] = json!([]);
        console.output.document("bundle", &document);
    }
    copy::images(&copied, console);
    let (name, images) = (&copied.name, copy::count(copied.images.len()));
    console.talk.info(format_args!("{name}: {images} with the trust data in `{file}`, {length} bytes"));
    console.talk.info(format_args!("`boltseal copy bundle:{file} DST --name {name}` unpacks it"));
    Ok(Outcome::Done)
}
