//! The next state: what is made and signed from a base, a run's own work and the intents beside the head.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::base::{ABSORBED, Base};
use super::{Rest, Run, draft_of, random};
use crate::ops::error::Error;
use crate::ops::intents::{self, Found, Open};
use crate::trust::KeyId;
use crate::trust::draft::{Lifetimes, Signed};
use crate::trust::envelope::{Envelope, Metadata};
use crate::trust::intent::{Meant, OpId, merge};
use crate::trust::plan::{self, Ground, signed_file};
use crate::trust::role::{RoleKind, RoleName, Version};
use crate::trust::root::Root;
use crate::trust::targets::Targets;
use crate::trust::threshold;

/// A state ready to be put.
pub(super) struct Next {
    pub(super) files: BTreeMap<String, Bytes>,
    pub(super) targets: Signed,
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
        let ground = Ground {
            name: self.client.name,
            now: self.now(),
            lifetimes: Lifetimes::of_root(trusted.root.bytes()),
            random: u32::from_le_bytes(random()?),
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
                    return if rest.root { Err(self.no_key(&root, kind)) } else { Ok(None) };
                }
                resign.insert(kind);
            }
            files.insert(file.file_name(), file.bytes);
            signed.insert(RoleKind::Root);
            absorbed.add(op, &[]);
        } else if !beside.roots.is_empty() {
            // Two roots at once: their authors yield, or they expire.
            return Ok(None);
        }

        let present = signed_file(RoleKind::Targets, &trusted.targets);
        let own: Option<Meant<'_>> = rest.changes.then(|| self.meant());
        let meant: Vec<Meant<'_>> = beside.open.iter().map(|open| open.intent.meant()).chain(own).collect();
        let seen: Vec<Version> = meant.iter().map(|meant| meant.above).chain(self.versions_seen()).collect();
        let mut targets = present.clone();
        if self.ring.can_sign(&root.authority(RoleKind::Targets))? {
            if !meant.is_empty() || resign.contains(&RoleKind::Targets) {
                let unsigned = ground.next_targets(&present, &merge(&absorbed, &meant), &seen).map_err(&trust)?;
                targets = self.ring.sign(self.client.name, unsigned, &[root.authority(RoleKind::Targets)]).await?;
                signed.insert(RoleKind::Targets);
            }
            meant.iter().for_each(|meant| absorbed.add(meant.op, meant.changes));
        } else if rest.changes || resign.contains(&RoleKind::Targets) {
            return Err(self.no_key(&root, RoleKind::Targets));
        } else if let Some((theirs, by)) = self.ready_made(&root, &present, &beside.open).await? {
            // The authors' own file serves where the role's keys are elsewhere.
            targets = theirs;
            absorbed.add(by.intent.op, &by.intent.changes);
        } else if signed.is_empty() && resign.is_empty() && base.over.digest == base.updated.head.digest {
            return Ok(None);
        }
        // Every head is told from every other by an operation of its own, also one that changes nothing.
        absorbed.add(self.op, &self.work.changes);

        let seen: Vec<Version> = seen.into_iter().chain([targets.version]).collect();
        let mut snapshot = signed_file(RoleKind::Snapshot, &trusted.snapshot);
        if targets != present || resign.contains(&RoleKind::Snapshot) {
            let unsigned =
                ground.next_snapshot(Some(&snapshot), std::slice::from_ref(&targets), &seen).map_err(&trust)?;
            snapshot = self.ring.sign(self.client.name, unsigned, &[root.authority(RoleKind::Snapshot)]).await?;
            signed.insert(RoleKind::Snapshot);
        }
        absorbed.prune(self.now());
        let former = signed_file(RoleKind::Timestamp, &trusted.timestamp);
        let unsigned = ground.next_timestamp(Some(&former), &snapshot, &absorbed, &seen).map_err(&trust)?;
        let timestamp = self.ring.sign(self.client.name, unsigned, &[root.authority(RoleKind::Timestamp)]).await?;
        signed.insert(RoleKind::Timestamp);
        files.insert(ABSORBED.to_owned(), absorbed.encode());
        files.extend([&targets, &snapshot, &timestamp].map(|file| (file.file_name(), file.bytes.clone())));
        Ok(Some(Next { files, targets, signed }))
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

    fn no_key(&self, root: &Root, kind: RoleKind) -> Error {
        Error::NoSigningKey {
            name: self.client.name.clone(),
            role: kind.to_string(),
            keys: root.role(kind).keyids.iter().map(KeyId::short).collect(),
            need: root.role(kind).threshold.get(),
        }
    }

    /// The highest role file among open intents that was made from the present one and verifies.
    async fn ready_made<'o>(
        &self,
        root: &Root,
        present: &Signed,
        open: &'o [Open],
    ) -> Result<Option<(Signed, &'o Open)>, Error> {
        let mut best: Option<(Signed, &Open)> = None;
        for open in open.iter().filter(|open| open.intent.base == present.version) {
            let Some(layer) = &open.file else { continue };
            let Some(file) = intents::fetch(&*self.client.repository, layer).await? else { continue };
            let Ok(envelope) = Envelope::<Targets>::parse_untrusted(&RoleName::TARGETS, file) else { continue };
            let Ok(verified) = threshold::verify(&RoleName::TARGETS, envelope, &[root.authority(RoleKind::Targets)])
            else {
                continue;
            };
            let name = self.client.name.to_string();
            let ours = verified.binding().is_some_and(|binding| binding.collection == name);
            let current = verified.version() > present.version && verified.expires() > self.now();
            let file = signed_file(RoleKind::Targets, &verified);
            if ours && current && best.as_ref().is_none_or(|(other, _)| file.version > other.version) {
                best = Some((file, open));
            }
        }
        Ok(best)
    }
}
