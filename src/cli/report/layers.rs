//! Each layer's errors as failures: the exit code, and what to do.

use super::{Exit, Failure};
use crate::cli::image::ImageArgError;
use crate::image::{ReferenceError, Tag};
use crate::trust::policy::PolicyError;
use crate::{config, keystore, registry, store, trust};

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
            E::Conflict { .. } => Self::new(Exit::Contended, message).hint("nothing is lost: try again"),
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
        let exit = match &error {
            E::Missing(_)
            | E::Ambiguous(_)
            | E::WrongPassphrase(_)
            | E::NoPassphrase(_)
            | E::WrongPin(_)
            | E::NoPin(_)
            | E::TooShort(_)
            | E::Differ(_)
            | E::Exposed { .. }
            | E::Unusable { .. }
            | E::Device { .. } => Exit::Key,
            E::ShortId(_) | E::Variable { .. } | E::NoPurpose(_) | E::Refused { .. } => Exit::Usage,
            E::Exists(_) | E::Io { .. } | E::Locked { .. } => Exit::Failed,
        };
        let mut failure = Self { exit, message: error.to_string(), hints: error.hints() };
        match error {
            E::Missing(_) => {
                failure.hint("`boltseal key import FILE` adds a key, `--key FILE` uses one without adding it")
            }
            E::WrongPassphrase(_) => failure
                .hint("each role has a variable of its own, such as `BOLTSEAL_ROOT_PASSPHRASE`: `boltseal key --help`"),
            E::Unusable { .. } => failure.hint(
                "usable are Ed25519 and P-256 private keys in PEM: PKCS#8, SEC1, Docker Content Trust's, cosign's",
            ),
            E::Locked { .. } => failure.hint(WAIT),
            E::Io { action, .. } => {
                failure.hints.push(disk_hint(action));
                failure
            }
            _ => failure,
        }
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        use store::Error as E;
        let message = error.to_string();
        match error {
            E::Io { action, .. } => Self::failed(message)
                .hint(disk_hint(action))
                .hint("`--stateless` runs without memory, and then a rollback cannot be noticed"),
            E::Damaged { path, .. } => Self::failed(message)
                .hint("this is the memory that makes a rollback noticeable, so it is never reset silently")
                .hint(format!(
                    "if you know why it is damaged, restore `{path}` from a backup, or move its folder away and verify anew"
                )),
            E::Locked { .. } => Self::failed(message).hint(WAIT),
        }
    }
}

/// What to do while another process holds a lock.
pub(super) const WAIT: &str = "wait for the other `boltseal` to end, and try again";

fn disk_hint(action: &str) -> String {
    match action {
        "read" => "check that the file is there, who owns it, and its permissions".to_owned(),
        _ => "check permissions and free space, or choose another folder with `--home` or `BOLTSEAL_HOME`".to_owned(),
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
            E::Damaged { .. } => Self::failed(message)
                .hint("this is the memory that makes a rollback noticeable, so it is never reset silently")
                .hint(
                    "if you know why it is damaged, restore it from a backup, or move its folder away and verify anew",
                ),
            E::Unavailable { .. } => Self::new(Exit::Unreachable, message).hint("try again"),
            E::BadEdit(_) => Self::usage(message),
            E::VersionsExhausted { role } => {
                Self::failed(message).hint(format!("`boltseal key rotate NAME {role}` lets versions start anew"))
            }
        }
    }
}

impl From<PolicyError> for Failure {
    fn from(error: PolicyError) -> Self {
        use PolicyError as E;
        let message = error.to_string();
        match error {
            E::NoPolicy { name } | E::OutOfScope { name, .. } | E::NoRoot { name, .. } => {
                Self::new(Exit::Policy, message)
                    .hint(format!("`boltseal trust add {name} --root-key ID` trusts a root; its owner knows the ID"))
            }
            E::Tie { .. } => Self::new(Exit::Policy, message).hint("make one of the two patterns longer, or remove it"),
            E::NoSigner { .. } => Self::new(Exit::Policy, message)
                .hint("policy files only add: a signer must be named by each that names any"),
            E::Loosens { .. } => {
                Self::new(Exit::Policy, message).hint("whoever owns that file can set `allow_override = true` in it")
            }
            E::Mirror { .. } => Self::new(Exit::Policy, message).hint("correct the `[[mirror]]` in the policy"),
        }
    }
}

impl From<config::Error> for Failure {
    fn from(error: config::Error) -> Self {
        use config::Error as E;
        let message = error.to_string();
        match error {
            E::Io { .. } => Self::failed(message).hint(disk_hint("read")),
            E::Invalid { .. } => {
                Self::failed(message).hint("correct it; until then nothing is trusted, since the rest might be looser")
            }
            E::NoFolder { .. } => Self::failed(message).hint("set `BOLTSEAL_HOME`, or give `--home DIR`"),
        }
    }
}

impl From<ImageArgError> for Failure {
    fn from(error: ImageArgError) -> Self {
        match error {
            ImageArgError::Reference(error) => error.into(),
            error => Self::usage(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_head_is_no_trust_data_and_a_missing_image_is_not() {
        let missing = |what: &str| {
            Failure::from(registry::Error::NotFound { what: what.to_owned(), location: "h.x/app".to_owned() }).exit
        };
        assert_eq!(missing("trust.tuf"), Exit::NoTrustData);
        assert_eq!(missing("1.0"), Exit::Failed);
    }

    #[test]
    fn a_wrong_passphrase_is_30_and_names_the_key() {
        let failure = Failure::from(keystore::Error::WrongPassphrase("root key 0123456789ab".to_owned()));
        assert_eq!(failure.exit, Exit::Key);
        assert!(failure.message.contains("root key 0123456789ab"));
    }

    #[test]
    fn no_policy_is_16_and_says_how_to_trust_a_root() {
        let failure = Failure::from(PolicyError::NoPolicy { name: "h.x/app".to_owned() });
        assert_eq!(failure.exit, Exit::Policy);
        assert!(failure.hints[0].contains("boltseal trust add h.x/app --root-key"));
    }
}
