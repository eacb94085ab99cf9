//! `index.json`: which manifests a layout lists, and under which names. What we do not change stays byte for byte.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use crate::image::reference::shown;
use crate::image::{Digest, Tag};

/// Its name.
pub(super) const FILE: &str = "index.json";
/// Largest one accepted, in bytes: some 60,000 entries. Stops a grown file from filling memory.
pub(super) const MAX: u64 = 16 * 1024 * 1024;
/// The annotation that holds a tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// A read `index.json`.
#[derive(Debug)]
pub(super) struct Index {
    /// Everything, in its order; `manifests` stands for its place only.
    members: Object,
    entries: Vec<Entry>,
}

/// One listed manifest.
#[derive(Debug)]
pub(super) struct Entry {
    raw: Box<RawValue>,
    /// Empty where the writer gave none.
    pub(super) media_type: String,
    /// As written; of whatever algorithm.
    pub(super) digest: String,
    pub(super) size: u64,
    name: Option<String>,
}

impl Index {
    /// The index of a layout that lists nothing.
    pub(super) const EMPTY: &[u8] =
        br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

    /// Reads the file; the error continues "`index.json` ...".
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let malformed = |error: serde_json::Error| format!("is malformed: {}", shown(&error.to_string()));
        let members: Object = serde_json::from_slice(bytes).map_err(malformed)?;
        let version = members.find("schemaVersion").map(RawValue::get);
        if version != Some("2") {
            return Err(format!("has the `schemaVersion` {}, not 2", shown(version.unwrap_or("none"))));
        }
        let list = members.find("manifests").ok_or("has no `manifests`")?;
        let list: Option<Vec<Box<RawValue>>> = serde_json::from_str(list.get()).map_err(malformed)?;
        let entries = list.unwrap_or_default().into_iter().map(Entry::parse).collect::<Result<_, _>>();
        Ok(Self { members, entries: entries.map_err(malformed)? })
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let raws: Vec<&RawValue> = self.entries.iter().map(|entry| entry.raw.as_ref()).collect();
        let members = self.members.0.iter().map(|(name, value)| {
            let value = if name == "manifests" { raw(&raws) } else { value.clone() };
            (name.clone(), value)
        });
        serde_json::to_vec(&Object(members.collect())).expect("every part is JSON already")
    }

    /// The entry under a tag. Two that differ are an error: nobody could tell which one is meant.
    pub(super) fn tagged(&self, tag: &Tag) -> Result<Option<&Entry>, String> {
        let mut found = self.entries.iter().filter(|entry| entry.name.as_deref() == Some(tag.as_str()));
        let first = found.next();
        if found.any(|other| first.is_some_and(|first| first.digest != other.digest)) {
            return Err(format!("lists two manifests under the tag `{tag}`"));
        }
        Ok(first)
    }

    /// An entry for a manifest, whatever its name.
    pub(super) fn listed(&self, digest: &Digest) -> Option<&Entry> {
        let digest = digest.to_string();
        self.entries.iter().find(|entry| entry.digest == digest)
    }

    /// The names that are tags, each once.
    pub(super) fn tags(&self) -> Vec<Tag> {
        let mut tags: Vec<Tag> = self.entries.iter().filter_map(|entry| entry.name.as_ref()?.parse().ok()).collect();
        tags.sort_unstable();
        tags.dedup();
        tags
    }

    /// Points a tag at a manifest, in the place of what it pointed at.
    pub(super) fn set(&mut self, tag: &Tag, media_type: &str, digest: &Digest, size: u64) {
        let entry = Entry::new(tag, media_type, digest, size);
        let is_tag = |entry: &Entry| entry.name.as_deref() == Some(tag.as_str());
        let at = self.entries.iter().position(is_tag).unwrap_or(self.entries.len());
        self.entries.retain(|entry| !is_tag(entry));
        self.entries.insert(at, entry);
    }

    /// Removes every entry for a manifest.
    pub(super) fn remove(&mut self, digest: &Digest) {
        let digest = digest.to_string();
        self.entries.retain(|entry| entry.digest != digest);
    }

    /// An annotation of the index itself.
    pub(super) fn annotation(&self, name: &str) -> Option<String> {
        let annotations: Object = serde_json::from_str(self.members.find("annotations")?.get()).ok()?;
        serde_json::from_str(annotations.find(name)?.get()).ok()
    }

    /// Sets an annotation of the index itself.
    pub(super) fn annotate(&mut self, name: &str, value: &str) -> Result<(), String> {
        let mut annotations = match self.members.find("annotations").map(RawValue::get) {
            None | Some("null") => Object(Vec::new()),
            Some(text) => serde_json::from_str(text).map_err(|_| "has `annotations` that are no object")?,
        };
        annotations.set(name, raw(&value));
        self.members.set("annotations", raw(&annotations));
        Ok(())
    }
}

impl Entry {
    fn parse(raw: Box<RawValue>) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Fields {
            media_type: Option<String>,
            digest: String,
            size: u64,
            annotations: Option<BTreeMap<String, String>>,
        }
        let fields: Fields = serde_json::from_str(raw.get())?;
        let name = fields.annotations.and_then(|mut annotations| annotations.remove(REF_NAME));
        let media_type = fields.media_type.unwrap_or_default();
        Ok(Self { raw, media_type, digest: fields.digest, size: fields.size, name })
    }

    fn new(tag: &Tag, media_type: &str, digest: &Digest, size: u64) -> Self {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Fields<'a> {
            media_type: &'a str,
            digest: &'a Digest,
            size: u64,
            annotations: BTreeMap<&'static str, &'a str>,
        }
        let annotations = BTreeMap::from([(REF_NAME, tag.as_str())]);
        Self {
            raw: raw(&Fields { media_type, digest, size, annotations }),
            media_type: media_type.to_owned(),
            digest: digest.to_string(),
            size,
            name: Some(tag.as_str().to_owned()),
        }
    }
}

fn raw<T: Serialize>(value: &T) -> Box<RawValue> {
    to_raw_value(value).expect("the structure has text keys only")
}

/// A JSON object that keeps its members' order and the bytes of their values.
#[derive(Debug)]
struct Object(Vec<(String, Box<RawValue>)>);

impl Object {
    fn find(&self, name: &str) -> Option<&RawValue> {
        self.0.iter().find(|(member, _)| member == name).map(|(_, value)| value.as_ref())
    }

    fn set(&mut self, name: &str, value: Box<RawValue>) {
        match self.0.iter_mut().find(|(member, _)| member == name) {
            Some((_, place)) => *place = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut seen = std::collections::BTreeSet::new();
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    if !seen.insert(name.clone()) {
                        return Err(serde::de::Error::custom(format_args!("the member `{name}` stands twice")));
                    }
                    members.push((name, value));
                }
                Ok(Object(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}
