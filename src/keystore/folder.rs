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
        self.create()?;
        let path = self.path(".lock");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(|error| Error::io("open", &path, &error))?;
        let deadline = Instant::now() + LOCK_DEADLINE;
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
        let file = File::open(&path).map_err(|error| failed(&error))?;
        let bytes = read_capped(file).map_err(|error| failed(&error))?;
        if bytes.len() > MAX_KEY_FILE {
            return Err(unusable(format!("it has more than {MAX_KEY_FILE} bytes")));
        }
        Ok(Some(bytes))
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
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Reads at most one byte more than a key file may have, into a buffer that never moves.
pub(super) fn read_capped(file: impl Read) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let most = MAX_KEY_FILE + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(most));
    file.take(most as u64).read_to_end(&mut bytes)?;
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
