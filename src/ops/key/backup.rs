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
pub const MAX_BACKUP: usize = 16 << 20;

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

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::keystore::suite::GOOD;
    use crate::keystore::{Algorithm, FileKeyStore, MemoryKeyStore, PrivateKey, Purpose};
    use crate::ops::key::import;

    #[test]
    fn a_backup_brings_every_key_back_and_leaves_those_that_are_there() {
        let home = tempfile::tempdir().unwrap();
        let store = FileKeyStore::new(home.path().join("a"));
        store.generate(Algorithm::Ed25519, Purpose::Root, None, &GOOD).unwrap();
        let file = home.path().join("backup.json");
        store.generate(Algorithm::P256, Purpose::Online, Some("h.x/app"), &GOOD).unwrap();
        assert_eq!(export_all(&store, &file).unwrap(), 2);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let refused = export_all(&store, &file).unwrap_err();
        assert!(refused.to_string().starts_with(&format!("cannot create `{}`: ", file.display())), "{refused}");

        let bytes = std::fs::read(&file).unwrap();
        let second = FileKeyStore::new(home.path().join("b"));
        let first_time = import(&second, &bytes, "backup.json", None, None, &GOOD).unwrap();
        assert_eq!((first_time.added, first_time.present), (store.list().unwrap(), Vec::new()));
        for info in second.list().unwrap() {
            second.unlock(&info.id, &GOOD).unwrap();
        }
        let again = import(&second, &bytes, "backup.json", None, None, &GOOD).unwrap();
        assert_eq!((again.added, again.present), (Vec::new(), store.list().unwrap()));
    }

    #[test]
    fn a_key_without_a_passphrase_goes_into_no_backup() {
        let home = tempfile::tempdir().unwrap();
        let store = MemoryKeyStore::new();
        store.hold(&PrivateKey::generate(Algorithm::Ed25519).unwrap(), None, None);
        let file = home.path().join("backup.json");
        assert!(matches!(export_all(&store, &file), Err(Error::Unusable { .. })));
        assert!(!file.exists());
    }

    #[test]
    fn a_damaged_backup_brings_nothing() {
        let home = tempfile::tempdir().unwrap();
        let store = MemoryKeyStore::new();
        store.generate(Algorithm::Ed25519, Purpose::Root, None, &GOOD).unwrap();
        let other = store.generate(Algorithm::Ed25519, Purpose::Targets, None, &GOOD).unwrap();
        let file = home.path().join("backup.json");
        export_all(&store, &file).unwrap();
        let good = std::fs::read_to_string(&file).unwrap();
        for bad in [
            good[..good.len() / 2].to_owned(),
            good.replace(SCHEMA, "boltseal.keys/v2"),
            good.replace("ENCRYPTED PRIVATE", "PRIVATE"),
            good.replace("\"targets\"", "\"tarjets\""),
            good.replace(&format!("\"id\": \"{}\"", other.id), &format!("\"id\": \"{}\"", "0".repeat(64))),
            good.replace("\"keys\"", "\"kays\""),
            "{}".to_owned(),
        ] {
            assert_ne!(bad, good);
            let empty = MemoryKeyStore::new();
            let result = import(&empty, bad.as_bytes(), "backup.json", None, None, &GOOD);
            assert!(matches!(result, Err(Error::Unusable { ref path, .. }) if path == "backup.json"), "{result:?}");
            assert_eq!(empty.list().unwrap(), []);
        }
    }
}
