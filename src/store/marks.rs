//! What a memory keeps beside metadata: whose it is, heads by location, the latest time seen.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::HeadMark;
use crate::image::{Digest, ImageName};

const SCHEMA: &str = "boltseal.memory/v1";
/// The remembered time may lag behind the latest one seen by this much, so that not every verification writes. The
/// rule that reads it counts in days.
const TIME_GRAIN: SignedDuration = SignedDuration::from_hours(1);

/// The contents of `marks.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Marks {
    schema: String,
    collection: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    latest_time: Option<Timestamp>,
    heads: BTreeMap<String, Head>,
    /// Role files whose names are too long for a file system, by their names on disk.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) long_names: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    digest: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
}

impl Marks {
    /// Nothing seen yet of this collection.
    pub(super) fn new(collection: &ImageName) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            collection: collection.to_string(),
            latest_time: None,
            heads: BTreeMap::new(),
            long_names: BTreeMap::new(),
        }
    }

    /// Reads what [`Marks::encode`] wrote, and nothing else.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let marks: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if marks.schema != SCHEMA {
            return Err(format!("its schema is `{}`, not `{SCHEMA}`", marks.schema.escape_debug()));
        }
        Ok(marks)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("texts and maps have a JSON form");
        bytes.push(b'\n');
        bytes
    }

    /// The collection as written; none where that is no image name.
    pub(super) fn collection(&self) -> Option<ImageName> {
        self.collection.parse().ok().filter(|name: &ImageName| name.to_string() == self.collection)
    }

    pub(super) fn head(&self, location: &str) -> Option<HeadMark> {
        self.heads.get(location).map(|head| HeadMark { digest: head.digest, etag: head.etag.clone() })
    }

    /// True where that changed something.
    pub(super) fn set_head(&mut self, location: &str, mark: Option<&HeadMark>) -> bool {
        if self.head(location).as_ref() == mark {
            return false;
        }
        match mark {
            Some(mark) => {
                let head = Head { digest: mark.digest, etag: mark.etag.clone() };
                self.heads.insert(location.to_owned(), head);
            }
            None => {
                self.heads.remove(location);
            }
        }
        true
    }

    pub(super) fn latest_time(&self) -> Option<Timestamp> {
        self.latest_time
    }

    /// Moves the latest time forward, never back. True where it moved far enough to be worth a write.
    pub(super) fn see_time(&mut self, time: Timestamp) -> bool {
        match self.latest_time {
            Some(latest) if time <= latest => false,
            Some(latest) if time.duration_since(latest) < TIME_GRAIN => false,
            _ => {
                self.latest_time = Some(time);
                true
            }
        }
    }
}
