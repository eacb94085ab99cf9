//! Intents: what a publisher means to change, signed and laid beside the head before the head is touched.
//!
//! Registries have no compare-and-swap, so a publisher who loses a race must still be found by the one who won it.
//! Anyone can write to a registry: an intent counts only when the keys of the role that it changes signed it, over
//! collection, operation, changes, the role version it started from, and an expiry. One that is unsigned, expired or
//! absorbed already does nothing, and a replayed one does nothing either.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::draft::{Draft, Signed, Unsigned};
use super::entry::Change;
use super::envelope::{Binding, FileRef, Metadata};
use super::error::Error;
use super::role::{RoleKind, RoleName, Version};
use super::time;
use crate::image::ImageName;

/// How long an intent counts. A publisher that stalled longer gives up.
pub const INTENT_LIFE: SignedDuration = SignedDuration::from_hours(1);
/// Most changes in one intent: endless data from whoever can write to the registry.
const MAX_CHANGES: usize = 200_000;

/// How long the intent of a new root counts: a rotation that was killed holds up those who cannot finish it.
pub const ROOT_INTENT_LIFE: SignedDuration = SignedDuration::from_mins(10);

/// The id of one publish: the second at which its intent expires in 40 bits, then 88 random ones.
///
/// The instant is in the id, and so in the tag, that an intent which counts no more need not be read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId([u8; 16]);

impl OpId {
    /// An id from random bytes, of an operation whose intent expires at that instant.
    pub fn new(expires: Timestamp, random: [u8; 11]) -> Self {
        let mut bytes = [0; 16];
        let second = u64::try_from(expires.as_second()).unwrap_or(0).to_be_bytes();
        bytes[..Self::INSTANT].copy_from_slice(&second[8 - Self::INSTANT..]);
        bytes[Self::INSTANT..].copy_from_slice(&random);
        Self(bytes)
    }

    /// How many bytes hold the instant.
    const INSTANT: usize = 5;

    /// When the operation's intent expires.
    pub fn expires(&self) -> Timestamp {
        let second = self.0[..Self::INSTANT].iter().fold(0, |sum, byte| sum << 8 | i64::from(*byte));
        Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
    }
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpId({self})")
    }
}

impl FromStr for OpId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut bytes = [0; 16];
        let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        hex::decode_to_slice(text, &mut bytes).ok().filter(|()| lower).map(|()| Self(bytes)).ok_or(())
    }
}

impl Serialize for OpId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OpId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|()| serde::de::Error::custom("an operation id is not 32 hex digits"))
    }
}

/// The signed part of an intent.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Intent {
    version: Version,
    #[serde(deserialize_with = "time::deserialize")]
    expires: Timestamp,
    /// The operation.
    pub op: OpId,
    /// The role that it changes.
    pub role: String,
    /// The version of that role that its author saw.
    pub base: Version,
    /// The highest version of any role that its author saw: whoever merges it goes above.
    pub above: Version,
    /// The operations that took something away and that its author knew of. What it adds stands against those, and
    /// against no other.
    #[serde(default)]
    pub seen: BTreeSet<OpId>,
    /// What its author means.
    pub changes: Vec<Change>,
    /// The file that its author signed and laid out beside it. Without this, anybody could put that of another intent
    /// in its place.
    #[serde(default)]
    pub file: Option<FileRef>,
    #[serde(rename = "x-boltseal", default)]
    binding: Option<Binding>,
}

impl Intent {
    /// A new intent to bring about `file`, to be signed by the keys of `role`. It expires when its operation id says.
    ///
    /// # Errors
    /// [`Error::BadEdit`] for more changes than one intent may hold.
    pub fn draft(collection: &ImageName, role: &RoleName, meant: &Meant<'_>, file: &Signed) -> Result<Unsigned, Error> {
        if meant.changes.len() > MAX_CHANGES {
            return Err(Error::BadEdit(format!("one publish changes at most {MAX_CHANGES} tags")));
        }
        Draft::other(
            role.clone(),
            Self::TYPE,
            collection,
            json!({
                "version": 1, "expires": time::format(meant.op.expires()), "op": meant.op, "role": role.as_str(),
                "base": meant.base, "above": meant.above, "seen": meant.seen, "changes": meant.changes,
                "file": FileRef::of(&file.bytes),
            }),
        )
        .close()
    }

    /// What its author means, to be merged.
    pub fn meant(&self) -> Meant<'_> {
        Meant { op: self.op, base: self.base, above: self.above, seen: &self.seen, changes: &self.changes }
    }
}

/// What the author of an operation means, and what he knew when he began.
#[derive(Debug, Clone, Copy)]
pub struct Meant<'a> {
    /// The operation.
    pub op: OpId,
    /// The version of the role that he saw.
    pub base: Version,
    /// The highest version of any role that he saw.
    pub above: Version,
    /// The operations that took something away and that he knew of.
    pub seen: &'a BTreeSet<OpId>,
    /// The changes.
    pub changes: &'a [Change],
}

/// The changes of several operations in the order in which they are applied to a state that has absorbed others.
///
/// A remove beats an add that did not know of it, whichever is merged first: the absorbed removes of the last hour
/// are remembered for that. Everything else goes by what its author saw, so that what was begun later counts, also
/// where somebody died in between and is merged last.
pub fn merge<'a>(absorbed: &Absorbed, meant: &[Meant<'a>]) -> Vec<&'a Change> {
    let mut ordered: Vec<&Meant<'a>> = meant.iter().collect();
    ordered.sort_by_key(|meant| (meant.base, meant.op));
    let removes = || ordered.iter().flat_map(|meant| meant.changes.iter().filter(|change| change.removes()));
    let stands = |author: &Meant<'_>, add: &Change| {
        let others = ordered.iter().filter(|other| other.op != author.op && !author.seen.contains(&other.op));
        !others.flat_map(|other| other.changes).any(|other| other.beats(add)) && !absorbed.overrules(author, add)
    };
    let adds = ordered
        .iter()
        .flat_map(|meant| meant.changes.iter().filter(|change| !change.removes() && stands(meant, change)));
    removes().chain(adds).collect()
}

impl Metadata for Intent {
    const TYPE: &'static str = "boltseal-intent";

    fn version(&self) -> Version {
        self.version
    }

    fn expires(&self) -> Timestamp {
        self.expires
    }

    fn binding(&self) -> Option<&Binding> {
        self.binding.as_ref()
    }

    fn check(&self) -> Result<(), String> {
        if self.changes.len() > MAX_CHANGES {
            return Err("it has too many changes".to_owned());
        }
        Ok(())
    }
}

/// The operations that a state has absorbed and whose intents have not expired, each with what it took away.
///
/// Every head adds an operation of its own that nobody else has, so that a head is told from those it was not made from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Absorbed(BTreeMap<OpId, Vec<Change>>);

impl Absorbed {
    /// Reads the list.
    ///
    /// # Errors
    /// A reason.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let role: RoleName = RoleKind::Timestamp.into();
        let malformed = |e: serde_json::Error| Error::Malformed { role, reason: e.to_string() };
        serde_json::from_slice(bytes).map(Self).map_err(malformed)
    }

    /// Writes the list; equal lists give equal bytes.
    pub fn encode(&self) -> Bytes {
        serde_json::to_vec(&self.0).unwrap_or_default().into()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an operation is absorbed.
    pub fn contains(&self, op: &OpId) -> bool {
        self.0.contains_key(op)
    }

    /// Notes an operation with its changes.
    pub fn add(&mut self, op: OpId, changes: &[Change]) {
        self.0.insert(op, changes.iter().filter(|change| change.removes()).cloned().collect());
    }

    /// The operations that took something away: what an author who begins here knows of.
    pub fn removes(&self) -> BTreeSet<OpId> {
        self.0.iter().filter(|(_, removed)| !removed.is_empty()).map(|(op, _)| *op).collect()
    }

    /// Whether something that the author did not know of took away what he adds.
    pub fn overrules(&self, author: &Meant<'_>, add: &Change) -> bool {
        let unknown = self.0.iter().filter(|(op, _)| **op != author.op && !author.seen.contains(*op));
        unknown.flat_map(|(_, removed)| removed).any(|removed| removed.beats(add))
    }

    /// Whether it holds an operation that `other`, a later state, would still hold had it ever known it.
    pub fn exceeds(&self, other: &Self, now: Timestamp) -> bool {
        self.0.keys().any(|op| op.expires() > now && !other.contains(op))
    }

    /// Drops what has expired: an expired intent counts no more, also when somebody lays it out again.
    pub fn prune(&mut self, now: Timestamp) {
        self.0.retain(|op, _| op.expires() > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Digest;
    use crate::trust::entry::Described;

    fn op(number: u8) -> OpId {
        OpId::new(Timestamp::from_second(1_800_000_000).unwrap(), [number; 11])
    }

    fn set(tag: &str, content: u8) -> Change {
        let media_type = "application/vnd.oci.image.manifest.v1+json".to_owned();
        let manifest = Described { digest: Digest::of(&[content]), length: 1, media_type };
        let (children, annotations) = (Vec::new(), BTreeMap::new());
        Change::SetTag { tag: tag.to_owned(), manifest, children, annotations, supersede: false }
    }

    fn remove(tag: &str) -> Change {
        Change::RemoveTag { tag: tag.to_owned(), all_digests: false }
    }

    fn meant<'a>(number: u8, base: u64, seen: &'a BTreeSet<OpId>, changes: &'a [Change]) -> Meant<'a> {
        let base = Version::new(base).unwrap();
        Meant { op: op(number), base, above: base, seen, changes }
    }

    #[test]
    fn an_operation_id_tells_when_its_intent_expires() {
        assert_eq!(op(7).expires().as_second(), 1_800_000_000);
        assert_eq!(op(7).to_string().parse(), Ok(op(7)));
        assert!(OpId::new(Timestamp::from_second(1_900_000_000).unwrap(), [0; 11]) > op(255));
    }

    #[test]
    fn a_remove_beats_an_add_that_did_not_know_of_it_and_no_other() {
        let (none, knows) = (BTreeSet::new(), BTreeSet::from([op(1)]));
        let (removes, adds, other) = ([remove("1.0")], [set("1.0", 1)], [set("2.0", 2)]);
        let removal = meant(1, 1, &none, &removes);
        let late = [removal, meant(2, 1, &none, &adds), meant(3, 1, &none, &other)];
        assert_eq!(merge(&Absorbed::default(), &late), [&removes[0], &other[0]]);
        let after = [meant(2, 5, &knows, &adds), removal];
        assert_eq!(merge(&Absorbed::default(), &after), [&removes[0], &adds[0]]);

        let mut absorbed = Absorbed::default();
        absorbed.add(op(1), &removes);
        assert_eq!(merge(&absorbed, &[meant(2, 9, &none, &adds)]), Vec::<&Change>::new());
        assert_eq!(merge(&absorbed, &[meant(2, 1, &knows, &adds)]), [&adds[0]]);
        assert_eq!(absorbed.removes(), knows);
    }

    #[test]
    fn what_was_begun_later_counts_whoever_is_merged_first() {
        let none = BTreeSet::new();
        let (early, late) = ([set("1.0", 1)], [set("1.0", 2)]);
        let both = [meant(9, 7, &none, &late), meant(1, 7, &none, &early), meant(2, 3, &none, &early)];
        assert_eq!(merge(&Absorbed::default(), &both), [&early[0], &early[0], &late[0]]);
    }

    #[test]
    fn what_is_absorbed_is_remembered_until_it_expires() {
        let mut absorbed = Absorbed::default();
        absorbed.add(op(1), &[remove("1.0"), set("2.0", 1)]);
        let read = Absorbed::parse(&absorbed.encode()).unwrap();
        assert_eq!(read, absorbed);
        assert!(read.contains(&op(1)) && !read.exceeds(&absorbed, Timestamp::MIN));
        assert!(read.exceeds(&Absorbed::default(), Timestamp::MIN));
        assert!(!read.exceeds(&Absorbed::default(), op(1).expires()));
        absorbed.prune(op(1).expires());
        assert!(absorbed.is_empty());
    }
}
