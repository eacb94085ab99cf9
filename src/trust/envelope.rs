//! The signed envelope: `{"signed": .., "signatures": [..]}` (TUF 4.2.1), not yet believed.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::error::Error;
use super::json;
use super::key::KeyId;
use super::limits::{MAX_MEMBERS, MAX_SIGNATURE, MAX_SIGNATURES};
use super::role::{RoleName, Version};
use crate::image::{Digest, ImageName};
use jiff::Timestamp;

/// The version of the specification that we write. Read is everything of the same major version (TUF 4.3).
pub const SPEC_VERSION: &str = "1.0.34";
/// The member of `signed` that binds a role to its collection (docs/format.md).
pub const BINDING: &str = "x-boltseal";

/// What every role's `signed` part has in common.
pub trait Metadata: DeserializeOwned {
    /// The value of `_type`.
    const TYPE: &'static str;

    /// The version.
    fn version(&self) -> Version;

    /// The instant from which it no longer counts.
    fn expires(&self) -> Timestamp;

    /// The binding to a collection, where there is one.
    fn binding(&self) -> Option<&Binding>;

    /// The rules of this role that types cannot say.
    ///
    /// # Errors
    /// A reason.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// What we add to `signed` beyond the specification; other TUF clients keep and ignore it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Binding {
    /// The image name that this metadata speaks for.
    pub collection: String,
    /// In a timestamp: SHA-256 of the timestamp that it follows, in hex.
    #[serde(default)]
    pub prev: Option<String>,
    /// In a timestamp: when it was signed.
    #[serde(default)]
    pub time: Option<String>,
    /// In a timestamp: the list of publishers' intents that this state has absorbed, a file of its own that readers
    /// never need.
    #[serde(default)]
    pub absorbed: Option<FileRef>,
}

/// A file bound by its length and hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRef {
    /// The length in bytes.
    pub length: u64,
    /// SHA-256 in hex.
    pub sha256: String,
}

impl FileRef {
    /// The reference to `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self { length: bytes.len() as u64, sha256: Digest::of(bytes).hex() }
    }

    /// Whether these are the bytes.
    pub fn fits(&self, bytes: &[u8]) -> bool {
        *self == Self::of(bytes)
    }
}

/// One signature as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The id of the key that is said to have made it.
    pub key_id: KeyId,
    /// The raw signature; empty where the text was no hex, which no key verifies.
    pub bytes: Vec<u8>,
}

/// A file of metadata, parsed and not verified.
#[derive(Debug, Clone)]
pub struct Envelope<T> {
    signed: T,
    /// The canonical form of `signed`, computed once: what every signature is over.
    message: Bytes,
    signatures: Vec<Signature>,
    bytes: Bytes,
}

impl<T: Metadata> Envelope<T> {
    /// Parses a file without believing a word of it. Only [`super::threshold::verify`] makes it count.
    ///
    /// # Errors
    /// [`Error::Malformed`] for anything that is not exactly one role of this type and specification version.
    pub fn parse_untrusted(role: &RoleName, bytes: Bytes) -> Result<Self, Error> {
        Self::parse(bytes).map_err(|reason| Error::Malformed { role: role.clone(), reason })
    }

    fn parse(bytes: Bytes) -> Result<Self, String> {
        let text = std::str::from_utf8(&bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        let members: Members<'_> = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let raw = members.required("signed")?;
        let message = match json::canonicalise(raw)? {
            Cow::Borrowed(same) => bytes.slice_ref(same),
            Cow::Owned(other) => Bytes::from(other),
        };
        let head: Head<'_> = serde_json::from_str(raw).map_err(|e| e.to_string())?;
        if head.kind != T::TYPE {
            return Err(format!("its type is `{}`, not `{}`", head.kind.escape_debug(), T::TYPE));
        }
        check_spec_version(&head.spec_version)?;
        let signed: T = serde_json::from_str(raw).map_err(|e| e.to_string())?;
        signed.check()?;
        members.check_unsigned()?;
        let signatures: Signatures =
            serde_json::from_str(members.required("signatures")?).map_err(|e| e.to_string())?;
        let signatures = signatures.0;
        let mut ids: Vec<_> = signatures.iter().map(|signature| &signature.key_id).collect();
        ids.sort_unstable();
        // TUF 4.2.1: key ids are unique within `signatures`; a repeated one makes the file invalid.
        if let Some((id, _)) = ids.iter().zip(ids.iter().skip(1)).find(|(one, next)| one == next) {
            return Err(format!("it has two signatures of key {id}"));
        }
        Ok(Self { signed, message, signatures, bytes })
    }

    /// What it says, unverified.
    pub fn unverified(&self) -> &T {
        &self.signed
    }
}

impl<T> Envelope<T> {
    pub(super) fn signed(&self) -> &T {
        &self.signed
    }

    /// The bytes that every signature is over.
    pub fn message(&self) -> &Bytes {
        &self.message
    }

    /// The signatures as they came, key ids distinct.
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// The file as it came.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// Checks that metadata speaks for the collection at hand. Done before anything is persisted, root first.
///
/// # Errors
/// [`Error::WrongCollection`].
pub fn check_binding(role: &RoleName, binding: Option<&Binding>, collection: &ImageName) -> Result<(), Error> {
    let expected = collection.to_string();
    match binding {
        Some(binding) if binding.collection == expected => Ok(()),
        other => Err(Error::WrongCollection {
            role: role.clone(),
            expected,
            found: other.map(|binding| binding.collection.escape_debug().take(300).collect()),
        }),
    }
}

/// TUF 4.3: a client refuses a specification version of another major number than its own.
fn check_spec_version(text: &str) -> Result<(), String> {
    let parts: Vec<_> = text.split('.').collect();
    let numeric = |part: &&str| !part.is_empty() && part.len() < 10 && part.bytes().all(|b| b.is_ascii_digit());
    // Some repositories of the 1.0 time wrote `1.0`.
    if parts.len() < 2 || parts.len() > 3 || !parts.iter().all(numeric) || parts[0] != "1" {
        return Err(format!("its specification version is `{}`, not 1.x", text.escape_debug()));
    }
    Ok(())
}

/// The members of the envelope, unparsed. Strict as `signed` is, and only what is in `signed` counts.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    fn required(&self, name: &str) -> Result<&'a str, String> {
        let found = self.0.iter().find(|(member, _)| member == name);
        found.map(|(_, value)| value.get()).ok_or_else(|| format!("it has no `{name}`"))
    }

    fn check_unsigned(&self) -> Result<(), String> {
        let mut others = self.0.iter().filter(|(name, _)| name != "signed");
        others.try_for_each(|(_, value)| json::check(value.get()).map(drop))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Capped;

        impl<'de> Visitor<'de> for Capped {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an object of at most {MAX_MEMBERS} members")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
                while let Some((name, value)) = map.next_entry()? {
                    if members.len() == MAX_MEMBERS {
                        return Err(serde::de::Error::custom("it has too many members"));
                    }
                    if members.iter().any(|(other, _)| *other == name) {
                        return Err(serde::de::Error::custom("it has a member twice"));
                    }
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Capped)
    }
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "_type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    spec_version: Cow<'a, str>,
}

struct Signatures(Vec<Signature>);

impl<'de> Deserialize<'de> for Signatures {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Entry<'a> {
            keyid: KeyId,
            #[serde(borrow)]
            sig: Cow<'a, str>,
        }

        struct Capped;

        impl<'de> Visitor<'de> for Capped {
            type Value = Signatures;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MAX_SIGNATURES} signatures")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Signatures, A::Error> {
                let mut signatures = Vec::new();
                while let Some(entry) = list.next_element::<Entry<'de>>()? {
                    if signatures.len() == MAX_SIGNATURES || entry.sig.len() > 2 * MAX_SIGNATURE {
                        return Err(serde::de::Error::custom("it has too many or too long signatures"));
                    }
                    let bytes = hex::decode(entry.sig.as_bytes()).unwrap_or_default();
                    signatures.push(Signature { key_id: entry.keyid, bytes });
                }
                Ok(Signatures(signatures))
            }
        }

        deserializer.deserialize_seq(Capped)
    }
}
