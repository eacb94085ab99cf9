//! Two key stores as one: keys given for one run before those that are kept.

use super::{Algorithm, Error, KeyInfo, KeyStore, Passphrases, PrivateKey, Purpose, SealedKey, Signer};
use crate::trust::KeyId;

/// A store in front of another. What is asked for is looked up in front first; what is made or kept goes to the back.
#[derive(Debug)]
pub struct LayeredKeyStore {
    front: Box<dyn KeyStore>,
    back: Box<dyn KeyStore>,
}

impl LayeredKeyStore {
    /// Puts `front` before `back`.
    pub fn new(front: Box<dyn KeyStore>, back: Box<dyn KeyStore>) -> Self {
        Self { front, back }
    }

    /// The store that holds a key.
    fn holder(&self, id: &KeyId) -> Result<&dyn KeyStore, Error> {
        let in_front = self.front.list()?.iter().any(|info| info.id == *id);
        Ok(if in_front { &*self.front } else { &*self.back })
    }
}

impl KeyStore for LayeredKeyStore {
    fn list(&self) -> Result<Vec<KeyInfo>, Error> {
        let mut keys = self.front.list()?;
        keys.extend(self.back.list()?);
        // Stable: of one key in both stores the one in front stays.
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
        self.back.generate(algorithm, purpose, collection, passphrases)
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
        self.back.import(key, purpose, collection, passphrases)
    }

    fn export(&self, id: &KeyId) -> Result<SealedKey, Error> {
        self.holder(id)?.export(id)
    }

    fn restore(&self, key: SealedKey) -> Result<KeyInfo, Error> {
        self.back.restore(key)
    }

    fn change_passphrase(&self, id: &KeyId, passphrases: &dyn Passphrases) -> Result<(), Error> {
        self.back.change_passphrase(id, passphrases)
    }

    fn remove(&self, id: &KeyId) -> Result<(), Error> {
        self.back.remove(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keystore::MemoryKeyStore;
    use crate::keystore::suite::GOOD;

    #[test]
    fn a_key_given_for_one_run_signs_without_a_passphrase_and_is_not_kept() {
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let pem = key.to_encrypted_pem("correct horse").unwrap();
        let front = MemoryKeyStore::new();
        let info = front.load(pem.as_bytes(), "key.pem", Some(Purpose::Targets), &GOOD).unwrap();
        assert!(!info.encrypted);
        let store = LayeredKeyStore::new(Box::new(front), Box::new(MemoryKeyStore::new()));
        let kept = store.generate(Algorithm::Ed25519, Purpose::Root, None, &GOOD).unwrap();
        assert_eq!(store.list().unwrap().len(), 2);
        let nobody = crate::keystore::EnvPassphrases::new(|_: &str| None, crate::keystore::NoPrompt);
        assert_eq!(store.unlock(&info.id, &nobody).unwrap().key(), key.public());
        assert!(matches!(store.unlock(&kept.id, &nobody), Err(Error::NoPassphrase(_))));
        assert!(matches!(store.remove(&info.id), Err(Error::Missing(_))));
        // It may not slip into a store on disk without a passphrase.
        let sealed = store.export(&info.id).unwrap();
        assert!(matches!(store.restore(sealed), Err(Error::Unusable { .. })));
    }
}
