//! `bundle`: an image layout with its trust data as one file, for where no registry reaches.
//!
//! - Equal layouts give equal files: entries are sorted, and carry no time, owner or machine.
//! - Reading takes exactly the files of a layout, each once and of bearable size. Links, devices, sparse files and every
//!   other name are refused, so nothing can be written outside the folder, and a file never grows beyond the bundle.
//! - Nothing in a bundle is believed: it is read as the layout that it holds, and verified as any other.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use tar::{Archive, Builder, EntryType, Header};

use super::error::Error;
use crate::image::Digest;

/// Where a layout's blobs lie.
const BLOBS: &str = "blobs/sha256";
/// The two files beside them, with the most bytes that each may have (as a layout is read).
const FILES: [(&str, u64); 2] = [("oci-layout", 4 * 1024), ("index.json", 16 << 20)];
/// Most entries of a bundle. Stops a file of empty entries from filling a disk with names.
const MAX_ENTRIES: usize = 400_000;
/// Most bytes of a blob: larger than any layer that registries take. Stops one entry from being endless.
const MAX_BLOB: u64 = 1 << 38;

/// Writes the layout in `folder` to `file`, which must not be there yet; returns its length in bytes.
///
/// # Errors
/// [`Error::File`].
pub fn write(folder: &Path, file: &Path) -> Result<u64, Error> {
    let fail = |e: &io::Error| failed("write", file, e);
    if file.exists() {
        return Err(failed("write", file, &io::ErrorKind::AlreadyExists.into()));
    }
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".boltseal-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Others may read a bundle, as they may read a layout; the umask still takes away.
        builder.permissions(fs::Permissions::from_mode(0o644));
    }
    let draft = builder.tempfile_in(parent).map_err(|e| fail(&e))?;
    let names = names(folder)?;
    let mut archive = Builder::new(BufWriter::new(draft.as_file()));
    for name in &names {
        append(&mut archive, folder, name).map_err(|e| fail(&e))?;
    }
    let done = archive.into_inner().and_then(|mut writer| writer.flush());
    done.and_then(|()| draft.as_file().sync_all()).map_err(|e| fail(&e))?;
    let placed = draft.persist_noclobber(file).map_err(|e| fail(&e.error))?;
    Ok(placed.metadata().map_err(|e| fail(&e))?.len())
}

/// The names of a layout's files in the order in which a reader wants them.
fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let blobs = folder.join(BLOBS);
    let fail = |e: &io::Error| failed("read", &blobs, e);
    let mut hex = BTreeSet::new();
    for entry in fs::read_dir(&blobs).map_err(|e| fail(&e))? {
        let name = entry.map_err(|e| fail(&e))?.file_name();
        // Drafts that other tools left are no part of the layout.
        hex.extend(name.to_str().filter(|name| Digest::from_hex(name).is_ok()).map(str::to_owned));
    }
    let blobs = hex.into_iter().map(|hex| format!("{BLOBS}/{hex}"));
    Ok(FILES.iter().map(|(name, _)| (*name).to_owned()).chain(blobs).collect())
}

fn append(archive: &mut Builder<impl Write>, folder: &Path, name: &str) -> io::Result<()> {
    let file = File::open(folder.join(name))?;
    let length = file.metadata()?.len();
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(length);
    archive.append_data(&mut header, name, BufReader::new(file).take(length))
}

/// Reads the bundle `file` into the empty folder `folder`, which is then a layout.
///
/// # Errors
/// [`Error::File`] for what is no bundle, with the entry that is none of a layout's.
pub fn unpack(file: &Path, folder: &Path) -> Result<(), Error> {
    let fail = |e: &io::Error| failed("read", file, e);
    let refuse = |reason: String| failed("read", file, &io::Error::new(io::ErrorKind::InvalidData, reason));
    let source = File::open(file).map_err(|e| fail(&e))?;
    fs::create_dir_all(folder.join(BLOBS)).map_err(|e| failed("create", folder, &e))?;
    let mut archive = Archive::new(BufReader::new(source));
    let mut seen = BTreeSet::new();
    for entry in archive.entries().map_err(|e| fail(&e))? {
        let mut entry = entry.map_err(|e| fail(&e))?;
        let path = entry.path_bytes().into_owned();
        let name = String::from_utf8_lossy(&path).into_owned();
        let kind = entry.header().entry_type();
        // Other tools write the folders too.
        if kind.is_dir() && ["blobs", BLOBS].contains(&name.trim_end_matches('/').trim_start_matches("./")) {
            continue;
        }
        let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
        let shown = name.escape_debug().take(200).collect::<String>();
        let Some(most) = most(&name).filter(|_| kind == EntryType::Regular) else {
            return Err(refuse(format!("`{shown}` is no file of an image layout")));
        };
        if entry.size() > most {
            return Err(refuse(format!("`{shown}` is larger than the {most} bytes that it may have")));
        }
        if !seen.insert(name.clone()) {
            return Err(refuse(format!("`{shown}` stands in it twice")));
        }
        if seen.len() > MAX_ENTRIES {
            return Err(refuse(format!("it has more than {MAX_ENTRIES} entries")));
        }
        let size = entry.size();
        let target = folder.join(&name);
        let mut out = File::create_new(&target).map_err(|e| failed("create", &target, &e))?;
        let copied = io::copy(&mut entry, &mut out).map_err(|e| fail(&e))?;
        if copied != size {
            return Err(refuse(format!("it ends within `{shown}`")));
        }
    }
    match FILES.iter().find(|(name, _)| !seen.contains(*name)) {
        Some((name, _)) => Err(refuse(format!("it has no `{name}`, so it is no bundle"))),
        None => Ok(()),
    }
}

/// The most bytes that a file of a layout may have; none for any other name.
fn most(name: &str) -> Option<u64> {
    let blob = name.strip_prefix(BLOBS).and_then(|rest| rest.strip_prefix('/'));
    match blob {
        Some(hex) => Digest::from_hex(hex).is_ok().then_some(MAX_BLOB),
        None => FILES.iter().find(|(file, _)| *file == name).map(|(_, most)| *most),
    }
}

fn failed(action: &'static str, path: &Path, error: &io::Error) -> Error {
    Error::File { action, path: path.display().to_string(), message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A layout of one blob.
    fn layout() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join(BLOBS)).unwrap();
        for (name, text) in [("oci-layout", "{}"), ("index.json", "[]"), (&*blob(b"blob"), "blob")] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn blob(content: &[u8]) -> String {
        format!("{BLOBS}/{}", Digest::of(content).hex())
    }

    /// A tar file of entries as an attacker writes them: the names go into the header unchecked.
    fn hostile(entries: &[(&str, EntryType, &[u8])]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut archive = Builder::new(file.as_file());
        for (name, kind, content) in entries {
            let mut header = Header::new_ustar();
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            header.set_size(content.len() as u64);
            header.set_cksum();
            archive.append(&header, *content).unwrap();
        }
        archive.finish().unwrap();
        drop(archive);
        file
    }

    #[test]
    fn a_layout_comes_out_as_it_went_in_and_nothing_else_goes_in() {
        let (from, to) = (layout(), tempfile::tempdir().unwrap());
        fs::write(from.path().join(".boltseal-lock"), "").unwrap();
        fs::write(from.path().join(BLOBS).join(".draft"), "half").unwrap();
        let file = to.path().join("b.tar");
        write(from.path(), &file).unwrap();
        let out = to.path().join("out");
        unpack(&file, &out).unwrap();
        assert_eq!(fs::read(out.join(blob(b"blob"))).unwrap(), b"blob");
        assert_eq!(fs::read_dir(out.join(BLOBS)).unwrap().count(), 1);
        assert!(!out.join(".boltseal-lock").exists());
    }

    #[test]
    fn equal_layouts_give_equal_files_whenever_they_were_made() {
        let to = tempfile::tempdir().unwrap();
        let bytes = |name: &str| {
            let from = layout();
            let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(name.len() as u64);
            File::options().write(true).open(from.path().join("index.json")).unwrap().set_modified(old).unwrap();
            write(from.path(), &to.path().join(name)).unwrap();
            fs::read(to.path().join(name)).unwrap()
        };
        assert_eq!(bytes("a"), bytes("bb"));
    }

    #[test]
    fn a_file_that_is_there_is_never_overwritten() {
        let from = layout();
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(write(from.path(), file.path()), Err(Error::File { .. })));
        assert_eq!(fs::read(file.path()).unwrap(), b"");
    }

    #[test]
    fn whatever_is_no_file_of_a_layout_is_refused_and_written_nowhere() {
        let inside = blob(b"x");
        let large = vec![b' '; 5000];
        for (name, kind, content) in [
            ("../evil", EntryType::Regular, &b"x"[..]),
            ("/tmp/boltseal-evil", EntryType::Regular, b"x"),
            ("blobs/sha256/../../../evil", EntryType::Regular, b"x"),
            ("blobs/sha256/evil", EntryType::Regular, b"x"),
            ("blobs/sha512/evil", EntryType::Regular, b"x"),
            ("readme", EntryType::Regular, b"x"),
            ("evil", EntryType::Directory, b""),
            (&inside, EntryType::Symlink, b""),
            (&inside, EntryType::Link, b""),
            (&inside, EntryType::Fifo, b""),
            (&inside, EntryType::Char, b""),
            (&inside, EntryType::GNUSparse, b"x"),
            ("oci-layout", EntryType::Regular, &large),
        ] {
            let outer = tempfile::tempdir().unwrap();
            let folder = outer.path().join("in/side");
            let file = hostile(&[(name, kind, content)]);
            assert!(unpack(file.path(), &folder).is_err(), "{name} {kind:?}");
            assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 1, "{name}");
            assert_eq!(fs::read_dir(folder.join(BLOBS)).unwrap().count(), 0, "{name}");
        }
    }

    #[test]
    fn a_bundle_that_is_cut_off_or_says_a_thing_twice_is_refused() {
        let (name, regular) = (blob(b"x"), EntryType::Regular);
        let whole: [(&str, EntryType, &[u8]); 3] =
            [("oci-layout", regular, b"{}"), ("index.json", regular, b"[]"), (&name, regular, &[7; 2000])];
        let unpacked = |file: &Path| unpack(file, &tempfile::tempdir().unwrap().path().join("x"));
        unpacked(hostile(&whole).path()).unwrap();
        let cut = hostile(&whole);
        cut.as_file().set_len(4 * 512 + 512 + 1000).unwrap();
        assert!(unpacked(cut.path()).is_err());
        assert!(unpacked(hostile(&[whole[0], whole[1], whole[2], whole[2]]).path()).is_err());
        assert!(unpacked(hostile(&whole[..1]).path()).is_err());
        assert!(unpacked(hostile(&[]).path()).is_err());
    }
}
