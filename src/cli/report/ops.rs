//! The use cases' errors as failures.

use super::{Exit, Failure};
use crate::ops::error::Error;
use crate::ops::trust as pins;
use crate::trust::verdict::Refusal;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Trust { source, .. } => Self { message, ..Self::from(source.clone()) },
            Error::Refused { source, .. } => Self { message, ..Self::from(source) },
            Error::Registry(e) => e.clone().into(),
            Error::Store(e) => e.clone().into(),
            Error::Key(e) => e.clone().into(),
            Error::Policy(e) => e.clone().into(),
            Error::Reference(e) => e.clone().into(),
            Error::Pin(e) => Self::from(e),
            Error::Manifest { .. } => {
                Self::failed(message).hint("only images and their indexes are signed: check the tag")
            }
            Error::NoTrustData { name, alias, .. } => {
                let failure = Self::new(Exit::NoTrustData, message).hint(format!(
                    "`boltseal init {name}` begins signing; no trust data never means that unsigned is fine"
                ));
                match alias {
                    Some(alias) => failure.hint(format!("`{alias}` is known here, and is another name")),
                    None => failure,
                }
            }
            Error::Vanished { .. } => Self::new(Exit::RolledBack, message)
                .hint("somebody removed the tag `trust.tuf`, or the repository was replaced: ask who runs the registry")
                .hint("`boltseal copy` from another location brings trust data back"),
            Error::Exists { name } => Self::failed(message)
                .hint(format!("`boltseal sign {name}:TAG` signs with it; `boltseal trust add` pins its root")),
            Error::Head { .. } => Self::new(Exit::Untrusted, message)
                .hint("something else was pushed over the tag `trust.tuf`: publish again with the collection's keys"),
            Error::WrongBytes { .. } => Self::new(Exit::WrongBytes, message)
                .hint("pull by the signed digest: `boltseal resolve IMAGE` prints it"),
            Error::Forbidden(_) => Self::new(Exit::Policy, message)
                .hint("verify once on a machine that keeps its memory, or carry a `--checkpoint FILE`"),
            Error::NoSigningKey { .. } => Self::new(Exit::Key, message)
                .hint("`boltseal key list` shows what is at hand; `--key FILE` uses a key for one run"),
            Error::Contended { .. } => Self::new(Exit::Contended, message).hint("nothing is lost: try again"),
            Error::StillSigned { .. } => Self::failed(message).hint("whoever holds that role's key must revoke it too"),
            Error::Expiring { role, .. } => {
                Self::failed(message).hint(format!("run `boltseal refresh` where the {role} key is at hand"))
            }
            Error::Usage(_) => Self::usage(message),
            Error::Program { .. } => Self::failed(message),
            Error::File { .. } => Self::failed(message),
        }
    }
}

impl From<&Refusal> for Failure {
    fn from(refusal: &Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::NotSigned { .. } => Self::new(Exit::NotSigned, message)
                .hint("`boltseal inspect NAME` lists what is signed; `boltseal sign IMAGE` signs it"),
            Refusal::OtherDigest { .. } => Self::new(Exit::WrongBytes, message)
                .hint("the digest is not the tag's, nor a former one: check where it comes from"),
            Refusal::Superseded { .. } => Self::new(Exit::NotSigned, message)
                .hint("use what the tag holds now, or raise `superseded_for` in the policy"),
            Refusal::TagNotTrusted { .. } => {
                Self::new(Exit::Policy, message).hint("`tags` in the policy's scope says which tags are trusted")
            }
            Refusal::Trust(e) => e.clone().into(),
        }
    }
}

impl From<&pins::Error> for Failure {
    fn from(error: &pins::Error) -> Self {
        Self::failed(error.to_string())
    }
}
