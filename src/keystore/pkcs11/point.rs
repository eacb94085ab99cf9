//! Public keys as tokens give them: the curve in `CKA_EC_PARAMS`, the point in `CKA_EC_POINT`.

use crate::keystore::Algorithm;
use crate::trust::Key;

/// The DER of an object identifier: P-256.
pub(super) const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// The DER of an object identifier: Ed25519 (RFC 8410), as PKCS#11 3.1 spells it.
pub(super) const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
/// The DER of a printable string: Ed25519 as PKCS#11 3.0 spells it.
pub(super) const ED25519_BY_NAME: &[u8] = b"\x13\x0cedwards25519";

/// The algorithm of a curve that we sign with.
pub(super) fn algorithm(parameters: &[u8]) -> Option<Algorithm> {
    match parameters {
        P256 => Some(Algorithm::P256),
        ED25519 | ED25519_BY_NAME => Some(Algorithm::Ed25519),
        _ => None,
    }
}

/// The public key of a point. The standard wraps it into an octet string; tokens also give it bare, or as a bit string.
pub(super) fn key(algorithm: Algorithm, point: &[u8]) -> Result<Key, String> {
    let bare = match (algorithm, point) {
        (Algorithm::Ed25519, [0x04, 0x20, bare @ ..] | [0x03, 0x21, 0x00, bare @ ..]) if bare.len() == 32 => bare,
        (Algorithm::P256, [0x04, 0x41, bare @ ..] | [0x03, 0x42, 0x00, bare @ ..]) if bare.len() == 65 => bare,
        _ => point,
    };
    match algorithm {
        Algorithm::Ed25519 => {
            let bytes = bare.try_into().map_err(|_| format!("its point has {} bytes", point.len()))?;
            Key::ed25519(bytes)
        }
        Algorithm::P256 if bare.len() == 65 => Key::p256(bare),
        Algorithm::P256 => Err(format!("its point has {} bytes", point.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keystore::PrivateKey;
    use crate::trust::key::Material;

    #[test]
    fn a_point_is_read_wrapped_or_bare() {
        for of in [Algorithm::Ed25519, Algorithm::P256] {
            let public = PrivateKey::generate(of).unwrap().public().clone();
            let bare = match public.material() {
                Material::Ed25519(bytes) => bytes.to_vec(),
                Material::P256(point) => point.clone(),
                other => panic!("{other:?}"),
            };
            let length = u8::try_from(bare.len()).unwrap();
            for wrapper in [&[][..], &[0x04, length], &[0x03, length + 1, 0x00]] {
                assert_eq!(key(of, &[wrapper, &bare].concat()).unwrap(), public, "{of:?} {wrapper:?}");
            }
            for wrong in [&bare[1..], &[&[0x04, length - 1], &bare[..]].concat(), &[]] {
                assert!(key(of, wrong).is_err(), "{of:?} {wrong:?}");
            }
        }
    }
}
