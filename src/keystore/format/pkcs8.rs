//! PKCS#8 and SEC1: private keys as OpenSSL keeps them.
//!
//! - Written is PKCS#8 version 1 under PBES2 with scrypt (N = 2^14, r = 8, p = 5) and AES-256-CBC: OpenSSL 3.0 reads
//!   no larger N and no AES-GCM here, and p = 5 makes it as costly as N = 2^17, p = 1.
//! - Read is PBES2 with scrypt or PBKDF2, within caps that are checked before any work is done.

use ed25519_dalek::pkcs8::KeypairBytes;
use pkcs8::der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, OctetStringRef};
use pkcs8::der::{Decode, Reader, TagMode, TagNumber};
use pkcs8::pkcs5::{EncryptionScheme, pbes2};
use pkcs8::spki::AlgorithmIdentifierRef;
use pkcs8::{EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef, SecretDocument};
use zeroize::Zeroizing;

use super::Refusal;
use crate::keystore::Error;
use crate::keystore::private::{PrivateKey, fill_random};

/// Most memory that a key file may make us fill to derive its key: more would be a bomb.
const MAX_MEMORY: u64 = 256 << 20;
/// Most memory times passes, for the same reason: about three seconds.
const MAX_WORK: u64 = 1 << 30;
/// Most rounds of PBKDF2, for the same reason.
const MAX_ROUNDS: u32 = 10_000_000;
const LOG_N: u8 = 14;
const R: u32 = 8;
const P: u32 = 5;

const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");

/// The name that people know an algorithm or curve by.
fn name_of(oid: ObjectIdentifier) -> String {
    match oid.to_string().as_str() {
        "1.2.840.113549.1.1.1" | "1.2.840.113549.1.1.10" => "RSA".to_owned(),
        "1.2.840.10040.4.1" => "DSA".to_owned(),
        "1.3.101.110" => "X25519".to_owned(),
        "1.3.101.111" => "X448".to_owned(),
        "1.3.101.113" => "Ed448".to_owned(),
        "1.3.132.0.34" => "P-384".to_owned(),
        "1.3.132.0.35" => "P-521".to_owned(),
        "1.3.132.0.10" => "secp256k1".to_owned(),
        other => other.to_owned(),
    }
}

/// The sentence for keys of algorithms that we do not sign with.
pub(super) fn other_algorithm(name: &str) -> String {
    format!("it is a private key of algorithm {name}, and only Ed25519 and P-256 keys sign")
}

/// Reads a plain PKCS#8 key of version 1 or 2, or of version 2 without its public key, as Notary writes them.
pub(super) fn decode(der: &[u8]) -> Result<PrivateKey, String> {
    match as_version_1(der) {
        Some(der) if PrivateKeyInfoRef::from_der(&der).is_ok() => decode_strictly(&der),
        _ => decode_strictly(der),
    }
}

/// The same bytes with version 1 where they claim version 2. They parse only if there is no public key in them.
fn as_version_1(der: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    const VERSION_2: [u8; 3] = [2, 1, 1];
    let length_bytes = match *der.get(1)? {
        long if long >= 0x80 => usize::from(long & 0x7f),
        _ => 0,
    };
    let at = 2 + length_bytes;
    if der.get(at..at + VERSION_2.len())? != VERSION_2 {
        return None;
    }
    let mut der = Zeroizing::new(der.to_vec());
    der[at + 2] = 0;
    Some(der)
}

fn decode_strictly(der: &[u8]) -> Result<PrivateKey, String> {
    let info = PrivateKeyInfoRef::from_der(der).map_err(|error| format!("it is damaged: {error}"))?;
    if info.algorithm.oid == ED25519 {
        let pair = KeypairBytes::try_from(info).map_err(|error| format!("its Ed25519 key is damaged: {error}"))?;
        return ed25519_dalek::SigningKey::try_from(pair)
            .map(PrivateKey::from_ed25519)
            .map_err(|_| "its public and private halves do not belong together".to_owned());
    }
    if info.algorithm.oid != EC {
        return Err(other_algorithm(&name_of(info.algorithm.oid)));
    }
    match info.algorithm.parameters_oid() {
        Ok(P256) => p256::SecretKey::try_from(info)
            .map(|secret| PrivateKey::from_p256(&secret))
            .map_err(|error| format!("its P-256 key is damaged: {error}")),
        Ok(curve) => Err(other_algorithm(&name_of(curve))),
        Err(_) => Err("its elliptic curve is not named".to_owned()),
    }
}

/// Reads a SEC1 `EC PRIVATE KEY` (RFC 5915).
pub(super) fn decode_sec1(der: &[u8]) -> Result<PrivateKey, String> {
    let damaged = |error: pkcs8::der::Error| format!("it is damaged: {error}");
    let curve = AnyRef::from_der(der)
        .and_then(|any| {
            any.sequence(|reader| {
                u8::decode(reader)?;
                <&OctetStringRef>::decode(reader)?;
                let curve = reader.context_specific::<ObjectIdentifier>(TagNumber(0), TagMode::Explicit)?;
                reader.context_specific::<BitStringRef<'_>>(TagNumber(1), TagMode::Explicit)?;
                Ok::<_, pkcs8::der::Error>(curve)
            })
        })
        .map_err(damaged)?;
    match curve {
        Some(P256) => p256::SecretKey::from_sec1_der(der)
            .map(|secret| PrivateKey::from_p256(&secret))
            .map_err(|error| format!("its P-256 key is damaged: {error}")),
        Some(curve) => Err(other_algorithm(&name_of(curve))),
        None => Err("its elliptic curve is not named".to_owned()),
    }
}

/// Whether these bytes are an `EncryptedPrivateKeyInfo` by their shape.
pub(super) fn is_encrypted(der: &[u8]) -> bool {
    EncryptedPrivateKeyInfoRef::from_der(der).is_ok()
}

/// Whether these bytes are a `PrivateKeyInfo` by their shape.
pub(super) fn is_plain(der: &[u8]) -> bool {
    PrivateKeyInfoRef::from_der(der).is_ok()
        || as_version_1(der).is_some_and(|der| PrivateKeyInfoRef::from_der(&der).is_ok())
}

/// Checks what can be checked of an encrypted key without its passphrase.
pub(super) fn check_encrypted(der: &[u8]) -> Result<(), String> {
    parse_encrypted(der).map(drop)
}

/// Unlocks an encrypted PKCS#8 key.
pub(super) fn decrypt(der: &[u8], passphrase: &str) -> Result<PrivateKey, Refusal> {
    let info = parse_encrypted(der).map_err(Refusal::Unusable)?;
    let plain = match &info.encryption_algorithm {
        EncryptionScheme::Pbes2(parameters) => parameters
            .decrypt(passphrase, info.encrypted_data.as_bytes())
            .map(Zeroizing::new)
            .map_err(|error| match error {
                pkcs8::pkcs5::Error::DecryptFailed => Refusal::WrongPassphrase,
                other => Refusal::Unusable(format!("its encryption is not supported: {other}")),
            })?,
        _ => return Err(Refusal::Unusable(OLD_ENCRYPTION.to_owned())),
    };
    // One wrong passphrase in 256 leaves good padding behind it, and then noise.
    if !is_plain(&plain) {
        return Err(Refusal::WrongPassphrase);
    }
    decode(&plain).map_err(Refusal::Unusable)
}

const OLD_ENCRYPTION: &str = "its encryption is not supported: `openssl pkcs8 -topk8` writes it anew";

fn parse_encrypted(der: &[u8]) -> Result<EncryptedPrivateKeyInfoRef<'_>, String> {
    let info = EncryptedPrivateKeyInfoRef::from_der(der).map_err(|error| {
        // Well formed around a scheme that is not understood, or not well formed at all.
        let outer = AnyRef::from_der(der).and_then(|any| {
            any.sequence(|reader| {
                AlgorithmIdentifierRef::decode(reader)?;
                <&OctetStringRef>::decode(reader).map(drop)
            })
        });
        if outer.is_ok() { OLD_ENCRYPTION.to_owned() } else { format!("it is damaged: {error}") }
    })?;
    let EncryptionScheme::Pbes2(parameters) = &info.encryption_algorithm else {
        return Err(OLD_ENCRYPTION.to_owned());
    };
    match &parameters.kdf {
        pbes2::Kdf::Scrypt(scrypt) => {
            check_scrypt(scrypt.cost_parameter, scrypt.block_size.into(), scrypt.parallelization.into())?;
        }
        pbes2::Kdf::Pbkdf2(pbkdf2) if (1..=MAX_ROUNDS).contains(&pbkdf2.iteration_count) => {}
        pbes2::Kdf::Pbkdf2(pbkdf2) => {
            return Err(format!("it asks for {} rounds of PBKDF2: the limit is {MAX_ROUNDS}", pbkdf2.iteration_count));
        }
        _ => return Err(OLD_ENCRYPTION.to_owned()),
    }
    Ok(info)
}

/// Refuses scrypt parameters that are invalid or would take too much memory or time, before either is taken.
pub(super) fn check_scrypt(n: u64, r: u64, p: u64) -> Result<(), String> {
    if !n.is_power_of_two() || n < 2 || r == 0 || p == 0 {
        return Err("its scrypt parameters are invalid".to_owned());
    }
    let memory = 128_u64.checked_mul(r).and_then(|block| block.checked_mul(n));
    let work = memory.and_then(|memory| memory.checked_mul(p));
    match (memory, work) {
        (Some(memory), Some(work)) if memory <= MAX_MEMORY && work <= MAX_WORK => Ok(()),
        _ => Err(format!("it asks for more than {} MiB of memory, or for too much time, to unlock", MAX_MEMORY >> 20)),
    }
}

/// The encrypted PKCS#8 PEM of a key.
pub(super) fn encrypt(key: &PrivateKey, passphrase: &str) -> Result<String, Error> {
    let mut salt = [0; 16];
    let mut iv = [0; 16];
    fill_random(&mut salt)?;
    fill_random(&mut iv)?;
    let cost = scrypt::Params::new(LOG_N, R, P).expect("the parameters are constants that scrypt takes");
    let parameters = pbes2::Parameters::generate_scrypt_aes256cbc(cost, &salt, iv).expect("a salt of 16 bytes fits");
    let plain = key.to_pkcs8();
    let info = PrivateKeyInfoRef::from_der(plain.as_bytes()).expect("it was encoded here");
    let locked: SecretDocument =
        info.encrypt_with_params(parameters, passphrase).expect("a key of fixed size can be encrypted");
    let pem = locked.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF).expect("the label is a constant");
    Ok(pem.to_string())
}

/// The plain PKCS#8 PEM of a key. Never for a file: for stores in memory alone.
pub(super) fn encode(key: &PrivateKey) -> Zeroizing<String> {
    key.to_pkcs8().to_pem("PRIVATE KEY", LineEnding::LF).expect("the label is a constant")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_files_that_ask_for_too_much_are_refused_before_any_work() {
        assert_eq!(check_scrypt(1 << 14, 8, 5), Ok(()));
        assert_eq!(check_scrypt(1 << 18, 8, 1), Ok(()));
        for (n, r, p) in
            [(1 << 19, 8, 1), (1 << 18, 8, 5), (1 << 14, 8, 65_535), (u64::MAX, 8, 1), (1 << 63, 65_535, 65_535)]
        {
            assert!(check_scrypt(n, r, p).is_err(), "{n} {r} {p}");
        }
        assert!(check_scrypt(3, 8, 1).is_err());
        assert!(check_scrypt(2, 0, 1).is_err());
    }
}
