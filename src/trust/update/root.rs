//! The first stage: from the roots in memory, or the pinned one, to the newest root (TUF 5.3).

use bytes::Bytes;

use super::timestamp::TimestampStage;
use super::{Answer, Context, Profile, Request, Stage, Step};
use crate::trust::envelope::{Envelope, Metadata};
use crate::trust::error::Error;
use crate::trust::pin::{Pin, not_pinned};
use crate::trust::role::{RoleKind, RoleName, Version};
use crate::trust::root::Root;
use crate::trust::threshold::{self, Authority, Verified};

const ROOT: RoleName = RoleName::Top(RoleKind::Root);

/// Looks for the first root that meets a pin, when memory holds none.
#[derive(Debug)]
pub(super) struct PinStage {
    next: Version,
    tried: u32,
    /// The root that memory held although the pins no longer lead to it.
    former: Option<Verified<Root>>,
    /// The version of that root where one of the present pins still leads to it: it was trusted, so it is a floor.
    floor: Option<Version>,
}

/// Walks from a trusted root to the newest one.
#[derive(Debug)]
pub(super) struct RootStage {
    trusted: Verified<Root>,
    /// Pins that no root on the way has met yet.
    unmet: Vec<Pin>,
    /// The version that the walk must reach, where memory already stood there.
    floor: Option<Version>,
    /// What becomes of memory once every pin is met and the floor reached: an answer that ends before that must not
    /// take the place of what is remembered.
    held: Vec<Step>,
    walked: u32,
}

/// Judges the roots in memory by one another and by the pins.
pub(super) fn begin(roots: &[Bytes], context: &mut Context) -> Result<Stage, Error> {
    let damaged = |e: Error| Error::Damaged { role: ROOT, reason: e.to_string() };
    let mut unmet = match &context.rules.profile {
        Profile::Image { pins, .. } if pins.is_empty() => return Err(not_pinned("no root is pinned")),
        Profile::Image { pins, .. } => pins.clone(),
        Profile::Plain => Vec::new(),
    };
    let mut trusted: Option<Verified<Root>> = None;
    for bytes in roots {
        // TUF 5.2: its own expiry does not matter, its own signatures do, before any request.
        let next = match &trusted {
            None => verify_first(bytes.clone(), context),
            Some(before) => verify_next(bytes.clone(), before, context),
        }
        .map_err(damaged)?;
        unmet.retain(|pin| !pin.is_met_by(&next));
        trusted = Some(next);
    }
    match (trusted, &context.rules.profile) {
        (Some(trusted), _) if unmet.is_empty() => {
            Box::new(RootStage { trusted, unmet, floor: None, held: Vec::new(), walked: 0 }).proceed(context)
        }
        (former, Profile::Image { pins, .. }) => {
            let next = pins.iter().map(|pin| pin.min_version).min().unwrap_or(Version::ONE);
            let vouched = unmet.len() < pins.len();
            let floor = former.as_ref().filter(|_| vouched).map(|root| root.version());
            Ok(Stage::Pin(Box::new(PinStage { next, tried: 0, former, floor })))
        }
        (_, Profile::Plain) => Err(not_pinned("no trusted root was given")),
    }
}

/// A root without predecessor: it must be signed by its own threshold.
fn verify_first(bytes: Bytes, context: &Context) -> Result<Verified<Root>, Error> {
    let envelope = Envelope::<Root>::parse_untrusted(&ROOT, bytes)?;
    let own = envelope.unverified().clone();
    let verified = threshold::verify(&ROOT, envelope, &[own.authority(RoleKind::Root)])?;
    check(&verified, context)?;
    Ok(verified)
}

/// TUF 5.3.4: signed by the threshold of the previous root and by its own; 5.3.5: exactly the next version.
fn verify_next(bytes: Bytes, before: &Verified<Root>, context: &Context) -> Result<Verified<Root>, Error> {
    let envelope = Envelope::<Root>::parse_untrusted(&ROOT, bytes)?;
    let own = envelope.unverified().clone();
    let previous = Authority { whose: Some("the previous root's keys"), ..before.authority(RoleKind::Root) };
    let verified = threshold::verify(&ROOT, envelope, &[previous, own.authority(RoleKind::Root)])?;
    if Some(verified.version()) != before.version().successor() {
        return Err(Error::Rollback { role: ROOT, have: before.version(), got: verified.version() });
    }
    check(&verified, context)?;
    Ok(verified)
}

fn check(root: &Verified<Root>, context: &Context) -> Result<(), Error> {
    context.check_binding(&ROOT, root.binding())?;
    match (&context.rules.profile, root.online_root_key()) {
        (Profile::Image { .. }, Some(id)) => {
            Err(Error::Malformed { role: ROOT, reason: format!("key {id} is a root key and an online key at once") })
        }
        _ => Ok(()),
    }
}

impl PinStage {
    pub(super) fn want(&self, context: &Context) -> Step {
        Step::Fetch(Request { role: ROOT, version: Some(self.next), max: context.rules.limits.root })
    }

    pub(super) fn answer(mut self: Box<Self>, answer: Answer, context: &mut Context) -> Result<Stage, Error> {
        let bytes = match answer {
            Answer::Found(bytes) => bytes,
            Answer::Absent => return Err(not_pinned(format!("no root up to version {} meets the pin", self.next))),
            Answer::Failed(reason) => return Err(Error::Unavailable { role: ROOT, reason }),
        };
        let root = verify_first(bytes, context)?;
        if root.version() != self.next {
            return Err(Error::Rollback { role: ROOT, have: self.next, got: root.version() });
        }
        let Profile::Image { pins, .. } = &context.rules.profile else {
            return Err(not_pinned("no root is pinned"));
        };
        if !pins.iter().any(|pin| pin.is_met_by(&root)) {
            self.tried += 1;
            self.next = match self.next.successor() {
                Some(next) if self.tried < context.rules.limits.root_rotations => next,
                _ => return Err(not_pinned(format!("no root up to version {} meets the pin", self.next))),
            };
            return Ok(Stage::Pin(self));
        }
        let unmet = pins.iter().filter(|pin| !pin.is_met_by(&root)).cloned().collect();
        let mut held = Vec::new();
        if let Some(former) = &self.former {
            held.extend(forget_rotated(former, &root));
            held.push(Step::ForgetRoots);
        }
        held.push(Context::persisting(&ROOT, &root));
        Box::new(RootStage { trusted: root, unmet, floor: self.floor, held, walked: 0 }).proceed(context)
    }
}

impl RootStage {
    pub(super) fn want(&self, context: &Context) -> Step {
        // `proceed` ends the walk at the last version and at the cap.
        let version = self.trusted.version().successor();
        Step::Fetch(Request { role: ROOT, version, max: context.rules.limits.root })
    }

    pub(super) fn answer(mut self: Box<Self>, answer: Answer, context: &mut Context) -> Result<Stage, Error> {
        match answer {
            Answer::Found(bytes) => {
                let next = verify_next(bytes, &self.trusted, context)?;
                self.held.extend(forget_rotated(&self.trusted, &next));
                self.held.push(Context::persisting(&ROOT, &next));
                self.unmet.retain(|pin| !pin.is_met_by(&next));
                self.trusted = next;
                self.walked += 1;
                self.proceed(context)
            }
            // Only "not there" ends the walk; a time-out or a broken server would hide a rotation.
            Answer::Absent => self.end(context),
            Answer::Failed(reason) => Err(Error::Unavailable { role: ROOT, reason }),
        }
    }

    fn proceed(mut self: Box<Self>, context: &mut Context) -> Result<Stage, Error> {
        if self.unmet.is_empty() && self.floor.is_none_or(|floor| self.trusted.version() >= floor) {
            // TUF 5.3.8: each root is persisted right away.
            context.effects.extend(self.held.drain(..));
        }
        let more = self.walked < context.rules.limits.root_rotations;
        if more && self.trusted.version().successor().is_some() { Ok(Stage::Root(self)) } else { self.end(context) }
    }

    fn end(self, context: &Context) -> Result<Stage, Error> {
        if !self.unmet.is_empty() {
            return Err(not_pinned("a root on the way meets one pin, and none meets another"));
        }
        if let Some(have) = self.floor.filter(|floor| self.trusted.version() < *floor) {
            return Err(Error::Rollback { role: ROOT, have, got: self.trusted.version() });
        }
        // TUF 5.3.10; intermediate roots may have expired (5.3.6).
        context.check_expiry(&ROOT, &*self.trusted)?;
        Ok(Stage::Timestamp(Box::new(TimestampStage::new(self.trusted))))
    }
}

/// TUF 5.3.11, fast-forward recovery: rotated online keys end the memory of what the former ones signed. Judged
/// against the last persisted root, never the shipped one, and done before the new root is persisted.
fn forget_rotated(before: &Root, next: &Root) -> Vec<Step> {
    if [RoleKind::Timestamp, RoleKind::Snapshot].into_iter().any(|kind| before.rotates(kind, next)) {
        vec![Step::Forget(RoleKind::Timestamp.into()), Step::Forget(RoleKind::Snapshot.into())]
    } else {
        Vec::new()
    }
}
