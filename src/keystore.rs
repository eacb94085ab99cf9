//! The key store port: private keys that sign without ever showing themselves.
//!
//! - A key leaves a store only locked, as a [`SealedKey`]; what [`KeyStore::unlock`] returns signs and shows nothing.
//! - A key's id is computed anew from what was unlocked and must be the one asked for: the files' encryption does not
//!   prove that they are whole.
//! - A passphrase is asked for while no lock is held.

mod error;
#[cfg(unix)]
mod external;
mod file;
mod folder;
pub mod format;
mod joined;
mod layered;
mod memory;
pub mod passphrase;
#[cfg(feature = "hsm")]
mod pkcs11;
mod private;
mod sealed;
#[cfg(test)]
pub(crate) mod suite;

use std::fmt;
use std::str::FromStr;

pub use error::Error;
#[cfg(unix)]
pub use external::{ExternalKeyStore, Program};
pub use file::FileKeyStore;
pub use folder::{read_private, write_new_private};
pub use joined::JoinedKeyStore;
pub use layered::LayeredKeyStore;
pub use memory::MemoryKeyStore;
pub use passphrase::{EnvPassphrases, NoPrompt, Prompt};
#[cfg(feature = "hsm")]
pub use pkcs11::{Pkcs11KeyStore, Place};
pub use private::PrivateKey;
pub use sealed::SealedKey;

use crate::trust::{Key, KeyId};

/// Fewest characters of a passphrase for a new key.
pub const MIN_PASSPHRASE: usize = 8;
/// Fewest characters of a key id that a key is found by.
pub const MIN_ID_PREFIX: usize = 6;

/// What a key is for, and so which passphrase variables apply to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// A root key; may be shared by collections.
    Root,
    /// The targets key of a collection.
    Targets,
    /// The snapshot key of a collection.
    Snapshot,
    /// The timestamp key of a collection.
    Timestamp,
    /// One key that holds snapshot and timestamp of a collection.
    Online,
    /// A signer's key, by the signer's name.
    Signer(String),
}

impl Purpose {
    /// The purpose as files and arguments spell it: `root`, .., `signer:NAME`.
    pub fn text(&self) -> String {
        match self {
            Self::Root => "root",
            Self::Targets => "targets",
            Self::Snapshot => "snapshot",
            Self::Timestamp => "timestamp",
            Self::Online => "online",
            Self::Signer(name) => return format!("signer:{name}"),
        }
        .to_owned()
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A name comes from outside: control characters must not reach a terminal.
        write!(f, "{}", self.text().escape_debug())
    }
}

impl FromStr for Purpose {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "root" => Self::Root,
            "targets" => Self::Targets,
            "snapshot" => Self::Snapshot,
            "timestamp" => Self::Timestamp,
            "online" => Self::Online,
            _ => match text.strip_prefix("signer:") {
                Some(name) if is_signer_name(name) => Self::Signer(name.to_owned()),
                _ => {
                    return Err(format!(
                        "`{}` is no purpose of a key: it is root, targets, snapshot, timestamp, online or signer:NAME",
                        text.escape_debug().take(100).collect::<String>()
                    ));
                }
            },
        })
    }
}

/// A signer's name must survive in a role name and in a file: short, printable, without white space.
fn is_signer_name(name: &str) -> bool {
    (1..=200).contains(&name.len()) && !name.chars().any(|c| c.is_control() || c.is_whitespace())
}

/// Algorithms that we make keys for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Ed25519 (RFC 8032), the default.
    Ed25519,
    /// ECDSA on P-256 with SHA-256.
    P256,
}

/// What the store knows of a key without unlocking it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// The key id by the specification's rule.
    pub id: KeyId,
    /// The public key.
    pub public: Key,
    /// What it was made for, where that is known.
    pub purpose: Option<Purpose>,
    /// The image name it was made for, where there is one. Root keys have none.
    pub collection: Option<String>,
    /// Whether a passphrase protects it.
    pub encrypted: bool,
}

impl KeyInfo {
    /// The key in a few words, for errors and questions: `root key 0123456789ab`.
    pub fn label(&self) -> String {
        match &self.purpose {
            Some(Purpose::Signer(name)) => format!("key {} of signer {}", self.id.short(), name.escape_debug()),
            Some(purpose) => format!("{purpose} key {}", self.id.short()),
            None => format!("key {}", self.id.short()),
        }
    }
}

/// Something that signs. Synchronous, with a deadline of its own; called on a blocking thread, never under a lock.
pub trait Signer: Send + Sync + fmt::Debug {
    /// The public key that verifies what this signs.
    fn key(&self) -> &Key;

    /// The signature over `message` in TUF's encoding for the key's scheme: 64 raw bytes for Ed25519, ASN.1 DER for
    /// ECDSA.
    ///
    /// # Errors
    /// [`Error::Device`] where a device or program fails; a key in memory does not.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error>;
}

/// A passphrase. Zeroed when dropped; `Debug` shows nothing of it.
pub type Passphrase = zeroize::Zeroizing<String>;

/// Where passphrases come from: variables, files, a prompt.
pub trait Passphrases: Send + Sync {
    /// Whether the first answer of [`Passphrases::unlock`] comes without asking a person.
    fn at_hand(&self, key: &KeyInfo) -> bool {
        let _ = key;
        false
    }

    /// The passphrase that unlocks a key. `attempt` counts from 0; only a prompt can answer a second time.
    ///
    /// # Errors
    /// [`Error::NoPassphrase`] where there is none and nobody to ask, [`Error::WrongPassphrase`] where the last
    /// attempt was the last that there is.
    fn unlock(&self, key: &KeyInfo, attempt: u32) -> Result<Passphrase, Error>;

    /// A passphrase for a new key, asked twice by a prompt.
    ///
    /// # Errors
    /// [`Error::NoPassphrase`] where there is none and nobody to ask, [`Error::TooShort`] where it is too short.
    fn choose(&self, purpose: &Purpose, collection: Option<&str>) -> Result<Passphrase, Error>;

    /// The passphrase of a key file from elsewhere, of which nothing is known but where it came from and perhaps what
    /// it is for.
    ///
    /// # Errors
    /// As [`Passphrases::unlock`].
    fn open(&self, source: &str, purpose: Option<&Purpose>, attempt: u32) -> Result<Passphrase, Error> {
        let _ = (purpose, attempt);
        Err(Error::NoPassphrase(source.to_owned()))
    }

    /// Another passphrase for a key that has one.
    ///
    /// # Errors
    /// As [`Passphrases::choose`].
    fn replace(&self, key: &KeyInfo) -> Result<Passphrase, Error> {
        self.choose(key.purpose.as_ref().unwrap_or(&Purpose::Targets), key.collection.as_deref())
    }
}

/// Where the PINs of tokens come from. They are never the passphrases of keys: a token counts wrong PINs and locks itself.
pub trait Pins: Send + Sync {
    /// The PIN of the token with this label, asked for at most once in a run.
    ///
    /// # Errors
    /// [`Error::NoPassphrase`] where there is none and nobody to ask.
    fn pin(&self, token: &str) -> Result<Passphrase, Error>;
}

impl<P: Passphrases + ?Sized> Passphrases for std::sync::Arc<P> {
    fn at_hand(&self, key: &KeyInfo) -> bool {
        (**self).at_hand(key)
    }

    fn unlock(&self, key: &KeyInfo, attempt: u32) -> Result<Passphrase, Error> {
        (**self).unlock(key, attempt)
    }

    fn choose(&self, purpose: &Purpose, collection: Option<&str>) -> Result<Passphrase, Error> {
        (**self).choose(purpose, collection)
    }

    fn open(&self, source: &str, purpose: Option<&Purpose>, attempt: u32) -> Result<Passphrase, Error> {
        (**self).open(source, purpose, attempt)
    }

    fn replace(&self, key: &KeyInfo) -> Result<Passphrase, Error> {
        (**self).replace(key)
    }
}

/// Keeps private keys.
pub trait KeyStore: Send + Sync + fmt::Debug {
    /// Every key, in the order of their ids.
    ///
    /// # Errors
    /// [`Error::Unusable`] where one of them cannot be told: none is left out silently.
    fn list(&self) -> Result<Vec<KeyInfo>, Error>;

    /// Makes a key and keeps it under a passphrase.
    ///
    /// # Errors
    /// Those of [`Passphrases::choose`]; [`Error::Io`] where it cannot be kept.
    fn generate(
        &self,
        algorithm: Algorithm,
        purpose: Purpose,
        collection: Option<&str>,
        passphrases: &dyn Passphrases,
    ) -> Result<KeyInfo, Error>;

    /// Unlocks a key for signing.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::WrongPassphrase`], and those of [`Passphrases::unlock`].
    fn unlock(&self, id: &KeyId, passphrases: &dyn Passphrases) -> Result<Box<dyn Signer>, Error>;

    /// Keeps a key made elsewhere under a passphrase of its own.
    ///
    /// # Errors
    /// [`Error::Exists`] where it is here already, and those of [`KeyStore::generate`].
    fn import(
        &self,
        key: PrivateKey,
        purpose: Purpose,
        collection: Option<&str>,
        passphrases: &dyn Passphrases,
    ) -> Result<KeyInfo, Error>;

    /// A key as it is kept, locked.
    ///
    /// # Errors
    /// [`Error::Missing`]; [`Error::Unusable`] where the key cannot leave the store.
    fn export(&self, id: &KeyId) -> Result<SealedKey, Error>;

    /// Keeps a key that another store exported, under the passphrase that it has.
    ///
    /// # Errors
    /// [`Error::Exists`] where it is here already; [`Error::Unusable`] where no passphrase protects it.
    fn restore(&self, key: SealedKey) -> Result<KeyInfo, Error>;

    /// Puts a key under another passphrase.
    ///
    /// # Errors
    /// Those of [`KeyStore::unlock`] and [`Passphrases::replace`]; the former passphrase then still holds.
    fn change_passphrase(&self, id: &KeyId, passphrases: &dyn Passphrases) -> Result<(), Error>;

    /// Removes a key for ever.
    ///
    /// # Errors
    /// [`Error::Missing`] where it is not here.
    fn remove(&self, id: &KeyId) -> Result<(), Error>;
}
