//! How a run ends: exit codes, and failures with advice. The only place that knows an exit code.
//!
//! Every layer's error becomes a [`Failure`] here: which code, the sentence, and what to do next. A message is one
//! sentence; advice is never part of it.

use std::fmt;
use std::process::ExitCode;

use serde::Serialize;

use crate::image::{ReferenceError, Tag};
use crate::{keystore, registry, store, trust};

/// What the exit code of a run says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// 0: done, or trusted.
    Done,
    /// 1: something that nobody expected.
    Failed,
    /// 2: the command line is wrong.
    Usage,
    /// 10: the repository has no trust data.
    NoTrustData,
    /// 11: the tag or digest is not signed.
    NotSigned,
    /// 12: signatures do not meet the threshold, the root is not the pinned one, or the metadata is of another
    /// collection.
    Untrusted,
    /// 13: expired, or the clock went back.
    Expired,
    /// 14: a rollback, a contradiction, or trust data that vanished.
    RolledBack,
    /// 15: the bytes are not the signed ones.
    WrongBytes,
    /// 16: the policy refuses.
    Policy,
    /// 20: the registry cannot be reached, or is broken.
    Unreachable,
    /// 21: access is denied.
    Denied,
    /// 22: the registry limits the rate; try again.
    RateLimited,
    /// 30: a key is missing, unusable, or its passphrase is wrong.
    Key,
    /// 31: others published at the same time; nothing is lost, try again.
    Contended,
}

impl Exit {
    /// Every exit, in the order of their codes.
    pub const ALL: [Self; 15] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::NoTrustData,
        Self::NotSigned,
        Self::Untrusted,
        Self::Expired,
        Self::RolledBack,
        Self::WrongBytes,
        Self::Policy,
        Self::Unreachable,
        Self::Denied,
        Self::RateLimited,
        Self::Key,
        Self::Contended,
    ];

    /// The number that the process exits with.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NoTrustData => 10,
            Self::NotSigned => 11,
            Self::Untrusted => 12,
            Self::Expired => 13,
            Self::RolledBack => 14,
            Self::WrongBytes => 15,
            Self::Policy => 16,
            Self::Unreachable => 20,
            Self::Denied => 21,
            Self::RateLimited => 22,
            Self::Key => 30,
            Self::Contended => 31,
        }
    }

    /// The word that JSON carries beside the number.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::NoTrustData => "no_trust_data",
            Self::NotSigned => "not_signed",
            Self::Untrusted => "untrusted",
            Self::Expired => "expired",
            Self::RolledBack => "rolled_back",
            Self::WrongBytes => "wrong_bytes",
            Self::Policy => "policy",
            Self::Unreachable => "registry_unreachable",
            Self::Denied => "access_denied",
            Self::RateLimited => "rate_limited",
            Self::Key => "key",
            Self::Contended => "contended",
        }
    }

    /// The exit of a run over several images: the first verdict (10 to 16) in argument order, else the first failure
    /// of a registry (20 to 22), else the first of anything else, else done.
    pub fn of_many(exits: impl IntoIterator<Item = Self>) -> Self {
        exits.into_iter().fold(Self::Done, |worst, exit| if exit.rank() < worst.rank() { exit } else { worst })
    }

    fn rank(self) -> u8 {
        match self.code() {
            10..=16 => 0,
            20..=22 => 1,
            0 => 3,
            _ => 2,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// How a verb ended that did not fail as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// All went well.
    Done,
    /// Results are rendered already, with the failures among them; only the exit code is left to give.
    Reported(Exit),
}

impl Outcome {
    /// The exit that follows.
    pub fn exit(self) -> Exit {
        match self {
            Self::Done => Exit::Done,
            Self::Reported(exit) => exit,
        }
    }
}

/// Why a run, or one image of it, failed, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit code's meaning.
    pub exit: Exit,
    /// One sentence: what was expected and what came.
    pub message: String,
    /// What to do, a sentence each.
    pub hints: Vec<String>,
}

impl Failure {
    /// A failure without advice.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hints: Vec::new() }
    }

    /// A failure that nobody expected (exit 1).
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// A wrong command line (exit 2) that only shows after parsing.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A verb whose use case is not connected.
    pub fn not_wired(verb: &str) -> Self {
        Self::failed(format!("`{verb}` is not wired to its use case"))
    }

    /// The same failure with one more piece of advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The form that JSON results carry: `{code, exit, message, hints}`.
impl Serialize for Failure {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut object = serializer.serialize_struct("Failure", 4)?;
        object.serialize_field("code", self.exit.word())?;
        object.serialize_field("exit", &self.exit.code())?;
        object.serialize_field("message", &self.message)?;
        object.serialize_field("hints", &self.hints)?;
        object.end()
    }
}

impl From<ReferenceError> for Failure {
    fn from(error: ReferenceError) -> Self {
        let hint = match &error {
            ReferenceError::Name(_) => {
                Some("a repository path is lower case; a host comes first, as in `host:5000/app`")
            }
            ReferenceError::Tag(_) => None,
            ReferenceError::Digest(_) => Some("`docker image inspect` and `skopeo inspect` print digests in full"),
            ReferenceError::NotBare(_) => Some("leave out `:tag` and `@digest` here"),
        };
        let failure = Self::usage(error.to_string());
        hint.into_iter().fold(failure, Self::hint)
    }
}

impl From<registry::Error> for Failure {
    fn from(error: registry::Error) -> Self {
        use registry::Error as E;
        let message = error.to_string();
        match error {
            // The head's tag lies in our own name space: without it there is no trust data.
            E::NotFound { what, .. } if what.parse::<Tag>().is_ok_and(|tag| tag.is_reserved()) => {
                Self::new(Exit::NoTrustData, message).hint("`boltseal init NAME` begins a collection")
            }
            E::NotFound { .. } => Self::failed(message).hint("check the name and the tag, and that it was pushed"),
            E::Denied { location, .. } => Self::new(Exit::Denied, message)
                .hint(format!("`docker login {}` or `podman login` stores credentials", host_of(&location))),
            E::Busy { retry_after, .. } => Self::new(Exit::RateLimited, message).hint(match retry_after {
                Some(wait) => format!("try again in {} seconds", wait.as_secs().max(1)),
                None => "try again later; logged-in clients often have a higher limit".to_owned(),
            }),
            E::Unreachable { .. } => Self::new(Exit::Unreachable, message)
                .hint("check the host and the port, and `HTTPS_PROXY` and `NO_PROXY` where a proxy is in the way"),
            E::Tls { .. } => Self::new(Exit::Unreachable, message)
                .hint("for a registry with a private CA give `--ca FILE` or a `certs.d` folder")
                .hint("for a registry without TLS give `--plain-http`"),
            E::Broken { .. } => {
                Self::new(Exit::Unreachable, message).hint("try again; if it stays, ask who runs the registry")
            }
            E::TooMuch { .. } => Self::new(Exit::Unreachable, message)
                .hint("an honest registry stays far below this limit: check what stands between it and you"),
            E::Mismatch { .. } => Self::new(Exit::WrongBytes, message)
                .hint("do not use this image: the registry, or a proxy before it, changed it"),
            E::Unsupported { .. } => Self::failed(message),
        }
    }
}

fn host_of(location: &str) -> &str {
    location.split('/').next().unwrap_or(location)
}

impl From<keystore::Error> for Failure {
    fn from(error: keystore::Error) -> Self {
        use keystore::Error as E;
        let message = error.to_string();
        match error {
            E::Missing(_) => Self::new(Exit::Key, message)
                .hint("`boltseal key list` shows what is there; `boltseal key import FILE` adds a key")
                .hint("`--key FILE` uses a key without importing it"),
            E::Ambiguous(_) => {
                Self::new(Exit::Key, message).hint("give more of the id; `boltseal key list` shows them in full")
            }
            E::WrongPassphrase(_) => Self::new(Exit::Key, message)
                .hint("each role has its own variable, such as `BOLTSEAL_ROOT_PASSPHRASE`; see `boltseal help key`"),
            E::NoPassphrase(_) => Self::new(Exit::Key, message).hint(
                "run it on a terminal, or set `BOLTSEAL_PASSPHRASE` or the role's own variable (each also as `_FILE`)",
            ),
            E::Unusable { .. } => Self::new(Exit::Key, message).hint(
                "usable are Ed25519 and P-256 private keys in PEM: PKCS#8, SEC1, Docker Content Trust's, cosign's",
            ),
            E::Io { action, .. } => with_disk_hint(Self::failed(message), action),
            E::Device { .. } => Self::new(Exit::Key, message),
        }
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        use store::Error as E;
        let message = error.to_string();
        match error {
            E::Io { action, .. } => with_disk_hint(Self::failed(message), action)
                .hint("`--stateless` runs without memory, and then a rollback cannot be noticed"),
            E::Damaged { path, .. } => Self::failed(message)
                .hint("this is the memory that makes a rollback noticeable, so it is never reset silently")
                .hint(format!(
                    "if you know why it is damaged, restore `{path}` from a backup, or move its folder away and verify anew"
                )),
            E::Locked { .. } => Self::failed(message).hint("wait for the other `boltseal` to end, and try again"),
        }
    }
}

fn with_disk_hint(failure: Failure, action: &str) -> Failure {
    match action {
        "read" => failure.hint("check who owns the file, and its permissions"),
        _ => {
            failure.hint("check permissions and free space, or choose another folder with `--home` or `BOLTSEAL_HOME`")
        }
    }
}

impl From<trust::Error> for Failure {
    fn from(error: trust::Error) -> Self {
        use trust::Error as E;
        let message = error.to_string();
        match error {
            E::Malformed { .. } => Self::new(Exit::Untrusted, message),
            E::Unsigned { .. } => Self::new(Exit::Untrusted, message)
                .hint("ask who signs these images; nothing on this machine needs to change"),
            E::NotPinned { .. } => Self::new(Exit::Untrusted, message)
                .hint("`boltseal trust list` shows what is pinned; replace a pin only after asking the root's owner"),
            E::WrongCollection { found, .. } => {
                let failure = Self::new(Exit::Untrusted, message);
                match found {
                    Some(name) => {
                        failure.hint(format!("trust data copied from `{name}` does not speak for another name"))
                    }
                    None => failure.hint("it was not made by Boltseal; an image's trust data must name the image"),
                }
            }
            E::Expired { role, .. } => Self::new(Exit::Expired, message)
                .hint(format!("whoever holds the {role} key renews it with `boltseal refresh NAME`"))
                .hint("check this machine's clock"),
            E::TooLongLived { .. } => Self::new(Exit::Policy, message).hint(
                "its publisher shortens it with `boltseal refresh NAME`, or the policy sets `max_timestamp_life`",
            ),
            E::ClockWentBack { .. } => Self::new(Exit::Expired, message).hint("set this machine's clock"),
            E::Rollback { .. } => Self::new(Exit::RolledBack, message)
                .hint("the registry serves older trust data than this machine has seen: ask who runs it"),
            E::Contradiction { .. } => Self::new(Exit::RolledBack, message)
                .hint("the registry serves pieces that do not belong together: try again, then ask who runs it"),
            E::Missing { .. } => Self::new(Exit::RolledBack, message)
                .hint("trust data that was there is gone: ask who runs the registry"),
            E::Unavailable { .. } => Self::new(Exit::Unreachable, message).hint("try again"),
            E::BadEdit(_) => Self::usage(message),
            E::VersionsExhausted { role } => {
                Self::failed(message).hint(format!("`boltseal key rotate NAME {role}` lets versions start anew"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_exit_has_a_number_and_a_word_of_its_own() {
        assert_eq!(Exit::ALL.iter().map(|exit| exit.code()).collect::<HashSet<_>>().len(), Exit::ALL.len());
        assert_eq!(Exit::ALL.iter().map(|exit| exit.word()).collect::<HashSet<_>>().len(), Exit::ALL.len());
    }

    #[test]
    fn of_several_images_the_first_verdict_decides_then_registries_then_the_rest() {
        use Exit::{Contended, Done, Expired, Key, NotSigned, Policy, RateLimited, Unreachable};
        let table: [(&[Exit], Exit); 7] = [
            (&[], Done),
            (&[Done, Done], Done),
            (&[Done, Policy, NotSigned], Policy),
            (&[Unreachable, Done, Expired], Expired),
            (&[Done, RateLimited, Unreachable], RateLimited),
            (&[Key, Done, Unreachable], Unreachable),
            (&[Done, Contended, Key], Contended),
        ];
        for (exits, expected) in table {
            assert_eq!(Exit::of_many(exits.iter().copied()), expected, "{exits:?}");
        }
    }

    #[test]
    fn a_missing_head_is_no_trust_data_and_a_missing_image_is_not() {
        let missing = |what: &str| {
            Failure::from(registry::Error::NotFound { what: what.to_owned(), location: "h.x/app".to_owned() }).exit
        };
        assert_eq!(missing("trust.tuf"), Exit::NoTrustData);
        assert_eq!(missing("1.0"), Exit::Failed);
    }

    #[test]
    fn json_carries_the_word_the_number_the_sentence_and_the_advice() {
        let failure = Failure::new(Exit::NotSigned, "no").hint("sign it");
        assert_eq!(
            serde_json::to_string(&failure).unwrap(),
            r#"{"code":"not_signed","exit":11,"message":"no","hints":["sign it"]}"#
        );
    }
}
