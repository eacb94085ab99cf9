//! What use cases work with: the ports, the policy and the one instant of the run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::client::Client;
use super::error::Error;
use super::ring::Ring;
use crate::image::{ImageName, Reference};
use crate::keystore::Purpose;
use crate::registry::layout::LayoutRepository;
use crate::registry::{self, Repository, http};
use crate::store::Store;
use crate::store::checkpoint::Checkpoint;
use crate::trust::envelope::Envelope;
use crate::trust::limits::Limits;
use crate::trust::pin::Pin;
use crate::trust::policy::{DEFAULT_MAX_TIMESTAMP_LIFE, Location, Overrides, Policy, Ruling};
use crate::trust::root::Root;
use crate::trust::targets::Targets;
use crate::trust::update::{Breadth, Expiry, Profile, Rules};
use crate::trust::{Key, RoleKind, RoleName};

/// Opens repositories at locations.
pub trait Registries: Send + Sync {
    /// The repository at a location. No request is made.
    ///
    /// # Errors
    /// What is wrong with the location or the settings for it.
    fn open(&self, location: &Location) -> Result<Arc<dyn Repository>, registry::Error>;
}

/// Registries over HTTP, and layouts on disk.
impl Registries for http::Client {
    fn open(&self, location: &Location) -> Result<Arc<dyn Repository>, registry::Error> {
        match location {
            Location::Repository(name) => Ok(Arc::new(self.repository(name.host(), name.repository())?)),
            Location::Layout(folder) => Ok(Arc::new(LayoutRepository::new(Path::new(folder))?)),
        }
    }
}

/// What a use case works with.
pub struct World<'a> {
    /// Where images and trust data lie.
    pub registries: &'a dyn Registries,
    /// What this machine remembers.
    pub store: &'a dyn Store,
    /// The policy.
    pub policy: Policy,
    /// What flags and variables ask for beside it.
    pub overrides: Overrides,
    /// The longest life of a timestamp where no scope says it.
    pub max_timestamp_life: Option<SignedDuration>,
    /// Another repository for heads, for this run.
    pub trust_repository: Option<ImageName>,
    /// Versions carried from other runs.
    pub checkpoint: Checkpoint,
    /// The instant of this run.
    pub now: Timestamp,
}

/// What the user means: an image name with a tag or digest, and where it lies when that is not by the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The image.
    pub reference: Reference,
    /// The layout that was named on the command line.
    pub layout: Option<PathBuf>,
}

impl Subject {
    /// The subject as the user knows it.
    pub fn shown(&self) -> String {
        match &self.layout {
            Some(folder) => format!("{} in oci:{}", self.reference, folder.display()),
            None => self.reference.to_string(),
        }
    }
}

impl World<'_> {
    /// What the policy says of a name.
    ///
    /// # Errors
    /// Why it refuses before anything is fetched.
    pub fn rule(&self, name: &ImageName) -> Result<Ruling, Error> {
        Ok(self.policy.rule_with(name, &self.overrides)?)
    }

    /// Where the bytes of a name's images lie.
    ///
    /// # Errors
    /// A mirror or folder that cannot be.
    pub fn location(&self, name: &ImageName, layout: Option<&Path>) -> Result<Location, Error> {
        match layout {
            Some(folder) => {
                let absolute = std::path::absolute(folder).map_err(|e| Error::File {
                    action: "find",
                    path: folder.display().to_string(),
                    message: e.to_string(),
                })?;
                Ok(Location::Layout(absolute.display().to_string()))
            }
            None => Ok(self.policy.location_of(name)?),
        }
    }

    /// The repository that holds a name's images.
    ///
    /// # Errors
    /// A location that cannot be.
    pub fn images(&self, name: &ImageName, layout: Option<&Path>) -> Result<Arc<dyn Repository>, Error> {
        Ok(self.registries.open(&self.location(name, layout)?)?)
    }

    /// The repository that holds a name's trust data.
    ///
    /// # Errors
    /// A location that cannot be.
    pub fn trust_data(
        &self,
        name: &ImageName,
        layout: Option<&Path>,
        ruling: Option<&Ruling>,
    ) -> Result<Arc<dyn Repository>, Error> {
        let elsewhere = self.trust_repository.as_ref().or(ruling.and_then(|ruling| ruling.trust_repository.as_ref()));
        match elsewhere {
            Some(other) if layout.is_none() => Ok(self.registries.open(&self.policy.location_of(other)?)?),
            _ => self.images(name, layout),
        }
    }

    /// A client of a collection under a ruling.
    ///
    /// # Errors
    /// A pin or location that cannot be.
    pub fn client<'c>(
        &'c self,
        name: &'c ImageName,
        layout: Option<&Path>,
        ruling: &Ruling,
        expiry: Expiry,
    ) -> Result<Client<'c>, Error> {
        let pins = ruling.pins.iter().map(Pin::of_policy).collect::<Result<Vec<_>, _>>().map_err(Error::of(name))?;
        let life = ruling.max_timestamp_life.or(self.max_timestamp_life).unwrap_or(DEFAULT_MAX_TIMESTAMP_LIFE);
        let profile = Profile::Image {
            name: name.clone(),
            pins,
            max_timestamp_life: life,
            signers: ruling.signers.clone().map(|signers| signers.into_iter().collect::<BTreeSet<_>>()),
        };
        Ok(Client {
            name,
            repository: self.trust_data(name, layout, Some(ruling))?,
            store: self.store,
            rules: Rules { profile, limits: limits(), now: self.now, expiry, breadth: Breadth::Wanted },
            floors: self.checkpoint.floors(name).cloned().unwrap_or_else(BTreeMap::new),
        })
    }
}

/// The keys of the signers in memory, as the same kind of hint.
fn remembered_signers(world: &World<'_>, name: &ImageName) -> Result<Vec<Key>, Error> {
    let Some(bytes) = world.store.open(name)?.read(&RoleName::TARGETS.file_name(None))? else { return Ok(Vec::new()) };
    let Ok(targets) = Envelope::<Targets>::parse_untrusted(&RoleName::TARGETS, bytes) else { return Ok(Vec::new()) };
    let delegations = targets.unverified().delegations();
    Ok(delegations
        .map(|delegations| delegations.keys().iter().map(|(_, key)| key.clone()).collect())
        .unwrap_or_default())
}

/// The caps of an image client: a search may pass 24 signers, each with a bin, and the bins of `tags`.
fn limits() -> Limits {
    Limits { delegated_roles: 64, ..Limits::default() }
}

/// Unlocks the keys of some roles of a collection, so that nobody is asked for a passphrase once requests have begun:
/// those that the remembered root lists, or, on a machine that remembers none, those that were made for the collection.
///
/// # Errors
/// Those of memory, and of unlocking a key.
pub fn unlock_role_keys(world: &World<'_>, ring: &Ring<'_>, name: &ImageName, kinds: &[RoleKind]) -> Result<(), Error> {
    if let Some(root) = remembered_root(world, name)? {
        let signers = if kinds.contains(&RoleKind::Targets) { remembered_signers(world, name)? } else { Vec::new() };
        let own = kinds.iter().flat_map(|kind| root.keys_of(*kind)).map(|(_, key)| key);
        let listed: Vec<&Key> = own.chain(&signers).collect();
        return ring.unlock(|info| listed.iter().any(|key| key.material() == info.public.material()));
    }
    let name = name.to_string();
    ring.unlock(|info| {
        let online = kinds.contains(&RoleKind::Snapshot) || kinds.contains(&RoleKind::Timestamp);
        let wanted = match &info.purpose {
            Some(Purpose::Signer(_)) => return kinds.contains(&RoleKind::Targets),
            Some(Purpose::Targets) => kinds.contains(&RoleKind::Targets),
            Some(Purpose::Online | Purpose::Snapshot | Purpose::Timestamp) => online,
            _ => false,
        };
        wanted && info.collection.as_deref() == Some(name.as_str())
    })
}

/// The newest root in memory, as a hint which keys will be needed; it is verified before anything is signed.
fn remembered_root(world: &World<'_>, name: &ImageName) -> Result<Option<Root>, Error> {
    let memory = world.store.open(name)?;
    let version = |file: &String| file.strip_suffix(".root.json").and_then(|number| number.parse::<u64>().ok());
    let newest = memory.files()?.into_iter().filter(|file| version(file).is_some()).max_by_key(version);
    let Some(bytes) = newest.map(|file| memory.read(&file)).transpose()?.flatten() else { return Ok(None) };
    let envelope = Envelope::<Root>::parse_untrusted(&RoleKind::Root.into(), bytes);
    Ok(envelope.ok().map(|envelope| envelope.unverified().clone()))
}
