//! Settings and policy files, read from disk into plain values.
//!
//! - Settings: flag > variable > the user's `config.toml` > `/etc/boltseal/config.toml`.
//! - Policy: `/etc/boltseal/policy.toml` is always read, then the user's `policy.toml`, then each `--policy FILE`.
//! - A file that cannot be read or understood is an error, never an empty file; an unknown field is one too, since a
//!   misspelled rule would silently not count.

mod folders;
pub mod policy;
mod settings;
mod signers;
mod table;

pub use folders::Folders;
pub use settings::{Engine, Output, Settings};
pub use signers::{External as ExternalSettings, Token as TokenSettings};

use std::fs;
use std::io;
use std::path::Path;

use crate::store;

/// Largest settings or policy file read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// What is wrong with a settings or policy file, or with where they lie.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read `{path}`: {message}")]
    Io {
        /// The path.
        path: String,
        /// The operating system's words, or what the file is instead of a plain file.
        message: String,
    },
    /// A file is not what it should be.
    #[error("`{path}` line {line}{}: {message}", field.as_ref().map_or(String::new(), |field| format!(", `{field}`")))]
    Invalid {
        /// The path.
        path: String,
        /// The line, counted from 1.
        line: usize,
        /// The field, such as `scope.root.threshold`, where it is about one.
        field: Option<String>,
        /// What was expected, and what came.
        message: String,
    },
    /// There is no folder to keep things in.
    #[error("there is no {what} folder: {message}")]
    NoFolder {
        /// Which: `data` or `configuration`.
        what: &'static str,
        /// Why not.
        message: String,
    },
}

/// Reads a text file; none where there is none. Symbolic links are followed: people keep their settings elsewhere.
fn read_text(path: &Path) -> Result<Option<String>, Error> {
    let Some(bytes) = read_bytes(path)? else { return Ok(None) };
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|_| Error::Io { path: path.display().to_string(), message: "it is no UTF-8 text".to_owned() })
}

fn read_bytes(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let failed = |message: String| Error::Io { path: path.display().to_string(), message };
    let real = match fs::canonicalize(path) {
        Ok(real) => real,
        // A link to nowhere is there all the same.
        Err(error) if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => {
            return Ok(None);
        }
        Err(error) => return Err(failed(error.to_string())),
    };
    store::atomic::read_capped(&real, MAX_FILE).map_err(|error| match error {
        store::Error::Io { message, .. } | store::Error::Damaged { message, .. } => failed(message),
        store::Error::Locked { .. } => failed(error.to_string()),
    })
}
