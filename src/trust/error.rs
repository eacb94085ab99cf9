//! What the core refuses, and why.

use jiff::Timestamp;

use super::role::{RoleName, Version};

/// Why metadata, or what follows from it, is refused. Every variant names the role, what was expected and what came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are no metadata of this role: malformed, over a cap, or of another specification version.
    #[error("the {role} metadata is malformed: {reason}")]
    Malformed {
        /// The role.
        role: RoleName,
        /// What is wrong.
        reason: String,
    },
    /// Fewer distinct keys signed than the threshold asks for (TUF 5.3.4, 5.4.2, 5.5.3, 5.6.3).
    #[error("the {role} metadata is signed by {have} of the {need} keys that it needs{}", by.as_ref().map_or(String::new(), |by| format!(" ({by})")))]
    Unsigned {
        /// The role.
        role: RoleName,
        /// Distinct keys with a valid signature.
        have: usize,
        /// The threshold.
        need: usize,
        /// Whose threshold it is, where that is not plain: the previous root's, the pinned root's.
        by: Option<&'static str>,
    },
    /// No root that the policy pins stands at the beginning of what is offered.
    #[error("the root is not the pinned one: {reason}")]
    NotPinned {
        /// What was looked for and found.
        reason: String,
    },
    /// The metadata was made for another collection, or for none.
    #[error("the {role} metadata belongs to {}, not to `{expected}`", found.as_ref().map_or("no collection".to_owned(), |name| format!("`{name}`")))]
    WrongCollection {
        /// The role.
        role: RoleName,
        /// The image name asked for.
        expected: String,
        /// The image name inside the metadata.
        found: Option<String>,
    },
    /// The role is past its expiry (TUF 5.1, 5.3.10, 5.4.4, 5.5.6, 5.6.5).
    #[error("the {role} metadata expired at {at}")]
    Expired {
        /// The role.
        role: RoleName,
        /// When.
        at: Timestamp,
    },
    /// The timestamp promises more time than the policy lets it.
    #[error("the timestamp metadata runs until {at}, longer than the {days} days that are allowed")]
    TooLongLived {
        /// When it expires.
        at: Timestamp,
        /// The cap in days.
        days: i64,
    },
    /// The machine's clock stands more than a day behind a time that it has shown before.
    #[error("the clock went back: it shows {now}, and has shown {seen}")]
    ClockWentBack {
        /// Now.
        now: Timestamp,
        /// The latest time remembered.
        seen: Timestamp,
    },
    /// A version lower than one already trusted (TUF 5.4.3, 5.5.5), or not the next root (5.3.5).
    #[error("the {role} metadata was rolled back: version {got} after version {have}")]
    Rollback {
        /// The role.
        role: RoleName,
        /// The version trusted before.
        have: Version,
        /// The version offered.
        got: Version,
    },
    /// Two pieces of metadata contradict one another: another version, hash or length than the parent promises, or
    /// other bytes under the same version.
    #[error("the {role} metadata contradicts what was promised: {reason}")]
    Contradiction {
        /// The role.
        role: RoleName,
        /// What differs.
        reason: String,
    },
    /// A role that the trusted metadata lists is not there.
    #[error("the {role} metadata is missing")]
    Missing {
        /// The role.
        role: RoleName,
    },
    /// What this machine remembers does not verify under the root that it remembers.
    #[error("this machine's memory of the {role} metadata is damaged: {reason}")]
    Damaged {
        /// The role.
        role: RoleName,
        /// What is wrong with it.
        reason: String,
    },
    /// The source of the bytes failed. Not a statement about the metadata.
    #[error("the {role} metadata cannot be fetched: {reason}")]
    Unavailable {
        /// The role.
        role: RoleName,
        /// What the source said.
        reason: String,
    },
    /// A change that must not be made, such as a threshold above the number of keys.
    #[error("{0}")]
    BadEdit(String),
    /// Versions are used up; only rotating the role's keys helps.
    #[error("the {role} role has no versions left below 2^53")]
    VersionsExhausted {
        /// The role.
        role: RoleName,
    },
}
