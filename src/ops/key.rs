//! Keys: make, list, import, export, change the passphrase, remove.
//!
//! Rotation is not here: it changes what is signed, not what lies in the key store.

mod backup;

use zeroize::Zeroizing;

pub use backup::{export_all, restore};

use crate::image::ImageName;
use crate::keystore::format::{KeyFile, public_key};
use crate::keystore::{Algorithm, Error, KeyInfo, KeyStore, MIN_ID_PREFIX, Passphrases, Purpose};

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
