//! An exclusive file lock with a deadline.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use super::Error;
use super::atomic::io_error;

/// How long another process may hold a lock before we give up.
pub const LOCK_WAIT: Duration = Duration::from_secs(30);
/// How often a lock that is held is tried.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// Locks the file at `path`, which is made where it is missing. The lock ends when the file is dropped.
///
/// The file is never removed: who waits for the lock of a removed file would hold it beside another.
///
/// # Errors
/// [`Error::Locked`] after `wait`; [`Error::Io`] where the file cannot be made or locked, such as in a folder that is
/// read-only.
pub fn lock(path: &Path, wait: Duration) -> Result<File, Error> {
    let failed = |error: &std::io::Error| io_error("lock", path, error);
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path).map_err(|error| failed(&error))?;
    let deadline = Instant::now() + wait;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(LOCK_POLL),
            Err(TryLockError::WouldBlock) => return Err(Error::Locked { path: path.display().to_string() }),
            Err(TryLockError::Error(error)) => return Err(failed(&error)),
        }
    }
}
