//! Keys as files: `<key id>.pem`, encrypted PKCS#8 that `openssl pkey` reads, and `<key id>.json` with what can be
//! told without the passphrase.
//!
//! - A key is there when its `.pem` is. The `.json` is written before it and removed after it, so a process that dies
//!   in between leaves no key that cannot be told.
//! - A key file open to others is not used, as ssh does; nor is a link.

use std::path::PathBuf;

use zeroize::Zeroizing;

use super::folder::Folder;
use super::sealed::{SealedKey, Sidecar};
use super::{Algorithm, Error, KeyInfo, KeyStore, Passphrases, PrivateKey, Purpose, Signer};
use crate::trust::KeyId;

/// A folder of key files.
#[derive(Debug, Clone)]
pub struct FileKeyStore {
    folder: Folder,
}

impl FileKeyStore {
    /// The key store in a folder, which is made with the first key.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Folder::new(folder.into()) }
    }

    fn sidecar(&self, stem: &str) -> Result<Sidecar, Error> {
        let name = format!("{stem}.json");
        let shown = self.shown(&name);
        let bytes = self.folder.read(&name)?.ok_or_else(|| Error::Unusable {
            path: self.shown(&format!("{stem}.pem")),
            message: format!("the file `{name}` beside it is missing: import the key again, or restore the backup"),
        })?;
        Sidecar::parse(&shown, &bytes)
    }

    fn shown(&self, name: &str) -> String {
        self.folder.path(name).display().to_string()
    }

    fn insert(&self, key: &SealedKey) -> Result<KeyInfo, Error> {
        let info = key.info();
        let stem = stem(&info.id)?;
        let _lock = self.folder.lock()?;
        let name = format!("{stem}.pem");
        if self.folder.read(&name)?.is_some() {
            return Err(Error::Exists(info.id.to_string()));
        }
        let sidecar = format!("{stem}.json");
        let written = self
            .folder
            .write(&sidecar, &key.sidecar().to_json())
            .and_then(|()| self.folder.write(&name, key.pem().as_bytes()));
        if let Err(error) = written {
            // On a full disk every file that is of no use is one too many. What failed first is what is told.
            let _ = self.folder.remove(&sidecar);
            return Err(error);
        }
        Ok(info.clone())
    }
}

impl KeyStore for FileKeyStore {
    fn list(&self) -> Result<Vec<KeyInfo>, Error> {
        let mut keys = Vec::new();
        for name in self.folder.names()? {
            let Some(stem) = name.strip_suffix(".pem").filter(|stem| !stem.starts_with('.')) else { continue };
            let (info, _) = self.sidecar(stem)?.into_info(&self.shown(&format!("{stem}.json")))?;
            if info.id.as_str() != stem {
                let message = format!("it is key {}: its name must be the id", info.id);
                return Err(Error::Unusable { path: self.shown(&name), message });
            }
            keys.push(info);
        }
        Ok(keys)
    }

    fn generate(
        &self,
        algorithm: Algorithm,
        purpose: Purpose,
        collection: Option<&str>,
        passphrases: &dyn Passphrases,
    ) -> Result<KeyInfo, Error> {
        let key = PrivateKey::generate(algorithm)?;
        self.insert(&SealedKey::seal(&key, purpose, collection, passphrases)?)
    }

    fn unlock(&self, id: &KeyId, passphrases: &dyn Passphrases) -> Result<Box<dyn Signer>, Error> {
        Ok(Box::new(self.export(id)?.open(passphrases)?))
    }

    fn import(
        &self,
        key: PrivateKey,
        purpose: Purpose,
        collection: Option<&str>,
        passphrases: &dyn Passphrases,
    ) -> Result<KeyInfo, Error> {
        let id = key.id();
        // Before anybody is asked for a passphrase in vain.
        if self.folder.read(&format!("{}.pem", stem(&id)?))?.is_some() {
            return Err(Error::Exists(id.to_string()));
        }
        self.insert(&SealedKey::seal(&key, purpose, collection, passphrases)?)
    }

    fn export(&self, id: &KeyId) -> Result<SealedKey, Error> {
        let missing = || Error::Missing(id.to_string());
        let stem = stem(id)?;
        let name = format!("{stem}.pem");
        let path = self.shown(&name);
        let bytes = self.folder.read_secret(&name)?.ok_or_else(missing)?;
        let pem = std::str::from_utf8(&bytes)
            .map(|pem| Zeroizing::new(pem.to_owned()))
            .map_err(|_| Error::Unusable { path: path.clone(), message: "it is no PEM".to_owned() })?;
        let key = SealedKey::from_parts(&path, self.sidecar(stem)?, pem)?;
        if key.info().id != *id {
            let message = format!("it is key {}: its name must be the id", key.info().id);
            return Err(Error::Unusable { path, message });
        }
        Ok(key)
    }

    fn restore(&self, key: SealedKey) -> Result<KeyInfo, Error> {
        if !key.info().encrypted {
            let message = "no passphrase protects it".to_owned();
            return Err(Error::Unusable { path: key.info().label(), message });
        }
        self.insert(&key)
    }

    fn change_passphrase(&self, id: &KeyId, passphrases: &dyn Passphrases) -> Result<(), Error> {
        let former = self.export(id)?;
        let new = former.reseal(passphrases)?;
        let _lock = self.folder.lock()?;
        // Somebody may have removed it or changed its passphrase while this one was asked for.
        if self.export(id)?.pem() != former.pem() {
            return Err(Error::Locked { path: self.shown(&format!("{}.pem", stem(id)?)) });
        }
        self.folder.write(&format!("{}.pem", stem(id)?), new.pem().as_bytes())
    }

    fn remove(&self, id: &KeyId) -> Result<(), Error> {
        let stem = stem(id)?;
        let missing = || Error::Missing(id.to_string());
        if self.folder.names()?.is_empty() {
            return Err(missing());
        }
        let _lock = self.folder.lock()?;
        let found = self.folder.remove(&format!("{stem}.pem"))?;
        self.folder.remove(&format!("{stem}.json"))?;
        if found { Ok(()) } else { Err(missing()) }
    }
}

/// The file name of a key. Our ids are hex; a foreign id could be a path, and no key here has one.
fn stem(id: &KeyId) -> Result<&str, Error> {
    let text = id.as_str();
    if text.bytes().all(|byte| byte.is_ascii_hexdigit()) { Ok(text) } else { Err(Error::Missing(id.to_string())) }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use super::*;
    use crate::keystore::suite::GOOD;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn with_key(algorithm: Algorithm) -> (tempfile::TempDir, FileKeyStore, KeyInfo, PathBuf) {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("keys");
        let store = FileKeyStore::new(&folder);
        let info = store.generate(algorithm, Purpose::Root, None, &GOOD).unwrap();
        (home, store, info, folder)
    }

    #[test]
    fn nobody_else_can_read_the_folder_or_its_files() {
        let (_home, _, _, folder) = with_key(Algorithm::Ed25519);
        assert_eq!(mode(&folder), 0o700);
        let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 3, "{files:?}");
        for file in files {
            assert_eq!(mode(&file), 0o600, "{}", file.display());
        }
    }

    #[test]
    fn a_key_file_open_to_others_is_not_used() {
        let (_home, store, info, folder) = with_key(Algorithm::Ed25519);
        let path = folder.join(format!("{}.pem", info.id));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = store.unlock(&info.id, &GOOD).unwrap_err();
        assert_eq!(error, Error::Exposed { path: path.display().to_string(), mode: 0o640 });
        assert_eq!(error.hints(), [format!("close it with `chmod 600 {}`", path.display())]);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        store.unlock(&info.id, &GOOD).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(store.list(), Err(Error::Exposed { .. })));
    }

    #[test]
    fn a_link_is_not_followed() {
        let (home, store, info, folder) = with_key(Algorithm::Ed25519);
        let (path, away) = (folder.join(format!("{}.pem", info.id)), home.path().join("away.pem"));
        fs::rename(&path, &away).unwrap();
        symlink(&away, &path).unwrap();
        assert!(matches!(store.unlock(&info.id, &GOOD), Err(Error::Unusable { .. })));
    }

    #[test]
    fn a_key_whose_sidecar_is_missing_or_anothers_is_told_and_not_left_out() {
        let (_home, store, info, folder) = with_key(Algorithm::Ed25519);
        let other = store.generate(Algorithm::Ed25519, Purpose::Targets, None, &GOOD).unwrap();
        let sidecar = |id: &KeyId| folder.join(format!("{id}.json"));
        fs::copy(sidecar(&other.id), sidecar(&info.id)).unwrap();
        assert!(matches!(store.list(), Err(Error::Unusable { .. })));
        assert!(matches!(store.unlock(&info.id, &GOOD), Err(Error::Unusable { .. })));
        for damage in ["", "{}", "not json"] {
            fs::write(sidecar(&info.id), damage).unwrap();
            assert!(matches!(store.list(), Err(Error::Unusable { .. })), "{damage}");
        }
        fs::remove_file(sidecar(&info.id)).unwrap();
        assert!(store.list().unwrap_err().to_string().contains("beside it is missing"));
        store.unlock(&other.id, &GOOD).unwrap();
    }

    #[test]
    fn a_key_file_swapped_for_another_key_does_not_open() {
        let (_home, store, info, folder) = with_key(Algorithm::Ed25519);
        let other = store.generate(Algorithm::Ed25519, Purpose::Targets, None, &GOOD).unwrap();
        let pem = |id: &KeyId| folder.join(format!("{id}.pem"));
        fs::copy(pem(&other.id), pem(&info.id)).unwrap();
        assert_eq!(store.unlock(&info.id, &GOOD).unwrap_err(), Error::WrongPassphrase(info.label()));
    }

    #[test]
    fn no_flipped_bit_of_a_key_file_yields_another_key() {
        let (_home, store, info, folder) = with_key(Algorithm::Ed25519);
        let path = folder.join(format!("{}.pem", info.id));
        let good = fs::read(&path).unwrap();
        // Each body line of the file in turn; the derivation costs too much to try every byte.
        let starts = good.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 9);
        for at in starts.filter(|at| *at < good.len() - 30) {
            let mut bad = good.clone();
            bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
            fs::write(&path, &bad).unwrap();
            assert!(store.unlock(&info.id, &GOOD).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_key_file_in_the_clear_is_not_used() {
        let (_home, store, info, folder) = with_key(Algorithm::Ed25519);
        let open = store.export(&info.id).unwrap().open(&GOOD).unwrap();
        fs::write(folder.join(format!("{}.pem", info.id)), open.to_plain_pem().as_bytes()).unwrap();
        assert!(matches!(store.unlock(&info.id, &GOOD), Err(Error::Unusable { .. })));
    }

    #[test]
    fn a_home_that_cannot_be_written_is_an_error_that_names_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("file");
        fs::write(&path, "").unwrap();
        let store = FileKeyStore::new(path.join("keys"));
        let error = store.generate(Algorithm::Ed25519, Purpose::Root, None, &GOOD).unwrap_err();
        let shown = error.to_string();
        assert!(shown.starts_with(&format!("cannot create `{}`: ", path.join("keys").display())), "{shown}");
    }

    #[test]
    fn stores_that_write_at_once_lose_nothing() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("keys");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let store = FileKeyStore::new(&folder);
                    let kept = store.generate(Algorithm::Ed25519, Purpose::Root, None, &GOOD).unwrap();
                    let gone = store.generate(Algorithm::Ed25519, Purpose::Root, None, &GOOD).unwrap();
                    store.remove(&gone.id).unwrap();
                    store.change_passphrase(&kept.id, &GOOD).unwrap();
                });
            }
        });
        assert_eq!(FileKeyStore::new(&folder).list().unwrap().len(), 4);
    }
}
