//! The key store port: private keys that sign without ever showing themselves.

use std::fmt;

use crate::trust::{Key, KeyId};

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

/// What went wrong with a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The store holds no such key.
    #[error("key {0} is not in the key store")]
    Missing(String),
    /// More than one key begins with the given id.
    #[error("key id `{0}` is ambiguous")]
    Ambiguous(String),
    /// The passphrase is wrong.
    #[error("the passphrase for {0} is wrong")]
    WrongPassphrase(String),
    /// There is no passphrase, and nobody to ask.
    #[error("no passphrase for {0}")]
    NoPassphrase(String),
    /// A key file is of a kind that we cannot use, or damaged.
    #[error("`{path}` is no usable key: {message}")]
    Unusable {
        /// The file, or where the key came from.
        path: String,
        /// What is wrong with it.
        message: String,
    },
    /// The key store's files cannot be read or written.
    #[error("cannot {action} `{path}`: {message}")]
    Io {
        /// The verb.
        action: &'static str,
        /// The path.
        path: String,
        /// The operating system's words.
        message: String,
    },
    /// A device or program that signs failed or took too long.
    #[error("{name} cannot sign: {message}")]
    Device {
        /// The token or program.
        name: String,
        /// What it said.
        message: String,
    },
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
    /// The passphrase that unlocks a key. `attempt` counts from 0; only a prompt can answer a second time.
    ///
    /// # Errors
    /// [`Error::NoPassphrase`] where there is none and nobody to ask.
    fn unlock(&self, key: &KeyInfo, attempt: u32) -> Result<Passphrase, Error>;

    /// A passphrase for a new key, asked twice by a prompt.
    ///
    /// # Errors
    /// [`Error::NoPassphrase`] where there is none and nobody to ask.
    fn choose(&self, purpose: &Purpose, collection: Option<&str>) -> Result<Passphrase, Error>;
}

/// Keeps private keys.
pub trait KeyStore: Send + Sync + fmt::Debug {
    /// Every key, in the order of their ids.
    fn list(&self) -> Result<Vec<KeyInfo>, Error>;

    /// Makes a key and keeps it under a passphrase.
    fn generate(
        &self,
        algorithm: Algorithm,
        purpose: Purpose,
        collection: Option<&str>,
        passphrases: &dyn Passphrases,
    ) -> Result<KeyInfo, Error>;

    /// Unlocks a key for signing.
    fn unlock(&self, id: &KeyId, passphrases: &dyn Passphrases) -> Result<Box<dyn Signer>, Error>;

    /// Removes a key for ever.
    fn remove(&self, id: &KeyId) -> Result<(), Error>;
}
