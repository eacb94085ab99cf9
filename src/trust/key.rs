//! Public keys: their form in metadata, their ids, and the check of one signature.
//!
//! - An id is written by the specification's rule (TUF 4.2.1) and accepted as found on reading; two ids never make
//!   two keys: what counts is the key [`Material`], without regard to id, scheme or spelling.
//! - A key of a type or scheme that we do not know is kept and verifies nothing. A malformed key of a known type makes
//!   the whole file invalid.
//! - Verified are Ed25519 (strict), ECDSA P-256 with SHA-256 in ASN.1, and RSA-PSS with SHA-256 of 2048 bits and more.

use std::fmt;

use ed25519_dalek::VerifyingKey;
use p256::elliptic_curve::sec1::ToSec1Point;
use p256::pkcs8::DecodePublicKey;
use pkcs8::der::Decode;
use pkcs8::der::asn1::{AnyRef, UintRef};
use pkcs8::{LineEnding, SubjectPublicKeyInfoRef};
use ring::signature::{ECDSA_P256_SHA256_ASN1, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::canonical;
use crate::image::Digest;

/// Longest foreign key id accepted, in bytes.
const MAX_KEY_ID: usize = 256;
/// Smallest RSA modulus accepted, in bits (TUF 4.2.2).
const MIN_RSA_BITS: usize = 2048;
const PUBLIC_LABEL: &str = "PUBLIC KEY";
const OID_RSA: &str = "1.2.840.113549.1.1.1";

/// The id of a key, as metadata spells it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct KeyId(String);

impl KeyId {
    /// An id as found; none where it is empty or over 256 bytes.
    pub fn new(text: &str) -> Option<Self> {
        (!text.is_empty() && text.len() <= MAX_KEY_ID).then(|| Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 characters, for people.
    pub fn short(&self) -> String {
        self.to_string().chars().take(12).collect()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().flat_map(char::escape_debug).try_for_each(|c| fmt::Write::write_char(f, c))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::new(&text).ok_or_else(|| serde::de::Error::custom("a key id is empty or too long"))
    }
}

/// What makes a key that key: its algorithm and numbers, however they were spelled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Material {
    /// The 32 bytes of an Ed25519 public key.
    Ed25519([u8; 32]),
    /// The uncompressed SEC1 point of a P-256 public key, 65 bytes.
    P256(Vec<u8>),
    /// The DER `RSAPublicKey` (PKCS#1) of an RSA key.
    Rsa(Vec<u8>),
    /// A key that we cannot use: its canonical object.
    Foreign(Vec<u8>),
}

/// A public key as metadata holds it.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// The whole object with members that we do not know (TUF 4: they are kept and count for the id).
    object: Map<String, Value>,
    material: Material,
}

impl Key {
    /// An Ed25519 key from its 32 bytes.
    ///
    /// # Errors
    /// A reason where the bytes are no point of the curve.
    pub fn ed25519(public: [u8; 32]) -> Result<Self, String> {
        Self::from_parts("ed25519", "ed25519", &hex::encode(public))
    }

    /// A P-256 key from its uncompressed SEC1 point.
    ///
    /// # Errors
    /// A reason where the bytes are no point of the curve.
    pub fn p256(point: &[u8]) -> Result<Self, String> {
        use p256::pkcs8::EncodePublicKey;
        let key = p256::PublicKey::from_sec1_bytes(point).map_err(|_| "no point of P-256".to_owned())?;
        let pem = key.to_public_key_pem(LineEnding::LF).map_err(|e| e.to_string())?;
        Self::from_parts("ecdsa", "ecdsa-sha2-nistp256", &pem)
    }

    /// A key from a PEM `SubjectPublicKeyInfo`, as `openssl pkey -pubout` writes it.
    ///
    /// # Errors
    /// A reason where it is no such PEM or of an algorithm that we do not verify.
    pub fn from_public_pem(pem: &str) -> Result<Self, String> {
        let (label, der) = pkcs8::Document::from_pem(pem).map_err(|e| format!("no public key in PEM: {e}"))?;
        if label != PUBLIC_LABEL {
            return Err(format!("a PEM `{PUBLIC_LABEL}` is needed, and this is a `{label}`"));
        }
        if let Ok(key) = p256::PublicKey::from_public_key_der(der.as_bytes()) {
            return Self::p256(key.to_sec1_point(false).as_bytes());
        }
        if let Ok(key) = VerifyingKey::from_public_key_der(der.as_bytes()) {
            return Self::ed25519(key.to_bytes());
        }
        rsa_public(der.as_bytes())?;
        // Written anew, so that line ends and text around the block do not make another id.
        let pem = der.to_pem(PUBLIC_LABEL, LineEnding::LF).map_err(|e| e.to_string())?;
        Self::from_parts("rsa", "rsassa-pss-sha256", &pem)
    }

    /// The public key as PEM `SubjectPublicKeyInfo`.
    pub fn to_public_pem(&self) -> String {
        match &self.material {
            Material::Ed25519(bytes) => {
                use ed25519_dalek::pkcs8::EncodePublicKey;
                VerifyingKey::from_bytes(bytes)
                    .ok()
                    .and_then(|key| key.to_public_key_pem(LineEnding::LF).ok())
                    .expect("the bytes were checked when the key was made")
            }
            _ => self.member("keyval", "public").unwrap_or_default().to_owned(),
        }
    }

    fn from_parts(keytype: &str, scheme: &str, public: &str) -> Result<Self, String> {
        let object = serde_json::json!({"keytype": keytype, "scheme": scheme, "keyval": {"public": public}});
        match object {
            Value::Object(object) => Self::from_object(object),
            _ => unreachable!("json! of an object literal"),
        }
    }

    fn from_object(object: Map<String, Value>) -> Result<Self, String> {
        let text = |name: &str| object.get(name).and_then(Value::as_str).ok_or(format!("a key has no text `{name}`"));
        let public = object
            .get("keyval")
            .and_then(|keyval| keyval.get("public"))
            .and_then(Value::as_str)
            .ok_or("a key has no text `keyval.public`")?;
        let material = match (text("keytype")?, text("scheme")?) {
            ("ed25519", "ed25519") => Material::Ed25519(ed25519_public(public)?),
            ("ecdsa" | "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256") => Material::P256(p256_public(public)?),
            ("rsa", "rsassa-pss-sha256") => {
                let (_, der) = pkcs8::Document::from_pem(public).map_err(|e| format!("an RSA key is no PEM: {e}"))?;
                Material::Rsa(rsa_public(der.as_bytes())?)
            }
            _ => Material::Foreign(canonical::encode(&Value::Object(object.clone()))),
        };
        Ok(Self { object, material })
    }

    fn member(&self, outer: &str, inner: &str) -> Option<&str> {
        self.object.get(outer)?.get(inner)?.as_str()
    }

    /// The id by the specification's rule: SHA-256 of the canonical form of the whole object, in hex (TUF 4.2.1).
    pub fn id(&self) -> KeyId {
        KeyId(Digest::of(&canonical::encode(&Value::Object(self.object.clone()))).hex())
    }

    /// What makes it that key.
    pub fn material(&self) -> &Material {
        &self.material
    }

    /// The algorithm for people: `ed25519`, `ecdsa-p256`, `rsa` or the foreign key type.
    pub fn algorithm(&self) -> &str {
        match self.material {
            Material::Ed25519(_) => "ed25519",
            Material::P256(_) => "ecdsa-p256",
            Material::Rsa(_) => "rsa",
            Material::Foreign(_) => self.object.get("keytype").and_then(Value::as_str).unwrap_or("unknown"),
        }
    }

    /// Whether `signature` over `message` is this key's. False for keys that we cannot use.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Ed25519(public) => {
                let Ok(signature) = ed25519_dalek::Signature::from_slice(signature) else { return false };
                // Strict: refuses low-order keys, with which one signature fits many messages.
                VerifyingKey::from_bytes(public).is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
            }
            Material::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature).is_ok()
            }
            Material::Rsa(der) => {
                UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, der).verify(message, signature).is_ok()
            }
            Material::Foreign(_) => false,
        }
    }
}

fn ed25519_public(text: &str) -> Result<[u8; 32], String> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| "an ed25519 key is not 64 hex digits".to_owned())?;
    let key = VerifyingKey::from_bytes(&bytes).map_err(|_| "an ed25519 key is no point of the curve".to_owned())?;
    // RFC 8032 5.1.3: a coordinate has one spelling; a second one would count as a second key.
    if key.to_edwards().compress().to_bytes() != bytes {
        return Err("an ed25519 key is spelled otherwise than RFC 8032 allows".to_owned());
    }
    Ok(bytes)
}

fn p256_public(text: &str) -> Result<Vec<u8>, String> {
    // Repositories made by go-tuf's first version, the early Sigstore roots among them, hold the point itself in hex.
    let point = hex::decode(text).ok().and_then(|point| p256::PublicKey::from_sec1_bytes(&point).ok());
    let key = match point {
        Some(key) => key,
        None => p256::PublicKey::from_public_key_pem(text).map_err(|e| format!("an ECDSA key is no P-256 key: {e}"))?,
    };
    Ok(key.to_sec1_point(false).as_bytes().to_vec())
}

fn rsa_public(spki_der: &[u8]) -> Result<Vec<u8>, String> {
    let spki = SubjectPublicKeyInfoRef::from_der(spki_der).map_err(|e| format!("no public key: {e}"))?;
    if spki.algorithm.oid.to_string() != OID_RSA {
        return Err(format!("public keys of algorithm {} are not supported", spki.algorithm.oid));
    }
    let der = spki.subject_public_key.as_bytes().ok_or("an RSA key has odd bits")?;
    // RFC 8017 A.1.1: RSAPublicKey is a sequence of the modulus and the public exponent.
    let (modulus, _exponent) = AnyRef::from_der(der)
        .and_then(|any| any.sequence(|reader| Ok((UintRef::decode(reader)?, UintRef::decode(reader)?))))
        .map_err(|e: pkcs8::der::Error| format!("no RSA key: {e}"))?;
    let modulus = modulus.as_bytes();
    let bits = modulus.len() * 8 - modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
    if bits < MIN_RSA_BITS {
        return Err(format!("an RSA key has {bits} bits, fewer than {MIN_RSA_BITS}"));
    }
    Ok(der.to_vec())
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} {})", self.algorithm(), self.id())
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_object(Map::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P256: &str = include_str!("../../tests/vectors/keys/p256.pub");
    const P256_COMPRESSED: &str = include_str!("../../tests/vectors/keys/p256-compressed.pub");
    const RSA: &str = include_str!("../../tests/vectors/keys/rsa-2048.pub");
    const RSA_1024: &str = include_str!("../../tests/vectors/keys/rsa-1024.pub");
    const RSA_SIGNATURE: &str = include_str!("../../tests/vectors/keys/rsa-pss.sig.b64");
    /// RFC 8032 7.1, test 1.
    const ED25519: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

    fn read(keytype: &str, scheme: &str, public: &str) -> Result<Key, serde_json::Error> {
        serde_json::from_value(serde_json::json!({"keytype": keytype, "scheme": scheme, "keyval": {"public": public}}))
    }

    #[test]
    fn a_p256_point_in_hex_is_the_key_that_its_pem_is() {
        let pem = Key::from_public_pem(P256).unwrap();
        let Material::P256(point) = pem.material() else { panic!("another algorithm") };
        let object = |public: String| serde_json::json!({"keytype": "ecdsa-sha2-nistp256", "scheme": "ecdsa-sha2-nistp256", "keyval": {"public": public}});
        let hex_key: Key = serde_json::from_value(object(hex::encode(point))).unwrap();
        assert_eq!(hex_key.material(), pem.material());
        let mut off_curve = point.clone();
        off_curve[64] ^= 1;
        assert!(serde_json::from_value::<Key>(object(hex::encode(off_curve))).is_err());
    }

    #[test]
    fn an_id_is_the_hash_of_the_canonical_object() {
        let key = read("ed25519", "ed25519", ED25519).unwrap();
        let canonical = format!(r#"{{"keytype":"ed25519","keyval":{{"public":"{ED25519}"}},"scheme":"ed25519"}}"#);
        assert_eq!(key.id().as_str(), Digest::of(canonical.as_bytes()).hex());
        assert_eq!(key.id().short(), key.id().as_str()[..12]);
        // Members that we do not know count (TUF 4.2.1: the whole object).
        let more =
            serde_json::json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": ED25519}, "x": 1});
        let more: Key = serde_json::from_value(more).unwrap();
        assert_ne!(more.id(), key.id());
        assert_eq!(more.material(), key.material());
    }

    #[test]
    fn spellings_of_one_key_have_one_material() {
        let pairs = [
            (read("ecdsa", "ecdsa-sha2-nistp256", P256), read("ecdsa", "ecdsa-sha2-nistp256", P256_COMPRESSED)),
            (read("ecdsa", "ecdsa-sha2-nistp256", P256), read("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", P256)),
            (read("rsa", "rsassa-pss-sha256", RSA), read("rsa", "rsassa-pss-sha256", RSA.trim_end())),
            (read("ed25519", "ed25519", ED25519), read("ed25519", "ed25519", &ED25519.to_ascii_uppercase())),
        ];
        for (a, b) in pairs {
            let (a, b) = (a.unwrap(), b.unwrap());
            assert_ne!(a.id(), b.id());
            assert_eq!(a.material(), b.material());
        }
    }

    #[test]
    fn a_pem_file_makes_the_same_key_however_it_is_spelled() {
        let key = Key::from_public_pem(P256).unwrap();
        assert_eq!(Key::from_public_pem(P256_COMPRESSED).unwrap(), key);
        assert_eq!(key.to_public_pem(), P256);
        let rsa = Key::from_public_pem(RSA).unwrap();
        assert_eq!(Key::from_public_pem(&RSA.replace('\n', "\r\n")).unwrap(), rsa);
    }

    #[test]
    fn malformed_keys_of_known_types_are_refused() {
        let junk = format!("{P256}-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n");
        let trailing = format!("{P256}junk");
        for (keytype, scheme, public) in [
            ("ed25519", "ed25519", &ED25519[2..]),
            ("ed25519", "ed25519", ""),
            ("ed25519", "ed25519", &format!("{ED25519}00")),
            ("ed25519", "ed25519", &"ff".repeat(32)),
            ("ecdsa", "ecdsa-sha2-nistp256", &trailing),
            ("ecdsa", "ecdsa-sha2-nistp256", &junk),
            ("ecdsa", "ecdsa-sha2-nistp256", RSA),
            ("ecdsa", "ecdsa-sha2-nistp256", ED25519),
            ("rsa", "rsassa-pss-sha256", RSA_1024),
            ("rsa", "rsassa-pss-sha256", P256),
            ("rsa", "rsassa-pss-sha256", &format!("{RSA}junk")),
        ] {
            assert!(read(keytype, scheme, public).is_err(), "{keytype} {public}");
        }
        assert!(Key::from_public_pem(RSA_1024).unwrap_err().contains("1024 bits, fewer than 2048"));
        assert!(Key::from_public_pem(&trailing).is_err());
        assert!(Key::from_public_pem(&P256.replace("PUBLIC KEY", "CERTIFICATE")).is_err());
    }

    #[test]
    fn rsa_pss_signatures_of_openssl_verify() {
        use base64::Engine;
        let key = Key::from_public_pem(RSA).unwrap();
        let signature = base64::engine::general_purpose::STANDARD.decode(RSA_SIGNATURE.trim()).unwrap();
        assert!(key.verifies(b"signed with RSA-PSS", &signature));
        assert!(!key.verifies(b"signed with RSA-PKCS", &signature));
    }

    #[test]
    fn ed25519_is_strict_and_unknown_keys_verify_nothing() {
        let signature = hex::decode(concat!(
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b",
            "d25bf5f0595bbe24655141438e7a100b"
        ))
        .unwrap();
        let key = read("ed25519", "ed25519", ED25519).unwrap();
        assert!(key.verifies(b"", &signature));
        assert!(!key.verifies(b"x", &signature));
        assert!(!key.verifies(b"", &signature[..63]));
        // The neutral element as key and as R: a lax verifier takes this signature for every message.
        let neutral = format!("01{}", "00".repeat(31));
        let weak = read("ed25519", "ed25519", &neutral).unwrap();
        let forged = hex::decode(format!("{neutral}{}", "00".repeat(32))).unwrap();
        assert!(!weak.verifies(b"any message", &forged));
        let foreign = read("sphincs", "sphincs-shake-128s", "anything").unwrap();
        assert_eq!(foreign.algorithm(), "sphincs");
        assert!(!foreign.verifies(b"", &signature));
    }
}
