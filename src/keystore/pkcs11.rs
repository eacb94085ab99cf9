//! Keys in a PKCS#11 token: a smart card, a USB token, a hardware security module. They are made there and never
//! leave.
//!
//! - What a key is for is written into its label; its id is computed from the public key, as for every key.
//! - A PIN is tried once in a run: tokens lock themselves after a few wrong ones.
//! - A token that does not answer in time is an error, not a hang; and its signatures are checked before they are used.

mod label;
mod point;
#[cfg(test)]
mod tests;
mod token;
mod worker;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cryptoki::types::AuthPin;

use token::{Entry, Need};
use worker::Worker;

use super::private::fill_random;
use super::{Algorithm, Error, KeyInfo, KeyStore, Passphrases, Pins, PrivateKey, Purpose, SealedKey, Signer};
use crate::trust::{Key, KeyId};

/// Bytes of the id that ties the halves of a pair together in the token.
const PAIR_ID: usize = 16;

/// Where a token is found, and how long it may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The module of the token's maker, a shared library.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// Longest time of one call.
    pub deadline: Duration,
    /// Whether its absence means that there are no keys, instead of an error.
    pub optional: bool,
}

/// The keys of one token.
#[derive(Debug)]
pub struct Pkcs11KeyStore {
    device: Arc<Device>,
}

/// A token, with what is known of it in this run.
struct Device {
    place: Place,
    worker: Worker,
    pins: Arc<dyn Pins>,
    /// Its keys, looked for once.
    entries: Mutex<Option<Vec<Entry>>>,
    /// Held from the question for the PIN to its answer by the token, so that it is asked for and tried once.
    login: Mutex<()>,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Device {
    fn refused(&self, action: &'static str, message: &str) -> Error {
        Error::Refused { store: token::shown(&self.place), action, message: message.to_owned() }
    }

    fn entries(&self) -> Result<Vec<Entry>, Error> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*entries {
            return Ok(known.clone());
        }
        if self.place.optional && !self.worker.run(token::Token::is_present)? {
            tracing::debug!(token = self.place.token, "the token is absent, and the settings call it optional");
            return Ok(Vec::new());
        }
        Ok(entries.insert(self.worker.run(token::Token::list)?).clone())
    }

    fn forget_entries(&self) {
        *self.entries.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn entry(&self, id: &KeyId) -> Result<Entry, Error> {
        let found = self.entries()?.into_iter().find(|entry| entry.info.id == *id);
        found.ok_or_else(|| Error::Missing(id.to_string()))
    }

    /// Logs in where the token wants it and it was not done.
    fn login(&self) -> Result<(), Error> {
        let _one_try = self.login.lock().unwrap_or_else(PoisonError::into_inner);
        let pin = match self.worker.run(token::Token::need)? {
            Need::Nothing => return Ok(()),
            Need::Pad => None,
            Need::Pin => Some(AuthPin::from(self.pins.pin(&self.place.token)?.as_str().to_owned())),
        };
        self.worker.run(move |token| token.login(pin.as_ref()))
    }

    fn sign(&self, entry: &Entry, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.login()?;
        let (pair, bytes) = (entry.clone(), message.to_vec());
        let signature = self.worker.run(move |token| token.sign(&pair, &bytes))?;
        if !entry.info.public.verifies(message, &signature) {
            let message = format!("what it answered is no signature by {}", entry.info.label());
            return Err(Error::Device { name: token::shown(&self.place), message });
        }
        Ok(signature)
    }
}

impl Pkcs11KeyStore {
    /// The keys of a token. Nothing is loaded or asked yet.
    pub fn new(place: Place, pins: Arc<dyn Pins>) -> Self {
        let worker = Worker::new(place.clone());
        let device = Device { place, worker, pins, entries: Mutex::default(), login: Mutex::default() };
        Self { device: Arc::new(device) }
    }
}

impl KeyStore for Pkcs11KeyStore {
    fn list(&self) -> Result<Vec<KeyInfo>, Error> {
        Ok(self.device.entries()?.into_iter().map(|entry| entry.info).collect())
    }

    /// No passphrase is asked for: the token's PIN protects all its keys.
    fn generate(
        &self,
        algorithm: Algorithm,
        purpose: Purpose,
        collection: Option<&str>,
        _passphrases: &dyn Passphrases,
    ) -> Result<KeyInfo, Error> {
        let device = &self.device;
        let label = label::encode(&purpose, collection)
            .map_err(|message| Error::Unusable { path: token::shown(&device.place), message })?;
        device.login()?;
        let mut pair = vec![0; PAIR_ID];
        fill_random(&mut pair)?;
        let made = device.worker.run(move |token| token.generate(algorithm, &label, &pair));
        device.forget_entries();
        let entry = made?;
        // A key that cannot sign must not become anybody's.
        device.sign(&entry, b"a first signature")?;
        Ok(entry.info)
    }

    fn unlock(&self, id: &KeyId, _passphrases: &dyn Passphrases) -> Result<Box<dyn Signer>, Error> {
        let entry = self.device.entry(id)?;
        self.device.login()?;
        let pair = entry.clone();
        self.device.worker.run(move |token| token.holds_private(&pair))?;
        Ok(Box::new(TokenKey { device: Arc::clone(&self.device), entry }))
    }

    fn import(
        &self,
        _key: PrivateKey,
        _purpose: Purpose,
        _collection: Option<&str>,
        _passphrases: &dyn Passphrases,
    ) -> Result<KeyInfo, Error> {
        Err(self.device.refused("import", "its keys are made in it: `boltseal key generate --pkcs11 TOKEN`"))
    }

    fn export(&self, id: &KeyId) -> Result<SealedKey, Error> {
        self.device.entry(id)?;
        Err(self.device.refused("export", "a private key never leaves it"))
    }

    fn restore(&self, _key: SealedKey) -> Result<KeyInfo, Error> {
        Err(self.device.refused("restore", "its keys are made in it: `boltseal key generate --pkcs11 TOKEN`"))
    }

    fn change_passphrase(&self, id: &KeyId, _passphrases: &dyn Passphrases) -> Result<(), Error> {
        self.device.entry(id)?;
        Err(self.device.refused("change the passphrase of", "its PIN is changed with its maker's tools"))
    }

    fn remove(&self, id: &KeyId) -> Result<(), Error> {
        let entry = self.device.entry(id)?;
        self.device.login()?;
        let removed = self.device.worker.run(move |token| token.remove(&entry));
        self.device.forget_entries();
        removed
    }
}

/// One key of a token.
struct TokenKey {
    device: Arc<Device>,
    entry: Entry,
}

impl Signer for TokenKey {
    fn key(&self) -> &Key {
        &self.entry.info.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.device.sign(&self.entry, message)
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({})", self.entry.info.id)
    }
}
