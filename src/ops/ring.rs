//! The keys at hand in one run: unlocked once, then signing whatever role lists them.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
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
    /// Whether only what is unlocked counts.
    closed: AtomicBool,
}

impl<'a> Ring<'a> {
    /// The keys of a store, none unlocked yet.
    pub fn new(store: &'a dyn KeyStore, passphrases: &'a dyn Passphrases) -> Self {
        Self { store, passphrases, unlocked: Mutex::default(), closed: AtomicBool::new(false) }
    }

    /// Lets only the keys count from now on that are unlocked already: nobody is there to be asked any more.
    pub fn close(&self) {
        self.closed.store(true, Relaxed);
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
    /// Deriving a key from a passphrase is slow on purpose: what needs no person is done side by side.
    ///
    /// # Errors
    /// Those of unlocking a key.
    pub fn unlock(&self, wanted: impl Fn(&KeyInfo) -> bool) -> Result<(), Error> {
        if self.closed.load(Relaxed) {
            return Ok(());
        }
        let held = self.store.list()?;
        let mut left: Vec<&KeyInfo> = held.iter().filter(|info| wanted(info)).collect();
        while !left.is_empty() {
            let silent = |info: &&KeyInfo| !info.encrypted || self.passphrases.at_hand(info);
            let (silent, asked): (Vec<_>, Vec<_>) = left.into_iter().partition(silent);
            self.unlock_side_by_side(&silent)?;
            // One answer may open several keys, so only the first is asked for before looking again.
            let mut asked = asked.into_iter();
            if let Some(first) = asked.next() {
                self.signer(&first.id)?;
            }
            left = asked.collect();
        }
        Ok(())
    }

    /// Unlocks keys on as many threads as there are processors. Of several failures the first in order is told.
    fn unlock_side_by_side(&self, keys: &[&KeyInfo]) -> Result<(), Error> {
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(keys.len());
        if threads < 2 {
            return keys.iter().try_for_each(|info| self.signer(&info.id).map(drop));
        }
        let next = AtomicUsize::new(0);
        let first_failure = Mutex::new(None);
        let work = || {
            while let Some((at, info)) = Some(next.fetch_add(1, Relaxed)).and_then(|at| Some((at, keys.get(at)?))) {
                if let Err(error) = self.signer(&info.id) {
                    let mut first = first_failure.lock().unwrap_or_else(PoisonError::into_inner);
                    if first.as_ref().is_none_or(|(earlier, _)| at < *earlier) {
                        *first = Some((at, error));
                    }
                }
            }
        };
        std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
        match first_failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
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
        if self.closed.load(Relaxed) {
            keys.retain(|(_, key)| unlocked.contains_key(&key.id()));
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keystore::suite::{Fixed, GOOD, Script};
    use crate::keystore::{Algorithm, EnvPassphrases, MemoryKeyStore, Purpose};

    fn store(purposes: &[Purpose]) -> MemoryKeyStore {
        let store = MemoryKeyStore::new();
        for purpose in purposes {
            store.generate(Algorithm::Ed25519, purpose.clone(), None, &GOOD).unwrap();
        }
        store
    }

    #[test]
    fn all_wanted_keys_are_unlocked_and_no_others() {
        let store = store(&[Purpose::Targets, Purpose::Online, Purpose::Snapshot, Purpose::Root]);
        let variable = |name: &str| (name == "BOLTSEAL_PASSPHRASE").then(|| GOOD.0.into());
        let passphrases = EnvPassphrases::new(variable, crate::keystore::NoPrompt);
        let ring = Ring::new(&store, &passphrases);
        ring.unlock(|info| info.purpose != Some(Purpose::Root)).unwrap();
        let unlocked: Vec<_> = ring.unlocked.lock().unwrap().keys().cloned().collect();
        let wanted = store.list().unwrap().into_iter().filter(|info| info.purpose != Some(Purpose::Root));
        assert_eq!(unlocked, wanted.map(|info| info.id).collect::<Vec<_>>());
    }

    #[test]
    fn one_answer_opens_all_keys_of_its_group() {
        let store = store(&[Purpose::Root, Purpose::Targets, Purpose::Online]);
        let script = Arc::new(Script::new(["wrong one", GOOD.0, GOOD.0]));
        let passphrases = EnvPassphrases::new(|_: &str| None, Arc::clone(&script));
        Ring::new(&store, &passphrases).unlock(|_| true).unwrap();
        // Two groups, and one wrong answer.
        assert_eq!(script.asked.lock().unwrap().len(), 3);
    }

    #[test]
    fn of_several_wrong_passphrases_the_first_key_is_named() {
        let store = store(&[Purpose::Targets, Purpose::Online, Purpose::Snapshot, Purpose::Root]);
        let first = store.list().unwrap().remove(0);
        for _ in 0..4 {
            let variable = |name: &str| (name == "BOLTSEAL_PASSPHRASE").then(|| "wrong one".into());
            let passphrases = EnvPassphrases::new(variable, crate::keystore::NoPrompt);
            let error = Ring::new(&store, &passphrases).unlock(|_| true).unwrap_err();
            assert!(error.to_string().contains(&first.label()), "{error}");
        }
        let wrong = Fixed("wrong one", "");
        assert!(Ring::new(&store, &wrong).unlock(|_| true).is_err());
    }
}
