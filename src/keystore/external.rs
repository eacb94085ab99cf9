//! Keys that another program signs with, over `boltseal.signer/v1` (docs/external-signer.md): for key management
//! services, and for devices that speak no PKCS#11.
//!
//! - The program is started for each request, answers one, and is killed with its process group at the deadline.
//! - It is not believed: a signature counts when the public key that was listed verifies it.

mod process;
mod protocol;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

pub use process::Program;
use protocol::{Offer, Request};

use super::{Algorithm, Error, KeyInfo, KeyStore, Passphrases, PrivateKey, Purpose, SealedKey, Signer};
use crate::trust::{Key, KeyId};

/// The keys of one external signer.
#[derive(Debug)]
pub struct ExternalKeyStore {
    signer: Arc<External>,
    /// What it said it holds, asked once.
    offers: Mutex<Option<Vec<Offer>>>,
}

/// A program by the name that the settings give it.
#[derive(Debug)]
struct External {
    name: String,
    program: Program,
}

impl External {
    fn shown(&self) -> String {
        format!("signer `{}`", self.name.escape_debug())
    }

    fn failed(&self, message: impl Into<String>) -> Error {
        Error::Device { name: self.shown(), message: message.into() }
    }

    fn ask(&self, request: &Request<'_>) -> Result<serde_json::Value, Error> {
        let ran = self.program.run(&self.name, &request.encode()).map_err(|message| self.failed(message))?;
        protocol::answer(&ran).map_err(|message| self.failed(message))
    }

    fn refused(&self, action: &'static str, message: &str) -> Error {
        Error::Refused { store: self.shown(), action, message: message.to_owned() }
    }
}

impl ExternalKeyStore {
    /// The keys of a program. It is not started yet.
    pub fn new(name: impl Into<String>, program: Program) -> Self {
        Self { signer: Arc::new(External { name: name.into(), program }), offers: Mutex::default() }
    }

    fn offers(&self) -> Result<Vec<Offer>, Error> {
        let mut offers = self.offers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*offers {
            return Ok(known.clone());
        }
        let answer = self.signer.ask(&Request::Keys)?;
        let found = protocol::offers(answer).map_err(|message| self.signer.failed(message))?;
        Ok(offers.insert(found).clone())
    }

    fn offer(&self, id: &KeyId) -> Result<Offer, Error> {
        self.offers()?.into_iter().find(|offer| offer.info.id == *id).ok_or_else(|| Error::Missing(id.to_string()))
    }
}

impl KeyStore for ExternalKeyStore {
    fn list(&self) -> Result<Vec<KeyInfo>, Error> {
        Ok(self.offers()?.into_iter().map(|offer| offer.info).collect())
    }

    fn generate(
        &self,
        _algorithm: Algorithm,
        _purpose: Purpose,
        _collection: Option<&str>,
        _passphrases: &dyn Passphrases,
    ) -> Result<KeyInfo, Error> {
        Err(self.signer.refused("make", "make the key where it lives, and let the program list it"))
    }

    fn unlock(&self, id: &KeyId, _passphrases: &dyn Passphrases) -> Result<Box<dyn Signer>, Error> {
        let offer = self.offer(id)?;
        Ok(Box::new(ExternalKey { signer: Arc::clone(&self.signer), offer }))
    }

    fn import(
        &self,
        _key: PrivateKey,
        _purpose: Purpose,
        _collection: Option<&str>,
        _passphrases: &dyn Passphrases,
    ) -> Result<KeyInfo, Error> {
        Err(self.signer.refused("import", "make the key where it lives, and let the program list it"))
    }

    fn export(&self, id: &KeyId) -> Result<SealedKey, Error> {
        self.offer(id)?;
        Err(self.signer.refused("export", "a private key that it signs with never leaves it"))
    }

    fn restore(&self, _key: SealedKey) -> Result<KeyInfo, Error> {
        Err(self.signer.refused("restore", "make the key where it lives, and let the program list it"))
    }

    fn change_passphrase(&self, id: &KeyId, _passphrases: &dyn Passphrases) -> Result<(), Error> {
        self.offer(id)?;
        Err(self.signer.refused("change the passphrase of", "the program has its own ways to know who may sign"))
    }

    fn remove(&self, id: &KeyId) -> Result<(), Error> {
        self.offer(id)?;
        Err(self.signer.refused("remove", "remove the key where it lives"))
    }
}

/// One key of an external signer.
struct ExternalKey {
    signer: Arc<External>,
    offer: Offer,
}

impl Signer for ExternalKey {
    fn key(&self) -> &Key {
        &self.offer.info.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let answer = self.signer.ask(&Request::Sign { offer: &self.offer, message })?;
        let signature = protocol::signature(&answer).map_err(|reason| self.signer.failed(reason))?;
        if !self.key().verifies(message, &signature) {
            return Err(self.signer.failed(format!(
                "what it answered is no signature by {} over what it was given",
                self.offer.info.label()
            )));
        }
        Ok(signature)
    }
}

impl fmt::Debug for ExternalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExternalKey({})", self.offer.info.id)
    }
}
