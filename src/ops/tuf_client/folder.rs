//! The folders of the plain client: trusted metadata, and verified artifacts.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Error;
use crate::image::Digest;
use crate::trust::role::RoleName;

/// Largest metadata file read back, in bytes: above every cap on what was written.
const MAX_FILE: u64 = 64 << 20;
/// Longest file name; longer ones are named by their hash. Most file systems end at 255 bytes.
const MAX_NAME: usize = 240;
/// What an artifact's name keeps as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// The trusted metadata.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The file of a role; none where it was never persisted.
    pub(super) fn recall(&self, role: &RoleName) -> Result<Option<Bytes>, Error> {
        read(&self.file(role), MAX_FILE)
    }

    pub(super) fn persist(&self, role: &RoleName, bytes: &[u8]) -> Result<(), Error> {
        write(&self.file(role), bytes)
    }

    pub(super) fn forget(&self, role: &RoleName) -> Result<(), Error> {
        let path = self.file(role);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(failed("remove", &path)(e)),
            _ => Ok(()),
        }
    }

    fn file(&self, role: &RoleName) -> PathBuf {
        let name = role.file_name(None);
        self.path.join(if name.len() > MAX_NAME { hashed(role.as_str()) + ".json" } else { name })
    }
}

/// The file of an artifact: one name straight in the folder, which no path leads out of.
pub(super) fn artifact(folder: &Path, path: &str) -> PathBuf {
    let name = utf8_percent_encode(path, ENCODED).to_string();
    // Neither `.` nor `..` nor a hidden file.
    let name = name.strip_prefix('.').map_or_else(|| name.clone(), |rest| format!("%2E{rest}"));
    folder.join(if name.len() > MAX_NAME { hashed(path) } else { name })
}

fn hashed(text: &str) -> String {
    Digest::of(text.as_bytes()).hex()
}

/// Reads a file of at most `max` bytes; none where there is none.
pub(super) fn read(path: &Path, max: u64) -> Result<Option<Bytes>, Error> {
    let file = match File::open(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed("read", path))?,
    };
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes).map_err(failed("read", path))?;
    if bytes.len() as u64 > max {
        return Err(failed("read", path)(ErrorKind::FileTooLarge.into()));
    }
    Ok(Some(bytes.into()))
}

/// Reads a regular file of exactly this length; none for anything else, a link above all.
pub(super) fn read_regular(path: &Path, length: u64) -> Result<Option<Bytes>, Error> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() && found.len() == length => read(path, length),
        _ => Ok(None),
    }
}

/// Writes a file whole or not at all. Where a link stands, the link is replaced and not followed.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed("write", path))?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed("write", path))?;
    file.persist(path).map_err(|e| failed("write", path)(e.error))?;
    Ok(())
}

fn failed(action: &'static str, path: &Path) -> impl Fn(std::io::Error) -> Error {
    move |source| Error::Io { action, path: path.to_owned(), source }
}
