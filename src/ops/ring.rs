//! The keys at hand in one run: unlocked once, then signing whatever role lists them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::error::Error;
use crate::image::ImageName;
use crate::keystore::{self, KeyInfo, KeyStore, Passphrases, Signer};
use crate::trust::draft::{Signed, Unsigned};
use crate::trust::threshold::Authority;
use crate::trust::{Key, KeyId};

/// The keys at hand.
pub struct Ring<'a> {
    store: &'a dyn KeyStore,
    passphrases: &'a dyn Passphrases,
    unlocked: Mutex<BTreeMap<KeyId, Arc<dyn Signer>>>,
}

impl<'a> Ring<'a> {
    /// The keys of a store, none unlocked yet.
    pub fn new(store: &'a dyn KeyStore, passphrases: &'a dyn Passphrases) -> Self {
        Self { store, passphrases, unlocked: Mutex::default() }
    }

    /// The store behind it.
    pub fn store(&self) -> &'a dyn KeyStore {
        self.store
    }

    /// Where passphrases come from.
    pub fn passphrases(&self) -> &'a dyn Passphrases {
        self.passphrases
    }

    /// Unlocks every key that `wanted` names, so that nobody is asked for a passphrase in the middle of a publish.
    ///
    /// # Errors
    /// Those of unlocking a key.
    pub fn unlock(&self, wanted: impl Fn(&KeyInfo) -> bool) -> Result<(), Error> {
        for info in self.store.list()?.iter().filter(|info| wanted(info)) {
            self.signer(&info.id)?;
        }
        Ok(())
    }

    /// The signer of a key, unlocked where it was not.
    ///
    /// # Errors
    /// Those of unlocking a key.
    pub fn signer(&self, id: &KeyId) -> Result<Arc<dyn Signer>, Error> {
        if let Some(signer) = self.unlocked.lock().unwrap_or_else(PoisonError::into_inner).get(id) {
            return Ok(signer.clone());
        }
        let signer: Arc<dyn Signer> = self.store.unlock(id, self.passphrases)?.into();
        self.unlocked.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), signer.clone());
        Ok(signer)
    }

    /// The keys of a role that the store holds, unlocked ones first.
    ///
    /// # Errors
    /// Those of listing the store.
    pub fn at_hand<'k>(&self, authority: &Authority<'k>) -> Result<Vec<(&'k KeyId, &'k Key)>, Error> {
        let held = self.store.list()?;
        let mut keys: Vec<_> = authority
            .keys
            .of(authority.role)
            .filter(|(_, key)| held.iter().any(|info| info.public.material() == key.material()))
            .collect();
        let unlocked = self.unlocked.lock().unwrap_or_else(PoisonError::into_inner);
        keys.sort_by_key(|(_, key)| !unlocked.contains_key(&key.id()));
        Ok(keys)
    }

    /// Whether enough keys of a role are at hand to sign it.
    ///
    /// # Errors
    /// Those of listing the store.
    pub fn can_sign(&self, authority: &Authority<'_>) -> Result<bool, Error> {
        Ok(self.at_hand(authority)?.len() >= needed(authority))
    }

    /// Signs a draft with as many keys as each authority asks for.
    ///
    /// # Errors
    /// [`Error::NoSigningKey`] where fewer are at hand; those of a signer.
    pub async fn sign(
        &self,
        name: &ImageName,
        unsigned: Unsigned,
        authorities: &[Authority<'_>],
    ) -> Result<Signed, Error> {
        let mut signatures = BTreeMap::new();
        for authority in authorities {
            let keys = self.at_hand(authority)?;
            let need = needed(authority);
            if keys.len() < need {
                return Err(Error::NoSigningKey {
                    name: name.clone(),
                    role: unsigned.role().to_string(),
                    keys: authority.role.keyids.iter().map(KeyId::short).collect(),
                    need: authority.role.threshold.get(),
                });
            }
            for (id, key) in keys.into_iter().take(need) {
                if !signatures.contains_key(id) {
                    let (signer, message) = (self.signer(&key.id())?, unsigned.message().clone());
                    // A device or program may take its time; the runtime goes on meanwhile.
                    let signature = tokio::task::spawn_blocking(move || signer.sign(&message)).await;
                    let signature = signature
                        .map_err(|e| keystore::Error::Device { name: id.short(), message: e.to_string() })??;
                    signatures.insert(id.clone(), signature);
                }
            }
        }
        Ok(unsigned.seal(&signatures))
    }
}

fn needed(authority: &Authority<'_>) -> usize {
    usize::try_from(authority.role.threshold.get()).unwrap_or(usize::MAX)
}
