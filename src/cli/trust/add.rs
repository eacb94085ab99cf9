//! `boltseal trust add`: pins a root.

use std::path::PathBuf;

use clap::ValueHint;

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::file;
use crate::cli::report::{Failure, Outcome};
use crate::cli::session::{Session, root_key_id};
use crate::ops::trust::{self as pins, Change, OtherRoot};
use crate::trust::Version;
use crate::trust::pin::Pin;
use crate::trust::policy::{self, ImagePattern, RootFile, RootKeys};

/// Arguments of `trust add`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal trust add registry.example.com/acme/app --root-key 3f2a9c...
  boltseal trust add 'host.example/acme/**' --root-key 3f2a9c... --root-key 77b0e1... --threshold 2
  boltseal trust add registry.example.com/acme/app --root acme-root.json --system

`boltseal init` prints the line that others run. The pin goes to the user's policy, to
`/etc/boltseal/policy.toml` with `--system`, or to `--policy FILE`; comments in the file are kept.")]
pub struct Args {
    /// The image name, or a pattern such as `registry.example.com/acme/**`
    #[arg(value_name = "IMAGES")]
    pub images: ImagePattern,

    /// Trust the root keys and the threshold of the root metadata in FILE
    #[arg(long, value_name = "FILE", conflicts_with_all = ["root_keys", "threshold"], value_hint = ValueHint::FilePath)]
    pub root: Option<PathBuf>,

    /// How many of the root keys must have signed [default: all of them]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub threshold: Option<u8>,

    /// Trust no root version below N
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "root")]
    pub min_version: Option<u64>,

    /// Put it in the place of another root that these images have
    #[arg(long)]
    pub replace: bool,

    /// Write to `/etc/boltseal/policy.toml` instead of the user's policy
    #[arg(long, conflicts_with = "policy")]
    pub system: bool,
}

/// Writes the pin.
///
/// # Errors
/// Exit 2 without a root, 16 where the images have another one, and what is wrong with the policy file.
pub fn run(args: &Args, session: &Session) -> Result<Outcome, Failure> {
    let pin = args.pin(session)?;
    let other = if args.replace { OtherRoot::Replace } else { OtherRoot::Refuse };
    let added = pins::add(&session.pin_file(args.system)?, &args.images, &pin, other)?;
    let change = match added.change {
        Change::Unchanged => "unchanged",
        Change::Added => "added",
        Change::Replaced => "replaced",
    };
    let (output, talk) = (&session.console.output, &session.console.talk);
    let path = added.path.display().to_string();
    if output.is_json() {
        let images = args.images.to_string();
        output.document("trust_add", &BTreeMap::from([("change", change), ("file", &path), ("images", &images)]));
    }
    talk.info(match added.change {
        Change::Unchanged => format!("`{path}` trusted this root for `{}` already", args.images),
        Change::Added => format!("`{path}` trusts this root for `{}`", args.images),
        Change::Replaced => format!("`{path}` trusts this root for `{}` instead of the former one", args.images),
    });
    if let Some((pattern, line)) = added.shadows {
        talk.warn(format!(
            "`{pattern}` on line {line} of `{path}` no longer decides `{}`, nor do its signers and tags",
            args.images
        ));
    }
    Ok(Outcome::Done)
}

impl Args {
    /// The root to trust: keys by their ids, or what a root file says.
    fn pin(&self, session: &Session) -> Result<RootKeys, Failure> {
        if let Some(path) = &self.root {
            let file = RootFile { path: path.display().to_string(), bytes: file::read(path)?.to_vec() };
            let pin = Pin::of_policy(&policy::Pin::File(file))?;
            let threshold = usize::try_from(pin.threshold.get()).unwrap_or(usize::MAX);
            return RootKeys::new(pin.keys, threshold, pin.min_version).map_err(Failure::usage);
        }
        let ids = &session.options.trust.root_keys;
        if ids.is_empty() {
            return Err(Failure::usage("nothing says which root: expected `--root-key ID` or `--root FILE`")
                .hint("the owner of the images knows the id; `boltseal init` printed it"));
        }
        let keys = ids.iter().map(|id| root_key_id(id)).collect::<Result<BTreeSet<_>, _>>()?;
        let threshold = self.threshold.map_or(keys.len(), usize::from);
        let min_version = self.min_version.and_then(Version::new).unwrap_or(Version::ONE);
        RootKeys::new(keys, threshold, min_version).map_err(Failure::usage)
    }
}
