//! `boltseal export`: a collection as a standard TUF repository.

use std::path::PathBuf;

use clap::ValueHint;
use serde_json::json;

use super::image::NameArg;
use super::ports::{Ports, collection};
use super::report::{Failure, Outcome};
use super::session::Session;
use crate::image::ImageName;
use crate::ops::export as ops;

/// Arguments of `export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal export registry.example.com/acme/app ./tuf

Writes `FOLDER/metadata` as the TUF specification lays it out, for any TUF client: start it with
`1.root.json` and look up the target `NAME:TAG`. A later export into the same folder brings it up
to date.")]
pub struct Args {
    /// The image name, or `oci:FOLDER` for an image layout
    #[arg(value_name = "NAME")]
    pub target: NameArg,

    /// The folder to write to: an empty one, or an older export of the same collection
    #[arg(value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub folder: PathBuf,

    /// The name that the images of a layout are expected to have
    #[arg(long, value_name = "NAME")]
    pub name: Option<ImageName>,
}

/// Verifies the collection and writes it.
///
/// # Errors
/// What the use case refuses, as an exit code with a sentence.
pub async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let ports = Ports::new(session);
    let world = ports.world()?;
    let (name, layout) = collection(&args.target, args.name.as_ref(), &world.policy).await?;
    let exported = ops::export(&world, &name, layout.as_deref(), &args.folder).await?;
    let console = &session.console;
    exported.notices.iter().for_each(|notice| console.talk.warn(notice));
    if console.output.is_json() {
        console.output.document(
            "export",
            &json!({
                "name": exported.name.to_string(), "location": exported.location,
                "folder": exported.folder.display().to_string(), "files": exported.files,
                "version": exported.version.get(), "notices": exported.notices,
            }),
        );
    } else {
        exported.files.iter().for_each(|file| console.output.line(exported.folder.join(file).display()));
    }
    let (name, files) = (&exported.name, exported.files.len());
    console.talk.info(format_args!("{name}: wrote {files} files to `{}`", exported.folder.display()));
    Ok(Outcome::Done)
}
