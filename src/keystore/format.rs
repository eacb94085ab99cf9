//! Key files: which kinds are read, and what is said of the others.
//!
//! Private keys of Ed25519 and P-256 are read from PKCS#8 (plain and encrypted), SEC1, Docker Content Trust's files
//! and cosign's, in PEM, or PKCS#8 in DER. Everything else is refused by a sentence that says what it is.

mod cosign;
mod pem;
mod pkcs8;

use zeroize::Zeroizing;

use super::{Error, Passphrases, PrivateKey, Purpose};
use crate::image::ImageName;
use crate::trust::Key;

/// Largest key file in bytes: a private key is far smaller.
pub const MAX_KEY_FILE: usize = 64 << 10;
/// Attempts after which even an endless source of passphrases is given up.
const MAX_ATTEMPTS: u32 = 10;

/// Why a key file does not open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It is encrypted, and no passphrase was given.
    NeedsPassphrase,
    /// The passphrase is wrong, or the file damaged: the two cannot be told apart.
    WrongPassphrase,
    /// It is something else, or damaged, in a sentence.
    Unusable(String),
}

/// A private key file, read and recognised but still locked.
pub struct KeyFile {
    body: Body,
    role: Option<String>,
    gun: Option<String>,
}

enum Body {
    Plain(Zeroizing<Vec<u8>>),
    Sec1(Zeroizing<Vec<u8>>),
    Encrypted(Zeroizing<Vec<u8>>),
    Cosign(Zeroizing<Vec<u8>>),
}

impl KeyFile {
    /// Recognises a private key file.
    ///
    /// # Errors
    /// A sentence that says what it is instead, or how it is damaged.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        check_size(bytes)?;
        if !pem::looks_like_pem(bytes) {
            return Ok(Self { body: binary(bytes)?, role: None, gun: None });
        }
        // `openssl ecparam -genkey` writes the curve in a block of its own before the key, which names it again.
        let mut blocks = pem::blocks(bytes)?.into_iter().filter(|block| block.label != "EC PARAMETERS");
        let block = blocks.next().ok_or("there is no key in it")?;
        if blocks.any(|other| other.label.contains("PRIVATE KEY")) {
            return Err("it holds more than one private key".to_owned());
        }
        // RFC 1421: the old way to encrypt, with the cipher in a header.
        if block.header("DEK-Info").is_some() {
            return Err("it is encrypted in OpenSSL's old form: `openssl pkcs8 -topk8` writes it anew".to_owned());
        }
        let (role, gun) = (block.header("role").map(str::to_owned), block.header("gun").map(str::to_owned));
        let body = match block.label.as_str() {
            "PRIVATE KEY" => Body::Plain(block.body),
            "EC PRIVATE KEY" => Body::Sec1(block.body),
            "ENCRYPTED PRIVATE KEY" => {
                pkcs8::check_encrypted(&block.body)?;
                Body::Encrypted(block.body)
            }
            label if cosign::LABELS.contains(&label) => Body::Cosign(block.body),
            label => return Err(other_kind(label)),
        };
        Ok(Self { body, role, gun })
    }

    /// Whether a passphrase protects it.
    pub fn is_encrypted(&self) -> bool {
        matches!(self.body, Body::Encrypted(_) | Body::Cosign(_))
    }

    /// Whether it is an encrypted PKCS#8 key, the form that key stores keep.
    pub(super) fn is_encrypted_pkcs8(&self) -> bool {
        matches!(self.body, Body::Encrypted(_))
    }

    /// What it is for, where Docker Content Trust wrote that into it.
    pub fn purpose(&self) -> Option<Purpose> {
        let role = self.role.as_deref()?;
        Some(match role {
            "root" => Purpose::Root,
            "targets" => Purpose::Targets,
            "snapshot" => Purpose::Snapshot,
            "timestamp" => Purpose::Timestamp,
            _ => format!("signer:{}", role.strip_prefix("targets/").unwrap_or(role)).parse().ok()?,
        })
    }

    /// The image name that it is for, where Docker Content Trust wrote that into it.
    pub fn collection(&self) -> Option<String> {
        let name: ImageName = self.gun.as_deref()?.parse().ok()?;
        Some(name.to_string())
    }

    /// Unlocks it.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn open(&self, passphrase: Option<&str>) -> Result<PrivateKey, Refusal> {
        match (&self.body, passphrase) {
            (Body::Plain(der), _) => pkcs8::decode(der).map_err(Refusal::Unusable),
            (Body::Sec1(der), _) => pkcs8::decode_sec1(der).map_err(Refusal::Unusable),
            (Body::Encrypted(der), Some(passphrase)) => pkcs8::decrypt(der, passphrase),
            (Body::Cosign(json), Some(passphrase)) => cosign::decrypt(json, passphrase),
            (Body::Encrypted(_) | Body::Cosign(_), None) => Err(Refusal::NeedsPassphrase),
        }
    }

    /// Unlocks it with a passphrase asked for; `source` names it in questions and errors.
    ///
    /// # Errors
    /// [`Error::Unusable`], [`Error::WrongPassphrase`], and those of [`Passphrases::open`].
    pub fn open_with(
        &self,
        source: &str,
        purpose: Option<&Purpose>,
        passphrases: &dyn Passphrases,
    ) -> Result<PrivateKey, Error> {
        if !self.is_encrypted() {
            return self.open(None).map_err(|refusal| refused(source, refusal));
        }
        attempts(source, |attempt| passphrases.open(source, purpose, attempt), |passphrase| self.open(Some(passphrase)))
    }
}

impl PrivateKey {
    /// Reads a private key file of any kind that [`KeyFile`] recognises.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn from_pem(bytes: &[u8], passphrase: Option<&str>) -> Result<Self, Refusal> {
        KeyFile::parse(bytes).map_err(Refusal::Unusable)?.open(passphrase)
    }

    /// The key as encrypted PKCS#8 in PEM, which `openssl pkey` reads.
    ///
    /// # Errors
    /// [`Error::Io`] where the system gives no random numbers.
    pub fn to_encrypted_pem(&self, passphrase: &str) -> Result<String, Error> {
        pkcs8::encrypt(self, passphrase)
    }

    pub(super) fn to_plain_pem(&self) -> Zeroizing<String> {
        pkcs8::encode(self)
    }
}

/// Reads a public key file: PEM `SubjectPublicKeyInfo`, also with Docker Content Trust's headers.
///
/// # Errors
/// A sentence that says what it is instead.
pub fn public_key(bytes: &[u8]) -> Result<Key, String> {
    check_size(bytes)?;
    if !pem::looks_like_pem(bytes) {
        return Err("it is no public key in PEM".to_owned());
    }
    let mut blocks = pem::blocks(bytes)?;
    if blocks.len() > 1 {
        return Err("it holds more than one key".to_owned());
    }
    let block = blocks.pop().ok_or("there is no key in it")?;
    match block.label.as_str() {
        "PUBLIC KEY" => {
            let document = ::pkcs8::Document::try_from(block.body.as_slice())
                .map_err(|error| format!("its public key is damaged: {error}"))?;
            let pem = document
                .to_pem("PUBLIC KEY", ::pkcs8::LineEnding::LF)
                .map_err(|error| format!("its public key is damaged: {error}"))?;
            Key::from_public_pem(&pem)
        }
        label if label.contains("PRIVATE KEY") => {
            Err("it is a private key, and a public one is needed: give nobody this file".to_owned())
        }
        label => Err(other_kind(label)),
    }
}

/// Asks for passphrases until one opens, there are no more, or something else is wrong.
pub(super) fn attempts<T>(
    label: &str,
    ask: impl Fn(u32) -> Result<super::Passphrase, Error>,
    open: impl Fn(&str) -> Result<T, Refusal>,
) -> Result<T, Error> {
    for attempt in 0..MAX_ATTEMPTS {
        let passphrase = match ask(attempt) {
            Ok(passphrase) => passphrase,
            Err(Error::NoPassphrase(_)) if attempt > 0 => break,
            Err(error) => return Err(error),
        };
        match open(&passphrase) {
            Ok(opened) => return Ok(opened),
            Err(Refusal::WrongPassphrase) => {}
            Err(refusal) => return Err(refused(label, refusal)),
        }
    }
    Err(Error::WrongPassphrase(label.to_owned()))
}

/// A refusal as the store's error, with the name of what was refused.
pub(super) fn refused(source: &str, refusal: Refusal) -> Error {
    match refusal {
        Refusal::NeedsPassphrase => Error::NoPassphrase(source.to_owned()),
        Refusal::WrongPassphrase => Error::WrongPassphrase(source.to_owned()),
        Refusal::Unusable(message) => Error::Unusable { path: source.to_owned(), message },
    }
}

fn check_size(bytes: &[u8]) -> Result<(), String> {
    match bytes.len() {
        0 => Err("it is empty".to_owned()),
        length if length > MAX_KEY_FILE => {
            Err(format!("it has {length} bytes, and a key file has at most {MAX_KEY_FILE}"))
        }
        _ => Ok(()),
    }
}

fn binary(bytes: &[u8]) -> Result<Body, String> {
    if bytes.starts_with(b"ssh-") || bytes.starts_with(b"ecdsa-sha2-") {
        return Err("it is an OpenSSH public key, and a private key in PEM is needed".to_owned());
    }
    let body = || Zeroizing::new(bytes.to_vec());
    if pkcs8::is_plain(bytes) {
        return Ok(Body::Plain(body()));
    }
    if pkcs8::is_encrypted(bytes) {
        pkcs8::check_encrypted(bytes)?;
        return Ok(Body::Encrypted(body()));
    }
    Err("it is no private key in PEM, nor PKCS#8 in DER".to_owned())
}

/// What a PEM block is, where it is no private key that we use.
fn other_kind(label: &str) -> String {
    match label {
        "RSA PRIVATE KEY" => pkcs8::other_algorithm("RSA"),
        "DSA PRIVATE KEY" => pkcs8::other_algorithm("DSA"),
        "PUBLIC KEY" | "RSA PUBLIC KEY" => "it is a public key, and the private one is needed".to_owned(),
        "OPENSSH PRIVATE KEY" => "it is an OpenSSH key, and those are not supported: make one with \
             `boltseal key generate` or `openssl genpkey -algorithm ed25519`"
            .to_owned(),
        label if label.contains("CERTIFICATE") => "it is a certificate, and a key is needed".to_owned(),
        label => format!("it is a `{}`, and a key is needed", label.chars().take(60).collect::<String>()),
    }
}

#[cfg(test)]
mod tests;
