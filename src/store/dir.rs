//! The client's memory as plain files: `trust/<escaped name>/` below the home folder.
//!
//! - A folder holds the metadata files as the port names them, `marks.json` (whose memory it is, heads by location, the
//!   latest time seen) and `lock`. Folders are 0700, files 0600.
//! - A file is replaced by a rename under an exclusive lock. `marks.json` comes first, so metadata without it, or with
//!   that of another collection, is damage. Damage is reported and stays: starting anew would forgive a rollback.
//! - What is not a plain file of bearable size is never followed or read.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use super::atomic::{STAGED, Staged, damaged, io_error, read_capped, sync_folder};
use super::file_name::{FileName, folder_name};
use super::lock::{LOCK_WAIT, lock};
use super::marks::Marks;
use super::{Error, HeadMark, Memory, Store};
use crate::image::ImageName;

/// Largest file read back, in bytes: above any role that we accept, so that a foreign file cannot fill the memory.
const MAX_FILE: u64 = 64 << 20;
/// Largest `marks.json` read back, in bytes.
const MAX_MARKS: u64 = 4 << 20;
/// Most entries looked at in one folder.
const MAX_ENTRIES: usize = 1 << 20;
const MARKS: &str = "marks.json";
const ROLES: &str = "roles";
const LOCK: &str = "lock";
const FILE_MODE: u32 = 0o600;

/// Memory of many collections below one home folder.
#[derive(Debug, Clone)]
pub struct DirStore {
    trust: PathBuf,
    lock_wait: Duration,
}

impl DirStore {
    /// The memory below `home`. Touches nothing until it is opened.
    pub fn new(home: &Path) -> Self {
        Self { trust: home.join("trust"), lock_wait: LOCK_WAIT }
    }

    /// The same memory that waits `wait` for another process instead of 30 seconds.
    pub fn with_lock_wait(mut self, wait: Duration) -> Self {
        self.lock_wait = wait;
        self
    }

    /// The folder of a collection, there or not.
    pub fn folder(&self, collection: &ImageName) -> PathBuf {
        self.trust.join(folder_name(collection))
    }
}

impl Store for DirStore {
    fn open(&self, collection: &ImageName) -> Result<Box<dyn Memory>, Error> {
        create_folder(&self.trust)?;
        let folder = self.folder(collection);
        create_folder(&folder)?;
        check_folder(&folder)?;
        let lock = lock(&folder.join(LOCK), self.lock_wait)?;
        let marks = read_marks(&folder)?;
        let known = marks.is_some();
        let marks = marks.unwrap_or_else(|| Marks::new(collection));
        let memory = DirMemory { folder, marks, marks_on_disk: known, swept: false, _lock: lock };
        if marks_name(&memory.marks, &memory.folder)? != *collection {
            return Err(damaged(&memory.folder.join(MARKS), "it belongs to another image name"));
        }
        if !known && !memory.files()?.is_empty() {
            return Err(damaged(&memory.folder, format!("there is metadata, but no `{MARKS}`")));
        }
        Ok(Box::new(memory))
    }

    fn collections(&self) -> Result<Vec<ImageName>, Error> {
        let mut names = Vec::new();
        for entry in entries(&self.trust)? {
            let folder = self.trust.join(&entry);
            let is_folder = fs::symlink_metadata(&folder).is_ok_and(|found| found.is_dir());
            let Some(marks) = is_folder.then(|| read_marks(&folder)).transpose()?.flatten() else { continue };
            let name = marks_name(&marks, &folder)?;
            if folder_name(&name) != entry {
                return Err(damaged(&folder.join(MARKS), format!("it belongs to `{name}`")));
            }
            names.push(name);
        }
        names.sort();
        Ok(names)
    }
}

/// The memory of one collection, locked until it is dropped.
struct DirMemory {
    folder: PathBuf,
    marks: Marks,
    marks_on_disk: bool,
    /// Whether what a killed writer left was removed.
    swept: bool,
    _lock: File,
}

impl DirMemory {
    fn path(&self, file: &FileName<'_>) -> Result<PathBuf, Error> {
        if !file.in_roles() && file.as_str() == MARKS {
            return Err(damaged(&self.folder.join(MARKS), "it is no name of a metadata file"));
        }
        Ok(self.folder_of(file).join(file.on_disk()))
    }

    fn folder_of(&self, file: &FileName<'_>) -> PathBuf {
        if file.in_roles() { self.folder.join(ROLES) } else { self.folder.clone() }
    }

    /// Writes the marks where they changed, then the files in their order.
    ///
    /// All are written before the first is synced: a journal then commits them together, which is several times faster.
    fn save(&mut self, marks: Marks, files: &[(PathBuf, &[u8])]) -> Result<(), Error> {
        self.sweep()?;
        let mut staged = Vec::with_capacity(files.len() + 1);
        if !self.marks_on_disk || marks != self.marks {
            staged.push(Staged::write(&self.folder.join(MARKS), &marks.encode(), FILE_MODE)?);
        }
        let mut touched = vec![self.folder.clone()];
        for (path, bytes) in files {
            let folder = path.parent().unwrap_or(&self.folder);
            if *folder != self.folder && !touched.iter().any(|other| other == folder) {
                create_folder(folder)?;
                check_folder(folder)?;
                touched.push(folder.to_owned());
            }
            staged.push(Staged::write(path, bytes, FILE_MODE)?);
        }
        if !self.marks_on_disk {
            // The folders above may be new too.
            touched.extend(self.folder.ancestors().skip(1).take(2).map(Path::to_owned));
        }
        staged.iter().try_for_each(Staged::sync)?;
        staged.into_iter().try_for_each(Staged::put)?;
        touched.iter().rev().try_for_each(|folder| sync_folder(folder))?;
        self.marks = marks;
        self.marks_on_disk = true;
        Ok(())
    }

    fn sweep(&mut self) -> Result<(), Error> {
        if self.swept {
            return Ok(());
        }
        for folder in [self.folder.clone(), self.folder.join(ROLES)] {
            for entry in entries(&folder)?.into_iter().filter(|entry| entry.starts_with(STAGED)) {
                let path = folder.join(entry);
                fs::remove_file(&path).map_err(|error| io_error("remove", &path, &error))?;
            }
        }
        self.swept = true;
        Ok(())
    }

    /// The port's name of a file on disk; none for what is no metadata.
    fn name_of(&self, entry: &str, in_roles: bool) -> Result<Option<String>, Error> {
        if entry.starts_with('~') {
            let path = || self.folder.join(ROLES).join(entry);
            let name = self.marks.long_names.get(entry);
            return Ok(Some(name.ok_or_else(|| damaged(&path(), format!("`{MARKS}` does not know it")))?.clone()));
        }
        let name = if in_roles { format!("{ROLES}/{entry}") } else { entry.to_owned() };
        let is_metadata = FileName::new(&name).is_ok() && name != MARKS;
        Ok(is_metadata.then_some(name))
    }
}

impl Memory for DirMemory {
    fn files(&self) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        for (folder, in_roles) in [(self.folder.clone(), false), (self.folder.join(ROLES), true)] {
            for entry in entries(&folder)? {
                names.extend(self.name_of(&entry, in_roles)?);
            }
        }
        names.sort();
        Ok(names)
    }

    fn read(&self, file: &str) -> Result<Option<Bytes>, Error> {
        let path = self.path(&FileName::new(file)?)?;
        Ok(read_capped(&path, MAX_FILE)?.map(Bytes::from))
    }

    fn write(&mut self, file: &str, bytes: &[u8]) -> Result<(), Error> {
        self.write_all(&[(file, bytes)])
    }

    fn write_all(&mut self, files: &[(&str, &[u8])]) -> Result<(), Error> {
        let mut marks = self.marks.clone();
        let mut placed = Vec::with_capacity(files.len());
        for (name, bytes) in files {
            let file = FileName::new(name)?;
            let path = self.path(&file)?;
            if bytes.len() as u64 > MAX_FILE {
                return Err(damaged(&path, format!("{} bytes are more than {MAX_FILE}", bytes.len())));
            }
            if file.is_hashed() {
                marks.long_names.insert(file.on_disk(), file.as_str().to_owned());
            }
            placed.push((path, *bytes));
        }
        self.save(marks, &placed)
    }

    fn remove(&mut self, file: &str) -> Result<(), Error> {
        let file = FileName::new(file)?;
        let path = self.path(&file)?;
        match fs::remove_file(&path) {
            Ok(()) => sync_folder(&self.folder_of(&file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io_error("remove", &path, &error)),
        }
    }

    fn head(&self, location: &str) -> Result<Option<HeadMark>, Error> {
        Ok(self.marks.head(location))
    }

    fn set_head(&mut self, location: &str, mark: Option<&HeadMark>) -> Result<(), Error> {
        let mut marks = self.marks.clone();
        if marks.set_head(location, mark) { self.save(marks, &[]) } else { Ok(()) }
    }

    fn latest_time(&self) -> Result<Option<Timestamp>, Error> {
        Ok(self.marks.latest_time())
    }

    fn set_latest_time(&mut self, time: Timestamp) -> Result<(), Error> {
        let mut marks = self.marks.clone();
        if marks.see_time(time) { self.save(marks, &[]) } else { Ok(()) }
    }
}

fn create_folder(folder: &Path) -> Result<(), Error> {
    if folder.is_dir() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|error| io_error("create", folder, &error))
}

fn check_folder(folder: &Path) -> Result<(), Error> {
    let found = fs::symlink_metadata(folder).map_err(|error| io_error("read", folder, &error))?;
    if !found.is_dir() {
        return Err(damaged(folder, "it is no folder"));
    }
    #[cfg(unix)]
    {
        // Whoever can write here can make us forget.
        use std::os::unix::fs::PermissionsExt;
        if found.permissions().mode() & 0o002 != 0 {
            return Err(damaged(folder, "any user may write to it, expected permissions 0700"));
        }
    }
    Ok(())
}

fn read_marks(folder: &Path) -> Result<Option<Marks>, Error> {
    let path = folder.join(MARKS);
    let Some(bytes) = read_capped(&path, MAX_MARKS)? else { return Ok(None) };
    Marks::parse(&bytes).map(Some).map_err(|message| damaged(&path, message))
}

fn marks_name(marks: &Marks, folder: &Path) -> Result<ImageName, Error> {
    marks.collection().ok_or_else(|| damaged(&folder.join(MARKS), "its collection is no image name"))
}

/// The names in a folder; none where there is no folder.
fn entries(folder: &Path) -> Result<Vec<String>, Error> {
    let failed = |error: &io::Error| io_error("read", folder, error);
    let mut names = Vec::new();
    let listing = match fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(names),
        Err(error) => return Err(failed(&error)),
    };
    for entry in listing {
        let entry = entry.map_err(|error| failed(&error))?;
        if names.len() >= MAX_ENTRIES {
            return Err(damaged(folder, format!("it holds more than {MAX_ENTRIES} files")));
        }
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::suite;

    fn name() -> ImageName {
        "registry.example.com/acme/app".parse().unwrap()
    }

    fn store() -> (tempfile::TempDir, DirStore) {
        let home = tempfile::tempdir().unwrap();
        let store = DirStore::new(home.path()).with_lock_wait(Duration::from_millis(60));
        (home, store)
    }

    /// A store that remembers something, and its folder.
    fn used() -> (tempfile::TempDir, DirStore, PathBuf) {
        let (home, store) = store();
        store.open(&name()).unwrap().write("timestamp.json", b"{}").unwrap();
        let folder = store.folder(&name());
        (home, store, folder)
    }

    fn refusal(store: &DirStore) -> String {
        match store.open(&name()) {
            Ok(_) => panic!("the memory opened"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_folder_behaves_as_the_port_promises() {
        let (_home, store) = store();
        suite::behaves(&store);
    }

    #[test]
    fn what_is_stored_outlives_the_process() {
        let home = tempfile::tempdir().unwrap();
        suite::outlives(&|| Box::new(DirStore::new(home.path())));
    }

    #[test]
    fn a_second_process_waits_and_is_told_so_at_the_deadline() {
        let (_home, store) = store();
        let held = store.open(&name()).unwrap();
        assert!(refusal(&store).ends_with("is in use by another process"));
        assert!(store.open(&"registry.example.com/acme/other".parse().unwrap()).is_ok());
        drop(held);
        assert!(store.open(&name()).is_ok());
    }

    #[test]
    fn damage_is_explained_and_never_reset() {
        for (wrong, words) in [
            ("not json", "is damaged: expected ident"),
            ("{}", "missing field"),
            (r#"{"schema":"boltseal.memory/v2","collection":"a.example/b","heads":{}}"#, "schema"),
            (r#"{"schema":"boltseal.memory/v1","collection":"a.example/b","heads":{}}"#, "another image name"),
            (r#"{"schema":"boltseal.memory/v1","collection":"../b","heads":{}}"#, "no image name"),
            (r#"{"schema":"boltseal.memory/v1","collection":"a.example/b","heads":{"x":1}}"#, "invalid type"),
        ] {
            let (_home, store, folder) = used();
            fs::write(folder.join(MARKS), wrong).unwrap();
            let said = refusal(&store);
            assert!(said.contains(words) && said.contains("marks.json"), "{said}");
            assert_eq!(fs::read_to_string(folder.join(MARKS)).unwrap(), wrong);
        }
    }

    #[test]
    fn metadata_without_marks_is_damage() {
        let (_home, store, folder) = used();
        fs::remove_file(folder.join(MARKS)).unwrap();
        assert!(refusal(&store).contains("but no `marks.json`"));
    }

    #[test]
    fn a_folder_copied_under_another_name_is_damage() {
        let (_home, store, folder) = used();
        let other: ImageName = "registry.example.com/acme/other".parse().unwrap();
        fs::rename(folder, store.folder(&other)).unwrap();
        assert!(matches!(store.open(&other), Err(Error::Damaged { .. })));
        assert!(matches!(store.collections(), Err(Error::Damaged { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn links_folders_and_pipes_are_not_followed_as_files() {
        let (home, store, folder) = used();
        let secret = home.path().join("secret");
        fs::write(&secret, "{}").unwrap();
        std::os::unix::fs::symlink(&secret, folder.join("snapshot.json")).unwrap();
        fs::create_dir(folder.join("targets.json")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(folder.join("1.root.json")).status().unwrap().success());
        let memory = store.open(&name()).unwrap();
        for file in ["snapshot.json", "targets.json", "1.root.json"] {
            let error = memory.read(file).unwrap_err().to_string();
            assert!(error.ends_with("is damaged: it is no plain file"), "{error}");
        }
        drop(memory);
        // A pivot of the whole folder, or of `roles`, is refused too; writing replaces a link, not what it points to.
        store.open(&name()).unwrap().write("snapshot.json", b"new").unwrap();
        assert_eq!(fs::read(&secret).unwrap(), b"{}");
        std::os::unix::fs::symlink(home.path(), folder.join(ROLES)).unwrap();
        assert!(store.open(&name()).unwrap().write("roles/a.json", b"{}").is_err());
        fs::rename(&folder, home.path().join("moved")).unwrap();
        std::os::unix::fs::symlink(home.path().join("moved"), &folder).unwrap();
        assert!(refusal(&store).ends_with("it is no folder"));
    }

    #[cfg(unix)]
    #[test]
    fn folders_are_private_and_one_that_anyone_may_write_to_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let (_home, store, folder) = used();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join("timestamp.json"))), (0o700, 0o600));
        assert_eq!((mode(&folder.join(MARKS)), mode(&folder.join(LOCK))), (0o600, 0o600));
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(refusal(&store).contains("any user may write"));
    }

    #[test]
    fn a_home_that_cannot_be_used_is_an_error_that_names_it() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        fs::write(&file, "").unwrap();
        let error = DirStore::new(&file).open(&name()).err().unwrap();
        assert!(matches!(&error, Error::Io { action: "create", path, .. } if path.contains("file/trust")), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_read_only_memory_is_an_error_and_not_an_empty_one() {
        use std::os::unix::fs::PermissionsExt;
        let (_home, store, folder) = used();
        let set = |mode| fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
        set(0o500);
        // Root may write anywhere; only then is there nothing to see.
        let is_root = File::create(folder.join("probe")).is_ok();
        let refused = {
            let memory = store.open(&name());
            memory.and_then(|mut memory| memory.write("snapshot.json", b"{}"))
        };
        set(0o000);
        let hidden = store.open(&name()).err();
        set(0o700);
        if !is_root {
            assert!(matches!(&refused, Err(Error::Io { path, .. }) if path.contains("acme%2Fapp")), "{refused:?}");
            assert!(matches!(&hidden, Some(Error::Io { .. })), "{hidden:?}");
        }
    }

    #[test]
    fn a_verification_that_finds_nothing_new_writes_nothing() {
        let (_home, store, folder) = used();
        let seen: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
        let mark = HeadMark { digest: crate::image::Digest::of(b"head"), etag: Some("\"e\"".to_owned()) };
        let visit = |time: &str| {
            let mut memory = store.open(&name()).unwrap();
            memory.set_latest_time(time.parse().unwrap()).unwrap();
            memory.set_head("loc", Some(&mark)).unwrap();
        };
        visit(&seen.to_string());
        let changed = || fs::metadata(folder.join(MARKS)).unwrap().modified().unwrap();
        let before = changed();
        visit("2026-11-21T00:59:00Z");
        assert_eq!(changed(), before);
        visit("2026-11-21T01:00:00Z");
        assert_ne!(changed(), before);
    }

    #[test]
    fn what_a_killed_writer_left_is_removed_and_never_listed() {
        let (_home, store, folder) = used();
        fs::write(folder.join(".new-left"), "half").unwrap();
        let mut memory = store.open(&name()).unwrap();
        assert_eq!(memory.files().unwrap(), ["timestamp.json"]);
        memory.write("snapshot.json", b"{}").unwrap();
        assert!(!folder.join(".new-left").exists());
    }
}
