//! `boltseal revoke`: takes back what was signed.

use super::console::Console;
use super::image::ImageArg;
use super::ports::{Ports, subject};
use super::report::{Failure, Outcome};
use super::session::Session;
use crate::image::ImageName;
use crate::ops::revoke::{self as ops, Revoked, What};
use crate::ops::ring::Ring;
use serde_json::json;

/// Arguments of `revoke`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal revoke registry.example.com/acme/app:1.0
  boltseal revoke app@sha256:... --yes
  boltseal revoke app:1.0 --all-digests

Fails if the image still verifies afterwards, and names who vouches for it. The image itself stays
in the registry.")]
pub struct Args {
    /// The image: a tag, a digest or both; a name alone means everything that is signed of it
    #[arg(value_name = "IMAGE")]
    pub image: ImageArg,

    /// Also take back every digest that the tag had before
    #[arg(long)]
    pub all_digests: bool,

    /// Do not ask before everything that is signed of NAME is taken back
    #[arg(long, short = 'y')]
    pub yes: bool,

    /// The name that the images of a layout are expected to have
    #[arg(long, value_name = "NAME")]
    pub name: Option<ImageName>,
}

/// Takes the image back, and checks that it no longer verifies.
///
/// # Errors
/// What the use case refuses, as an exit code with a sentence.
pub async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let ports = Ports::new(session);
    let world = ports.world()?;
    let (name, layout, what) = match &args.image {
        ImageArg::Registry(reference) => {
            let what = match (&reference.tag, reference.digest) {
                (Some(tag), None) => What::Tag(tag.clone()),
                (Some(tag), Some(digest)) => What::TagAt(tag.clone(), digest),
                (None, Some(digest)) => What::Digest(digest),
                (None, None) => What::All,
            };
            (reference.name.clone(), None, what)
        }
        layout @ ImageArg::Layout { tag, .. } => {
            let subject = subject(layout, args.name.as_ref(), &world.policy).await?;
            (subject.reference.name, subject.layout, What::Tag(tag.clone()))
        }
    };
    if what == What::All {
        session.confirm(&format!("Take back everything that is signed of {name}?"), args.yes)?;
    }
    let keys = session.signing_keys()?;
    let ring = Ring::new(&*keys, &session.passphrases);
    let revoked = ops::revoke(&world, &ring, &name, layout, &what, args.all_digests).await?;
    report(&name, &revoked, &session.console);
    Ok(Outcome::Done)
}

fn report(name: &ImageName, revoked: &Revoked, console: &Console) {
    if console.output.is_json() {
        let body = json!({
            "name": name.to_string(), "tags": revoked.tags, "digests": revoked.digests,
            "still_held": revoked.still_held,
        });
        console.output.document("revoke", &body);
        return;
    }
    for tag in &revoked.tags {
        console.output.line(format_args!("{name}:{tag}"));
    }
    for digest in &revoked.digests {
        console.output.line(format_args!("{name}@{digest}"));
    }
    console.talk.info("these no longer verify, on every machine from its next verification on; the image itself stays in the registry");
    if let Some(digest) = revoked.still_held {
        console.talk.warn(format_args!(
            "{digest} stays signed, because another tag holds or held it: `--all-digests`, or revoke that tag"
        ));
    }
}
