//! SoftHSM as the token. It reads its settings from a variable once in a process, so each test runs in one of its own:
//! the test of the same name in [`inside`], started with a fresh token.

use std::path::{Path, PathBuf};
use std::process::Command;

const MODULES: [&str; 3] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
];
const LABEL: &str = "release";
const PIN: &str = "1234";

fn module() -> &'static str {
    MODULES.into_iter().find(|path| Path::new(path).exists()).expect("SoftHSM is installed")
}

fn succeed(command: &mut Command) {
    let ran = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{command:?}: {said}");
}

/// Runs the inner test of this name with a fresh token.
fn run(test: &str, shim: Option<&str>) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("tokens")).unwrap();
    let settings = format!("directories.tokendir = {}\nlog.level = ERROR\n", path("tokens").display());
    std::fs::write(path("softhsm2.conf"), settings).unwrap();
    let with_token = |program: &Path| {
        let mut command = Command::new(program);
        command.env("SOFTHSM2_CONF", path("softhsm2.conf")).env("TEST_FOLDER", folder.path());
        command
    };
    let mut make = with_token(Path::new("softhsm2-util"));
    succeed(make.args(["--init-token", "--free", "--label", LABEL, "--so-pin", "12345678", "--pin", PIN]));
    let name = format!("keystore::pkcs11::tests::inside::{test}");
    let mut inner = with_token(&std::env::current_exe().unwrap());
    inner.args(["--exact", "--ignored", "--nocapture", &name]);
    if let Some(mode) = shim {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/pkcs11/shim.c");
        succeed(Command::new("cc").args(["-shared", "-fPIC", source, "-ldl", "-o"]).arg(path("shim.so")));
        inner.env("SHIM", mode).env("SHIM_GATE", path("gate")).env("SHIM_MODULE", module());
    }
    let ran = inner.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn a_token_does_what_every_store_does() {
    run("a_token_does_what_every_store_does", None);
}

#[test]
fn private_halves_stay_in_the_token() {
    run("private_halves_stay_in_the_token", None);
}

#[test]
fn openssl_verifies_what_a_token_signs() {
    run("openssl_verifies_what_a_token_signs", None);
}

#[test]
fn a_wrong_pin_is_tried_once() {
    run("a_wrong_pin_is_tried_once", None);
}

#[test]
fn the_pin_is_asked_for_once_and_only_when_something_signs() {
    run("the_pin_is_asked_for_once_and_only_when_something_signs", None);
}

#[test]
fn a_token_that_is_taken_out_is_an_error_unless_it_is_optional() {
    run("a_token_that_is_taken_out_is_an_error_unless_it_is_optional", None);
}

#[test]
fn keys_that_others_made_are_used_as_they_are() {
    run("keys_that_others_made_are_used_as_they_are", None);
}

#[test]
fn a_module_that_hangs_when_it_is_loaded_is_an_error_in_time() {
    run("a_module_that_hangs_when_it_is_loaded_is_an_error_in_time", Some("hang_to_load"));
}

#[test]
fn a_token_that_hangs_is_an_error_in_time_and_works_again_once_it_answers() {
    run("a_token_that_hangs_is_an_error_in_time_and_works_again_once_it_answers", Some("hang_to_sign"));
}

#[test]
fn a_signature_that_does_not_verify_is_not_used() {
    run("a_signature_that_does_not_verify_is_not_used", Some("forge"));
}

/// Each in a process of its own, with a token.
mod inside {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::time::{Duration, Instant};

    use zeroize::Zeroizing;

    use super::super::*;
    use super::{Command, LABEL, PIN, Path, PathBuf, module, succeed};
    use crate::keystore::suite::{self, GOOD};
    use crate::keystore::{Passphrase, SealedKey};

    /// A PIN, and how often it was asked for.
    struct Counted(&'static str, AtomicUsize);

    impl Counted {
        fn new(pin: &'static str) -> Arc<Self> {
            Arc::new(Self(pin, AtomicUsize::new(0)))
        }

        fn asked(&self) -> usize {
            self.1.load(SeqCst)
        }
    }

    impl Pins for Counted {
        fn pin(&self, token: &str) -> Result<Passphrase, Error> {
            assert_eq!(token, LABEL);
            self.1.fetch_add(1, SeqCst);
            Ok(Zeroizing::new(self.0.to_owned()))
        }
    }

    fn folder() -> PathBuf {
        std::env::var_os("TEST_FOLDER").expect("the outer test says it").into()
    }

    fn place(module: &Path) -> Place {
        Place { module: module.to_owned(), token: LABEL.to_owned(), deadline: Duration::from_secs(30), optional: false }
    }

    fn store_with(pins: &Arc<Counted>) -> Pkcs11KeyStore {
        Pkcs11KeyStore::new(place(Path::new(module())), Arc::<Counted>::clone(pins))
    }

    fn store() -> Pkcs11KeyStore {
        store_with(&Counted::new(PIN))
    }

    fn shimmed(deadline: Duration) -> Pkcs11KeyStore {
        let place = Place { deadline, ..place(&folder().join("shim.so")) };
        Pkcs11KeyStore::new(place, Counted::new(PIN))
    }

    fn targets(store: &Pkcs11KeyStore, algorithm: Algorithm) -> KeyInfo {
        store.generate(algorithm, Purpose::Targets, Some("h.x:5000/app"), &GOOD).unwrap()
    }

    #[test]
    #[ignore = "started by the test of the same name"]
    fn a_token_does_what_every_store_does() {
        let store = store();
        suite::makes_lists_and_signs("token", &store);
        suite::keeps_purposes("token", &store);
        suite::refuses_what_it_does_not_hold(&store);
        for info in store.list().unwrap() {
            store.remove(&info.id).unwrap();
        }
        suite::removes("token", &store);
        // Another run sees the same.
        let info = targets(&store, Algorithm::Ed25519);
        assert_eq!(self::store().list().unwrap(), [info]);
    }

    #[test]
    #[ignore = "started by the test of the same name"]
    fn private_halves_stay_in_the_token() {
        let store = store();
        for algorithm in [Algorithm::Ed25519, Algorithm::P256] {
            let info = targets(&store, algorithm);
            let entry = store.device.entry(&info.id).unwrap();
            assert!(!store.device.worker.run(move |token| token.is_exposed(&entry)).unwrap(), "{algorithm:?}");
            let sealed = || SealedKey::seal(&PrivateKey::generate(algorithm).unwrap(), Purpose::Root, None, &GOOD);
            for (action, result) in [
                ("export", store.export(&info.id).map(drop)),
                (
                    "import",
                    store.import(PrivateKey::generate(algorithm).unwrap(), Purpose::Root, None, &GOOD).map(drop),
                ),
                ("restore", store.restore(sealed().unwrap()).map(drop)),
                ("change the passphrase of", store.change_passphrase(&info.id, &GOOD)),
            ] {
                let error = result.unwrap_err().to_string();
                assert!(error.starts_with(&format!("token `release` cannot {action} keys: ")), "{error}");
            }
        }
    }

    #[test]
    #[ignore = "started by the test of the same name"]
    fn openssl_verifies_what_a_token_signs() {
        let (store, folder) = (store(), folder());
        let path = |name: &str| folder.join(name).display().to_string();
        std::fs::write(folder.join("message"), b"what is signed").unwrap();
        for (algorithm, verify) in [
            (Algorithm::Ed25519, ["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey"].as_slice()),
            (Algorithm::P256, ["dgst", "-sha256", "-verify"].as_slice()),
        ] {
            let info = targets(&store, algorithm);
            let signature = store.unlock(&info.id, &GOOD).unwrap().sign(b"what is signed").unwrap();
            std::fs::write(folder.join("key"), info.public.to_public_pem()).unwrap();
            std::fs::write(folder.join("signature"), signature).unwrap();
            let mut openssl = Command::new("openssl");
            openssl.args(verify).arg(path("key"));
            match algorithm {
                Algorithm::Ed25519 => openssl.args(["-in", &path("message"), "-sigfile", &path("signature")]),
                Algorithm::P256 => openssl.args(["-signature", &path("signature"), &path("message")]),
            };
            succeed(&mut openssl);
        }
    }

    #[test]
    #[ignore = "started by the test of the same name"]
    fn a_wrong_pin_is_tried_once() {
        let wrong = Counted::new("9999");
        let store = store_with(&wrong);
        let refused = Error::WrongPin(LABEL.to_owned());
        for _ in 0..3 {
            let made = store.generate(Algorithm::P256, Purpose::Targets, None, &GOOD);
            assert_eq!(made.unwrap_err(), refused);
        }
        assert_eq!(wrong.asked(), 1);
        targets(&self::store(), Algorithm::P256);
    }

    #[test]
    #[ignore = "started by the test of the same name"]
    fn the_pin_is_asked_for_once_and_only_when_something_signs() {
        let info = targets(&store(), Algorithm::Ed25519);
        let pins = Counted::new(PIN);
        let store = store_with(&pins);
        assert_eq!(store.list().unwrap(), std::slice::from_ref(&info));
        assert_eq!(pins.asked(), 0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| store.unlock(&info.id, &GOOD).unwrap().sign(b"m").unwrap());
            }
        });
        assert_eq!(pins.asked(), 1);
    }

    #[test]
    #[ignore = "started by the test of the same name"]
    fn a_token_that_is_taken_out_is_an_error_unless_it_is_optional() {
        let store = store();
        let info = targets(&store, Algorithm::Ed25519);
        let signer = store.unlock(&info.id, &GOOD).unwrap();
        std::fs::rename(folder().join("tokens"), folder().join("away")).unwrap();
        std::fs::create_dir(folder().join("tokens")).unwrap();
        let name = "token `release`";
        let error = signer.sign(b"m").unwrap_err();
        assert!(
            matches!(&error, Error::Device { name: n, .. } | Error::Unusable { path: n, .. } if n.ends_with(name)),
            "{error}"
        );
        let absent = |optional| {
            let place = Place { token: "another".to_owned(), optional, ..place(Path::new(module())) };
            Pkcs11KeyStore::new(place, Counted::new(PIN)).list()
        };
        let error = absent(false).unwrap_err().to_string();
        assert!(error.starts_with("token `another` cannot sign: it is not plugged in"), "{error}");
        assert_eq!(absent(true), Ok(Vec::new()));
    }

    #[test]
    #[ignore = "started by the test of the same name"]
    fn keys_that_others_made_are_used_as_they_are() {
        let folder = folder();
        let import = |name: &str, id: &str, arguments: &[&str]| {
            let file = folder.join(name).display().to_string();
            succeed(Command::new("openssl").arg("genpkey").args(arguments).args(["-out", &file]));
            let mut import = Command::new("softhsm2-util");
            import.args(["--import", &file, "--token", LABEL, "--pin", PIN, "--label", name, "--id", id]);
            succeed(&mut import);
        };
        import("curve", "01", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        import("rsa", "02", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
        import("p384", "03", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]);
        let store = store();
        let [info] = &store.list().unwrap()[..] else { panic!("{:?}", store.list()) };
        assert_eq!((&info.purpose, &info.collection), (&None, &None));
        assert_eq!(info.public.algorithm(), "ecdsa-p256");
        store.unlock(&info.id, &GOOD).unwrap().sign(b"m").unwrap();
        import("boltseal:tarjets", "04", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        let error = self::store().list().unwrap_err();
        assert!(matches!(error, Error::Unusable { .. }), "{error}");
    }

    #[test]
    #[ignore = "started by the test of the same name"]
    fn a_module_that_hangs_when_it_is_loaded_is_an_error_in_time() {
        let store = shimmed(Duration::from_secs(1));
        let begun = Instant::now();
        let error = store.list().unwrap_err().to_string();
        assert_eq!(error, "token `release` cannot sign: it did not answer within 1 s");
        let error = store.list().unwrap_err().to_string();
        assert_eq!(error, "token `release` cannot sign: it still has not answered an earlier call");
        assert!(begun.elapsed() < Duration::from_secs(20));
    }

    #[test]
    #[ignore = "started by the test of the same name"]
    fn a_token_that_hangs_is_an_error_in_time_and_works_again_once_it_answers() {
        let info = targets(&store(), Algorithm::P256);
        let store = shimmed(Duration::from_secs(1));
        let signer = store.unlock(&info.id, &GOOD).unwrap();
        let error = signer.sign(b"m").unwrap_err().to_string();
        assert_eq!(error, "token `release` cannot sign: it did not answer within 1 s");
        std::fs::write(folder().join("gate"), "").unwrap();
        let begun = Instant::now();
        let signature = loop {
            match signer.sign(b"m") {
                Ok(signature) => break signature,
                Err(error) => assert!(begun.elapsed() < Duration::from_secs(20), "{error}"),
            }
        };
        assert!(info.public.verifies(b"m", &signature));
    }

    #[test]
    #[ignore = "started by the test of the same name"]
    fn a_signature_that_does_not_verify_is_not_used() {
        for algorithm in [Algorithm::Ed25519, Algorithm::P256] {
            let info = targets(&store(), algorithm);
            let signer = shimmed(Duration::from_secs(30)).unlock(&info.id, &GOOD).unwrap();
            let error = signer.sign(b"m").unwrap_err().to_string();
            assert!(error.contains("what it answered is no signature by targets key"), "{error}");
            let made = shimmed(Duration::from_secs(30)).generate(algorithm, Purpose::Online, None, &GOOD);
            assert!(made.is_err(), "{algorithm:?}");
        }
    }
}
