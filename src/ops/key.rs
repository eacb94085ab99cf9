//! Keys: make, list, import, export, change the passphrase, remove.
//!
//! Rotation is not here: it changes what is signed, not what lies in the key store.

mod backup;

use std::path::Path;

use zeroize::Zeroizing;

pub use backup::{MAX_BACKUP, export_all, restore};

use crate::image::ImageName;
use crate::keystore::format::{KeyFile, public_key};
use crate::keystore::{Algorithm, Error, KeyInfo, KeyStore, MIN_ID_PREFIX, Passphrases, Purpose, read_private};

/// What an import brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// Keys that the store did not hold before.
    pub added: Vec<KeyInfo>,
    /// Keys of a backup that the store held already, left as they were.
    pub present: Vec<KeyInfo>,
}

/// Under which passphrase a private key is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportUnder {
    /// The one that it has: nothing is asked.
    Present,
    /// Another one, asked for.
    New,
}

/// The one key whose id begins with `text`.
///
/// # Errors
/// [`Error::Missing`], [`Error::Ambiguous`], or [`Error::ShortId`] below six characters.
pub fn find(store: &dyn KeyStore, text: &str) -> Result<KeyInfo, Error> {
    let shown = || text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().count() < MIN_ID_PREFIX {
        return Err(Error::ShortId(shown()));
    }
    let wanted = text.to_ascii_lowercase();
    let mut found = store.list()?.into_iter().filter(|info| info.id.as_str().to_ascii_lowercase().starts_with(&wanted));
    match (found.next(), found.next()) {
        (Some(info), None) => Ok(info),
        (None, _) => Err(Error::Missing(shown())),
        (Some(_), Some(_)) => Err(Error::Ambiguous(shown())),
    }
}

/// Reads a file for [`import`]: a private key or a backup. It may be a pipe.
///
/// # Errors
/// [`Error::Io`] where it cannot be read or is larger than a backup may be.
pub fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    read_private(path, MAX_BACKUP)
}

/// Makes a key.
///
/// # Errors
/// Those of [`KeyStore::generate`].
pub fn generate(
    store: &dyn KeyStore,
    algorithm: Algorithm,
    purpose: Purpose,
    collection: Option<&ImageName>,
    passphrases: &dyn Passphrases,
) -> Result<KeyInfo, Error> {
    store.generate(algorithm, purpose, collection.map(ImageName::to_string).as_deref(), passphrases)
}

/// Every key, those of one purpose together, root keys first.
///
/// # Errors
/// Those of [`KeyStore::list`].
pub fn list(store: &dyn KeyStore) -> Result<Vec<KeyInfo>, Error> {
    let mut keys = store.list()?;
    keys.sort_by(|a, b| (&a.purpose, &a.collection, &a.id).cmp(&(&b.purpose, &b.collection, &b.id)));
    Ok(keys)
}

/// Takes in a private key file, or a backup that [`export_all`] made. `source` names it in questions and errors.
///
/// What the key is for is said by `purpose`, else by the headers of a Docker Content Trust file; a backup knows.
///
/// # Errors
/// [`Error::Unusable`] where it is neither, [`Error::NoPurpose`], [`Error::Exists`], and those of the passphrases.
pub fn import(
    store: &dyn KeyStore,
    bytes: &[u8],
    source: &str,
    purpose: Option<Purpose>,
    collection: Option<&ImageName>,
    passphrases: &dyn Passphrases,
) -> Result<Imported, Error> {
    if backup::is_backup(bytes) {
        return restore(store, bytes, source);
    }
    let file = KeyFile::parse(bytes).map_err(|message| Error::Unusable { path: source.to_owned(), message })?;
    let purpose = purpose.or_else(|| file.purpose()).ok_or_else(|| Error::NoPurpose(source.to_owned()))?;
    let collection = match (&purpose, collection) {
        (Purpose::Root, _) => None,
        (_, Some(name)) => Some(name.to_string()),
        (_, None) => file.collection(),
    };
    let key = file.open_with(source, Some(&purpose), passphrases)?;
    let info = store.import(key, purpose, collection.as_deref(), passphrases)?;
    Ok(Imported { added: vec![info], present: Vec::new() })
}

/// A private key as encrypted PKCS#8 in PEM. Never in the clear: a key that has no passphrase yet is given one.
///
/// # Errors
/// Those of [`find`] and, where a passphrase is asked for, of [`KeyStore::change_passphrase`].
pub fn export_private(
    store: &dyn KeyStore,
    text: &str,
    under: ExportUnder,
    passphrases: &dyn Passphrases,
) -> Result<Zeroizing<String>, Error> {
    let key = store.export(&find(store, text)?.id)?;
    match under {
        ExportUnder::Present if key.info().encrypted => Ok(key.pem().clone()),
        _ => Ok(key.reseal(passphrases)?.pem().clone()),
    }
}

/// A public key in PEM.
///
/// # Errors
/// Those of [`find`].
pub fn export_public(store: &dyn KeyStore, text: &str) -> Result<String, Error> {
    Ok(find(store, text)?.public.to_public_pem())
}

/// Reads somebody's public key file. `source` names it in errors.
///
/// # Errors
/// [`Error::Unusable`] where it is something else, such as a private key.
pub fn read_public(bytes: &[u8], source: &str) -> Result<crate::trust::Key, Error> {
    public_key(bytes).map_err(|message| Error::Unusable { path: source.to_owned(), message })
}

/// Puts a key under another passphrase.
///
/// # Errors
/// Those of [`find`] and [`KeyStore::change_passphrase`].
pub fn passwd(store: &dyn KeyStore, text: &str, passphrases: &dyn Passphrases) -> Result<KeyInfo, Error> {
    let info = find(store, text)?;
    store.change_passphrase(&info.id, passphrases)?;
    Ok(info)
}

/// Removes a key for ever, and says which it was.
///
/// # Errors
/// Those of [`find`] and [`KeyStore::remove`].
pub fn remove(store: &dyn KeyStore, text: &str) -> Result<KeyInfo, Error> {
    let info = find(store, text)?;
    store.remove(&info.id)?;
    Ok(info)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keystore::suite::{Fixed, GOOD};
    use crate::keystore::{MemoryKeyStore, PrivateKey};

    const DCT: Fixed = Fixed("lab-repo-pass", "another one");

    #[test]
    fn a_key_is_found_by_a_unique_beginning_of_its_id() {
        let store = MemoryKeyStore::new();
        let made = |purpose| generate(&store, Algorithm::Ed25519, purpose, None, &GOOD).unwrap();
        let (root, targets) = (made(Purpose::Root), made(Purpose::Targets));
        assert_eq!(find(&store, root.id.as_str()).unwrap(), root);
        assert_eq!(find(&store, &targets.id.short()).unwrap(), targets);
        assert_eq!(find(&store, &targets.id.short().to_uppercase()).unwrap(), targets);
        assert_eq!(find(&store, &root.id.as_str()[..5]), Err(Error::ShortId(root.id.as_str()[..5].to_owned())));
        assert_eq!(find(&store, "zzzzzz\u{1b}"), Err(Error::Missing("zzzzzz\\u{1b}".to_owned())));
        let longer = format!("{}0", root.id);
        assert_eq!(find(&store, &longer), Err(Error::Missing(longer)));
    }

    #[test]
    fn two_keys_with_one_beginning_are_ambiguous() {
        let store = MemoryKeyStore::new();
        // Seeds found by search: the ids of these two keys begin with the same six characters.
        let mut known = std::collections::HashMap::new();
        let twins = (0_u32..).find_map(|number| {
            let mut seed = [0; 32];
            seed[..4].copy_from_slice(&number.to_be_bytes());
            let public = ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key().to_bytes();
            let id = crate::trust::Key::ed25519(public).unwrap().id().as_str()[..6].to_owned();
            known.insert(id.clone(), seed).map(|other| (id, other, seed))
        });
        let (beginning, one, other) = twins.unwrap();
        for seed in [one, other] {
            let document = ed25519_dalek::pkcs8::EncodePrivateKey::to_pkcs8_der(&ed25519_dalek::pkcs8::KeypairBytes {
                secret_key: seed,
                public_key: None,
            })
            .unwrap();
            store.hold(&PrivateKey::from_pem(document.as_bytes(), None).unwrap(), None, None);
        }
        assert_eq!(find(&store, &beginning), Err(Error::Ambiguous(beginning.clone())));
    }

    #[test]
    fn a_docker_content_trust_key_brings_its_purpose_and_image_name() {
        let store = MemoryKeyStore::new();
        let file = include_bytes!("../../tests/vectors/notary/targets.key");
        let imported = import(&store, file, "targets.key", None, None, &DCT).unwrap();
        let [info] = &imported.added[..] else { panic!("{imported:?}") };
        assert_eq!(info.purpose, Some(Purpose::Targets));
        assert_eq!(info.collection.as_deref(), Some("127.0.0.1:5000/notarylab/del"));
        store.unlock(&info.id, &DCT).unwrap();
        let again = import(&store, file, "targets.key", None, None, &DCT);
        assert_eq!(again, Err(Error::Exists(info.id.to_string())));
        // What the command says comes before what the file says; a root key belongs to no image.
        let other = MemoryKeyStore::new();
        let name: ImageName = "h.x/app".parse().unwrap();
        let root = import(&other, file, "x", Some(Purpose::Root), Some(&name), &DCT).unwrap();
        assert_eq!((&root.added[0].purpose, &root.added[0].collection), (&Some(Purpose::Root), &None));
    }

    #[test]
    fn an_import_without_a_purpose_or_of_something_else_is_refused_by_name() {
        let store = MemoryKeyStore::new();
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap().to_encrypted_pem("correct horse").unwrap();
        let error = import(&store, key.as_bytes(), "key.pem", None, None, &GOOD).unwrap_err();
        assert_eq!(error, Error::NoPurpose("key.pem".to_owned()));
        assert_eq!(error.hints().len(), 1);
        let public = include_bytes!("../../tests/vectors/notary/alice.pub");
        let error = import(&store, public, "alice.pub", Some(Purpose::Root), None, &GOOD).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`alice.pub` is no usable key: it is a public key, and the private one is needed"
        );
        assert_eq!(store.list().unwrap(), []);
    }

    #[test]
    fn an_export_is_encrypted_whatever_the_store_holds() {
        let store = MemoryKeyStore::new();
        let kept = generate(&store, Algorithm::P256, Purpose::Root, None, &GOOD).unwrap();
        let held = store.hold(&PrivateKey::generate(Algorithm::Ed25519).unwrap(), None, None);
        let export = |info: &KeyInfo, under| export_private(&store, info.id.as_str(), under, &GOOD).unwrap();
        for (info, under, passphrase) in [
            (&kept, ExportUnder::Present, "correct horse"),
            (&kept, ExportUnder::New, "battery staple"),
            (&held, ExportUnder::Present, "battery staple"),
        ] {
            let pem = export(info, under);
            assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{under:?}");
            assert_eq!(PrivateKey::from_pem(pem.as_bytes(), Some(passphrase)).unwrap().id(), info.id, "{under:?}");
        }
        let public = export_public(&store, &kept.id.short()).unwrap();
        assert_eq!(read_public(public.as_bytes(), "x").unwrap(), kept.public);
        let error = read_public(export(&kept, ExportUnder::Present).as_bytes(), "amy.pub").unwrap_err();
        assert!(error.to_string().starts_with("`amy.pub` is no usable key: it is a private key"), "{error}");
    }

    #[test]
    fn keys_are_listed_by_what_they_are_for() {
        let store = MemoryKeyStore::new();
        let name: ImageName = "h.x/app".parse().unwrap();
        for purpose in [Purpose::Online, Purpose::Signer("amy".into()), Purpose::Root, Purpose::Targets] {
            generate(&store, Algorithm::Ed25519, purpose, Some(&name), &GOOD).unwrap();
        }
        let purposes: Vec<_> =
            list(&store).unwrap().into_iter().map(|info| info.purpose.unwrap().to_string()).collect();
        assert_eq!(purposes, ["root", "targets", "online", "signer:amy"]);
    }

    #[test]
    fn passwd_and_remove_say_which_key_it_was() {
        let store = MemoryKeyStore::new();
        let info = generate(&store, Algorithm::Ed25519, Purpose::Root, None, &GOOD).unwrap();
        assert_eq!(passwd(&store, &info.id.short(), &GOOD).unwrap(), info);
        store.unlock(&info.id, &Fixed("battery staple", "")).unwrap();
        assert_eq!(remove(&store, &info.id.short()).unwrap(), info);
        assert_eq!(remove(&store, &info.id.short()), Err(Error::Missing(info.id.short())));
    }
}
