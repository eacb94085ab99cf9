//! `boltseal sign`: signs what tags are.

use std::path::PathBuf;

use clap::ValueHint;

use super::image::ImageArg;
use super::report::{Failure, Outcome};
use super::session::Session;
use crate::image::{Digest, ImageName};

/// Arguments of `sign`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal sign registry.example.com/acme/app:1.0
  boltseal sign localhost:5000/app:1.0 localhost:5000/app:latest
  boltseal sign $IMAGE --metadata-file build.json
      after: docker buildx build --push -t $IMAGE --metadata-file build.json .
  boltseal sign $IMAGE --digestfile digest
      after: podman push --digestfile digest $IMAGE

Without a digest the manifest that the registry holds under the tag now is signed. With one, the
registry must hold that digest under the tag. No layers are pulled.")]
pub struct Args {
    /// The images; each with a tag
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<ImageArg>,

    /// What the build reported; only with one IMAGE.
    #[command(flatten)]
    pub built: Built,

    /// Take back the digests that these tags had before, at once instead of when the policy's time is over
    #[arg(long)]
    pub supersede: bool,

    /// The name that the images of a layout are expected to have
    #[arg(long, value_name = "NAME")]
    pub name: Option<ImageName>,
}

/// What a build reported about the one image that it made.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(multiple = false)]
pub struct Built {
    /// Sign exactly this manifest digest
    #[arg(long, value_name = "DIGEST")]
    pub digest: Option<Digest>,

    /// Sign the digest in FILE, as podman, skopeo and buildah write it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub digestfile: Option<PathBuf>,

    /// Sign the digest in FILE, as `docker buildx build --metadata-file` writes it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub metadata_file: Option<PathBuf>,

    /// Sign the tag only if its image's config is the id in FILE, as `docker build --iidfile` writes it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub iidfile: Option<PathBuf>,
}

impl Built {
    /// The option that is given, if any.
    fn given(&self) -> Option<&'static str> {
        let options = [
            ("--digest", self.digest.is_some()),
            ("--digestfile", self.digestfile.is_some()),
            ("--metadata-file", self.metadata_file.is_some()),
            ("--iidfile", self.iidfile.is_some()),
        ];
        options.into_iter().find_map(|(option, given)| given.then_some(option))
    }
}

impl Args {
    /// What the parser cannot see: one digest cannot be that of several images.
    ///
    /// # Errors
    /// Exit 2 with the option that does not fit.
    pub fn check(&self) -> Result<(), Failure> {
        match self.built.given() {
            Some(option) if self.images.len() > 1 => Err(Failure::usage(format!(
                "`{option}` is about one image: expected one IMAGE, got {}",
                self.images.len()
            ))
            .hint("sign each image by a command of its own, or leave the option out")),
            _ => Ok(()),
        }
    }
}

/// Signs the images, one publish for all of a collection.
///
/// # Errors
/// What the use case refuses, as an exit code with a sentence.
#[expect(clippy::unused_async, reason = "the use case that it waits for is not wired")]
pub async fn run(args: Args, _session: &Session) -> Result<Outcome, Failure> {
    args.check()?;
    Err(Failure::not_wired("sign"))
}
