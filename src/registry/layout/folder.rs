//! The folder of a layout: files that are opened only when they are regular and lie inside, and written by rename.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Deserialize;
use tempfile::NamedTempFile;

use super::super::Error;
use super::{index, lock};
use crate::image::reference::shown;

/// Where SHA-256 blobs lie.
pub(super) const BLOBS: &str = "blobs/sha256";
/// The file that makes a folder a layout.
const MARKER: &str = "oci-layout";
/// What we write there (OCI image specification, "OCI Layout").
const MARKER_TEXT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// Largest marker that is read, in bytes.
const MAX_MARKER: u64 = 4 * 1024;
/// What the names of files in work begin with; other tools pass them over.
const DRAFT: &str = ".boltseal-";

/// Most entries of a folder that may still be one where the making of a layout was cut off.
const MAX_VACANT: usize = 100;

/// The folder of a layout, which need not exist yet.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    /// Absolute and without links, as far as it exists.
    root: PathBuf,
}

impl Folder {
    pub(super) fn new(path: &Path) -> Result<Self, Error> {
        let broken = |error: &io::Error| Error::Broken { location: location_of(path), message: error.to_string() };
        let path = std::path::absolute(path).map_err(|error| broken(&error))?;
        // The same folder has the same location before and after it is made.
        for ancestor in path.ancestors() {
            match fs::canonicalize(ancestor) {
                Ok(real) => {
                    let rest = path.strip_prefix(ancestor).expect("it is an ancestor");
                    // Joining nothing would leave a slash at the end.
                    let root = if rest.as_os_str().is_empty() { real } else { real.join(rest) };
                    return Ok(Self { root });
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(broken(&error)),
            }
        }
        Ok(Self { root: path })
    }

    pub(super) fn location(&self) -> String {
        location_of(&self.root)
    }

    pub(super) fn broken(&self, message: String) -> Error {
        Error::Broken { location: self.location(), message }
    }

    /// What the operating system said of a file.
    pub(super) fn failed(&self, relative: &str, error: &io::Error) -> Error {
        self.broken(format!("`{relative}`: {error}"))
    }

    /// Checks that the folder is a layout.
    pub(super) fn check_layout(&self) -> Result<(), Error> {
        let Some(bytes) = self.read(MARKER, MAX_MARKER)? else {
            return Err(if self.is_vacant()? {
                Error::NotFound { what: "image layout".to_owned(), location: self.location() }
            } else {
                self.broken(format!("it is no OCI image layout: there is no `{MARKER}` file"))
            });
        };
        let marker: Marker = serde_json::from_slice(&bytes)
            .map_err(|error| self.broken(format!("`{MARKER}` is malformed: {}", shown(&error.to_string()))))?;
        if !marker.image_layout_version.starts_with("1.") {
            let version = shown(&marker.image_layout_version);
            return Err(self.broken(format!("its layout version is `{version}`: only version 1 is supported")));
        }
        Ok(())
    }

    /// Makes the folder and its folders.
    pub(super) fn make(&self) -> Result<(), Error> {
        fs::create_dir_all(self.root.join(BLOBS)).map_err(|error| self.failed(BLOBS, &error))
    }

    /// Writes the file that makes the folder a layout.
    pub(super) fn mark(&self) -> Result<(), Error> {
        self.write(MARKER, MARKER_TEXT)
    }

    /// Whether there is nothing here yet but what a maker of layouts leaves before the marker.
    fn is_vacant(&self) -> Result<bool, Error> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(self.broken(error.to_string())),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry.map_err(|error| self.broken(error.to_string()))?.file_name());
            // A folder of many files is somebody's, and need not be read to its end.
            if names.len() > MAX_VACANT {
                return Ok(false);
            }
        }
        // An index without a marker is ours, unfinished, only beside our lock.
        let begun = names.iter().any(|name| name == lock::FILE);
        Ok(names.iter().all(|name| {
            name == "blobs"
                || (begun && name == index::FILE)
                || name.to_string_lossy().starts_with(DRAFT)
                || name == lock::FILE
        }))
    }

    /// Opens a regular file for reading and tells its length; none where there is none.
    pub(super) fn open(&self, relative: &str) -> Result<Option<(File, u64)>, Error> {
        let Some(path) = self.resolve(relative)? else { return Ok(None) };
        let file = match guarded(OpenOptions::new().read(true)).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(relative, &error)),
        };
        let metadata = file.metadata().map_err(|error| self.failed(relative, &error))?;
        if !metadata.is_file() {
            return Err(self.broken(format!("`{relative}` is no regular file")));
        }
        Ok(Some((file, metadata.len())))
    }

    /// Reads a file of at most `max` bytes; none where there is none.
    pub(super) fn read(&self, relative: &str, max: u64) -> Result<Option<Bytes>, Error> {
        let Some((file, length)) = self.open(relative)? else { return Ok(None) };
        let too_much =
            || Error::TooMuch { what: relative.to_owned(), location: self.location(), limit: format!("{max} bytes") };
        if length > max {
            return Err(too_much());
        }
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        // The file may grow while it is read.
        file.take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| self.failed(relative, &error))?;
        if bytes.len() as u64 > max { Err(too_much()) } else { Ok(Some(bytes.into())) }
    }

    /// Opens a file of our own for writing beside the others, making it where needed. It is never renamed away.
    pub(super) fn open_own(&self, name: &str) -> Result<File, Error> {
        let fail = |error: io::Error| self.failed(name, &error);
        let mut options = OpenOptions::new();
        let file =
            guarded(options.write(true).create(true).truncate(false)).open(self.root.join(name)).map_err(fail)?;
        if !file.metadata().map_err(fail)?.is_file() {
            return Err(self.broken(format!("`{name}` is no regular file")));
        }
        Ok(file)
    }

    /// Writes a whole file, so that a reader sees the old one or the new one.
    pub(super) fn write(&self, relative: &str, bytes: &[u8]) -> Result<(), Error> {
        let mut draft = self.draft()?;
        draft.write_all(bytes).map_err(|error| self.failed(relative, &error))?;
        self.place(draft, relative)
    }

    /// A file in work, removed unless it is placed.
    pub(super) fn draft(&self) -> Result<NamedTempFile, Error> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(DRAFT);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // Others may read a layout; the umask still takes away.
            builder.permissions(fs::Permissions::from_mode(0o644));
        }
        builder.tempfile_in(&self.root).map_err(|error| self.broken(error.to_string()))
    }

    /// Gives a file in work its place.
    pub(super) fn place(&self, draft: NamedTempFile, relative: &str) -> Result<(), Error> {
        let fail = |error: io::Error| self.failed(relative, &error);
        let target = self.root.join(relative);
        let parent = target.parent().expect("a file of the layout lies in a folder");
        if parent != self.root {
            fs::create_dir_all(parent).map_err(fail)?;
        }
        self.confine(relative, &fs::canonicalize(parent).map_err(fail)?)?;
        draft.as_file().sync_all().map_err(fail)?;
        draft.persist(&target).map_err(|error| fail(error.error))?;
        if parent == self.root { sync_folder(parent).map_err(fail) } else { Ok(()) }
    }

    /// Makes the blobs' names durable: asked before something refers to them.
    pub(super) fn sync_blobs(&self) -> Result<(), Error> {
        match sync_folder(&self.root.join(BLOBS)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(self.failed(BLOBS, &error)),
            _ => Ok(()),
        }
    }

    /// The real path of a file; none where there is none.
    fn resolve(&self, relative: &str) -> Result<Option<PathBuf>, Error> {
        match fs::canonicalize(self.root.join(relative)) {
            Ok(path) => self.confine(relative, &path).map(|()| Some(path)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(relative, &error)),
        }
    }

    fn confine(&self, relative: &str, real: &Path) -> Result<(), Error> {
        if real.starts_with(&self.root) {
            return Ok(());
        }
        Err(self.broken(format!("`{relative}` leads out of the folder")))
    }
}

/// What the marker says.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

fn location_of(path: &Path) -> String {
    format!("oci:{}", path.display())
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Neither follows a link put there since the path was resolved, nor waits at a FIFO for its other end.
fn guarded(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;

        use rustix::fs::OFlags;
        options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    }
    options
}
