//! The ports as the command line sets them up: registries by host, memory, and the world that use cases work in.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::file;
use super::image::{ImageArg, NameArg};
use super::report::Failure;
use super::session::Session;
use crate::image::{ImageName, Reference};
use crate::ops::verify::Verdict;
use crate::ops::world::{Registries, Subject, World};
use crate::registry::{self, Repository, http};
use crate::store::Store;
use crate::store::checkpoint::Checkpoint;
use crate::trust::policy::{Location, Policy};
use crate::trust::{RoleName, Version};

/// The ports of one run.
pub struct Ports<'a> {
    session: &'a Session,
    store: Box<dyn Store>,
    /// A client for each host, since settings differ by host.
    clients: Mutex<HashMap<String, http::Client>>,
}

impl<'a> Ports<'a> {
    /// The ports of a session. Nothing is read or sent.
    pub fn new(session: &'a Session) -> Self {
        Self { session, store: session.store(), clients: Mutex::default() }
    }

    /// The world of use cases.
    ///
    /// # Errors
    /// What is wrong with policy files, options or the checkpoint.
    pub fn world(&self) -> Result<World<'_>, Failure> {
        let session = self.session;
        Ok(World {
            registries: self,
            store: &*self.store,
            policy: session.policy()?,
            overrides: session.overrides()?,
            max_timestamp_life: session.settings.max_timestamp_life,
            trust_repository: session.options.trust.trust_repository.clone(),
            checkpoint: self.load_checkpoint()?,
            now: session.clock.now(),
        })
    }
}

impl Ports<'_> {
    /// Writes what verified verdicts saw into the checkpoint, where one is carried.
    ///
    /// # Errors
    /// Exit 1 where it cannot be read or written.
    pub fn save_checkpoint(&self, verdicts: &[Verdict]) -> Result<(), Failure> {
        let Some(path) = self.session.checkpoint() else { return Ok(()) };
        let mut checkpoint = self.load_checkpoint()?;
        for verdict in verdicts {
            let Ok(endorsement) = &verdict.outcome else { continue };
            let mut seen = Checkpoint::new();
            let versions = endorsement.versions.iter().filter_map(|(role, version)| {
                let role = role.parse().map(RoleName::Top).ok().or_else(|| RoleName::delegated(role))?;
                Some((role, Version::new(*version)?))
            });
            seen.record(verdict.subject.reference.name.clone(), versions);
            checkpoint.merge(&seen);
        }
        crate::store::atomic::replace(&path, &checkpoint.encode(), 0o644)?;
        Ok(())
    }

    fn load_checkpoint(&self) -> Result<Checkpoint, Failure> {
        match self.session.checkpoint() {
            Some(path) if path.exists() => Checkpoint::parse(&file::read(&path)?).map_err(|reason| {
                Failure::failed(format!("`{}` is no checkpoint: {reason}", path.display()))
                    .hint("a damaged checkpoint protects from nothing: restore it, or remove it and verify once anew")
            }),
            _ => Ok(Checkpoint::new()),
        }
    }
}

impl Registries for Ports<'_> {
    fn open(&self, location: &Location) -> Result<Arc<dyn Repository>, registry::Error> {
        let host = match location {
            Location::Repository(name) => name.host(),
            Location::Layout(_) => "",
        };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let client = clients.entry(host.to_owned()).or_insert_with(|| http::Client::new(self.session.http(host)));
        client.open(location)
    }
}

/// The image that an argument means. A layout has no name of its own: the expected one comes from `--name` or a
/// mirror, and what the layout records is a hint and never an answer.
///
/// # Errors
/// Exit 2 where a layout's name is not given.
pub async fn subject(image: &ImageArg, name: Option<&ImageName>, policy: &Policy) -> Result<Subject, Failure> {
    match image {
        ImageArg::Registry(reference) => {
            no_name_beside(name)?;
            Ok(Subject { reference: reference.clone().or_latest(), layout: None })
        }
        ImageArg::Layout { folder, tag } => {
            let name = layout_name(folder, name, policy).await?;
            let reference = Reference { name, tag: Some(tag.clone()), digest: None };
            Ok(Subject { reference, layout: Some(folder.clone()) })
        }
    }
}

/// The collection that an argument means, and the layout where it lies.
///
/// # Errors
/// Exit 2 where a layout's name is not given.
pub async fn collection(
    target: &NameArg,
    name: Option<&ImageName>,
    policy: &Policy,
) -> Result<(ImageName, Option<PathBuf>), Failure> {
    match target {
        NameArg::Registry(target) => {
            no_name_beside(name)?;
            Ok((target.clone(), None))
        }
        NameArg::Layout { folder } => Ok((layout_name(folder, name, policy).await?, Some(folder.clone()))),
    }
}

fn no_name_beside(name: Option<&ImageName>) -> Result<(), Failure> {
    match name {
        Some(_) => Err(Failure::usage("`--name` is for image layouts: an image in a registry has its own name")),
        None => Ok(()),
    }
}

async fn layout_name(
    folder: &std::path::Path,
    given: Option<&ImageName>,
    policy: &Policy,
) -> Result<ImageName, Failure> {
    if let Some(name) = given {
        return Ok(name.clone());
    }
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    if let Some(name) = policy.name_of_layout(&absolute.to_string_lossy())? {
        return Ok(name);
    }
    let failure = Failure::usage(format!("the image layout `{}` has no name of its own", folder.display()));
    let recorded = match registry::layout::LayoutRepository::new(&absolute) {
        Ok(layout) => layout.recorded_name().await.ok().flatten(),
        Err(_) => None,
    };
    Err(match recorded {
        Some(name) => failure
            .hint(format!("it records `{name}`; if that is what you expect, say `--name {name}`"))
            .hint("a layout could record any name, so the expected one is yours to give"),
        None => failure.hint("say which image you expect with `--name NAME`, or with a `[[mirror]]` in the policy"),
    })
}
