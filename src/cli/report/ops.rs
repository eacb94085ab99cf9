//! The use cases' errors as failures.

use super::layers::WAIT;
use super::{Exit, Failure};
use crate::image::ImageName;
use crate::ops::error::Error;
use crate::ops::transfer::TransferError;
use crate::ops::trust as pins;
use crate::store;
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
            Error::Trust { name, source } => Self::from(source.clone()).about(name, message),
            Error::Refused { name, source } => Self::from(&**source).about(name, message),
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
            Error::Overruled { .. } => {
                Self::new(Exit::Contended, message).hint("sign it again where it is to be signed all the same")
            }
            Error::Transfer(e) => Self::from(&**e),
            Error::Newer { .. } => Self::new(Exit::RolledBack, message)
                .hint("copy from a location that is up to date, or the other way round")
                .hint("if somebody spoilt the destination, delete the tag `trust.tuf` there first"),
            Error::Occupied { source, .. } => Self::new(Self::from(&**source).exit, message)
                .hint("choose another destination, or delete the tag `trust.tuf` there first"),
            Error::StillSigned { .. } => Self::failed(message).hint("whoever holds that role's key must revoke it too"),
            Error::Expiring { role, .. } => {
                Self::failed(message).hint(format!("run `boltseal refresh` where the {role} key is at hand"))
            }
            Error::Usage(_) => Self::usage(message),
            Error::Program { .. } | Error::File { .. } => Self::failed(message),
        }
    }
}

impl Failure {
    /// The same failure, told of one collection.
    fn about(self, name: &ImageName, message: String) -> Self {
        let hints = self.hints.into_iter().map(|hint| hint.replace("NAME", &name.to_string())).collect();
        Self { message, hints, ..self }
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

impl From<&TransferError> for Failure {
    fn from(error: &TransferError) -> Self {
        let message = error.to_string();
        match error {
            TransferError::Registry(e) => e.clone().into(),
            TransferError::Manifest { .. } | TransferError::TooMuch { .. } => Self::failed(message),
            TransferError::Differs { .. } => Self::new(Exit::WrongBytes, message)
                .hint("the index and what it lists do not belong together: push the image again and sign it"),
        }
    }
}

impl From<&pins::Error> for Failure {
    fn from(error: &pins::Error) -> Self {
        use pins::Error as E;
        let message = error.to_string();
        match error {
            E::Config(e) => e.clone().into(),
            E::Store(store::Error::Locked { .. }) => Self::failed(message).hint(WAIT),
            E::Store(_) => Self::failed(message).hint("check who owns the policy file and its folder"),
            E::Conflict { .. } => Self::new(Exit::Policy, message).hint(
                "another root is what an attacker would offer: ask its owner, then `boltseal trust add --replace`",
            ),
            E::NotThere { .. } => Self::failed(message).hint("`boltseal trust list` shows the scopes and their files"),
            E::Shape { .. } => Self::failed(message).hint("edit the file by hand"),
        }
    }
}

impl From<pins::Error> for Failure {
    fn from(error: pins::Error) -> Self {
        Self::from(&error)
    }
}
