//! The one place where a count of signatures meets a threshold, and so the only maker of [`Verified`].
//!
//! What counts is distinct key material: not signatures, not key ids (GHSA-pwqf-9h7j-7mv8, GHSA-3633-5h82-39pq).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU32;
use std::ops::Deref;

use bytes::Bytes;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::envelope::{Envelope, Metadata};
use super::error::Error;
use super::key::{Key, KeyId, Material};
use super::limits::MAX_KEYS;
use super::role::RoleName;

/// A role's key ids and threshold, as root or a delegation states them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RoleKeys {
    /// The ids of the keys that may sign, distinct.
    pub keyids: Vec<KeyId>,
    /// How many distinct keys must sign; 0 and negative numbers do not parse (go-tuf CVE-2026-23992).
    pub threshold: NonZeroU32,
}

impl RoleKeys {
    pub(super) fn check(&self, role: &str) -> Result<(), String> {
        let distinct: BTreeSet<_> = self.keyids.iter().collect();
        if distinct.len() != self.keyids.len() {
            return Err(format!("the role `{}` lists a key id twice", role.escape_debug()));
        }
        Ok(())
    }
}

/// The public keys of one file by id; no two ids name the same material.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Keys(BTreeMap<KeyId, Key>);

impl Keys {
    /// The key of an id.
    pub fn key(&self, id: &KeyId) -> Option<&Key> {
        self.0.get(id)
    }

    /// All keys in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&KeyId, &Key)> {
        self.0.iter()
    }

    /// The keys of a role, those that are listed and present.
    pub fn of<'a>(&'a self, role: &'a RoleKeys) -> impl Iterator<Item = (&'a KeyId, &'a Key)> {
        role.keyids.iter().filter_map(|id| self.0.get_key_value(id))
    }
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Distinct;

        impl<'de> Visitor<'de> for Distinct {
            type Value = Keys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an object of at most {MAX_KEYS} keys")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = BTreeMap::new();
                let mut materials: BTreeMap<Material, KeyId> = BTreeMap::new();
                while let Some((id, key)) = map.next_entry::<KeyId, Key>()? {
                    if keys.len() == MAX_KEYS {
                        return Err(serde::de::Error::custom("it has too many keys"));
                    }
                    if let Some(other) = materials.insert(key.material().clone(), id.clone()) {
                        return Err(serde::de::Error::custom(format!("the ids {other} and {id} name one key")));
                    }
                    keys.insert(id, key);
                }
                Ok(Keys(keys))
            }
        }

        deserializer.deserialize_map(Distinct)
    }
}

impl FromIterator<Key> for Keys {
    fn from_iter<I: IntoIterator<Item = Key>>(keys: I) -> Self {
        Self(keys.into_iter().map(|key| (key.id(), key)).collect())
    }
}

/// Somebody whose word is asked for: keys, of which so many must have signed.
#[derive(Debug, Clone, Copy)]
pub struct Authority<'a> {
    /// Where the ids are looked up.
    pub keys: &'a Keys,
    /// Which ids, and how many.
    pub role: &'a RoleKeys,
    /// Whose threshold it is, for the message where it is not the role's plain one.
    pub whose: Option<&'static str>,
}

/// Metadata that met every threshold asked of it. Says nothing of expiry or version.
#[derive(Debug, Clone)]
pub struct Verified<T> {
    envelope: Envelope<T>,
    signed_by: Vec<KeyId>,
}

impl<T> Verified<T> {
    /// The file as it came; what is persisted and served.
    pub fn bytes(&self) -> &Bytes {
        self.envelope.bytes()
    }

    /// The canonical form of `signed`.
    pub fn message(&self) -> &Bytes {
        self.envelope.message()
    }

    /// The envelope, for its signatures.
    pub fn envelope(&self) -> &Envelope<T> {
        &self.envelope
    }

    /// The ids of the keys whose signatures counted, in order.
    pub fn signed_by(&self) -> &[KeyId] {
        &self.signed_by
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.envelope.signed()
    }
}

/// Verifies a file against every authority: each needs its threshold of distinct keys.
///
/// Surplus, foreign and invalid signatures do not hurt where others meet the threshold. No authority at all verifies
/// nothing.
///
/// # Errors
/// [`Error::Unsigned`] with the count for the first authority that is not met.
pub fn verify<T: Metadata>(
    role: &RoleName,
    envelope: Envelope<T>,
    authorities: &[Authority<'_>],
) -> Result<Verified<T>, Error> {
    if authorities.is_empty() {
        return Err(Error::Unsigned { role: role.clone(), have: 0, need: 1, by: None });
    }
    let mut signed_by = BTreeSet::new();
    for authority in authorities {
        let valid = valid_signatures(&envelope, authority);
        let need = usize::try_from(authority.role.threshold.get()).unwrap_or(usize::MAX);
        if valid.len() < need {
            return Err(Error::Unsigned { role: role.clone(), have: valid.len(), need, by: authority.whose });
        }
        signed_by.extend(valid.into_values().cloned());
    }
    Ok(Verified { envelope, signed_by: signed_by.into_iter().collect() })
}

fn valid_signatures<'a, T>(envelope: &'a Envelope<T>, authority: &Authority<'a>) -> BTreeMap<&'a Material, &'a KeyId> {
    let mut valid = BTreeMap::new();
    for (id, key) in authority.keys.of(authority.role) {
        let signature = envelope.signatures().iter().find(|signature| signature.key_id == *id);
        if signature.is_some_and(|signature| key.verifies(envelope.message(), &signature.bytes)) {
            valid.insert(key.material(), id);
        }
    }
    valid
}
