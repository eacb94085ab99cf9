//! All keys in one file: JSON, mode 0600, with every key as locked as in the store.
//!
//! ```json
//! {"schema": "boltseal.keys/v1", "keys": [{"info": {"schema": "boltseal.key/v1", "id": "..", "key": {..},
//!  "purpose": "root", "collection": null, "created": "..", "encrypted": true}, "pem": "-----BEGIN ENCRYPTED .."}]}
//! ```
//!
//! The keys keep their passphrases; without them the file is worth nothing, to its owner too.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Imported;
use crate::keystore::{Error, KeyStore, SealedKey, write_new_private};

const SCHEMA: &str = "boltseal.keys/v1";
/// Largest backup in bytes: some 10,000 keys.
const MAX_BACKUP: usize = 16 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Backup {
    schema: String,
    keys: Vec<SealedKey>,
}

/// Whether these bytes are meant as a backup.
pub(super) fn is_backup(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"{")
}

/// Writes every key into one new file, and says how many they are.
///
/// # Errors
/// [`Error::Io`] where the file is there already or cannot be written, [`Error::Unusable`] where a key has no
/// passphrase, and those of [`KeyStore::export`].
pub fn export_all(store: &dyn KeyStore, to: &Path) -> Result<usize, Error> {
    let mut keys = Vec::new();
    for info in store.list()? {
        if !info.encrypted {
            return Err(Error::Unusable { path: info.label(), message: "no passphrase protects it".to_owned() });
        }
        keys.push(store.export(&info.id)?);
    }
    let count = keys.len();
    let mut json = serde_json::to_vec_pretty(&Backup { schema: SCHEMA.to_owned(), keys })
        .expect("text and numbers have a JSON form");
    json.push(b'\n');
    write_new_private(to, &json)?;
    Ok(count)
}

/// Takes in the keys of a backup that the store does not hold. `source` names it in errors.
///
/// All of it is checked before the first key is kept. That a key opens is seen only when it is unlocked.
///
/// # Errors
/// [`Error::Unusable`] where it is no backup, and those of [`KeyStore::restore`].
pub fn restore(store: &dyn KeyStore, bytes: &[u8], source: &str) -> Result<Imported, Error> {
    let unusable = |message: String| Error::Unusable { path: source.to_owned(), message };
    if bytes.len() > MAX_BACKUP {
        return Err(unusable(format!("it has {} bytes, and a backup has at most {MAX_BACKUP}", bytes.len())));
    }
    let backup: Backup =
        serde_json::from_slice(bytes).map_err(|error| unusable(format!("it is no backup of keys: {error}")))?;
    if backup.schema != SCHEMA {
        return Err(unusable(format!("its schema is `{}`, not `{SCHEMA}`", backup.schema.escape_debug())));
    }
    let mut imported = Imported { added: Vec::new(), present: Vec::new() };
    for key in backup.keys {
        let info = key.info().clone();
        match store.restore(key) {
            Ok(info) => imported.added.push(info),
            Err(Error::Exists(_)) => imported.present.push(info),
            Err(error) => return Err(error),
        }
    }
    Ok(imported)
}
