//! `boltseal sign`: signs what tags are.

use std::path::PathBuf;

use clap::ValueHint;

use super::console::Console;
use super::file;
use super::image::ImageArg;
use super::ports::{Ports, subject};
use super::report::{Failure, Outcome};
use super::session::Session;
use crate::image::{Digest, ImageName, Reference};
use crate::ops::error::Error;
use crate::ops::ring::Ring;
use crate::ops::sign::{self as ops, Image, Options, Signed};
use crate::trust::policy::PolicyError;
use serde_json::json;

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

    /// Sign in this role, `targets` or a signer, instead of all that may and whose keys are at hand
    #[arg(long = "as", value_name = "ROLE")]
    pub role: Option<String>,

    /// Note something in the tags' entries; shown by `verify` and `inspect`; repeatable
    #[arg(long = "annotation", value_name = "KEY=VALUE")]
    pub annotations: Vec<NoteArg>,

    /// Build on trust data that has expired, if the head's digest is this one
    ///
    /// Whoever controls the registry may have kept an old state there: accept it only if you know that it is the
    /// latest.
    #[arg(long, value_name = "DIGEST", hide_short_help = true)]
    pub accept_expired: Option<Digest>,

    /// The name that the images of a layout are expected to have
    #[arg(long, value_name = "NAME")]
    pub name: Option<ImageName>,
}

/// `KEY=VALUE`: a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteArg {
    /// What it is about.
    pub key: String,
    /// What it says.
    pub value: String,
}

impl std::str::FromStr for NoteArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or("expected KEY=VALUE")?;
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
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

impl Built {
    /// Reads what the build reported about an image.
    ///
    /// # Errors
    /// Exit 2 where the file is none of the build's, or tells of another image.
    fn read(&self, reference: &Reference) -> Result<Option<ops::Built>, Failure> {
        if let Some(digest) = self.digest {
            return Ok(Some(ops::Built::Manifest(digest)));
        }
        let parse = |text: &str, path: &std::path::Path| {
            text.trim().parse::<Digest>().map_err(|e| Failure::usage(format!("`{}`: {e}", path.display())))
        };
        if let Some(path) = &self.digestfile {
            return Ok(Some(ops::Built::Manifest(parse(&read_text(path)?, path)?)));
        }
        if let Some(path) = &self.iidfile {
            return Ok(Some(ops::Built::Config(parse(&read_text(path)?, path)?)));
        }
        let Some(path) = &self.metadata_file else { return Ok(None) };
        let metadata: serde_json::Value = serde_json::from_str(&read_text(path)?)
            .map_err(|e| Failure::usage(format!("`{}` is no build metadata: {e}", path.display())))?;
        let text = |member: &str| metadata.get(member).and_then(serde_json::Value::as_str);
        let digest = text("containerimage.digest").ok_or_else(|| {
            Failure::usage(format!("`{}` has no `containerimage.digest`: was the image pushed?", path.display()))
        })?;
        let built: Vec<_> = text("image.name").unwrap_or_default().split(',').filter(|name| !name.is_empty()).collect();
        let asked = Reference { digest: None, ..reference.clone() };
        let same = |name: &&str| name.trim().parse::<Reference>().is_ok_and(|name| name.or_latest() == asked);
        if !built.is_empty() && !built.iter().any(same) {
            return Err(Failure::usage(format!("`{}` is about {}, not {asked}", path.display(), built.join(", "))));
        }
        Ok(Some(ops::Built::Manifest(parse(digest, path)?)))
    }
}

fn read_text(path: &std::path::Path) -> Result<String, Failure> {
    String::from_utf8(file::read(path)?.to_vec())
        .map_err(|_| Failure::usage(format!("`{}` is no text", path.display())))
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
pub async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    args.check()?;
    let ports = Ports::new(session);
    let world = ports.world()?;
    let keys = session.signing_keys()?;
    let ring = Ring::new(&*keys, &session.passphrases);
    let mut images = Vec::new();
    for image in &args.images {
        let subject = subject(image, args.name.as_ref(), &world.policy).await?;
        images.push(Image { built: args.built.read(&subject.reference)?, subject });
    }
    let annotations = args.annotations.iter().map(|note| (note.key.clone(), note.value.clone())).collect();
    let options =
        Options { supersede: args.supersede, annotations, role: args.role, accept_expired: args.accept_expired };
    let signed = ops::sign(&world, &ring, &images, &options).await.map_err(|error| with_beginning(&error))?;
    report(&signed, &session.console);
    Ok(Outcome::Done)
}

/// Who signs for the first time has to begin a collection; that is not what a reader is told.
fn with_beginning(error: &Error) -> Failure {
    let failure = Failure::from(error);
    match error {
        Error::Policy(PolicyError::NoPolicy { name } | PolicyError::OutOfScope { name, .. }) => {
            failure.hint(format!("where nobody has signed it yet, `boltseal init {name}` begins"))
        }
        _ => failure,
    }
}

fn report(signed: &[Signed], console: &Console) {
    if console.output.is_json() {
        let results: Vec<_> = signed
            .iter()
            .map(|signed| {
                let reference = &signed.subject.reference;
                json!({
                    "name": reference.name.to_string(), "tag": reference.tag.as_ref().map(ToString::to_string),
                    "digest": signed.manifest.digest, "media_type": signed.manifest.media_type,
                    "manifests": signed.children, "already_signed": signed.already,
                })
            })
            .collect();
        console.output.document("sign", &json!({"results": results}));
        return;
    }
    for signed in signed {
        let reference = Reference { digest: None, ..signed.subject.reference.clone() };
        console.output.line(format_args!("{}  {reference}", signed.manifest.digest));
        let done = if signed.already { "was signed so already" } else { "signed" };
        let with = match signed.children {
            0 => String::new(),
            1 => " with the 1 manifest that it lists".to_owned(),
            many => format!(" with the {many} manifests that it lists"),
        };
        console.talk.info(format_args!("{reference}: {done}{with}"));
    }
}
