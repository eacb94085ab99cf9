//! A key as stores keep it: locked, beside what is known of it.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::format::{KeyFile, attempts, refused};
use super::{Error, KeyInfo, MIN_PASSPHRASE, Passphrase, Passphrases, PrivateKey, Purpose};
use crate::clock::{Clock, SystemClock};
use crate::trust::{Key, KeyId};

/// The version of the sidecar's form.
const SCHEMA: &str = "boltseal.key/v1";

/// A key that its passphrase protects, with what is known of it. `Debug` shows only that.
#[derive(Clone)]
pub struct SealedKey {
    info: KeyInfo,
    created: Timestamp,
    pem: Zeroizing<String>,
}

/// A sealed key in a backup.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    info: Sidecar,
    pem: Zeroizing<String>,
}

impl Serialize for SealedKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Parts { info: self.sidecar(), pem: self.pem.clone() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SealedKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Parts { info, pem } = Parts::deserialize(deserializer)?;
        let path = info.id.to_string();
        Self::from_parts(&path, info, pem).map_err(serde::de::Error::custom)
    }
}

/// What stands beside a key file: everything that can be told without its passphrase.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sidecar {
    schema: String,
    id: KeyId,
    key: Key,
    purpose: Option<String>,
    collection: Option<String>,
    created: Timestamp,
    encrypted: bool,
}

impl SealedKey {
    /// Locks a key under a passphrase that is asked for here.
    pub(super) fn seal(
        key: &PrivateKey,
        purpose: Purpose,
        collection: Option<&str>,
        passphrases: &dyn Passphrases,
    ) -> Result<Self, Error> {
        let passphrase = passphrases.choose(&purpose, collection)?;
        Self::seal_under(key, purpose, collection, &passphrase)
    }

    /// Locks a key under a passphrase at hand.
    pub(super) fn seal_under(
        key: &PrivateKey,
        purpose: Purpose,
        collection: Option<&str>,
        passphrase: &Passphrase,
    ) -> Result<Self, Error> {
        check_length(passphrase, &format!("the {purpose} key"))?;
        purpose
            .text()
            .parse::<Purpose>()
            .map_err(|message| Error::Unusable { path: format!("key {}", key.id().short()), message })?;
        let pem = Zeroizing::new(key.to_encrypted_pem(passphrase)?);
        let info = KeyInfo {
            id: key.id(),
            public: key.public().clone(),
            purpose: Some(purpose),
            collection: collection.map(str::to_owned),
            encrypted: true,
        };
        Ok(Self { info, created: SystemClock.now(), pem })
    }

    /// A key without a passphrase. Stores on disk refuse it; it is for keys that live as long as the process.
    pub(super) fn unlocked(key: &PrivateKey, purpose: Option<Purpose>, collection: Option<&str>) -> Self {
        let info = KeyInfo {
            id: key.id(),
            public: key.public().clone(),
            purpose,
            collection: collection.map(str::to_owned),
            encrypted: false,
        };
        Self { info, created: SystemClock.now(), pem: key.to_plain_pem() }
    }

    /// Puts it together from a key file and the sidecar beside it; `path` names it in errors.
    pub(super) fn from_parts(path: &str, sidecar: Sidecar, pem: Zeroizing<String>) -> Result<Self, Error> {
        let (info, created) = sidecar.into_info(path)?;
        let file =
            KeyFile::parse(pem.as_bytes()).map_err(|message| Error::Unusable { path: path.to_owned(), message })?;
        if !file.is_encrypted_pkcs8() {
            let message = "it is not encrypted as this key store keeps keys".to_owned();
            return Err(Error::Unusable { path: path.to_owned(), message });
        }
        Ok(Self { info, created, pem })
    }

    /// What is known of it.
    pub fn info(&self) -> &KeyInfo {
        &self.info
    }

    /// The private key as PEM: encrypted PKCS#8, unless [`KeyInfo::encrypted`] says otherwise.
    pub fn pem(&self) -> &Zeroizing<String> {
        &self.pem
    }

    /// Unlocks it.
    ///
    /// # Errors
    /// [`Error::WrongPassphrase`], also where the file is damaged; those of [`Passphrases::unlock`].
    pub fn open(&self, passphrases: &dyn Passphrases) -> Result<PrivateKey, Error> {
        let label = self.info.label();
        let file =
            KeyFile::parse(self.pem.as_bytes()).map_err(|message| Error::Unusable { path: label.clone(), message })?;
        let key = if file.is_encrypted() {
            let ask = |attempt| passphrases.unlock(&self.info, attempt);
            attempts(&label, ask, |passphrase| file.open(Some(passphrase)))?
        } else {
            file.open(None).map_err(|refusal| refused(&label, refusal))?
        };
        // CBC does not prove that the file is whole: only the id does.
        if key.id() == self.info.id { Ok(key) } else { Err(Error::WrongPassphrase(label)) }
    }

    /// The same key under another passphrase.
    ///
    /// # Errors
    /// Those of [`SealedKey::open`] and [`Passphrases::replace`].
    pub fn reseal(&self, passphrases: &dyn Passphrases) -> Result<Self, Error> {
        let key = self.open(passphrases)?;
        let passphrase = passphrases.replace(&self.info)?;
        check_length(&passphrase, &self.info.label())?;
        let pem = Zeroizing::new(key.to_encrypted_pem(&passphrase)?);
        Ok(Self { info: KeyInfo { encrypted: true, ..self.info.clone() }, created: self.created, pem })
    }

    pub(super) fn sidecar(&self) -> Sidecar {
        Sidecar {
            schema: SCHEMA.to_owned(),
            id: self.info.id.clone(),
            key: self.info.public.clone(),
            purpose: self.info.purpose.as_ref().map(Purpose::text),
            collection: self.info.collection.clone(),
            created: self.created,
            encrypted: self.info.encrypted,
        }
    }
}

impl Sidecar {
    /// Reads a sidecar; `path` names it in errors.
    pub(super) fn parse(path: &str, bytes: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(bytes)
            .map_err(|error| Error::Unusable { path: path.to_owned(), message: format!("it is damaged: {error}") })
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("text and numbers have a JSON form");
        json.push(b'\n');
        json
    }

    /// What it tells, where it does not contradict itself.
    pub(super) fn into_info(self, path: &str) -> Result<(KeyInfo, Timestamp), Error> {
        let unusable = |message: String| Error::Unusable { path: path.to_owned(), message };
        if self.schema != SCHEMA {
            return Err(unusable(format!("its schema is `{}`, not `{SCHEMA}`", self.schema.escape_debug())));
        }
        if self.key.id() != self.id {
            return Err(unusable(format!("it holds key {} under the id {}", self.key.id(), self.id)));
        }
        let purpose = self.purpose.map(|text| text.parse()).transpose().map_err(unusable)?;
        let info =
            KeyInfo { id: self.id, public: self.key, purpose, collection: self.collection, encrypted: self.encrypted };
        Ok((info, self.created))
    }
}

impl std::fmt::Debug for SealedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedKey").field("info", &self.info).field("created", &self.created).finish_non_exhaustive()
    }
}

/// New keys get no short passphrase, wherever it came from.
pub(super) fn check_length(passphrase: &Passphrase, source: &str) -> Result<(), Error> {
    if passphrase.chars().count() < MIN_PASSPHRASE {
        return Err(Error::TooShort(source.to_owned()));
    }
    Ok(())
}
