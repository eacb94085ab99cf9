//! A checkpoint: the versions that a machine without memory of its own must not go below.
//!
//! A CI job carries the file from run to run. It holds no metadata and no secret, only the version of each role last
//! trusted; whoever can write it can lower the floor, so it belongs where the job's other protected state lies.
//!
//! ```json
//! {"schema": "boltseal.checkpoint/v1", "collections": {"registry.example.com/acme/app": {"root": 1, "timestamp": 1048577}}}
//! ```

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::image::ImageName;
use crate::trust::{RoleKind, RoleName, Version};

const SCHEMA: &str = "boltseal.checkpoint/v1";
/// Largest checkpoint read, in bytes.
pub const MAX_CHECKPOINT: u64 = 4 << 20;

/// Version floors by collection and role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checkpoint {
    collections: BTreeMap<ImageName, BTreeMap<RoleName, Version>>,
}

impl Checkpoint {
    /// No floor at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a checkpoint. Strict: an unknown or repeated member, a name that is not in its normal form or a version
    /// that is no positive integer spoils the whole file, since a floor that is skipped is no floor.
    ///
    /// # Errors
    /// What is wrong, for a message that names the file.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() as u64 > MAX_CHECKPOINT {
            return Err(format!("it has {} bytes, more than {MAX_CHECKPOINT}", bytes.len()));
        }
        let wire: Wire = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if wire.schema != SCHEMA {
            return Err(format!("its schema is `{}`, not `{SCHEMA}`", wire.schema.escape_debug()));
        }
        let mut checkpoint = Self::new();
        for (name, roles) in wire.collections.0 {
            let parsed: ImageName = name.parse().map_err(|error| format!("{error}"))?;
            if parsed.to_string() != name {
                return Err(format!("`{name}` is not in its normal form `{parsed}`"));
            }
            let mut floors = BTreeMap::new();
            for (role, version) in roles.0 {
                let role = role_name(&role).ok_or_else(|| format!("`{}` is no role name", role.escape_debug()))?;
                floors.insert(role, version);
            }
            checkpoint.collections.insert(parsed, floors);
        }
        Ok(checkpoint)
    }

    /// The file's bytes, the same for the same floors.
    pub fn encode(&self) -> Vec<u8> {
        let collections = self.collections.iter().map(|(name, floors)| {
            let floors = floors.iter().map(|(role, version)| (role.as_str(), *version)).collect();
            (name.to_string(), floors)
        });
        let wire = WireOut { schema: SCHEMA, collections: collections.collect() };
        let mut bytes = serde_json::to_vec_pretty(&wire).expect("texts and maps have a JSON form");
        bytes.push(b'\n');
        bytes
    }

    /// The floors of a collection; none where it was never recorded.
    pub fn floors(&self, collection: &ImageName) -> Option<&BTreeMap<RoleName, Version>> {
        self.collections.get(collection)
    }

    /// Replaces the floors of a collection by what is trusted now. They may be lower than before where keys were
    /// rotated to recover from a fast-forward; the trust core judges that, not this.
    pub fn record(&mut self, collection: ImageName, versions: impl IntoIterator<Item = (RoleName, Version)>) {
        self.collections.insert(collection, versions.into_iter().collect());
    }

    /// Adds the floors of another checkpoint; where both name a role, the higher version counts.
    pub fn merge(&mut self, other: &Self) {
        for (name, floors) in &other.collections {
            let mine = self.collections.entry(name.clone()).or_default();
            for (role, version) in floors {
                mine.entry(role.clone()).and_modify(|have| *have = (*have).max(*version)).or_insert(*version);
            }
        }
    }
}

fn role_name(text: &str) -> Option<RoleName> {
    text.parse::<RoleKind>().map(RoleName::Top).ok().or_else(|| RoleName::delegated(text))
}

#[derive(Serialize)]
struct WireOut<'a> {
    schema: &'static str,
    collections: BTreeMap<String, BTreeMap<&'a str, Version>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    schema: String,
    collections: Once<Once<Version>>,
}

/// A JSON object in which no member stands twice.
struct Once<T>(BTreeMap<String, T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Once<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Once<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Once<T>, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, T>()? {
                    if members.contains_key(&name) {
                        let name = name.escape_debug();
                        return Err(serde::de::Error::custom(format!("`{name}` stands twice")));
                    }
                    members.insert(name, value);
                }
                Ok(Once(members))
            }
        }
        deserializer.deserialize_map(Members(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ImageName {
        text.parse().unwrap()
    }

    fn version(number: u64) -> Version {
        Version::new(number).unwrap()
    }

    fn floors(root: u64, timestamp: u64) -> [(RoleName, Version); 2] {
        [(RoleKind::Root.into(), version(root)), (RoleKind::Timestamp.into(), version(timestamp))]
    }

    #[test]
    fn what_is_recorded_is_read_back() {
        let mut checkpoint = Checkpoint::new();
        checkpoint.record(name("h.example/a"), floors(1, 7));
        checkpoint.record(name("h.example/a"), floors(2, 5));
        let signer = RoleName::delegated("é/../x").unwrap();
        checkpoint.record(name("h.example/b"), [(signer, version(u64::MAX))]);
        let read = Checkpoint::parse(&checkpoint.encode()).unwrap();
        assert_eq!(read, checkpoint);
        assert_eq!(read.floors(&name("h.example/a")).unwrap()[&RoleKind::Timestamp.into()], version(5));
        assert_eq!(read.floors(&name("h.example/c")), None);
    }

    #[test]
    fn merging_keeps_the_higher_version_of_each_role() {
        let mut one = Checkpoint::new();
        one.record(name("h.example/a"), floors(1, 7));
        let mut two = Checkpoint::new();
        two.record(name("h.example/a"), floors(2, 5));
        two.record(name("h.example/b"), floors(1, 1));
        one.merge(&two);
        let mut both = Checkpoint::new();
        both.record(name("h.example/a"), floors(2, 7));
        both.record(name("h.example/b"), floors(1, 1));
        assert_eq!(one, both);
    }

    #[test]
    fn anything_else_than_a_checkpoint_is_refused_as_a_whole() {
        let body = |inner: &str| format!(r#"{{"schema":"boltseal.checkpoint/v1","collections":{inner}}}"#);
        assert!(Checkpoint::parse(body(r#"{"h.example/a":{"root":1}}"#).as_bytes()).is_ok());
        for wrong in [
            String::new(),
            "null".to_owned(),
            "[]".to_owned(),
            r#"{"collections":{}}"#.to_owned(),
            r#"{"schema":"boltseal.checkpoint/v2","collections":{}}"#.to_owned(),
            r#"{"schema":"boltseal.checkpoint/v1","collections":{},"more":1}"#.to_owned(),
            body(r#"{"h.example/a":{"root":0}}"#),
            body(r#"{"h.example/a":{"root":-1}}"#),
            body(r#"{"h.example/a":{"root":1.5}}"#),
            body(r#"{"h.example/a":{"root":"1"}}"#),
            body(r#"{"h.example/a":{"root":2,"root":1}}"#),
            body(r#"{"h.example/a":{"root":2},"h.example/a":{}}"#),
            body(r#"{"h.example/a":{"":1}}"#),
            body(r#"{"H.example/a":{"root":1}}"#),
            body(r#"{"alpine":{"root":1}}"#),
            body(r#"{"h.example/a:tag":{"root":1}}"#),
            body(r#"{"h.example/a":1}"#) + "x",
        ] {
            assert!(Checkpoint::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(Checkpoint::parse(&vec![b' '; 5 << 20]).unwrap_err().contains("more than"));
    }
}
