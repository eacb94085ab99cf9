//! The policy: which root each image name trusts, whose word counts for it, and how strictly.
//!
//! - Within a file the most specific scope counts; two equally specific ones are an error.
//! - A name must satisfy every file that has a scope for it: the stricter mode wins, every named root must be met,
//!   signers intersect, a tag must be allowed by each file's list, the smaller span counts.
//! - A name outside every scope is denied, unless every file says `default = "allow"`. No policy at all denies.
//! - Flags and variables only tighten an `enforce` scope; loosening needs its `allow_override` ([`Overrides`]).
//!
//! Files are read elsewhere; here are their meaning and nothing but.

pub mod duration;
mod mirror;
mod pattern;
mod ruling;

pub use mirror::{Location, Mirror};
pub use pattern::{ImagePattern, Specificity, TagPattern};
pub use ruling::{Governing, Overrides, Ruling};

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::key::KeyId;
use super::role::Version;
use crate::image::ImageName;

/// How far ahead a timestamp may expire where neither policy nor settings say it (freeze attack).
pub const DEFAULT_MAX_TIMESTAMP_LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What a scope does with an image that does not verify. The stricter is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Nothing is asked.
    Off,
    /// It is allowed, said and logged.
    Audit,
    /// It is refused.
    Enforce,
}

/// What a digest must be that is written beside a tag. The stricter is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pinned {
    /// A signed digest that holds the tag, or held it.
    Signed,
    /// The digest that holds the tag now.
    Current,
}

/// What becomes of a name outside every scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outside {
    /// It is refused.
    Deny,
    /// It is allowed.
    Allow,
}

/// Which root a scope trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// A root version signed by enough of these keys.
    Keys(RootKeys),
    /// What a root file says: its root keys and threshold, from its version on.
    File(RootFile),
}

/// Pinned root keys: a threshold of distinct keys, from a version on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootKeys {
    keys: BTreeSet<KeyId>,
    threshold: usize,
    min_version: Version,
}

impl RootKeys {
    /// A pin that can be met.
    ///
    /// # Errors
    /// What is wrong: a threshold of 0 or above the number of keys, or a key id that is not 64 hex digits.
    pub fn new(keys: BTreeSet<KeyId>, threshold: usize, min_version: Version) -> Result<Self, String> {
        for key in &keys {
            let text = key.as_str();
            if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f')) {
                return Err(format!("`{}` is no key id: expected 64 lower-case hex digits", text.escape_debug()));
            }
        }
        if threshold == 0 || threshold > keys.len() {
            return Err(format!("threshold {threshold} cannot be met by {} distinct keys", keys.len()));
        }
        Ok(Self { keys, threshold, min_version })
    }

    /// The ids of the pinned keys, by the specification's rule.
    pub fn keys(&self) -> &BTreeSet<KeyId> {
        &self.keys
    }

    /// How many of them must have signed.
    pub fn threshold(&self) -> usize {
        self.threshold
    }

    /// The lowest root version that counts.
    pub fn min_version(&self) -> Version {
        self.min_version
    }
}

/// A root file that a policy names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootFile {
    /// The path, for messages.
    pub path: String,
    /// Its bytes, not yet looked at.
    pub bytes: Vec<u8>,
}

/// One `[[scope]]`: what is asked of the images of some names. What it leaves out it has no say in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The line of the file where it begins, for messages.
    pub line: usize,
    /// The names.
    pub images: Vec<ImagePattern>,
    /// How strictly.
    pub mode: Mode,
    /// The root.
    pub root: Option<Pin>,
    /// The roles whose word counts.
    pub signers: Option<BTreeSet<String>>,
    /// The tags that are trusted.
    pub tags: Option<Vec<TagPattern>>,
    /// What a digest beside a tag must be.
    pub pinned: Option<Pinned>,
    /// How long a former digest of a tag still passes.
    pub superseded_for: Option<SignedDuration>,
    /// How far ahead a timestamp may expire.
    pub max_timestamp_life: Option<SignedDuration>,
    /// Whether a machine that remembers nothing is refused.
    pub require_memory: bool,
    /// Whether flags and variables may loosen it.
    pub allow_override: bool,
    /// The repository of the head, where it is not the image's own.
    pub trust_repository: Option<ImageName>,
}

impl Scope {
    /// The most specific of its patterns that matches the name.
    fn best_match(&self, name: &ImageName) -> Option<&ImagePattern> {
        self.images.iter().filter(|pattern| pattern.matches(name)).max_by_key(|pattern| pattern.specificity())
    }
}

/// One policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFile {
    /// Its path, for messages.
    pub path: String,
    /// What becomes of names outside every scope.
    pub outside: Outside,
    /// Its scopes, in the order of the file.
    pub scopes: Vec<Scope>,
    /// Its mirrors, in the order of the file.
    pub mirrors: Vec<Mirror>,
}

impl PolicyFile {
    /// The scope that counts for a name, and its pattern that matched; none where no scope is for it.
    ///
    /// # Errors
    /// [`PolicyError::Tie`] where two scopes are equally specific.
    pub fn governing(&self, name: &ImageName) -> Result<Option<(&Scope, &ImagePattern)>, PolicyError> {
        let matching = || self.scopes.iter().filter_map(|scope| Some((scope, scope.best_match(name)?)));
        let Some(most) = matching().map(|(_, pattern)| pattern.specificity()).max() else { return Ok(None) };
        let mut best = matching().filter(|(_, pattern)| pattern.specificity() == most);
        let first = best.next();
        match (first, best.next()) {
            (Some((one, one_pattern)), Some((other, other_pattern))) => Err(PolicyError::Tie {
                name: name.to_string(),
                file: self.path.clone(),
                first: (one_pattern.to_string(), one.line),
                second: (other_pattern.to_string(), other.line),
            }),
            _ => Ok(first),
        }
    }
}

/// All policy files that count, in their order: the system's, the user's, those of the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// The files.
    pub files: Vec<PolicyFile>,
}

impl Policy {
    /// Where the bytes of an image come from.
    ///
    /// # Errors
    /// [`PolicyError::Mirror`] where a mirror leads to what is no repository.
    pub fn location_of(&self, name: &ImageName) -> Result<Location, PolicyError> {
        mirror::locate(self.mirrors(), name)
    }

    /// The image name that a `[[mirror]]` gives to an OCI image layout, by the absolute path of its folder.
    ///
    /// # Errors
    /// [`PolicyError::Mirror`] where mirrors give it two names.
    pub fn name_of_layout(&self, folder: &str) -> Result<Option<ImageName>, PolicyError> {
        mirror::name_of_layout(self.mirrors(), folder)
    }

    fn mirrors(&self) -> impl Iterator<Item = &Mirror> {
        self.files.iter().flat_map(|file| &file.mirrors)
    }
}

/// Why the policy refuses before anything is fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// There is no policy file at all.
    #[error("there is no policy, so no root is trusted for `{name}`")]
    NoPolicy {
        /// The image name.
        name: String,
    },
    /// The name is outside every scope, and a file denies that.
    #[error("`{name}` is in no scope of the policy, and `{file}` denies such names")]
    OutOfScope {
        /// The image name.
        name: String,
        /// The first file that denies.
        file: String,
    },
    /// Two scopes of a file are equally specific for the name.
    #[error("`{file}` has two equally specific scopes for `{name}`: `{}` on line {} and `{}` on line {}", first.0, first.1, second.0, second.1)]
    Tie {
        /// The image name.
        name: String,
        /// The file.
        file: String,
        /// The pattern and line of one.
        first: (String, usize),
        /// The pattern and line of the other.
        second: (String, usize),
    },
    /// The scopes ask for verification, and none names a root.
    #[error("no scope names a root for `{name}`: looked at {scopes}")]
    NoRoot {
        /// The image name.
        name: String,
        /// The files and lines looked at.
        scopes: String,
    },
    /// The signers that the files name have nobody in common.
    #[error("no signer is trusted for `{name}` by all of {scopes}")]
    NoSigner {
        /// The image name.
        name: String,
        /// The files and lines.
        scopes: String,
    },
    /// A flag or variable would loosen a scope that does not allow it.
    #[error("{what} would loosen the scope on line {line} of `{file}`, which has no `allow_override = true`")]
    Loosens {
        /// What the flag or variable asks for.
        what: String,
        /// The file.
        file: String,
        /// The line where the scope begins.
        line: usize,
    },
    /// A mirror leads nowhere, or mirrors contradict one another.
    #[error("the mirror of `{name}` cannot be used: {reason}")]
    Mirror {
        /// The image name.
        name: String,
        /// What is wrong.
        reason: String,
    },
}
