//! How a key is written: one JSON object, or a row.

use serde::Serialize;

use crate::cli::console::Console;
use crate::keystore::KeyInfo;

/// A key in the form of `boltseal.keys/v1`. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyForm {
    /// The key id.
    pub id: String,
    /// The algorithm.
    pub algorithm: String,
    /// What it is for, where that is known.
    pub purpose: Option<String>,
    /// The image name that it is for; root keys have none.
    pub name: Option<String>,
    /// Whether a passphrase protects it.
    pub encrypted: bool,
    /// The public key in PEM.
    pub public: String,
}

impl From<&KeyInfo> for KeyForm {
    fn from(info: &KeyInfo) -> Self {
        Self {
            id: info.id.to_string(),
            algorithm: info.public.algorithm().to_owned(),
            purpose: info.purpose.as_ref().map(ToString::to_string),
            name: info.collection.clone(),
            encrypted: info.encrypted,
            public: info.public.to_public_pem(),
        }
    }
}

/// Forms of many keys.
pub fn forms(keys: &[KeyInfo]) -> Vec<KeyForm> {
    keys.iter().map(KeyForm::from).collect()
}

/// Writes the one key that a verb was about: its id, or its form.
pub fn write_one(console: &Console, schema: &str, info: &KeyInfo) {
    if console.output.is_json() {
        console.output.document(schema, &std::collections::BTreeMap::from([("key", KeyForm::from(info))]));
    } else {
        console.output.line(&info.id);
    }
}
