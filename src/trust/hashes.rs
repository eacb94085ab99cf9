//! Hashes of files and targets (TUF 4.4, 4.5).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use sha2::{Digest as _, Sha512};

use crate::image::Digest;

/// The hashes that metadata states for some bytes. Never empty; algorithms that we do not know are left out, and bytes
/// fit only when every known one does and there is at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashes {
    sha256: Option<Digest>,
    sha512: Option<Box<[u8; 64]>>,
}

impl Hashes {
    /// Whether `bytes` have every known hash, of which there is at least one.
    pub fn fit(&self, bytes: &[u8]) -> bool {
        let known = self.sha256.is_some() || self.sha512.is_some();
        known
            && self.sha256.is_none_or(|digest| Digest::of(bytes) == digest)
            && self.sha512.as_ref().is_none_or(|digest| Sha512::digest(bytes).as_slice() == digest.as_slice())
    }

    /// The SHA-256, where it is stated.
    pub fn sha256(&self) -> Option<Digest> {
        self.sha256
    }

    /// A hash in hex for the prefix of a target's file name (TUF 5.7.3, 6.2): SHA-256 before SHA-512.
    pub fn hex(&self) -> Option<String> {
        self.sha256.map(|digest| digest.hex()).or_else(|| self.sha512.as_ref().map(|digest| hex::encode(**digest)))
    }
}

impl<'de> Deserialize<'de> for Hashes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let map = BTreeMap::<Cow<'de, str>, Cow<'de, str>>::deserialize(deserializer)?;
        if map.is_empty() {
            return Err(D::Error::custom("`hashes` is empty"));
        }
        let sha256 = map.get("sha256").map(|text| Digest::from_hex(text).map_err(D::Error::custom)).transpose()?;
        let sha512 = map
            .get("sha512")
            .map(|text| {
                let mut bytes = Box::new([0; 64]);
                hex::decode_to_slice(text.as_bytes(), bytes.as_mut_slice())
                    .map_err(|_| D::Error::custom("a sha512 hash is not 128 hex digits"))?;
                Ok(bytes)
            })
            .transpose()?;
        Ok(Self { sha256, sha512 })
    }
}
