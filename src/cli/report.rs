//! How a run ends: exit codes, and failures with advice. The only place that knows an exit code.
//!
//! Every layer's error becomes a [`Failure`] here: which code, the sentence, and what to do next. A message is one
//! sentence; advice is never part of it.

mod layers;
mod ops;

use std::fmt;
use std::process::ExitCode;

use serde::Serialize;

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
    fn json_carries_the_word_the_number_the_sentence_and_the_advice() {
        let failure = Failure::new(Exit::NotSigned, "no").hint("sign it");
        assert_eq!(
            serde_json::to_string(&failure).unwrap(),
            r#"{"code":"not_signed","exit":11,"message":"no","hints":["sign it"]}"#
        );
    }
}
