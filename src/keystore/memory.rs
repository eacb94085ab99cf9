//! Keys in memory: for tests, and for keys given for one run.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::format::KeyFile;
use super::{Algorithm, Error, KeyInfo, KeyStore, Passphrases, PrivateKey, Purpose, SealedKey, Signer};
use crate::trust::KeyId;

/// Keys that live as long as the process.
#[derive(Debug, Default)]
pub struct MemoryKeyStore {
    keys: Mutex<BTreeMap<KeyId, SealedKey>>,
}

impl MemoryKeyStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in a key file for this run (`--key FILE`), unlocked now, so that nothing is asked later.
    ///
    /// # Errors
    /// [`Error::Unusable`] where it is no private key; [`Error::WrongPassphrase`] and those of [`Passphrases::open`].
    pub fn load(
        &self,
        bytes: &[u8],
        source: &str,
        purpose: Option<Purpose>,
        passphrases: &dyn Passphrases,
    ) -> Result<KeyInfo, Error> {
        let file = KeyFile::parse(bytes).map_err(|message| Error::Unusable { path: source.to_owned(), message })?;
        let purpose = purpose.or_else(|| file.purpose());
        let key = file.open_with(source, purpose.as_ref(), passphrases)?;
        Ok(self.hold(&key, purpose, file.collection().as_deref()))
    }

    /// Keeps a key without a passphrase for this run.
    pub fn hold(&self, key: &PrivateKey, purpose: Option<Purpose>, collection: Option<&str>) -> KeyInfo {
        let sealed = SealedKey::unlocked(key, purpose, collection);
        let info = sealed.info().clone();
        self.keys().insert(info.id.clone(), sealed);
        info
    }

    /// The map is whole whatever a thread did that held it.
    fn keys(&self) -> MutexGuard<'_, BTreeMap<KeyId, SealedKey>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, key: SealedKey) -> Result<KeyInfo, Error> {
        let info = key.info().clone();
        let mut keys = self.keys();
        if keys.contains_key(&info.id) {
            return Err(Error::Exists(info.id.to_string()));
        }
        keys.insert(info.id.clone(), key);
        Ok(info)
    }
}

impl KeyStore for MemoryKeyStore {
    fn list(&self) -> Result<Vec<KeyInfo>, Error> {
        Ok(self.keys().values().map(|key| key.info().clone()).collect())
    }

    fn generate(
        &self,
        algorithm: Algorithm,
        purpose: Purpose,
        collection: Option<&str>,
        passphrases: &dyn Passphrases,
    ) -> Result<KeyInfo, Error> {
        let key = PrivateKey::generate(algorithm)?;
        self.insert(SealedKey::seal(&key, purpose, collection, passphrases)?)
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
        if self.keys().contains_key(&key.id()) {
            return Err(Error::Exists(key.id().to_string()));
        }
        self.insert(SealedKey::seal(&key, purpose, collection, passphrases)?)
    }

    fn export(&self, id: &KeyId) -> Result<SealedKey, Error> {
        self.keys().get(id).cloned().ok_or_else(|| Error::Missing(id.to_string()))
    }

    fn restore(&self, key: SealedKey) -> Result<KeyInfo, Error> {
        if !key.info().encrypted {
            let message = "no passphrase protects it".to_owned();
            return Err(Error::Unusable { path: key.info().label(), message });
        }
        self.insert(key)
    }

    fn change_passphrase(&self, id: &KeyId, passphrases: &dyn Passphrases) -> Result<(), Error> {
        let new = self.export(id)?.reseal(passphrases)?;
        self.keys().insert(id.clone(), new);
        Ok(())
    }

    fn remove(&self, id: &KeyId) -> Result<(), Error> {
        self.keys().remove(id).map(drop).ok_or_else(|| Error::Missing(id.to_string()))
    }
}
