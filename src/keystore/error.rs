//! What goes wrong with private keys, and what to do about it.

use super::MIN_PASSPHRASE;

/// What went wrong with a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The store holds no such key.
    #[error("key {0} is not in the key store")]
    Missing(String),
    /// More than one key begins with the given id.
    #[error("key id `{0}` is ambiguous")]
    Ambiguous(String),
    /// Too little of a key id to find a key by.
    #[error("key id `{0}` is too short: at least {min} characters are needed", min = super::MIN_ID_PREFIX)]
    ShortId(String),
    /// The store holds this key already.
    #[error("key {0} is in the key store already")]
    Exists(String),
    /// The passphrase is wrong.
    #[error("the passphrase for {0} is wrong")]
    WrongPassphrase(String),
    /// There is no passphrase, and nobody to ask.
    #[error("no passphrase for {0}")]
    NoPassphrase(String),
    /// A token's PIN is wrong. It is tried once: a token locks itself after a few wrong ones.
    #[error("the PIN of token `{0}` is wrong")]
    WrongPin(String),
    /// There is no PIN, and nobody to ask.
    #[error("no PIN for token `{0}`")]
    NoPin(String),
    /// A store cannot do this with its keys.
    #[error("{store} cannot {action} keys: {message}")]
    Refused {
        /// The store.
        store: String,
        /// The verb.
        action: &'static str,
        /// Why.
        message: String,
    },
    /// A passphrase for a new key is too short.
    #[error("the new passphrase for {0} is too short: at least {MIN_PASSPHRASE} characters are needed")]
    TooShort(String),
    /// The two spellings of a new passphrase differ.
    #[error("the two passphrases for {0} differ")]
    Differ(String),
    /// An environment variable cannot be used. Wrong usage.
    #[error("`{variable}` cannot be used: {message}")]
    Variable {
        /// The variable.
        variable: String,
        /// Why.
        message: String,
    },
    /// Nothing says what an imported key is for. Wrong usage.
    #[error("`{0}` does not say what the key is for")]
    NoPurpose(String),
    /// A key file or its folder is open to others on this machine.
    #[error("`{path}` is open to other users of this machine: its mode is {mode:04o}")]
    Exposed {
        /// The file or folder.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
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
    /// Another process held the key store's lock for longer than the deadline.
    #[error("`{path}` is in use by another process")]
    Locked {
        /// The lock file.
        path: String,
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

impl Error {
    /// What the user can do about it, a line each.
    pub fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Missing(_) => "`boltseal key list` shows the keys of this machine".to_owned(),
            Self::Ambiguous(_) => "give more characters of the id".to_owned(),
            Self::NoPassphrase(_) => {
                "without a terminal the passphrase comes from `BOLTSEAL_PASSPHRASE` or `BOLTSEAL_PASSPHRASE_FILE`"
                    .to_owned()
            }
            Self::WrongPin(_) => {
                "it was tried once and not again: a token locks itself after a few wrong PINs".to_owned()
            }
            Self::NoPin(_) => {
                "without a terminal the PIN comes from `BOLTSEAL_PKCS11_PIN` or `BOLTSEAL_PKCS11_PIN_FILE`".to_owned()
            }
            Self::NoPurpose(_) => "say it with `--purpose root`, `targets`, `online` or `signer:NAME`".to_owned(),
            Self::Exposed { path, mode } if mode & 0o111 == 0 => format!("close it with `chmod 600 {path}`"),
            Self::Exposed { path, .. } => format!("close it with `chmod 700 {path}`"),
            _ => return Vec::new(),
        };
        vec![hint]
    }

    pub(super) fn io(action: &'static str, path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::Io { action, path: path.display().to_string(), message: error.to_string() }
    }
}
