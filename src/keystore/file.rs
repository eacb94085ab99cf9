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
        self.folder.write(&format!("{stem}.json"), &key.sidecar().to_json())?;
        self.folder.write(&name, key.pem().as_bytes())?;
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
