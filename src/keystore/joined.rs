//! Several key stores as one: the key folder, and keys that live elsewhere.

use super::{Algorithm, Error, KeyInfo, KeyStore, Passphrases, PrivateKey, Purpose, SealedKey, Signer};
use crate::trust::KeyId;

/// A main store, in which keys are made and kept, and others whose keys are used where they are.
#[derive(Debug)]
pub struct JoinedKeyStore {
    main: Box<dyn KeyStore>,
    others: Vec<Box<dyn KeyStore>>,
}

impl JoinedKeyStore {
    /// Puts `others` beside `main`. Keys are looked for in this order.
    pub fn new(main: Box<dyn KeyStore>, others: Vec<Box<dyn KeyStore>>) -> Self {
        Self { main, others }
    }

    fn stores(&self) -> impl Iterator<Item = &dyn KeyStore> {
        std::iter::once(&*self.main).chain(self.others.iter().map(|other| &**other))
    }

    /// The first store that holds a key. Those behind it are not looked at: a device may be slow or absent.
    fn holder(&self, id: &KeyId) -> Result<&dyn KeyStore, Error> {
        for store in self.stores() {
            if store.list()?.iter().any(|info| info.id == *id) {
                return Ok(store);
            }
        }
        Err(Error::Missing(id.to_string()))
    }
}

impl KeyStore for JoinedKeyStore {
    fn list(&self) -> Result<Vec<KeyInfo>, Error> {
        let mut keys = Vec::new();
        for store in self.stores() {
            keys.extend(store.list()?);
        }
        // Stable: of one key in two stores the first stays.
        keys.sort_by(|a, b| a.id.cmp(&b.id));
        keys.dedup_by(|later, earlier| later.id == earlier.id);
        Ok(keys)
    }

    fn generate(
        &self,
        algorithm: Algorithm,
        purpose: Purpose,
        collection: Option<&str>,
        passphrases: &dyn Passphrases,
    ) -> Result<KeyInfo, Error> {
        self.main.generate(algorithm, purpose, collection, passphrases)
    }

    fn unlock(&self, id: &KeyId, passphrases: &dyn Passphrases) -> Result<Box<dyn Signer>, Error> {
        self.holder(id)?.unlock(id, passphrases)
    }

    fn import(
        &self,
        key: PrivateKey,
        purpose: Purpose,
        collection: Option<&str>,
        passphrases: &dyn Passphrases,
    ) -> Result<KeyInfo, Error> {
        self.main.import(key, purpose, collection, passphrases)
    }

    fn export(&self, id: &KeyId) -> Result<SealedKey, Error> {
        self.holder(id)?.export(id)
    }

    fn restore(&self, key: SealedKey) -> Result<KeyInfo, Error> {
        self.main.restore(key)
    }

    fn change_passphrase(&self, id: &KeyId, passphrases: &dyn Passphrases) -> Result<(), Error> {
        self.holder(id)?.change_passphrase(id, passphrases)
    }

    fn remove(&self, id: &KeyId) -> Result<(), Error> {
        self.holder(id)?.remove(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keystore::MemoryKeyStore;
    use crate::keystore::suite::GOOD;

    #[test]
    fn keys_are_used_where_they_are_and_made_in_the_main_store() {
        let other = MemoryKeyStore::new();
        let away = other.generate(Algorithm::Ed25519, Purpose::Targets, None, &GOOD).unwrap();
        let store = JoinedKeyStore::new(Box::new(MemoryKeyStore::new()), vec![Box::new(other)]);
        let made = store.generate(Algorithm::Ed25519, Purpose::Root, None, &GOOD).unwrap();
        assert_eq!(store.list().unwrap().len(), 2);
        assert_eq!(store.main.list().unwrap(), [made]);
        assert_eq!(store.unlock(&away.id, &GOOD).unwrap().key(), &away.public);
        store.remove(&away.id).unwrap();
        assert_eq!(store.unlock(&away.id, &GOOD).unwrap_err(), Error::Missing(away.id.to_string()));
    }
}
