//! The next state: what is made and signed from a base, a run's own work and the intents beside the head.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::base::Base;
use super::{Rest, Run, Voice, draft_of, new_op, random};
use crate::ops::error::Error;
use crate::ops::intents::{self, Found, Open};
use crate::registry::head;
use crate::registry::head::ABSORBED;
use crate::trust::delegation::Delegations;
use crate::trust::draft::{Lifetimes, Signed};
use crate::trust::envelope::{Envelope, Metadata};
use crate::trust::intent::{INTENT_LIFE, Meant, OpId, merge};
use crate::trust::plan::{self, Ground, signed_file};
use crate::trust::role::{RoleKind, RoleName, Version};
use crate::trust::root::Root;
use crate::trust::targets::Targets;
use crate::trust::threshold::{self, Authority};
use crate::trust::update::Trusted;
use crate::trust::{Key, KeyId, signer};

/// How much further than everything seen, and the clock, an author's own file may stand.
const MAX_STEP: u64 = 1024;

/// A state ready to be put.
pub(super) struct Next {
    pub(super) files: BTreeMap<String, Bytes>,
    /// The targets roles that change, the top-level one and signers'.
    pub(super) roles: BTreeMap<RoleName, Signed>,
    pub(super) signed: BTreeSet<RoleKind>,
}

impl Run<'_> {
    /// The roles of whose life half is gone and whose keys are at hand.
    pub(super) fn due(&self, base: &Base) -> Result<BTreeSet<RoleKind>, Error> {
        let root = &base.trusted().root;
        let due = plan::due(base.trusted(), &Lifetimes::of_root(root.bytes()), self.now());
        let mut signable = BTreeSet::new();
        for kind in due {
            if self.ring.can_sign(&root.authority(kind))? {
                signable.insert(kind);
            }
        }
        Ok(signable)
    }

    /// Makes and signs the next state; none where there is nothing that the keys at hand can do.
    pub(super) async fn next(&mut self, base: &Base, rest: &Rest, beside: &Found) -> Result<Option<Next>, Error> {
        let trusted = base.trusted();
        let mut ground = Ground {
            name: self.client.name,
            now: self.now(),
            lifetimes: Lifetimes::of_root(trusted.root.bytes()),
            random: u32::from_le_bytes(random()?),
            forgotten: false,
        };
        let trust = Error::of(self.client.name);
        let mut signed = BTreeSet::new();
        let mut absorbed = base.absorbed.clone();
        let mut resign = rest.resign.clone();

        let mut files: BTreeMap<String, Bytes> =
            base.updated.roots.iter().map(|(version, bytes)| (format!("{version}.root.json"), bytes.clone())).collect();
        let mut root: Root = (*trusted.root).clone();
        if let Some((op, file)) = self.new_root(base, rest, beside, &ground).await? {
            root = draft_of(&file)?;
            let rotated = [RoleKind::Timestamp, RoleKind::Snapshot, RoleKind::Targets]
                .into_iter()
                .filter(|kind| trusted.root.rotates(*kind, &root));
            // What the former keys signed need not verify under the new ones.
            for kind in rotated {
                if !self.ring.can_sign(&root.authority(kind))? {
                    return if rest.root { Err(self.no_key(&kind.into(), &root.authority(kind))) } else { Ok(None) };
                }
                resign.insert(kind);
            }
            let parted = |kind| trusted.root.rotates(kind, &root);
            ground.forgotten = parted(RoleKind::Timestamp) || parted(RoleKind::Snapshot);
            files.insert(file.file_name(), file.bytes);
            signed.insert(RoleKind::Root);
            absorbed.add(op, &[]);
        } else if !beside.roots.is_empty() {
            // Two roots at once: their authors yield, or they expire.
            return Ok(None);
        }

        let own: Option<Meant<'_>> = rest.changes.then(|| self.meant());
        let meant: Vec<Meant<'_>> = beside.open.iter().map(|open| open.intent.meant()).chain(own).collect();
        // What the snapshot lists was seen, also of a signer whose file counts no more.
        let listed = trusted.snapshot.files().map(|(_, promise)| promise.version);
        let seen: Vec<Version> =
            meant.iter().map(|meant| meant.above).chain(self.versions_seen()).chain(listed).collect();
        let mut roles: BTreeMap<RoleName, Signed> = BTreeMap::new();
        let mut targets: Targets = (*trusted.targets).clone();
        // The top-level role comes first, as it sorts: it says who the signers are.
        for role in self.roles_to_make(rest, beside, &resign) {
            let Some(voice) = Voice::under(&root, &targets, &role) else {
                // A signer that is no more: what it meant came too late.
                beside.open.iter().filter(|open| open.intent.role == role.as_str()).for_each(|open| {
                    absorbed.add(open.intent.op, &[]);
                });
                if rest.changes && role == self.work.role {
                    return Err(self.no_signer());
                }
                continue;
            };
            let authority = voice.authority();
            let present = match present(trusted, &role) {
                Some(file) => Some(file),
                None => self.expired(base, &role, &authority).await?,
            };
            let theirs: Vec<&Open> = beside.open.iter().filter(|open| open.intent.role == role.as_str()).collect();
            let mine = rest.changes && role == self.work.role;
            let again =
                rest.signers.contains(&role) || (role == RoleName::TARGETS && resign.contains(&RoleKind::Targets));
            if self.ring.can_sign(&authority)? {
                let meant: Vec<Meant<'_>> =
                    theirs.iter().map(|open| open.intent.meant()).chain(mine.then(|| self.meant())).collect();
                let keys: Vec<Key> = authority.keys.of(authority.role).map(|(_, key)| key.clone()).collect();
                let keys = (&keys[..], authority.role.threshold.get());
                let unsigned = ground
                    .next_targets(&role, present.as_ref(), &merge(&absorbed, &meant), &seen, keys)
                    .map_err(&trust)?;
                let file = self.ring.sign(self.client.name, unsigned, &[authority]).await?;
                for meant in &meant {
                    absorbed.add(meant.op, meant.changes);
                }
                if role == RoleName::TARGETS {
                    targets = targets_of(&file)?;
                    signed.insert(RoleKind::Targets);
                }
                roles.insert(role, file);
            } else if mine || again {
                return Err(self.no_key(&role, &authority));
            } else if let Some((file, by)) = self.ready_made(&role, &authority, present.as_ref(), &theirs).await? {
                // The authors' own file serves where the role's keys are elsewhere.
                absorbed.add(by.intent.op, &by.intent.changes);
                if role == RoleName::TARGETS {
                    targets = targets_of(&file)?;
                }
                roles.insert(role, file);
            }
        }
        self.add_revoked(&root, &targets, trusted, &ground, &seen, &mut roles).await?;
        let restores = base.over.digest != base.updated.head.digest;
        if roles.is_empty() && signed.is_empty() && resign.is_empty() && !restores {
            return Ok(None);
        }
        // What tells this head from every other one.
        absorbed.add(new_op(self.now(), INTENT_LIFE)?, &[]);

        let seen: Vec<Version> = seen.into_iter().chain(roles.values().map(|file| file.version)).collect();
        let mut snapshot = signed_file(RoleKind::Snapshot, &trusted.snapshot);
        if !roles.is_empty() || resign.contains(&RoleKind::Snapshot) {
            let changed: Vec<Signed> = roles.values().cloned().collect();
            let unsigned = ground.next_snapshot(Some(&snapshot), &changed, &seen).map_err(&trust)?;
            snapshot = self.ring.sign(self.client.name, unsigned, &[root.authority(RoleKind::Snapshot)]).await?;
            signed.insert(RoleKind::Snapshot);
        }
        absorbed.prune(self.now());
        let former = signed_file(RoleKind::Timestamp, &trusted.timestamp);
        let unsigned = ground.next_timestamp(Some(&former), &snapshot, &absorbed, &seen).map_err(&trust)?;
        let timestamp = self.ring.sign(self.client.name, unsigned, &[root.authority(RoleKind::Timestamp)]).await?;
        signed.insert(RoleKind::Timestamp);
        files.insert(ABSORBED.to_owned(), absorbed.encode());
        files.extend(self.passed_over(base, &targets, &roles).await?);
        let mut all = present_roles(trusted, &targets);
        all.extend(roles.clone());
        let all = all.values().chain([&snapshot, &timestamp]);
        files.extend(all.map(|file| (file.file_name(), file.bytes.clone())));
        Ok(Some(Next { files, roles, signed }))
    }

    /// The targets roles for which there is something to sign, the top-level one first.
    fn roles_to_make(&self, rest: &Rest, beside: &Found, resign: &BTreeSet<RoleKind>) -> BTreeSet<RoleName> {
        let meant = beside.open.iter().filter_map(|open| match open.intent.role.parse() {
            Ok(kind) => Some(RoleName::Top(kind)),
            Err(()) => RoleName::delegated(&open.intent.role),
        });
        let own = rest.changes.then(|| self.work.role.clone());
        let again = resign.contains(&RoleKind::Targets).then_some(RoleName::TARGETS);
        meant.chain(own).chain(again).chain(rest.signers.clone()).collect()
    }

    /// `revoked` holds nothing, and has to be there and signed for every TUF client to obey it.
    async fn add_revoked(
        &self,
        root: &Root,
        targets: &Targets,
        trusted: &Trusted,
        ground: &Ground<'_>,
        seen: &[Version],
        roles: &mut BTreeMap<RoleName, Signed>,
    ) -> Result<(), Error> {
        let role = RoleName::Delegated(signer::REVOKED.to_owned());
        let Some(voice) = Voice::under(root, targets, &role) else { return Ok(()) };
        let authority = voice.authority();
        let present = present(trusted, &role);
        let stands = present.as_ref().is_some_and(|file| {
            let envelope = Envelope::<Targets>::parse_untrusted(&role, file.bytes.clone());
            let verified = envelope.and_then(|envelope| threshold::verify(&role, envelope, &[authority]));
            verified.is_ok_and(|verified| verified.expires() > self.now())
        });
        if stands {
            return Ok(());
        }
        let unsigned =
            ground.next_targets(&role, present.as_ref(), &[], seen, (&[], 1)).map_err(Error::of(self.client.name))?;
        let file = self.ring.sign(self.client.name, unsigned, &[authority]).await?;
        roles.insert(role, file);
        Ok(())
    }

    /// The file of a signer whose role expired: the present snapshot promises exactly it, and its own keys signed it, so
    /// that whoever holds them goes on from there and loses nothing.
    async fn expired(&self, base: &Base, role: &RoleName, authority: &Authority<'_>) -> Result<Option<Signed>, Error> {
        let (Some(promise), Some(head)) = (base.trusted().snapshot.role(role), &base.updated.manifest) else {
            return Ok(None);
        };
        let max = promise.length.unwrap_or(self.client.rules.limits.targets);
        let file = role.file_name(Some(promise.version));
        let Some(bytes) = head::read(&*self.client.repository, head, &file, max).await? else { return Ok(None) };
        if promise.check(&bytes).is_err() {
            return Ok(None);
        }
        let verified = Envelope::<Targets>::parse_untrusted(role, bytes)
            .and_then(|envelope| threshold::verify(role, envelope, &[*authority]));
        let name = self.client.name.to_string();
        Ok(verified
            .ok()
            .filter(|verified| verified.binding().is_some_and(|binding| binding.collection == name))
            .map(|verified| signed_file(role.clone(), &verified)))
    }

    /// The files of signers whose word cannot be verified now: they stay as they are, so that a reader is told why.
    async fn passed_over(
        &self,
        base: &Base,
        targets: &Targets,
        made: &BTreeMap<RoleName, Signed>,
    ) -> Result<Vec<(String, Bytes)>, Error> {
        let trusted = base.trusted();
        let mut files = Vec::new();
        for delegation in targets.delegations().map(Delegations::roles).unwrap_or_default() {
            let role = RoleName::Delegated(delegation.name().to_owned());
            let Some(promise) = trusted.snapshot.role(&role) else { continue };
            if trusted.signer(delegation.name()).is_some() || made.contains_key(&role) {
                continue;
            }
            let file = role.file_name(Some(promise.version));
            let Some(head) = &base.updated.manifest else { continue };
            let max = promise.length.unwrap_or(self.client.rules.limits.targets);
            if let Some(bytes) = head::read(&*self.client.repository, head, &file, max).await? {
                files.push((file, bytes));
            }
        }
        Ok(files)
    }

    /// The signers of whose role half of its life is gone and whose keys are at hand.
    pub(super) fn due_signers(&self, base: &Base) -> Result<BTreeSet<RoleName>, Error> {
        let trusted = base.trusted();
        let life = Lifetimes::of_root(trusted.root.bytes()).targets;
        let mut due = BTreeSet::new();
        for role in present_roles(trusted, &trusted.targets).into_keys().filter(|role| *role != RoleName::TARGETS) {
            let Some(metadata) = trusted.signer(role.as_str()) else { continue };
            let Some(voice) = Voice::of(trusted, &role) else { continue };
            let half_gone = metadata.expires().duration_since(self.now()) < life / 2;
            if half_gone && self.ring.can_sign(&voice.authority())? {
                due.insert(role);
            }
        }
        Ok(due)
    }

    /// The versions that were seen when the run began: also those of a branch that is no more.
    fn versions_seen(&self) -> impl Iterator<Item = Version> + use<'_> {
        self.versions.iter().filter(|(kind, _)| **kind != RoleKind::Root).map(|(_, version)| *version)
    }

    /// The root that follows the base's: that of this run, or one that somebody else has laid out.
    async fn new_root(
        &mut self,
        base: &Base,
        rest: &Rest,
        beside: &Found,
        ground: &Ground<'_>,
    ) -> Result<Option<(OpId, Signed)>, Error> {
        let trusted = &base.trusted().root;
        let own = self.root.as_ref().map(|(op, _)| *op);
        let others: Vec<_> = beside.roots.iter().filter(|open| Some(open.op) != own).collect();
        match (&others[..], &self.root) {
            ([], Some((op, file))) if Some(file.version) == trusted.version().successor() => {
                return Ok(Some((*op, file.clone())));
            }
            ([open], None) => {
                return Ok(Some((open.op, signed_file(RoleKind::Root, &open.root))));
            }
            ([], _) if !rest.root => return Ok(None),
            ([], None) => {}
            // Another root came into force, or is about to, after this run had signed its own.
            (_, Some(_)) if rest.root => return Err(self.contended(1)),
            _ => return Ok(None),
        }
        let unsigned = ground.next_root(trusted, &self.work.roles).map_err(Error::of(self.client.name))?;
        let draft = draft_of(&unsigned.clone().seal(&BTreeMap::new()))?;
        let authorities = [trusted.authority(RoleKind::Root), draft.authority(RoleKind::Root)];
        let file = self.ring.sign(self.client.name, unsigned, &authorities).await?;
        let op = self.claim(base, &file).await?;
        self.root = Some((op, file.clone()));
        Ok(Some((op, file)))
    }

    fn no_key(&self, role: &RoleName, authority: &Authority<'_>) -> Error {
        Error::NoSigningKey {
            name: self.client.name.clone(),
            role: role.to_string(),
            keys: authority.role.keyids.iter().map(KeyId::short).collect(),
            need: authority.role.threshold.get(),
        }
    }

    /// The highest role file among open intents that was made from the present one and verifies.
    async fn ready_made<'o>(
        &self,
        role: &RoleName,
        authority: &Authority<'_>,
        present: Option<&Signed>,
        open: &[&'o Open],
    ) -> Result<Option<(Signed, &'o Open)>, Error> {
        let from = present.map_or(Version::ONE, |file| file.version);
        let clock = Version::before_second(self.now().as_second());
        let highest = self.versions_seen().chain([from, clock]).map(Version::major).max().unwrap_or(0);
        let mut best: Option<(Signed, &Open)> = None;
        for open in open.iter().filter(|open| open.intent.base == from) {
            let Some(layer) = &open.file else { continue };
            let Some(file) = intents::fetch(&*self.client.repository, layer).await? else { continue };
            if open.intent.file.as_ref().is_none_or(|signed| !signed.fits(&file)) {
                continue;
            }
            let Ok(envelope) = Envelope::<Targets>::parse_untrusted(role, file) else { continue };
            let Ok(verified) = threshold::verify(role, envelope, &[*authority]) else { continue };
            let name = self.client.name.to_string();
            let ours = verified.binding().is_some_and(|binding| binding.collection == name);
            // A version far ahead would be the last one that the role can have.
            let near = verified.version().major() <= highest.saturating_add(MAX_STEP);
            let current = verified.version() > from && near && verified.expires() > self.now();
            let file = signed_file(role.clone(), &verified);
            if ours && current && best.as_ref().is_none_or(|(other, _)| file.version > other.version) {
                best = Some((file, open));
            }
        }
        Ok(best)
    }
}

/// The file of a targets role in a trusted state; none of a signer who has signed nothing yet.
fn present(trusted: &Trusted, role: &RoleName) -> Option<Signed> {
    match role {
        RoleName::Top(_) => Some(signed_file(RoleKind::Targets, &trusted.targets)),
        RoleName::Delegated(name) => trusted.signer(name).map(|metadata| signed_file(role.clone(), metadata)),
    }
}

/// The files of every targets role that `targets` still delegates to, and its own.
fn present_roles(trusted: &Trusted, targets: &Targets) -> BTreeMap<RoleName, Signed> {
    let delegations = targets.delegations().map(Delegations::roles).unwrap_or_default();
    let signers = delegations.iter().map(|delegation| RoleName::Delegated(delegation.name().to_owned()));
    [RoleName::TARGETS]
        .into_iter()
        .chain(signers)
        .filter_map(|role| Some((role.clone(), present(trusted, &role)?)))
        .collect()
}

/// Reads a targets role that was just made, for its delegations.
fn targets_of(file: &Signed) -> Result<Targets, Error> {
    let envelope = Envelope::<Targets>::parse_untrusted(&file.role, file.bytes.clone());
    envelope.map(|envelope| envelope.unverified().clone()).map_err(|e| Error::Usage(e.to_string()))
}
