//! The folder of private key files: who may read it, how files are written, and one writer at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::Error;
use super::format::MAX_KEY_FILE;

/// How long another process may hold the lock. Nobody holds it while a person is asked something.
const LOCK_DEADLINE: Duration = Duration::from_secs(10);
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// Most files in the folder: a folder flooded with files must not take all memory.
const MAX_FILES: usize = 20_000;

/// A folder that only its owner enters.
#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Makes the folder where it is not there, and locks it until the guard is dropped.
    pub(super) fn lock(&self) -> Result<File, Error> {
        self.lock_within(LOCK_DEADLINE)
    }

    fn lock_within(&self, deadline: Duration) -> Result<File, Error> {
        self.create()?;
        let path = self.path(".lock");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(|error| Error::io("open", &path, &error))?;
        let deadline = Instant::now() + deadline;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::WouldBlock) => return Err(Error::Locked { path: path.display().to_string() }),
                Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path, &error)),
            }
        }
    }

    fn create(&self) -> Result<(), Error> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&self.0).map_err(|error| Error::io("create", &self.0, &error))?;
        self.check()
    }

    /// Refuses a folder that others may write to: they could put their keys in place of ours.
    fn check(&self) -> Result<(), Error> {
        let metadata = fs::metadata(&self.0).map_err(|error| Error::io("read", &self.0, &error))?;
        refuse_modes(&self.0, &metadata, 0o022)
    }

    /// The names of all files; none where there is no folder.
    pub(super) fn names(&self) -> Result<Vec<String>, Error> {
        let failed = |error: &std::io::Error| Error::io("read", &self.0, error);
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(&error)),
        };
        self.check()?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| failed(&error))?;
            if names.len() == MAX_FILES {
                let message = format!("it holds more than {MAX_FILES} files");
                return Err(Error::Unusable { path: self.0.display().to_string(), message });
            }
            // Names that are not UTF-8 are none of ours.
            names.extend(entry.file_name().into_string());
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Reads a file; none where it is not there. Neither a link nor a device is followed.
    pub(super) fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        self.read_file(name, 0)
    }

    /// Reads a file with a secret: it must be closed to everybody else.
    pub(super) fn read_secret(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        self.read_file(name, 0o077)
    }

    fn read_file(&self, name: &str, refused: u32) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let path = self.path(name);
        let failed = |error: &std::io::Error| Error::io("read", &path, error);
        let unusable = |message: String| Error::Unusable { path: path.display().to_string(), message };
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&error)),
        };
        if !metadata.is_file() {
            return Err(unusable("it is a link, a folder or a device, and a plain file is needed".to_owned()));
        }
        refuse_modes(&path, &metadata, refused)?;
        read_private(&path, MAX_KEY_FILE).map(Some)
    }

    /// Writes a file with mode 0600, whole or not at all, and durably.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.path(name);
        write_private(&path, bytes)
            .and_then(|file| file.persist(&path).map_err(|error| error.error))
            .map_err(|error| Error::io("write", &path, &error))?;
        self.sync()
    }

    /// Removes a file; whether it was there.
    pub(super) fn remove(&self, name: &str) -> Result<bool, Error> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Ok(()) => self.sync().map(|()| true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("remove", &path, &error)),
        }
    }

    /// Makes what was renamed or removed in the folder durable.
    fn sync(&self) -> Result<(), Error> {
        File::open(&self.0).and_then(|folder| folder.sync_all()).map_err(|error| Error::io("write", &self.0, &error))
    }
}

/// Writes a new file with mode 0600, whole or not at all, and durably; for keys that leave the store.
///
/// # Errors
/// [`Error::Io`] where it cannot be written, or is there already: nothing is overwritten.
pub fn write_new_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_private(path, bytes)
        .and_then(|file| file.persist_noclobber(path).map_err(|error| error.error))
        .map(drop)
        .map_err(|error| Error::io("create", path, &error))
}

/// A new file beside `path`, mode 0600, written and synced, for the caller to put in place.
fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<tempfile::NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(folder)?;
    file.as_file_mut().write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Reads a file of at most `most` bytes that may hold a secret.
///
/// # Errors
/// [`Error::Io`] where it cannot be read or is larger.
pub fn read_private(path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut bytes = Zeroizing::new(Vec::new());
    File::open(path)
        .and_then(|file| {
            let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
            // Sized once where the size is known: a buffer that grows leaves copies behind.
            bytes.reserve_exact(length.max(MAX_KEY_FILE).min(most) + 1);
            file.take(most as u64 + 1).read_to_end(&mut bytes)
        })
        .map_err(|error| Error::io("read", path, &error))?;
    if bytes.len() > most {
        let message = format!("it has more than {most} bytes");
        return Err(Error::Io { action: "read", path: path.display().to_string(), message });
    }
    Ok(bytes)
}

#[cfg(unix)]
fn refuse_modes(path: &Path, metadata: &fs::Metadata, refused: u32) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & refused != 0 {
        return Err(Error::Exposed { path: path.display().to_string(), mode });
    }
    Ok(())
}

#[cfg(not(unix))]
fn refuse_modes(_path: &Path, _metadata: &fs::Metadata, _refused: u32) -> Result<(), Error> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_use_is_waited_for_until_the_deadline() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::new(home.path().join("keys"));
        let held = folder.lock().unwrap();
        let refused = folder.lock_within(Duration::from_millis(50)).unwrap_err();
        assert_eq!(refused, Error::Locked { path: folder.path(".lock").display().to_string() });
        drop(held);
        folder.lock_within(Duration::ZERO).unwrap();
    }

    #[test]
    fn a_file_is_read_up_to_its_cap_and_a_folder_is_none() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        std::fs::write(&path, [7; 10]).unwrap();
        assert_eq!(read_private(&path, 10).unwrap().len(), 10);
        assert!(read_private(&path, 9).unwrap_err().to_string().ends_with("it has more than 9 bytes"));
        assert!(read_private(home.path(), 9).is_err());
    }

    #[test]
    fn nothing_is_overwritten_by_a_new_file() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        write_new_private(&path, b"first").unwrap();
        assert!(write_new_private(&path, b"second").is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1, "no half-written file stays behind");
    }
}
