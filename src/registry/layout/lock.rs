//! The turn to write `index.json`.

use std::fs::{File, TryLockError};
use std::time::{Duration, Instant};

use super::super::Error;
use super::folder::Folder;

/// The lock file. It stays: removing it would let two processes hold two files of one name.
pub(super) const FILE: &str = ".boltseal.lock";
/// How often a held lock is asked for again.
const PAUSE: Duration = Duration::from_millis(10);

/// Waits for the lock at most `wait`; it is held until the file is dropped.
pub(super) fn acquire(folder: &Folder, wait: Duration) -> Result<File, Error> {
    let file = folder.open_own(FILE)?;
    let deadline = Instant::now() + wait;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(folder.failed(FILE, &error)),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                let seconds = wait.as_secs_f32();
                return Err(folder.broken(format!("another process held `{FILE}` for more than {seconds} s")));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
        }
    }
}
