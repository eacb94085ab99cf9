//! Files that are whole at every instant: written beside, made durable, renamed.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::Error;

/// How the name of a file begins that waits to take its place.
pub(super) const STAGED: &str = ".new-";

/// Replaces a file by other bytes: a reader sees the old or the new ones, after a power cut too. Whoever may write to
/// the folder has to be kept out by a lock of the caller.
///
/// A file that is there keeps its permissions; a new one gets `mode` (on Unix).
///
/// # Errors
/// [`Error::Io`] naming the path.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let staged = Staged::write(path, bytes, mode)?;
    staged.sync()?;
    staged.put()?;
    sync_folder(folder_of(path))
}

/// The folder of a file; a bare name lies in the working folder.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A file written beside the one that it will replace.
#[derive(Debug)]
pub(super) struct Staged {
    file: tempfile::NamedTempFile,
    path: PathBuf,
}

impl Staged {
    /// Writes the bytes beside `path`, not yet durable.
    pub(super) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<Self, Error> {
        let failed = |error: &io::Error| io_error("write", path, error);
        let mut builder = tempfile::Builder::new();
        builder.prefix(STAGED);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let kept = fs::metadata(path).ok().map(|found| found.permissions());
            builder.permissions(kept.unwrap_or_else(|| fs::Permissions::from_mode(mode)));
        }
        let folder = folder_of(path);
        let mut file = builder.tempfile_in(folder).map_err(|error| failed(&error))?;
        file.write_all(bytes).map_err(|error| failed(&error))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Makes the bytes durable.
    pub(super) fn sync(&self) -> Result<(), Error> {
        self.file.as_file().sync_all().map_err(|error| io_error("write", &self.path, &error))
    }

    /// Puts the file in its place. The rename may be lost in a power cut until the folder is synced.
    pub(super) fn put(self) -> Result<(), Error> {
        let Self { file, path } = self;
        file.persist(&path).map(drop).map_err(|error| io_error("write", &path, &error.error))
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> Result<(), Error> {
    #[cfg(unix)]
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| io_error("write", folder, &error))?;
    Ok(())
}

/// Reads a file of at most `cap` bytes; none where there is none.
///
/// # Errors
/// [`Error::Damaged`] where it is no plain file (a symbolic link, folder or pipe might lead elsewhere or block) or
/// larger than the cap; [`Error::Io`] where it cannot be read.
pub fn read_capped(path: &Path, cap: u64) -> Result<Option<Vec<u8>>, Error> {
    let failed = |error: &io::Error| io_error("read", path, error);
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(&error)),
    };
    if !found.is_file() {
        return Err(damaged(path, "it is no plain file"));
    }
    if found.len() > cap {
        return Err(damaged(path, format!("it has {} bytes, more than {cap}", found.len())));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(found.len()).unwrap_or_default());
    let file = File::open(path).map_err(|error| failed(&error))?;
    file.take(cap).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    Ok(Some(bytes))
}

pub(super) fn io_error(action: &'static str, path: &Path, error: &io::Error) -> Error {
    Error::Io { action, path: path.display().to_string(), message: error.to_string() }
}

pub(super) fn damaged(path: &Path, message: impl Into<String>) -> Error {
    Error::Damaged { path: path.display().to_string(), message: message.into() }
}
