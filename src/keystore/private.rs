//! A private key in the clear, for as long as something signs with it.

use std::fmt;

use p256::ecdsa::signature::Signer as _;
use p256::elliptic_curve::sec1::ToSec1Point;
use pkcs8::{EncodePrivateKey, SecretDocument};
use zeroize::Zeroizing;

use super::{Algorithm, Error, Signer};
use crate::trust::{Key, KeyId};

/// Chances to draw a number that is a P-256 scalar. One draw in 2^32 is none.
const DRAWS: usize = 4;

/// A private key, unlocked. Zeroed when dropped; `Debug` shows its id.
///
/// ECDSA signatures are deterministic (RFC 6979), so that a poor source of random numbers cannot give the key away.
pub struct PrivateKey {
    secret: Secret,
    public: Key,
}

/// Both kinds zero themselves when dropped.
enum Secret {
    Ed25519(Box<ed25519_dalek::SigningKey>),
    P256(Box<p256::ecdsa::SigningKey>),
}

impl PrivateKey {
    /// Makes a key from the system's random numbers.
    ///
    /// # Errors
    /// [`Error::Io`] where the system gives none.
    pub fn generate(algorithm: Algorithm) -> Result<Self, Error> {
        let mut seed = Zeroizing::new([0; 32]);
        for _ in 0..DRAWS {
            fill_random(&mut *seed)?;
            match algorithm {
                Algorithm::Ed25519 => return Ok(Self::from_ed25519(ed25519_dalek::SigningKey::from_bytes(&seed))),
                Algorithm::P256 => {
                    if let Ok(secret) = p256::SecretKey::from_slice(&*seed) {
                        return Ok(Self::from_p256(&secret));
                    }
                }
            }
        }
        Err(no_random("it gave no number below the order of P-256"))
    }

    pub(super) fn from_ed25519(secret: ed25519_dalek::SigningKey) -> Self {
        let public =
            Key::ed25519(secret.verifying_key().to_bytes()).expect("a public key derived here is on the curve");
        Self { secret: Secret::Ed25519(Box::new(secret)), public }
    }

    pub(super) fn from_p256(secret: &p256::SecretKey) -> Self {
        let point = secret.public_key().to_sec1_point(false);
        let public = Key::p256(point.as_bytes()).expect("a public key derived here is on the curve");
        Self { secret: Secret::P256(Box::new(secret.into())), public }
    }

    /// The id of its public key.
    pub fn id(&self) -> KeyId {
        self.public.id()
    }

    /// The public key.
    pub fn public(&self) -> &Key {
        &self.public
    }

    /// PKCS#8 version 1: OpenSSL 3.0 reads no version 2.
    pub(super) fn to_pkcs8(&self) -> SecretDocument {
        let document = match &self.secret {
            Secret::Ed25519(key) => {
                ed25519_dalek::pkcs8::KeypairBytes { secret_key: key.to_bytes(), public_key: None }.to_pkcs8_der()
            }
            Secret::P256(key) => p256::SecretKey::from(key.as_ref()).to_pkcs8_der(),
        };
        document.expect("a key of fixed size has an encoding")
    }
}

impl Signer for PrivateKey {
    fn key(&self) -> &Key {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(match &self.secret {
            Secret::Ed25519(key) => key.sign(message).to_bytes().to_vec(),
            Secret::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_der().as_bytes().to_vec()
            }
        })
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.id())
    }
}

/// Fills a buffer with the system's random numbers.
pub(super) fn fill_random(buffer: &mut [u8]) -> Result<(), Error> {
    getrandom::fill(buffer).map_err(|error| no_random(&error.to_string()))
}

fn no_random(message: &str) -> Error {
    Error::Io { action: "read", path: "the system's random numbers".to_owned(), message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_key_signs_its_public_key_verifies() {
        for algorithm in [Algorithm::Ed25519, Algorithm::P256] {
            let key = PrivateKey::generate(algorithm).unwrap();
            let signature = key.sign(b"message").unwrap();
            assert!(key.public().verifies(b"message", &signature), "{algorithm:?}");
            assert!(!key.public().verifies(b"massage", &signature), "{algorithm:?}");
            assert_eq!(signature, key.sign(b"message").unwrap(), "{algorithm:?} signs deterministically");
        }
    }

    #[test]
    fn p256_signatures_follow_rfc_6979() {
        // RFC 6979 A.2.5, curve P-256 with SHA-256, message "sample".
        let secret = hex::decode("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721").unwrap();
        let key = PrivateKey::from_p256(&p256::SecretKey::from_slice(&secret).unwrap());
        let signature = p256::ecdsa::Signature::from_der(&key.sign(b"sample").unwrap()).unwrap();
        let (r, s) = signature.split_bytes();
        assert_eq!(hex::encode(r), "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716");
        assert_eq!(hex::encode(s), "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8");
    }

    #[test]
    fn debug_shows_nothing_of_a_secret() {
        let seed = [7; 32];
        let key = PrivateKey::from_ed25519(ed25519_dalek::SigningKey::from_bytes(&seed));
        assert_eq!(format!("{key:?}"), format!("PrivateKey({})", key.id()));
    }
}
