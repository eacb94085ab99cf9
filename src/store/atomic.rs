//! Files that are whole at every instant: written beside, made durable, renamed.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use super::Error;

/// Replaces a file by other bytes: a reader sees the old or the new ones, after a power cut too. Whoever may write to
/// the folder has to be kept out by a lock of the caller.
///
/// A file that is there keeps its permissions; a new one gets `mode` (on Unix).
///
/// # Errors
/// [`Error::Io`] naming the path.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    write_beside(path, bytes, mode)?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// As [`replace`], but the rename may be lost in a power cut until the folder is synced.
pub(super) fn write_beside(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let failed = |error: &io::Error| io_error("write", path, error);
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".new-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let kept = fs::metadata(path).ok().map(|found| found.permissions());
        builder.permissions(kept.unwrap_or_else(|| fs::Permissions::from_mode(mode)));
    }
    let mut file = builder.tempfile_in(folder).map_err(|error| failed(&error))?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(|error| failed(&error))?;
    file.persist(path).map_err(|error| failed(&error.error))?;
    Ok(())
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
