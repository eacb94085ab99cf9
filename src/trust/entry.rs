//! The entry model: what is signed of a tag and of a manifest (docs/format.md).
//!
//! - A tag has an entry under `<name>:<tag>`, a manifest one under `<name>@sha256:<hex>`; so have the manifests that a
//!   signed index lists.
//! - A manifest's entry names the tags that hold it and those that held it, capped; it counts only where one of them
//!   is a tag that the same role may sign.
//! - When the last tag moves away the entry stays, with the instant since when it is superseded.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::Error;
use super::role::RoleName;
use super::signer::Signer;
use super::targets::Target;
use super::time;
use crate::image::{Digest, ImageName, Tag};

/// Most tags that a manifest's entry names; beyond, it says that there are more.
pub const MAX_TAGS: usize = 100;
/// Most manifests of an index that are signed with it.
pub const MAX_CHILDREN: usize = 1000;

/// A manifest as it is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Described {
    /// The digest of its bytes.
    pub digest: Digest,
    /// The length of its bytes.
    pub length: u64,
    /// Its media type.
    #[serde(rename = "mediaType")]
    pub media_type: String,
}

/// What an entry says beyond length and hashes: the `custom` member.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Custom {
    /// The media type of the manifest.
    #[serde(rename = "mediaType", default)]
    pub media_type: String,
    /// What the signer noted. Shown, and without meaning to a policy that does not name it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Of a manifest: the tags that hold it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
    /// Of a manifest: the tags that held it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub former: BTreeSet<String>,
    /// Of a manifest: whether more tags hold or held it than are named.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// Of an index: the manifests that were signed with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<Digest>,
    /// Of a manifest: since when no tag holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded: Option<String>,
    /// Members that we do not know; kept.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// An entry, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The manifest.
    pub manifest: Described,
    /// What else is said of it.
    pub custom: Custom,
    /// Since when no tag holds it, where that is so.
    pub superseded: Option<Timestamp>,
}

impl Entry {
    /// Reads the entry of a target.
    ///
    /// # Errors
    /// [`Error::Malformed`] naming the role that holds it, where there is no SHA-256 or `custom` is not ours.
    pub fn of(role: &RoleName, path: &str, target: &Target) -> Result<Self, Error> {
        let malformed = |reason: &str| Error::Malformed {
            role: role.clone(),
            reason: format!("the entry of `{}` {reason}", path.escape_debug()),
        };
        let digest = target.hashes.sha256().ok_or_else(|| malformed("has no sha256"))?;
        let custom: Custom = match &target.custom {
            Some(raw) => {
                serde_json::from_str(raw.get()).map_err(|e| malformed(&format!("has an odd `custom`: {e}")))?
            }
            None => return Err(malformed("has no `custom`")),
        };
        if custom.media_type.is_empty() {
            return Err(malformed("has no media type"));
        }
        let superseded = custom.superseded.as_deref().map(time::parse).transpose().map_err(|e| malformed(&e))?;
        let manifest = Described { digest, length: target.length, media_type: custom.media_type.clone() };
        Ok(Self { manifest, custom, superseded })
    }

    /// Whether a tag holds or held the manifest. With more tags than are named, only named ones are known.
    pub fn names(&self, tag: &Tag) -> bool {
        self.custom.tags.contains(tag.as_str()) || self.custom.former.contains(tag.as_str())
    }

    /// Whether one of the tags is held, or was, that `may_sign` allows.
    pub fn counts_by(&self, may_sign: impl Fn(&str) -> bool) -> bool {
        self.custom.tags.iter().chain(&self.custom.former).any(|tag| may_sign(tag))
    }

    fn to_json(&self) -> Value {
        json!({
            "length": self.manifest.length,
            "hashes": {"sha256": self.manifest.digest.hex()},
            "custom": serde_json::to_value(&self.custom).unwrap_or_default(),
        })
    }
}

/// A change of entries, as its author meant it; applied anew to every base that it meets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Change {
    /// A tag holds a manifest from now on.
    SetTag {
        /// The tag.
        tag: String,
        /// The manifest.
        manifest: Described,
        /// The manifests that it lists, where it is an index.
        #[serde(default)]
        children: Vec<Described>,
        /// Notes for the tag's entry.
        #[serde(default)]
        annotations: BTreeMap<String, String>,
        /// Whether what the tag held before loses its entry at once.
        #[serde(default)]
        supersede: bool,
    },
    /// A tag holds nothing any more, and what only it held is not signed any more.
    RemoveTag {
        /// The tag.
        tag: String,
        /// Whether what it held before the present manifest goes too.
        #[serde(default)]
        all_digests: bool,
    },
    /// A manifest is not signed any more, nor is any tag that holds it.
    RemoveDigest {
        /// The manifest.
        digest: Digest,
    },
    /// Nothing is signed any more.
    RemoveAll,
    /// Somebody else may sign some tags from now on; or, under a name that is known, with other keys or tags.
    SetSigner(Signer),
    /// A signer's word counts no more.
    RemoveSigner {
        /// The signer.
        signer: String,
    },
    /// No delegated role may answer for a path, whatever it says.
    Block {
        /// The target path.
        path: String,
    },
    /// Delegated roles may answer for a path again.
    Unblock {
        /// The target path.
        path: String,
    },
}

impl Change {
    /// Whether it only takes away. Concurrently, a remove beats an add.
    pub fn removes(&self) -> bool {
        !matches!(self, Self::SetTag { .. } | Self::SetSigner(_) | Self::Unblock { .. })
    }

    /// Whether it is about who may sign, and so belongs to the targets role itself.
    pub fn is_about_signers(&self) -> bool {
        matches!(self, Self::SetSigner(_) | Self::RemoveSigner { .. } | Self::Block { .. } | Self::Unblock { .. })
    }

    /// Whether it takes away what `add` adds, or a part of it.
    pub fn beats(&self, add: &Self) -> bool {
        match (self, add) {
            (Self::RemoveTag { tag: removed, .. }, Self::SetTag { tag, .. }) => removed == tag,
            (Self::RemoveDigest { digest }, Self::SetTag { manifest, children, .. }) => {
                children.iter().chain([manifest]).any(|described| described.digest == *digest)
            }
            (Self::RemoveAll, Self::SetTag { .. }) => true,
            (Self::RemoveSigner { signer }, Self::SetSigner(added)) => *signer == added.name,
            (Self::Block { path }, Self::Unblock { path: opened }) => path == opened,
            _ => false,
        }
    }
}

/// The entries of one role while they are edited: the `targets` member as JSON.
#[derive(Debug)]
pub struct Entries<'a> {
    name: &'a ImageName,
    map: &'a mut serde_json::Map<String, Value>,
    now: Timestamp,
}

impl<'a> Entries<'a> {
    /// Opens the `targets` member of a role of the collection `name` for editing at the instant `now`.
    pub fn edit(name: &'a ImageName, map: &'a mut serde_json::Map<String, Value>, now: Timestamp) -> Self {
        Self { name, map, now }
    }

    /// Applies a change. One that changes nothing is no error.
    ///
    /// # Errors
    /// [`Error::BadEdit`] for what is no tag, and for an entry at hand that is not ours.
    pub fn apply(&mut self, change: &Change) -> Result<(), Error> {
        match change {
            Change::SetTag { tag, manifest, children, annotations, supersede } => {
                self.set_tag(&parse_tag(tag)?, manifest, children, annotations, *supersede)
            }
            Change::RemoveTag { tag, all_digests } => self.remove_tag(&parse_tag(tag)?, *all_digests),
            Change::RemoveDigest { digest } => self.remove_digest(digest),
            Change::RemoveAll => {
                self.map.clear();
                Ok(())
            }
            Change::SetSigner(_) | Change::RemoveSigner { .. } | Change::Block { .. } | Change::Unblock { .. } => {
                Err(Error::BadEdit("a change of signers is no change of entries".to_owned()))
            }
        }
    }

    fn set_tag(
        &mut self,
        tag: &Tag,
        manifest: &Described,
        children: &[Described],
        annotations: &BTreeMap<String, String>,
        supersede: bool,
    ) -> Result<(), Error> {
        if children.len() > MAX_CHILDREN {
            return Err(Error::BadEdit(format!(
                "an index lists {} manifests, more than {MAX_CHILDREN}",
                children.len()
            )));
        }
        let kept: BTreeSet<Digest> = children.iter().chain([manifest]).map(|described| described.digest).collect();
        if let Some(former) = self.tag(tag)? {
            for digest in self.family(&former.manifest.digest)?.difference(&kept) {
                self.release(tag, digest, !supersede)?;
            }
        }
        if supersede {
            for digest in self.formerly_held(tag)?.difference(&kept) {
                self.release(tag, digest, false)?;
            }
        }
        for child in children {
            self.hold(tag, child, Vec::new())?;
        }
        self.hold(tag, manifest, children.iter().map(|child| child.digest).collect())?;
        let custom =
            Custom { media_type: manifest.media_type.clone(), annotations: annotations.clone(), ..Custom::default() };
        self.put(&self.name.tag_path(tag), &Entry { manifest: manifest.clone(), custom, superseded: None });
        Ok(())
    }

    fn remove_tag(&mut self, tag: &Tag, all_digests: bool) -> Result<(), Error> {
        if let Some(entry) = self.tag(tag)? {
            for digest in self.family(&entry.manifest.digest)? {
                self.release(tag, &digest, false)?;
            }
        }
        if all_digests {
            for digest in self.formerly_held(tag)? {
                self.release(tag, &digest, false)?;
            }
        }
        self.map.remove(&self.name.tag_path(tag));
        Ok(())
    }

    fn remove_digest(&mut self, digest: &Digest) -> Result<(), Error> {
        for tag in self.tags_holding(digest)? {
            self.remove_tag(&tag, false)?;
        }
        self.map.remove(&self.name.digest_path(digest));
        Ok(())
    }

    /// A manifest and what was signed with it.
    fn family(&self, digest: &Digest) -> Result<BTreeSet<Digest>, Error> {
        let mut family = BTreeSet::from([*digest]);
        if let Some(entry) = self.digest(digest)? {
            family.extend(entry.custom.manifests);
        }
        Ok(family)
    }

    /// Notes that a tag holds a manifest.
    fn hold(&mut self, tag: &Tag, manifest: &Described, manifests: Vec<Digest>) -> Result<(), Error> {
        let mut custom = match self.digest(&manifest.digest)? {
            Some(entry) => entry.custom,
            None => Custom::default(),
        };
        custom.media_type.clone_from(&manifest.media_type);
        custom.superseded = None;
        custom.former.remove(tag.as_str());
        if custom.tags.len() + custom.former.len() < MAX_TAGS {
            custom.tags.insert(tag.as_str().to_owned());
        } else if !custom.tags.contains(tag.as_str()) {
            custom.more = true;
        }
        if !manifests.is_empty() {
            custom.manifests = manifests;
        }
        self.put(
            &self.name.digest_path(&manifest.digest),
            &Entry { manifest: manifest.clone(), custom, superseded: None },
        );
        Ok(())
    }

    /// Notes that a tag no longer holds a manifest: it is kept as superseded, or loses its entry with its last tag.
    fn release(&mut self, tag: &Tag, digest: &Digest, keep: bool) -> Result<(), Error> {
        let Some(mut entry) = self.digest(digest)? else { return Ok(()) };
        let held = entry.custom.tags.remove(tag.as_str());
        let path = self.name.digest_path(digest);
        if keep {
            if held {
                entry.custom.former.insert(tag.as_str().to_owned());
            }
        } else {
            entry.custom.former.remove(tag.as_str());
        }
        let free = entry.custom.tags.is_empty() && !entry.custom.more;
        if free && entry.custom.former.is_empty() {
            self.map.remove(&path);
            return Ok(());
        }
        if free && entry.custom.superseded.is_none() {
            entry.custom.superseded = Some(time::format(self.now));
        }
        self.put(&path, &entry);
        Ok(())
    }

    fn tag(&self, tag: &Tag) -> Result<Option<Entry>, Error> {
        self.entry(&self.name.tag_path(tag))
    }

    fn digest(&self, digest: &Digest) -> Result<Option<Entry>, Error> {
        self.entry(&self.name.digest_path(digest))
    }

    fn formerly_held(&self, tag: &Tag) -> Result<BTreeSet<Digest>, Error> {
        self.digests_where(|custom| custom.former.contains(tag.as_str()))
    }

    fn digests_where(&self, wanted: impl Fn(&Custom) -> bool) -> Result<BTreeSet<Digest>, Error> {
        let prefix = format!("{}@", self.name);
        let mut digests = BTreeSet::new();
        for path in self.map.keys().filter(|path| path.starts_with(&prefix)) {
            if let Some(entry) = self.entry(path)?.filter(|entry| wanted(&entry.custom)) {
                digests.insert(entry.manifest.digest);
            }
        }
        Ok(digests)
    }

    fn tags_holding(&self, digest: &Digest) -> Result<Vec<Tag>, Error> {
        let prefix = format!("{}:", self.name);
        let mut tags = Vec::new();
        for path in self.map.keys() {
            let Some(tag) = path.strip_prefix(&prefix).and_then(|tag| tag.parse().ok()) else { continue };
            if self.entry(path)?.is_some_and(|entry| entry.manifest.digest == *digest) {
                tags.push(tag);
            }
        }
        Ok(tags)
    }

    fn entry(&self, path: &str) -> Result<Option<Entry>, Error> {
        let Some(value) = self.map.get(path) else { return Ok(None) };
        let target: Target = Target::deserialize(value)
            .map_err(|e| Error::BadEdit(format!("the entry of `{}` is malformed: {e}", path.escape_debug())))?;
        Entry::of(&RoleName::TARGETS, path, &target).map(Some)
    }

    fn put(&mut self, path: &str, entry: &Entry) {
        self.map.insert(path.to_owned(), entry.to_json());
    }
}

fn parse_tag(text: &str) -> Result<Tag, Error> {
    text.parse().map_err(|e: crate::image::ReferenceError| Error::BadEdit(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        name: ImageName,
        map: serde_json::Map<String, Value>,
    }

    impl Bench {
        fn new() -> Self {
            Self { name: "registry.example.com/acme/app".parse().unwrap(), map: serde_json::Map::new() }
        }

        fn apply(&mut self, change: &Change) {
            let now = time::parse("2026-11-21T00:00:00Z").unwrap();
            Entries::edit(&self.name, &mut self.map, now).apply(change).unwrap();
        }

        fn sign(&mut self, tag: &str, content: u8, children: &[u8]) {
            self.apply(&Change::SetTag {
                tag: tag.to_owned(),
                manifest: described(content),
                children: children.iter().map(|child| described(*child)).collect(),
                annotations: BTreeMap::new(),
                supersede: false,
            });
        }

        fn custom(&self, content: u8) -> Option<Custom> {
            let value = self.map.get(&self.name.digest_path(&described(content).digest))?;
            Some(serde_json::from_value(value["custom"].clone()).unwrap())
        }
    }

    fn described(content: u8) -> Described {
        let media_type = "application/vnd.oci.image.manifest.v1+json".to_owned();
        Described { digest: Digest::of(&[content]), length: 1, media_type }
    }

    #[test]
    fn signing_an_index_signs_its_children_under_the_same_tag() {
        let mut bench = Bench::new();
        bench.sign("1.0", 1, &[2, 3]);
        assert_eq!(bench.map.len(), 4);
        assert_eq!(bench.custom(1).unwrap().manifests, [described(2).digest, described(3).digest]);
        assert!(bench.custom(3).unwrap().tags.contains("1.0"));
    }

    #[test]
    fn what_a_tag_leaves_stays_signed_and_is_superseded_with_its_children() {
        let mut bench = Bench::new();
        bench.sign("1.0", 1, &[2, 3]);
        bench.sign("1.0", 4, &[3]);
        for left in [1, 2] {
            let custom = bench.custom(left).unwrap();
            assert!(custom.tags.is_empty() && custom.former.contains("1.0") && custom.superseded.is_some(), "{left}");
        }
        assert_eq!(bench.custom(3).unwrap().superseded, None, "the child is listed by the new index too");
        bench.sign("1.0", 1, &[2, 3]);
        assert_eq!(bench.custom(2).unwrap().superseded, None, "the tag came back");
    }

    #[test]
    fn a_manifest_that_another_tag_holds_is_not_superseded() {
        let mut bench = Bench::new();
        bench.sign("1.0", 1, &[]);
        bench.sign("latest", 1, &[]);
        bench.sign("latest", 2, &[]);
        let custom = bench.custom(1).unwrap();
        assert_eq!((custom.superseded, custom.tags.len(), custom.former.len()), (None, 1, 1));
    }

    #[test]
    fn supersede_removes_what_the_tag_held_and_ever_held() {
        let mut bench = Bench::new();
        bench.sign("1.0", 1, &[]);
        bench.sign("1.0", 2, &[]);
        let (annotations, children) = (BTreeMap::new(), Vec::new());
        bench.apply(&Change::SetTag {
            tag: "1.0".to_owned(),
            manifest: described(3),
            children,
            annotations,
            supersede: true,
        });
        assert_eq!((bench.custom(1), bench.custom(2)), (None, None));
        assert!(bench.custom(3).is_some());
    }

    #[test]
    fn revoking_a_tag_unsigns_what_only_it_holds() {
        let mut bench = Bench::new();
        bench.sign("1.0", 1, &[2]);
        bench.sign("1.1", 2, &[]);
        bench.apply(&Change::RemoveTag { tag: "1.0".to_owned(), all_digests: false });
        assert_eq!(bench.custom(1), None);
        assert!(bench.custom(2).is_some(), "another tag holds it");
        assert_eq!(bench.map.len(), 2);
    }

    #[test]
    fn revoking_all_digests_takes_the_superseded_ones_too() {
        let mut bench = Bench::new();
        bench.sign("1.0", 1, &[]);
        bench.sign("1.0", 2, &[]);
        bench.apply(&Change::RemoveTag { tag: "1.0".to_owned(), all_digests: true });
        assert!(bench.map.is_empty());
    }

    #[test]
    fn revoking_a_digest_takes_the_tags_that_hold_it() {
        let mut bench = Bench::new();
        bench.sign("1.0", 1, &[2]);
        bench.sign("2.0", 3, &[]);
        bench.apply(&Change::RemoveDigest { digest: described(1).digest });
        assert_eq!(bench.map.len(), 2, "only 2.0 and its manifest are left");
    }

    #[test]
    fn beyond_the_cap_an_entry_says_that_there_are_more_tags_and_is_never_taken_for_free() {
        let mut bench = Bench::new();
        for number in 0..=MAX_TAGS {
            bench.sign(&format!("t{number}"), 1, &[]);
        }
        let custom = bench.custom(1).unwrap();
        assert!(custom.more && custom.tags.len() == MAX_TAGS);
        for number in 0..MAX_TAGS {
            bench.apply(&Change::RemoveTag { tag: format!("t{number}"), all_digests: false });
        }
        assert!(bench.custom(1).is_some());
    }
}
