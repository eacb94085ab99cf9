//! `export`: a collection as a standard TUF repository, for any TUF client.
//!
//! - The files are the signed ones, byte for byte, under the names that the specification gives them (TUF 6): versions
//!   stand in the names, and the timestamp alone has none.
//! - What the snapshot lists is written and nothing else, each file checked against what is promised of it. The list of
//!   absorbed operations belongs to publishers and stays out.
//! - The timestamp is written last and every file by rename, so that a client that reads the folder while it is
//!   written sees the old state or the new one. Older files stay: somebody may be reading them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::client::{Reading, Updated};
use super::error::Error;
use super::verify::{notices, update_by};
use super::world::World;
use crate::image::ImageName;
use crate::registry::head::{self, Head};
use crate::registry::{self, Repository};
use crate::store::{self, atomic};
use crate::trust::envelope::{Envelope, Metadata};
use crate::trust::limits::Limits;
use crate::trust::role::{RoleKind, RoleName, Version};
use crate::trust::snapshot::Timestamp;
use crate::trust::targets::Targets;
use crate::trust::update::{Expiry, Trusted};
use crate::trust::{self};

/// The folder of metadata within the repository.
const METADATA: &str = "metadata";
/// Most entries of a folder that may be an older export. Stops a wrong folder from being read to its end.
const MAX_ENTRIES: usize = 1_000_000;
/// Largest timestamp of an older export that is read, in bytes.
const MAX_TIMESTAMP: u64 = 1 << 20;

/// What was written.
#[derive(Debug)]
pub struct Exported {
    /// The collection.
    pub name: ImageName,
    /// Where its head lies.
    pub location: String,
    /// The folder of metadata.
    pub folder: PathBuf,
    /// The names of the files, the first root first and the timestamp last.
    pub files: Vec<String>,
    /// The version of the timestamp.
    pub version: Version,
    /// What was odd, in sentences.
    pub notices: Vec<String>,
}

/// Verifies a collection and writes it below `folder`.
///
/// # Errors
/// Those of a client; [`Error::Usage`] for a folder that holds anything but an older export of the same collection;
/// [`Error::Newer`] where that is a later state.
pub async fn export(
    world: &World<'_>,
    name: &ImageName,
    layout: Option<&Path>,
    folder: &Path,
) -> Result<Exported, Error> {
    let ruling = world.rule(name)?;
    let client = world.client(name, layout, &ruling, Expiry::Enforce)?;
    let updated = update_by(&client, &ruling, &[], Reading::Whole).await?;
    let version = updated.trusted.timestamp.version();
    let metadata = folder.join(METADATA);
    check_folder(folder, &metadata, name, version)?;
    let files = collect(&*client.repository, name, &updated).await?;
    fs::create_dir_all(&metadata).map_err(|e| failed("create", &metadata, &e))?;
    for (file, bytes) in &files {
        atomic::replace(&metadata.join(file), bytes, 0o644).map_err(told)?;
    }
    Ok(Exported {
        name: name.clone(),
        location: client.repository.location(),
        folder: metadata,
        files: files.into_iter().map(|(file, _)| file).collect(),
        version,
        notices: notices(&updated),
    })
}

/// The files of a state in the order in which they are written.
async fn collect(
    repository: &dyn Repository,
    name: &ImageName,
    updated: &Updated,
) -> Result<Vec<(String, Bytes)>, Error> {
    let trusted = &updated.trusted;
    let mut files = Vec::new();
    for version in every_root(updated) {
        let bytes = match updated.roots.get(&version) {
            Some(bytes) => bytes.clone(),
            None => read(repository, updated, &RoleKind::Root.into(), version, Limits::default().root).await?,
        };
        files.push((RoleName::from(RoleKind::Root).file_name(Some(version)), bytes));
    }
    for (file, promise) in trusted.snapshot.files() {
        let text = file.strip_suffix(".json").unwrap_or(file);
        let role = RoleName::delegated(text).unwrap_or(RoleName::TARGETS);
        // TUF 5.5.5: a signer who was removed stays listed. Nobody asks for his file any more, and the head dropped it.
        if is_former(trusted, &role) {
            continue;
        }
        let bytes = if role == RoleName::TARGETS {
            trusted.targets.bytes().clone()
        } else {
            let max = promise.length.unwrap_or(Limits::default().targets);
            read(repository, updated, &role, promise.version, max).await?
        };
        let contradiction = |reason| Error::of(name)(trust::Error::Contradiction { role: role.clone(), reason });
        promise.check(&bytes).map_err(contradiction)?;
        let content = Envelope::<Targets>::parse_untrusted(&role, bytes.clone()).map_err(Error::of(name))?;
        if content.unverified().version() != promise.version {
            return Err(contradiction(format!("it is not the promised version {}", promise.version)));
        }
        files.push((standard_name(&role, promise.version), bytes));
    }
    let snapshot = RoleName::from(RoleKind::Snapshot).file_name(Some(trusted.snapshot.version()));
    files.push((snapshot, trusted.snapshot.bytes().clone()));
    files.push((RoleName::from(RoleKind::Timestamp).file_name(None), trusted.timestamp.bytes().clone()));
    Ok(files)
}

/// Whether a role is below targets and targets no longer delegates to it.
fn is_former(trusted: &Trusted, role: &RoleName) -> bool {
    let delegations = trusted.targets.delegations();
    *role != RoleName::TARGETS && delegations.is_none_or(|delegations| delegations.authority(role).is_none())
}

/// Every root version from the first: a TUF client may be given any of them to begin with.
fn every_root(updated: &Updated) -> impl Iterator<Item = Version> + use<> {
    let last = updated.trusted.root.version();
    std::iter::successors(Some(Version::ONE), |version| version.successor()).take_while(move |version| *version <= last)
}

async fn read(
    repository: &dyn Repository,
    updated: &Updated,
    role: &RoleName,
    version: Version,
    max: u64,
) -> Result<Bytes, Error> {
    let file = role.file_name(Some(version));
    let missing = || registry::Error::Broken {
        location: repository.location(),
        message: format!("its trust data have no `{file}`"),
    };
    let head: &Head = updated.manifest.as_ref().ok_or_else(missing)?;
    Ok(head::read(repository, head, &file, max).await?.ok_or_else(missing)?)
}

/// The name under which other clients look for a role's file. They encode fewer characters of a role's name than we
/// do, and a server decodes what they ask for; what could be a path stays encoded.
fn standard_name(role: &RoleName, version: Version) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
    if role.as_str().bytes().all(plain) {
        format!("{version}.{}.json", role.as_str())
    } else {
        role.file_name(Some(version))
    }
}

/// Refuses to write into anything but nothing, an empty folder, or an older export of the same collection.
fn check_folder(folder: &Path, metadata: &Path, name: &ImageName, version: Version) -> Result<(), Error> {
    let other = |what: String| {
        Error::Usage(format!("`{}` {what}: expected an empty folder, or an older export of `{name}`", folder.display()))
    };
    let outside = names(folder)?;
    if outside.is_empty() {
        return Ok(());
    }
    if let Some(strange) = outside.iter().find(|entry| *entry != METADATA) {
        return Err(other(format!("holds `{}`", strange.escape_debug())));
    }
    let inside = names(metadata)?;
    if inside.is_empty() {
        return Ok(());
    }
    if let Some(strange) = inside.iter().find(|entry| entry.strip_suffix(".json").is_none()) {
        return Err(other(format!("holds `{METADATA}/{}`", strange.escape_debug())));
    }
    let path = metadata.join("timestamp.json");
    let Some(bytes) = atomic::read_capped(&path, MAX_TIMESTAMP).map_err(told)? else {
        // An export that was cut off before its end has no timestamp yet.
        let begun = inside.iter().any(|entry| entry == "1.root.json");
        return if begun { Ok(()) } else { Err(other("holds no export".to_owned())) };
    };
    let role = RoleName::from(RoleKind::Timestamp);
    let Ok(found) = Envelope::<Timestamp>::parse_untrusted(&role, bytes.into()) else {
        return Err(other("holds another kind of timestamp".to_owned()));
    };
    let found = found.unverified();
    if found.binding().is_none_or(|binding| binding.collection != name.to_string()) {
        return Err(other("holds the metadata of another collection".to_owned()));
    }
    if found.version() > version {
        return Err(Error::Newer {
            name: name.clone(),
            location: folder.display().to_string(),
            reason: format!("its timestamp has version {}, what was to be written {version}", found.version()),
        });
    }
    Ok(())
}

/// The names in a folder; none where there is no folder.
fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let fail = |e: io::Error| failed("read", folder, &e);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(fail(e)),
    };
    let names =
        entries.take(MAX_ENTRIES).map(|entry| Ok(entry.map_err(fail)?.file_name().to_string_lossy().into_owned()));
    names.collect()
}

/// What the store's file work says, without its advice: this folder is not the memory.
fn told(error: store::Error) -> Error {
    match error {
        store::Error::Io { action, path, message } => Error::File { action, path, message },
        store::Error::Damaged { path, message } => Error::File { action: "read", path, message },
        other @ store::Error::Locked { .. } => Error::Store(other),
    }
}

fn failed(action: &'static str, path: &Path, error: &io::Error) -> Error {
    Error::File { action, path: path.display().to_string(), message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Version = Version::ONE;

    fn check(folder: &Path) -> Result<(), Error> {
        check_folder(folder, &folder.join(METADATA), &"h.x/app".parse().unwrap(), Version::new(5).unwrap())
    }

    fn export_of(collection: &str, version: u64) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(METADATA)).unwrap();
        let text = format!(
            r#"{{"signatures":[],"signed":{{"_type":"timestamp","expires":"2026-11-21T00:00:00Z","meta":{{"snapshot.json":{{"version":1}}}},"spec_version":"1.0.34","version":{version},"x-boltseal":{{"collection":"{collection}"}}}}}}"#
        );
        fs::write(folder.path().join("metadata/timestamp.json"), text).unwrap();
        folder
    }

    #[test]
    fn a_folder_that_is_not_there_or_empty_or_an_older_export_is_written_to() {
        let empty = tempfile::tempdir().unwrap();
        check(&empty.path().join("nothing")).unwrap();
        check(empty.path()).unwrap();
        check(export_of("h.x/app", 5).path()).unwrap();
        check(export_of("h.x/app", 4).path()).unwrap();
    }

    #[test]
    fn what_is_somebody_elses_or_newer_is_left_alone() {
        assert!(matches!(check(export_of("h.x/app", 6).path()), Err(Error::Newer { .. })));
        assert!(matches!(check(export_of("h.x/other", 4).path()), Err(Error::Usage(_))));
        for file in ["notes.txt", "metadata/notes.txt", "metadata/timestamp.json", "metadata/targets.json"] {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join(METADATA)).unwrap();
            fs::write(folder.path().join(file), "{}").unwrap();
            assert!(matches!(check(folder.path()), Err(Error::Usage(_))), "{file}");
        }
    }

    #[test]
    fn an_export_that_was_cut_off_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(METADATA)).unwrap();
        fs::write(folder.path().join("metadata/1.root.json"), "{}").unwrap();
        check(folder.path()).unwrap();
    }

    #[test]
    fn role_names_stand_in_file_names_as_other_clients_ask_for_them() {
        let name = |role: &str| standard_name(&RoleName::delegated(role).unwrap(), ONE);
        assert_eq!(name("release.eu"), "1.release.eu.json");
        assert_eq!(name("tags-0f"), "1.tags-0f.json");
        assert_eq!(name("../x"), "1.%2E%2E%2Fx.json");
    }
}
