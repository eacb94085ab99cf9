//! Every environment variable that the program reads, by name.
//!
//! A variable that holds a secret may be given as `<NAME>_FILE` instead, with the path of a file that holds the
//! value; both at once are an error.

use std::ffi::OsString;

/// Looks variables up. Every function from a name to a value does, so that tests touch no real environment.
pub trait Environment: Send + Sync {
    /// The value of a variable; none where it is not set.
    fn variable(&self, name: &str) -> Option<OsString>;

    /// The value of a variable that says nothing when it is empty.
    fn value(&self, name: &str) -> Option<OsString> {
        self.variable(name).filter(|value| !value.is_empty())
    }
}

impl<F: Fn(&str) -> Option<OsString> + Send + Sync> Environment for F {
    fn variable(&self, name: &str) -> Option<OsString> {
        self(name)
    }
}

/// The environment of this process.
pub fn process(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// Filters of the log, in the form of `tracing`'s directives.
pub const LOG: &str = "BOLTSEAL_LOG";
/// Set by build services: no person is there to ask.
pub const CI: &str = "CI";
/// Set by people who want no colour.
pub const NO_COLOR: &str = "NO_COLOR";
/// The kind of terminal.
pub const TERM: &str = "TERM";
/// Where programs are looked for.
pub const PATH: &str = "PATH";
/// The passphrase of root keys.
pub const ROOT_PASSPHRASE: &str = "BOLTSEAL_ROOT_PASSPHRASE";
/// The passphrase of targets keys.
pub const TARGETS_PASSPHRASE: &str = "BOLTSEAL_TARGETS_PASSPHRASE";
/// The passphrase of snapshot keys.
pub const SNAPSHOT_PASSPHRASE: &str = "BOLTSEAL_SNAPSHOT_PASSPHRASE";
/// The passphrase of timestamp keys.
pub const TIMESTAMP_PASSPHRASE: &str = "BOLTSEAL_TIMESTAMP_PASSPHRASE";
/// The passphrase of online keys, which hold snapshot and timestamp.
pub const ONLINE_PASSPHRASE: &str = "BOLTSEAL_ONLINE_PASSPHRASE";
/// The passphrase of every key that has no variable of its own.
pub const PASSPHRASE: &str = "BOLTSEAL_PASSPHRASE";
/// The new passphrase in `key passwd` and in an export under another passphrase.
pub const NEW_PASSPHRASE: &str = "BOLTSEAL_NEW_PASSPHRASE";
/// The passphrase of a key file from elsewhere while it is imported.
pub const IMPORT_PASSPHRASE: &str = "BOLTSEAL_IMPORT_PASSPHRASE";
/// Docker Content Trust's passphrase of root keys; asked last.
pub const DCT_ROOT_PASSPHRASE: &str = "DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE";
/// Docker Content Trust's passphrase of all other keys; asked last.
pub const DCT_REPOSITORY_PASSPHRASE: &str = "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE";
/// Docker's switch of content trust: off, on, or anything else for on.
pub const DOCKER_CONTENT_TRUST: &str = "DOCKER_CONTENT_TRUST";
/// The PIN of PKCS#11 tokens that have no variable of their own.
pub const PKCS11_PIN: &str = "BOLTSEAL_PKCS11_PIN";
/// A private key for one run, used without being imported.
pub const KEY: &str = "BOLTSEAL_KEY";
/// The folder that keeps keys and memory.
pub const HOME: &str = "BOLTSEAL_HOME";
/// The program that pulls: `docker`, `podman`, `nerdctl` or `ctr`.
pub const ENGINE: &str = "BOLTSEAL_ENGINE";
/// The file of version floors for machines without memory.
pub const CHECKPOINT: &str = "BOLTSEAL_CHECKPOINT";
/// Root key ids that are pinned for one run.
pub const ROOT_KEY: &str = "BOLTSEAL_ROOT_KEY";

/// The variable with the passphrase of one signer's keys: upper case, everything but letters and digits as `_`.
pub fn signer_passphrase(name: &str) -> String {
    format!("BOLTSEAL_SIGNER_{}_PASSPHRASE", shell_name(name))
}

/// The variable with the PIN of one token, by the token's label: spelled as a signer's name is.
pub fn token_pin(label: &str) -> String {
    format!("{PKCS11_PIN}_{}", shell_name(label))
}

fn shell_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

/// The variable that names a file with the value of `name`.
pub fn file_of(name: &str) -> String {
    format!("{name}_FILE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signers_variable_is_spelled_as_a_shell_can_set_it() {
        assert_eq!(signer_passphrase("release-bot.2"), "BOLTSEAL_SIGNER_RELEASE_BOT_2_PASSPHRASE");
        assert_eq!(signer_passphrase("é"), "BOLTSEAL_SIGNER___PASSPHRASE");
        assert_eq!(token_pin("YubiKey 5"), "BOLTSEAL_PKCS11_PIN_YUBIKEY_5");
        assert_eq!(file_of(PASSPHRASE), "BOLTSEAL_PASSPHRASE_FILE");
    }
}
