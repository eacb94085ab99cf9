//! The last stage: the search through delegations for each wanted target (TUF 5.6.7), a bounded worklist.
//!
//! - Pre-order, depth first, in the order of the delegations; a role visited once is not visited again.
//! - A terminating delegation that covers the path ends the search after its own subtree.
//! - A role reached from another delegator is verified again, with that delegator's keys. In one run a role has one
//!   content: its first verified bytes, so that what they delegate does not depend on the way that led there.
//! - A signer answers for everything below it. What it delegates to in its turn speaks in its name.
//! - A role that cannot be fetched or verified on the way is an error: to go on would let whoever withholds it choose
//!   who answers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::{Answer, Breadth, Context, Notice, Profile, Stage, Step, recalled, required, targets};
use crate::trust::delegation::Delegations;
use crate::trust::envelope::Metadata;
use crate::trust::error::Error;
use crate::trust::key::KeyId;
use crate::trust::role::{RoleKind, RoleName, Version};
use crate::trust::root::Root;
use crate::trust::snapshot::{FileMeta, Snapshot, Timestamp};
use crate::trust::targets::{Target, Targets};
use crate::trust::threshold::{Authority, Verified};

/// Whose word an entry is that no signer gave.
const TARGETS: &str = "targets";
/// Roles that hold entries of the targets keys, not of a signer.
const OF_TARGETS: [&str; 2] = ["tags", "revoked"];

/// Where a target was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// The entry.
    pub target: Target,
    /// The role that holds it.
    pub role: RoleName,
    /// Whose word it is: `targets`, or the signer under whom the role lies.
    pub signer: String,
    /// The version of the role.
    pub version: Version,
    /// When the role expires.
    pub expires: jiff::Timestamp,
    /// The ids of the keys that signed the role.
    pub signed_by: Vec<KeyId>,
}

/// Everything that one run came to trust.
#[derive(Debug)]
pub struct Trusted {
    /// The root.
    pub root: Verified<Root>,
    /// The timestamp.
    pub timestamp: Verified<Timestamp>,
    /// The snapshot.
    pub snapshot: Verified<Snapshot>,
    /// The top-level targets role.
    pub targets: Verified<Targets>,
    /// Delegated roles that were needed, by delegator and name.
    pub delegated: BTreeMap<(RoleName, RoleName), Verified<Targets>>,
    /// The answer for each wanted path; none where nobody whose word counts has signed it.
    pub found: BTreeMap<String, Option<Found>>,
    /// What was odd on the way.
    pub notices: Vec<Notice>,
}

impl Trusted {
    /// The versions of the top-level roles.
    pub fn versions(&self) -> BTreeMap<RoleKind, Version> {
        BTreeMap::from([
            (RoleKind::Root, self.root.version()),
            (RoleKind::Timestamp, self.timestamp.version()),
            (RoleKind::Snapshot, self.snapshot.version()),
            (RoleKind::Targets, self.targets.version()),
        ])
    }

    /// The role of a signer, where it was read and the signer has signed anything.
    pub fn signer(&self, name: &str) -> Option<&Verified<Targets>> {
        self.delegated.get(&(RoleName::TARGETS, RoleName::Delegated(name.to_owned())))
    }

    /// When the timestamp was signed, as it says itself.
    pub fn timestamp_time(&self) -> Option<String> {
        self.timestamp.binding().and_then(|binding| binding.time.clone())
    }
}

#[derive(Debug)]
pub(super) struct SearchStage {
    trusted: Trusted,
    /// The one content of every delegated role that was verified in this run.
    contents: BTreeMap<RoleName, Bytes>,
    search: Option<Search>,
}

/// The search for one path; or, without a path, the reading of every signer's role.
#[derive(Debug)]
struct Search {
    path: Option<String>,
    stack: Vec<Visit>,
    visited: BTreeSet<RoleName>,
    /// The role whose file is being waited for, and whether memory was asked.
    waiting: Option<(Visit, bool)>,
}

#[derive(Debug, Clone)]
struct Visit {
    role: RoleName,
    /// Who delegated to it; none for the top-level role.
    delegator: Option<RoleName>,
    signer: String,
}

impl SearchStage {
    pub(super) fn begin(
        root: Verified<Root>,
        timestamp: Verified<Timestamp>,
        snapshot: Verified<Snapshot>,
        targets: Verified<Targets>,
        context: &mut Context,
    ) -> Result<Stage, Error> {
        let (delegated, found) = (BTreeMap::new(), BTreeMap::new());
        let trusted = Trusted { root, timestamp, snapshot, targets, delegated, found, notices: Vec::new() };
        let mut stage = Box::new(Self { trusted, contents: BTreeMap::new(), search: None });
        stage.advance(context)?;
        Ok(Stage::Search(stage))
    }

    pub(super) fn want(&self, context: &Context) -> Step {
        let Some((visit, asked)) = self.search.as_ref().and_then(|search| search.waiting.as_ref()) else {
            return Step::Done;
        };
        match (asked, self.trusted.snapshot.role(&visit.role)) {
            (true, Some(promise)) => Step::Fetch(targets::request(&visit.role, promise, &self.trusted.root, context)),
            _ => Step::Recall(visit.role.clone()),
        }
    }

    pub(super) fn answer(mut self: Box<Self>, answer: Answer, context: &mut Context) -> Result<Stage, Error> {
        let waiting = self.search.as_mut().and_then(|search| search.waiting.take());
        if let Some((visit, asked)) = waiting {
            let promise = self.promise(&visit.role)?.clone();
            let verified = if asked {
                match self.verify(&visit, required(&visit.role, answer)?, &promise, context) {
                    Ok(verified) => {
                        context.persist(&visit.role, &verified);
                        Some(verified)
                    }
                    Err(e) if self.is_passable(&visit, &e, context) => {
                        self.pass_over(&visit);
                        self.advance(context)?;
                        return Ok(Stage::Search(self));
                    }
                    Err(e) => return Err(e),
                }
            } else {
                recalled(answer).and_then(|bytes| self.verify(&visit, bytes, &promise, context).ok())
            };
            match (verified, &mut self.search) {
                (Some(verified), _) => {
                    self.keep(&visit, verified);
                    self.visit(&visit, context);
                }
                (None, Some(search)) => search.waiting = Some((visit, true)),
                (None, None) => {}
            }
        }
        self.advance(context)?;
        Ok(Stage::Search(self))
    }

    pub(super) fn trusted(&self) -> &Trusted {
        &self.trusted
    }

    pub(super) fn finish(self: Box<Self>, notices: Vec<Notice>) -> Option<Trusted> {
        let mut trusted = self.trusted;
        trusted.notices = notices;
        self.search.is_none().then_some(trusted)
    }

    /// Goes on until a file is needed or nothing is left to look for.
    pub(super) fn advance(&mut self, context: &mut Context) -> Result<(), Error> {
        loop {
            let Some(search) = &mut self.search else {
                let (path, stack) = match context.wanted.pop_front() {
                    Some(path) => {
                        let top = Visit { role: RoleName::TARGETS, delegator: None, signer: TARGETS.to_owned() };
                        (Some(path), vec![top])
                    }
                    None if std::mem::replace(&mut context.rules.breadth, Breadth::Wanted) == Breadth::Signers => {
                        (None, self.signers())
                    }
                    None => return Ok(()),
                };
                self.search = Some(Search { path, stack, visited: BTreeSet::new(), waiting: None });
                continue;
            };
            if search.waiting.is_some() {
                return Ok(());
            }
            // The top-level role is visited too, and does not count.
            let full = search.visited.len() > context.rules.limits.delegated_roles;
            let Some(visit) = search.stack.pop().filter(|_| !full) else {
                if let Some(path) = search.path.take() {
                    self.trusted.found.entry(path).or_insert(None);
                }
                self.search = None;
                continue;
            };
            if search.visited.contains(&visit.role) {
                continue;
            }
            let listed = visit.delegator.is_none() || self.trusted.snapshot.role(&visit.role).is_some();
            if !listed && matches!(context.rules.profile, Profile::Image { .. }) {
                // A signer who has signed nothing yet. The snapshot's floor keeps one that has from being hidden from
                // who saw it (5.5.5); a machine without memory can be shown the others' word alone.
                continue;
            }
            let known = match &visit.delegator {
                None => true,
                Some(delegator) => self.trusted.delegated.contains_key(&(delegator.clone(), visit.role.clone())),
            };
            let promise = if known { None } else { Some(self.promise(&visit.role)?.clone()) };
            match (promise, self.contents.get(&visit.role)) {
                (None, _) => self.visit(&visit, context),
                (Some(promise), Some(bytes)) => match self.verify(&visit, bytes.clone(), &promise, context) {
                    Ok(verified) => {
                        self.keep(&visit, verified);
                        self.visit(&visit, context);
                    }
                    Err(e) if self.is_passable(&visit, &e, context) => self.pass_over(&visit),
                    Err(e) => return Err(e),
                },
                (Some(_), None) => {
                    if let Some(search) = &mut self.search {
                        search.waiting = Some((visit, false));
                    }
                }
            }
        }
    }

    /// Whether a run that reads every signer goes on without one: whose keys were replaced and who has not signed under
    /// the new ones, or whose role expired. That is nobody else's fault and must not stop who publishes. Whoever asks
    /// what a tag is, and would be answered by that signer, is refused all the same.
    fn is_passable(&self, visit: &Visit, error: &Error, context: &Context) -> bool {
        let reading = self.search.as_ref().is_some_and(|search| search.path.is_none());
        let of_signer = !OF_TARGETS.contains(&visit.role.as_str());
        (reading || context.rules.breadth == Breadth::Signers)
            && of_signer
            && matches!(error, Error::Unsigned { .. } | Error::Expired { .. })
    }

    /// Goes on without a signer; what it would have answered is answered by nobody.
    fn pass_over(&mut self, visit: &Visit) {
        if let Some(search) = &mut self.search {
            search.visited.insert(visit.role.clone());
            if search.path.is_some() {
                search.stack.clear();
            }
        }
    }

    /// The signers that the snapshot lists, and the other ordinary roles that targets delegates to.
    fn signers(&self) -> Vec<Visit> {
        let roles = self.trusted.targets.delegations().map(Delegations::roles).unwrap_or_default();
        roles
            .iter()
            .rev()
            .map(|delegation| Visit {
                role: RoleName::Delegated(delegation.name().to_owned()),
                delegator: Some(RoleName::TARGETS),
                signer: delegation.name().to_owned(),
            })
            .collect()
    }

    fn keep(&mut self, visit: &Visit, verified: Verified<Targets>) {
        let delegator = visit.delegator.clone().unwrap_or(RoleName::TARGETS);
        self.contents.entry(visit.role.clone()).or_insert_with(|| verified.bytes().clone());
        self.trusted.delegated.insert((delegator, visit.role.clone()), verified);
    }

    /// Looks into a role that is at hand.
    fn visit(&mut self, visit: &Visit, context: &Context) {
        let Some(search) = &mut self.search else { return };
        let metadata = match &visit.delegator {
            None => &self.trusted.targets,
            Some(delegator) => match self.trusted.delegated.get(&(delegator.clone(), visit.role.clone())) {
                Some(metadata) => metadata,
                None => return,
            },
        };
        search.visited.insert(visit.role.clone());
        let counts = match &context.rules.profile {
            Profile::Image { signers: Some(signers), .. } => signers.contains(&visit.signer),
            _ => true,
        };
        let Some(path) = &search.path else { return };
        if let Some(target) = metadata.target(path).filter(|_| counts) {
            let found = Found {
                target: target.clone(),
                role: visit.role.clone(),
                signer: visit.signer.clone(),
                version: metadata.version(),
                expires: metadata.expires(),
                signed_by: metadata.signed_by().to_vec(),
            };
            self.trusted.found.insert(path.clone(), Some(found));
            search.stack.clear();
            return;
        }
        let Some(delegations) = metadata.delegations() else { return };
        let mut children = VecDeque::new();
        for candidate in delegations.candidates(path) {
            if candidate.terminating {
                search.stack.clear();
            }
            let own = delegations.bins().is_some() || OF_TARGETS.contains(&candidate.role.as_str());
            let signer = match visit.signer.as_str() {
                TARGETS if !own => candidate.role.as_str().to_owned(),
                inherited => inherited.to_owned(),
            };
            children.push_front(Visit { role: candidate.role, delegator: Some(visit.role.clone()), signer });
            if candidate.terminating {
                break;
            }
        }
        search.stack.extend(children);
    }

    /// TUF 5.6.7: a role that the snapshot does not list is not fetched.
    fn promise(&self, role: &RoleName) -> Result<&FileMeta, Error> {
        self.trusted.snapshot.role(role).ok_or_else(|| Error::Missing { role: role.clone() })
    }

    fn verify(
        &self,
        visit: &Visit,
        bytes: Bytes,
        promise: &FileMeta,
        context: &Context,
    ) -> Result<Verified<Targets>, Error> {
        let delegating = match &visit.delegator {
            None | Some(RoleName::Top(_)) => &self.trusted.targets,
            // The delegator itself may have been reached in more than one way; it has one content.
            Some(delegator) => self
                .trusted
                .delegated
                .iter()
                .find_map(|((_, role), metadata)| (role == delegator).then_some(metadata))
                .unwrap_or(&self.trusted.targets),
        };
        let (keys, role) = delegating
            .delegations()
            .and_then(|delegations| delegations.authority(&visit.role))
            .ok_or_else(|| Error::Missing { role: visit.role.clone() })?;
        context.verify_promised(&visit.role, bytes, promise, Authority { keys, role: &role, whose: None })
    }
}
