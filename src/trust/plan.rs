//! A publish, as pure steps: from a trusted state and what is to change, the drafts of the next state.
//!
//! Files are made in the order of TUF 6.3: root where it changes, targets, snapshot, timestamp. A role whose file
//! does not change is carried over byte for byte.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::draft::{Draft, Lifetimes, Signed, Unsigned};
use super::entry::{Change, Entries};
use super::envelope::{FileRef, Metadata};
use super::error::Error;
use super::intent::Absorbed;
use super::key::Key;
use super::role::{RoleKind, RoleName, Version};
use super::signer;
use super::threshold::Verified;
use super::update::Trusted;
use crate::image::{Digest, ImageName};

/// What one state is made from.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// The collection.
    pub name: &'a ImageName,
    /// The instant of the publish.
    pub now: Timestamp,
    /// How long roles count.
    pub lifetimes: Lifetimes,
    /// Random bits for versions.
    pub random: u32,
    /// Whether this state rotates the keys of snapshot or timestamp, so that clients forget both (TUF 5.3.11).
    pub forgotten: bool,
}

/// The new keys of a top-level role.
#[derive(Debug, Clone)]
pub struct RoleChange {
    /// The role.
    pub kind: RoleKind,
    /// Its keys from now on.
    pub keys: Vec<Key>,
    /// How many of them must sign.
    pub threshold: u32,
}

impl Ground<'_> {
    /// The version of the next file of a role, above every one seen.
    ///
    /// It also goes by the clock: a publisher who was slow has not seen what others signed meanwhile. So his file is
    /// lower than theirs, which readers notice, and what he signs later to make it good is higher, which heals it.
    fn next_version(&self, role: &RoleName, seen: impl IntoIterator<Item = Version>) -> Result<Version, Error> {
        Version::next_publish(seen.into_iter().chain([Version::before_second(self.now.as_second())]), self.random)
            .ok_or_else(|| Error::VersionsExhausted { role: role.clone() })
    }

    /// As [`Ground::next_version`]; versions that were used up begin anew where clients forget the former ones, which
    /// is how a collection recovers from a fast-forward.
    fn next_online_version(&self, role: &RoleName, seen: impl IntoIterator<Item = Version>) -> Result<Version, Error> {
        let next = self.next_version(role, seen);
        if self.forgotten { next.or_else(|_| self.next_version(role, [])) } else { next }
    }

    fn close(&self, mut draft: Draft, version: Version) -> Result<Unsigned, Error> {
        let expires =
            self.now.checked_add(self.lifetimes.of(draft.role())).map_err(|e| Error::BadEdit(e.to_string()))?;
        draft.set_version(version);
        draft.set_expires(expires);
        draft.close()
    }

    /// The first root of a collection.
    ///
    /// # Errors
    /// [`Error::BadEdit`] where keys and thresholds do not fit.
    pub fn first_root(&self, roles: &[RoleChange]) -> Result<Unsigned, Error> {
        let mut draft = Draft::root(self.name, self.lifetimes);
        for role in roles {
            draft.set_role_keys(role.kind, &role.keys, role.threshold)?;
        }
        self.close(draft, Version::ONE)
    }

    /// The root after `root`, with other keys for some roles, or the same ones and a new expiry.
    ///
    /// # Errors
    /// [`Error::BadEdit`] where keys and thresholds do not fit; [`Error::VersionsExhausted`].
    pub fn next_root(&self, root: &Verified<super::root::Root>, roles: &[RoleChange]) -> Result<Unsigned, Error> {
        let role = RoleName::Top(RoleKind::Root);
        let mut draft = Draft::of(&role, root.bytes())?;
        for role in roles {
            draft.set_role_keys(role.kind, &role.keys, role.threshold)?;
        }
        let version = root.version().successor().ok_or(Error::VersionsExhausted { role })?;
        self.close(draft, version)
    }

    /// The first, empty targets role.
    ///
    /// # Errors
    /// None in practice; those of closing a draft.
    pub fn first_targets(&self) -> Result<Unsigned, Error> {
        let draft = Draft::targets(RoleName::TARGETS, self.name);
        let version = self.next_version(draft.role(), [])?;
        self.close(draft, version)
    }

    /// A targets role after `base`, or its first version, with every change applied in the given order: that of
    /// [`merge`](super::intent::merge), by which a remove beats an add. `own` are the role's own keys and threshold.
    ///
    /// # Errors
    /// [`Error::BadEdit`] for a change that cannot be made; [`Error::VersionsExhausted`].
    pub fn next_targets(
        &self,
        role: &RoleName,
        base: Option<&Signed>,
        changes: &[&Change],
        seen: &[Version],
        own: (&[Key], u32),
    ) -> Result<Unsigned, Error> {
        let mut draft = match base {
            Some(base) => Draft::of(role, &base.bytes)?,
            None => Draft::targets(role.clone(), self.name),
        };
        for change in changes {
            if !change.is_about_signers() {
                Entries::edit(self.name, draft.entries(), self.now).apply(change)?;
            } else if *role == RoleName::TARGETS {
                signer::apply(self.name, draft.members(), change, own)?;
            }
        }
        if *role == RoleName::TARGETS {
            signer::rekey(draft.members(), own)?;
        }
        let version = self.next_version(role, seen.iter().copied().chain(base.map(|base| base.version)))?;
        self.close(draft, version)
    }

    /// The snapshot that lists `files`, all targets roles of the next state.
    ///
    /// # Errors
    /// [`Error::VersionsExhausted`].
    pub fn next_snapshot(&self, base: Option<&Signed>, files: &[Signed], seen: &[Version]) -> Result<Unsigned, Error> {
        let mut draft = match base {
            Some(base) => Draft::of(&base.role, &base.bytes)?,
            None => Draft::snapshot(self.name),
        };
        for file in files {
            draft.list_role(file);
        }
        let version =
            self.next_online_version(draft.role(), seen.iter().copied().chain(base.map(|base| base.version)))?;
        self.close(draft, version)
    }

    /// The timestamp of `snapshot`, which follows `base` and has absorbed operations.
    ///
    /// # Errors
    /// [`Error::VersionsExhausted`].
    pub fn next_timestamp(
        &self,
        base: Option<&Signed>,
        snapshot: &Signed,
        absorbed: &Absorbed,
        seen: &[Version],
    ) -> Result<Unsigned, Error> {
        let mut draft = Draft::timestamp(self.name, snapshot);
        let binding = draft.binding();
        binding.insert("time".to_owned(), super::time::format(self.now).into());
        if let Some(base) = base {
            binding.insert("prev".to_owned(), Digest::of(&base.bytes).hex().into());
        }
        if !absorbed.is_empty() {
            let reference = FileRef::of(&absorbed.encode());
            binding.insert("absorbed".to_owned(), serde_json::to_value(reference).unwrap_or_default());
        }
        let version =
            self.next_online_version(draft.role(), seen.iter().copied().chain(base.map(|base| base.version)))?;
        self.close(draft, version)
    }
}

/// Which of the trusted roles are due: half of their life is gone.
pub fn due(trusted: &Trusted, lifetimes: &Lifetimes, now: Timestamp) -> BTreeSet<RoleKind> {
    expiries(trusted)
        .into_iter()
        .filter(|(kind, expires)| {
            let half = lifetimes.of(&RoleName::Top(*kind)) / 2;
            expires.duration_since(now) < half
        })
        .map(|(kind, _)| kind)
        .collect()
}

/// When each top-level role expires.
pub fn expiries(trusted: &Trusted) -> BTreeMap<RoleKind, Timestamp> {
    BTreeMap::from([
        (RoleKind::Root, trusted.root.expires()),
        (RoleKind::Timestamp, trusted.timestamp.expires()),
        (RoleKind::Snapshot, trusted.snapshot.expires()),
        (RoleKind::Targets, trusted.targets.expires()),
    ])
}

/// A trusted role as a file again.
pub fn signed_file<T: Metadata>(role: impl Into<RoleName>, verified: &Verified<T>) -> Signed {
    Signed { role: role.into(), version: verified.version(), bytes: verified.bytes().clone() }
}
