//! Files that arguments name, read whole and capped.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use zeroize::Zeroizing;

use super::report::Failure;

/// Largest file that an argument may name, in bytes: a device or a wrong file must not fill the memory.
const MAX_FILE: usize = 16 << 20;

/// Reads a file. It may hold a secret, so the memory is zeroed afterwards.
///
/// # Errors
/// Exit 2 where it is not there, 1 where it cannot be read or is too large.
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let cannot = |error: std::io::Error| {
        let message = format!("cannot read `{}`: {error}", path.display());
        match error.kind() {
            std::io::ErrorKind::NotFound => Failure::usage(message),
            _ => Failure::failed(message),
        }
    };
    let file = File::open(path).map_err(cannot)?;
    let length = file.metadata().map_err(cannot)?.len();
    // Room for all of it at once: a vector that grows leaves copies of a secret behind.
    let room = usize::try_from(length).unwrap_or(usize::MAX).min(MAX_FILE) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() > MAX_FILE {
        return Err(Failure::failed(format!("`{}` is larger than 16 MiB", path.display())));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::report::Exit;

    #[test]
    fn a_file_that_is_not_there_is_wrong_usage_and_an_endless_one_is_not_read() {
        assert_eq!(read(Path::new("/nowhere/at/all")).unwrap_err().exit, Exit::Usage);
        let endless = Path::new("/dev/zero");
        if endless.exists() {
            assert_eq!(read(endless).unwrap_err().exit, Exit::Failed);
        }
    }
}
