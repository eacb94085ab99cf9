//! cosign's private key file: JSON in PEM, scrypt and `nacl/secretbox` around a PKCS#8 key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit as _;
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit as _, StreamCipher as _};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{Refusal, pkcs8};
use crate::keystore::PrivateKey;

/// PEM labels of such files, the present one and the older.
pub(super) const LABELS: [&str; 2] = ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"];
const TAG: usize = 16;

#[derive(Deserialize)]
struct File {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Deserialize)]
struct Kdf {
    name: String,
    params: Params,
    salt: String,
}

#[derive(Deserialize)]
struct Params {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

/// Unlocks a cosign key. An empty passphrase is legal there.
pub(super) fn decrypt(json: &[u8], passphrase: &str) -> Result<PrivateKey, Refusal> {
    let unusable = |message: &str| Refusal::Unusable(message.to_owned());
    let file: File =
        serde_json::from_slice(json).map_err(|_| unusable("it is no cosign key: its JSON is malformed"))?;
    if file.kdf.name != "scrypt" || file.cipher.name != "nacl/secretbox" {
        return Err(unusable("it is no cosign key with scrypt and nacl/secretbox"));
    }
    let bytes = |text: &str| STANDARD.decode(text).map_err(|_| unusable("it is no cosign key: a member is no base64"));
    let (salt, nonce, sealed) = (bytes(&file.kdf.salt)?, bytes(&file.cipher.nonce)?, bytes(&file.ciphertext)?);
    let nonce: [u8; 24] = nonce.try_into().map_err(|_| unusable("it is no cosign key: its nonce is not 24 bytes"))?;
    let Params { n, r, p } = file.kdf.params;
    pkcs8::check_scrypt(n, r.into(), p.into()).map_err(Refusal::Unusable)?;
    let log_n = u8::try_from(n.trailing_zeros()).expect("a power of two in 64 bits has at most 63 zeros");
    let cost = scrypt::Params::new(log_n, r, p).map_err(|_| unusable("its scrypt parameters are invalid"))?;
    let mut key = Zeroizing::new([0; 32]);
    scrypt::scrypt(passphrase.as_bytes(), &salt, &cost, &mut *key).expect("32 bytes are a length that scrypt gives");
    let plain = open_box(&key, &nonce, &sealed).ok_or(Refusal::WrongPassphrase)?;
    pkcs8::decode(&plain).map_err(Refusal::Unusable)
}

/// `crypto_secretbox_open` of `NaCl`: the first 32 bytes of the cipher's stream are the Poly1305 key of what follows.
fn open_box(key: &[u8; 32], nonce: &[u8; 24], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (tag, text) = sealed.split_at_checked(TAG)?;
    let mut stream = XSalsa20::new(key.into(), nonce.into());
    let mut once = Zeroizing::new([0; 32]);
    stream.apply_keystream(&mut *once);
    let expected = Poly1305::new((&*once).into()).compute_unpadded(text);
    // Without an early end, so that time tells nothing of the tag.
    let difference = expected.iter().zip(tag).fold(0, |sum, (a, b)| sum | (a ^ b));
    if difference != 0 {
        return None;
    }
    let mut plain = Zeroizing::new(text.to_vec());
    stream.apply_keystream(&mut plain);
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_opens_as_nacl_defines_it_and_no_flipped_bit_passes() {
        // The test of NaCl's own distribution (secretbox2): first key, nonce and box.
        let key: [u8; 32] = hex::decode("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389")
            .unwrap()
            .try_into()
            .unwrap();
        let nonce: [u8; 24] =
            hex::decode("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37").unwrap().try_into().unwrap();
        let sealed = hex::decode(concat!(
            "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186a",
            "c0dfc17c98dce87b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae",
            "90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74",
            "e355a5"
        ))
        .unwrap();
        let plain = hex::decode(concat!(
            "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c6129",
            "6cdc3c01233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde",
            "048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f937763848645e0705"
        ))
        .unwrap();
        assert_eq!(&**open_box(&key, &nonce, &sealed).unwrap(), &plain[..]);
        for at in 0..sealed.len() {
            let mut other = sealed.clone();
            other[at] ^= 1;
            assert!(open_box(&key, &nonce, &other).is_none(), "byte {at}");
        }
        assert!(open_box(&key, &nonce, &sealed[..15]).is_none());
    }
}
