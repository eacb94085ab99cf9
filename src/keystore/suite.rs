//! What every key store does, run over each of them, and passphrases for tests.

use std::collections::VecDeque;
use std::sync::Mutex;

use zeroize::Zeroizing;

use super::{
    Algorithm, Error, FileKeyStore, KeyInfo, KeyStore, LayeredKeyStore, MemoryKeyStore, Passphrase, Passphrases,
    PrivateKey, Purpose,
};
use crate::trust::KeyId;

/// The same passphrase for everything, once; another one for replacing.
#[derive(Debug)]
pub(crate) struct Fixed(pub(crate) &'static str, pub(crate) &'static str);

impl Passphrases for Fixed {
    fn unlock(&self, key: &KeyInfo, attempt: u32) -> Result<Passphrase, Error> {
        if attempt == 0 { Ok(Zeroizing::new(self.0.to_owned())) } else { Err(Error::NoPassphrase(key.label())) }
    }

    fn choose(&self, _: &Purpose, _: Option<&str>) -> Result<Passphrase, Error> {
        Ok(Zeroizing::new(self.0.to_owned()))
    }

    fn open(&self, source: &str, _: Option<&Purpose>, attempt: u32) -> Result<Passphrase, Error> {
        if attempt == 0 { Ok(Zeroizing::new(self.0.to_owned())) } else { Err(Error::NoPassphrase(source.to_owned())) }
    }

    fn replace(&self, _: &KeyInfo) -> Result<Passphrase, Error> {
        Ok(Zeroizing::new(self.1.to_owned()))
    }
}

/// A prompt that answers from a list, and says what it was asked.
#[derive(Debug, Default)]
pub(crate) struct Script {
    pub(crate) answers: Mutex<VecDeque<&'static str>>,
    pub(crate) asked: Mutex<Vec<String>>,
}

impl Script {
    pub(crate) fn new(answers: impl IntoIterator<Item = &'static str>) -> Self {
        Self { answers: Mutex::new(answers.into_iter().collect()), asked: Mutex::default() }
    }
}

impl super::Prompt for std::sync::Arc<Script> {
    fn passphrase(&self, question: &str) -> Option<Passphrase> {
        self.asked.lock().unwrap().push(question.to_owned());
        self.answers.lock().unwrap().pop_front().map(|answer| Zeroizing::new(answer.to_owned()))
    }
}

pub(crate) const GOOD: Fixed = Fixed("correct horse", "battery staple");
const OTHER: Fixed = Fixed("battery staple", "");

/// Every store, each with a store of the same kind to restore into.
fn every_store(run: impl Fn(&str, &dyn KeyStore, &dyn KeyStore)) {
    let home = tempfile::tempdir().unwrap();
    let file = |name: &str| FileKeyStore::new(home.path().join(name).join("keys"));
    let layered = |name: &str| LayeredKeyStore::new(Box::new(MemoryKeyStore::new()), Box::new(file(name)));
    run("file", &file("a"), &file("b"));
    run("memory", &MemoryKeyStore::new(), &MemoryKeyStore::new());
    run("layered", &layered("c"), &layered("d"));
}

#[test]
fn a_key_that_was_made_is_listed_and_signs() {
    every_store(|name, store, _| makes_lists_and_signs(name, store));
}

/// A store without keys makes them, lists them as they were made, and signs with them.
pub(crate) fn makes_lists_and_signs(name: &str, store: &dyn KeyStore) {
    assert_eq!(store.list().unwrap(), [], "{name}");
    let root = store.generate(Algorithm::Ed25519, Purpose::Root, None, &GOOD).unwrap();
    let targets = store.generate(Algorithm::P256, Purpose::Signer("amy".into()), Some("h.x/app"), &GOOD).unwrap();
    let mut expected = [root.clone(), targets.clone()];
    expected.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(store.list().unwrap(), expected, "{name}");
    assert_eq!(
        (targets.purpose, targets.collection.as_deref(), targets.encrypted),
        (Some(Purpose::Signer("amy".into())), Some("h.x/app"), true)
    );
    for info in expected {
        let signer = store.unlock(&info.id, &GOOD).unwrap();
        assert_eq!(signer.key(), &info.public, "{name}");
        assert!(info.public.verifies(b"m", &signer.sign(b"m").unwrap()), "{name}");
        let shown = format!("{signer:?}");
        let kind = shown.strip_suffix(&format!("({})", info.id)).expect("nothing of the secret shows");
        assert!(kind.chars().all(char::is_alphabetic), "{name}: {shown}");
    }
}

#[test]
fn a_purpose_comes_back_as_it_was_given_or_is_refused() {
    every_store(|name, store, _| keeps_purposes(name, store));
}

/// A store gives each purpose back as it was given, or refuses it.
pub(crate) fn keeps_purposes(name: &str, store: &dyn KeyStore) {
    for signer in ["é-\"quoted\"", "a:b", "targets/amy"] {
        let purpose = Purpose::Signer(signer.to_owned());
        let info = store.generate(Algorithm::Ed25519, purpose.clone(), None, &GOOD).unwrap();
        assert!(store.list().unwrap().contains(&info), "{name}");
        assert_eq!(info.purpose, Some(purpose), "{name}");
    }
    let count = store.list().unwrap().len();
    for signer in ["", "two words", "bell\u{7}"] {
        let error = store.generate(Algorithm::Ed25519, Purpose::Signer(signer.to_owned()), None, &GOOD).unwrap_err();
        assert!(matches!(error, Error::Unusable { .. }), "{name}: {error}");
    }
    assert_eq!(store.list().unwrap().len(), count, "{name}");
}

#[test]
fn a_wrong_passphrase_opens_nothing_and_the_error_names_the_key() {
    every_store(|name, store, _| {
        let info = store.generate(Algorithm::Ed25519, Purpose::Targets, None, &GOOD).unwrap();
        let error = store.unlock(&info.id, &OTHER).unwrap_err();
        assert_eq!(error, Error::WrongPassphrase(format!("targets key {}", info.id.short())), "{name}");
    });
}

#[test]
fn a_short_passphrase_makes_no_key() {
    every_store(|name, store, _| {
        let error = store.generate(Algorithm::Ed25519, Purpose::Root, None, &Fixed("seven77", "")).unwrap_err();
        assert!(matches!(error, Error::TooShort(_)), "{name}: {error}");
        assert_eq!(store.list().unwrap(), [], "{name}");
    });
}

#[test]
fn a_changed_passphrase_replaces_the_former_one() {
    every_store(|name, store, _| {
        let info = store.generate(Algorithm::Ed25519, Purpose::Online, None, &GOOD).unwrap();
        store.change_passphrase(&info.id, &GOOD).unwrap();
        assert!(matches!(store.unlock(&info.id, &GOOD), Err(Error::WrongPassphrase(_))), "{name}");
        assert_eq!(store.unlock(&info.id, &OTHER).unwrap().key().id(), info.id, "{name}");
        // A replacement that is too short leaves the key as it is.
        assert!(matches!(store.change_passphrase(&info.id, &OTHER), Err(Error::TooShort(_))), "{name}");
        store.unlock(&info.id, &OTHER).unwrap();
    });
}

#[test]
fn an_imported_key_is_kept_once() {
    every_store(|name, store, _| {
        let seed = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
        let key = || PrivateKey::from_ed25519(seed.clone());
        let info = store.import(key(), Purpose::Snapshot, Some("h.x/app"), &GOOD).unwrap();
        assert_eq!(info.id, key().id(), "{name}");
        assert_eq!(store.import(key(), Purpose::Root, None, &GOOD), Err(Error::Exists(info.id.to_string())), "{name}");
        assert_eq!(store.list().unwrap(), [info], "{name}");
    });
}

#[test]
fn an_exported_key_is_restored_under_its_passphrase() {
    every_store(|name, store, second| {
        let info = store.generate(Algorithm::P256, Purpose::Root, None, &GOOD).unwrap();
        let sealed = store.export(&info.id).unwrap();
        assert!(sealed.pem().starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"), "{name}");
        assert_eq!(second.restore(sealed.clone()).unwrap(), info, "{name}");
        second.unlock(&info.id, &GOOD).unwrap();
        assert_eq!(second.restore(sealed), Err(Error::Exists(info.id.to_string())), "{name}");
    });
}

#[test]
fn a_removed_key_is_gone() {
    every_store(|name, store, _| removes(name, store));
}

/// A store without keys makes one, removes it, and knows nothing of it any more.
pub(crate) fn removes(name: &str, store: &dyn KeyStore) {
    let info = store.generate(Algorithm::Ed25519, Purpose::Root, None, &GOOD).unwrap();
    store.remove(&info.id).unwrap();
    let missing = Error::Missing(info.id.to_string());
    assert_eq!(store.list().unwrap(), [], "{name}");
    assert_eq!(store.unlock(&info.id, &GOOD).unwrap_err(), missing, "{name}");
    assert_eq!(store.export(&info.id).unwrap_err(), missing, "{name}");
    assert_eq!(store.change_passphrase(&info.id, &GOOD), Err(missing.clone()), "{name}");
    assert_eq!(store.remove(&info.id), Err(missing), "{name}");
}

#[test]
fn a_foreign_id_is_missing_whatever_it_spells() {
    every_store(|_, store, _| {
        store.generate(Algorithm::Ed25519, Purpose::Root, None, &GOOD).unwrap();
        refuses_what_it_does_not_hold(store);
    });
}

/// A store with keys does nothing with a key that it does not hold.
pub(crate) fn refuses_what_it_does_not_hold(store: &dyn KeyStore) {
    let before = store.list().unwrap();
    assert_ne!(before, []);
    for id in ["../keys", "/etc/passwd", "a/../b", "\0", ".lock", &"0".repeat(64)] {
        let id = KeyId::new(id).unwrap();
        let missing = Error::Missing(id.to_string());
        assert_eq!(store.unlock(&id, &GOOD).unwrap_err(), missing);
        assert_eq!(store.export(&id).unwrap_err(), missing);
        assert_eq!(store.change_passphrase(&id, &GOOD), Err(missing.clone()));
        assert_eq!(store.remove(&id), Err(missing));
    }
    assert_eq!(store.list().unwrap(), before);
}
