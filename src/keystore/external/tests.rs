use std::path::PathBuf;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use super::*;
use crate::keystore::suite::{GOOD, refuses_what_it_does_not_hold};

/// A signer that is a shell script. Scripts are read by `sh`, not executed, so that nothing waits for a busy file.
struct Scripted {
    folder: TempDir,
    key: PrivateKey,
}

const MESSAGE: &[u8] = b"what is signed";

impl Scripted {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), key: PrivateKey::generate(Algorithm::Ed25519).unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, json: &serde_json::Value) {
        std::fs::write(self.path(name), json.to_string()).unwrap();
    }

    /// A store over a script that answers `keys` well and does `on_sign` when it is to sign.
    fn store(&self, on_sign: &str) -> ExternalKeyStore {
        let key = serde_json::json!({"public_pem": self.key.public().to_public_pem(), "purpose": "targets",
            "collection": "h.x/app", "handle": "arn:1"});
        self.write("keys", &serde_json::json!({ "keys": [key] }));
        let signature = STANDARD.encode(self.key.sign(MESSAGE).unwrap());
        self.write("good", &serde_json::json!({ "signature": signature }));
        let folder = self.folder.path().display();
        self.script(&format!(
            "cd '{folder}'; read -r request; printf '%s' \"$request\" > asked\n\
             case $request in *'\"request\":\"keys\"'*) cat keys; exit;; esac\n{on_sign}\n"
        ))
    }

    fn script(&self, script: &str) -> ExternalKeyStore {
        let path = self.path("script");
        std::fs::write(&path, script).unwrap();
        let environment = |name: &str| match name {
            "PATH" => std::env::var_os("PATH"),
            "BOLTSEAL_PASSPHRASE" => Some("secret".into()),
            "KMS_REGION" => Some("here".into()),
            _ => None,
        };
        let arguments = [path.display().to_string()];
        let more = ["KMS_REGION".to_owned()];
        ExternalKeyStore::new("kms", Program::new("/bin/sh", arguments, &environment, &more, Duration::from_secs(20)))
    }

    fn sign(&self, on_sign: &str) -> Result<Vec<u8>, Error> {
        self.store(on_sign).unlock(&self.key.id(), &GOOD).unwrap().sign(MESSAGE)
    }

    fn fails(&self, on_sign: &str) -> String {
        match self.sign(on_sign) {
            Err(Error::Device { name, message }) if name == "signer `kms`" => message,
            other => panic!("{on_sign}: {other:?}"),
        }
    }
}

#[test]
fn a_program_lists_its_keys_and_signs() {
    let scripted = Scripted::new();
    let store = scripted.store("cat good");
    let [info] = &store.list().unwrap()[..] else { panic!("one key is listed") };
    assert_eq!((&info.id, &info.public), (&scripted.key.id(), scripted.key.public()));
    assert_eq!((&info.purpose, info.collection.as_deref()), (&Some(Purpose::Targets), Some("h.x/app")));
    assert!(!info.encrypted);
    let signer = store.unlock(&info.id, &GOOD).unwrap();
    assert_eq!(signer.sign(MESSAGE).unwrap(), scripted.key.sign(MESSAGE).unwrap());
    let asked: serde_json::Value = serde_json::from_slice(&std::fs::read(scripted.path("asked")).unwrap()).unwrap();
    let expected = serde_json::json!({
        "protocol": "boltseal.signer/v1", "request": "sign", "key": info.id.as_str(), "handle": "arn:1",
        "public_pem": info.public.to_public_pem(), "algorithm": "ed25519", "message": STANDARD.encode(MESSAGE),
    });
    assert_eq!(asked, expected);
    assert_eq!(format!("{signer:?}"), format!("ExternalKey({})", info.id));
}

#[test]
fn a_program_is_asked_for_its_keys_once() {
    let scripted = Scripted::new();
    let store = scripted.store("cat good");
    store.list().unwrap();
    std::fs::write(scripted.path("keys"), "{}").unwrap();
    assert_eq!(store.list().unwrap().len(), 1);
}

#[test]
fn keys_are_used_where_they_live_and_nothing_else() {
    let scripted = Scripted::new();
    let store = scripted.store("cat good");
    refuses_what_it_does_not_hold(&store);
    let id = scripted.key.id();
    let other = PrivateKey::generate(Algorithm::P256).unwrap();
    for (action, result) in [
        ("make", store.generate(Algorithm::Ed25519, Purpose::Root, None, &GOOD).map(drop)),
        ("import", store.import(other, Purpose::Root, None, &GOOD).map(drop)),
        ("export", store.export(&id).map(drop)),
        ("change the passphrase of", store.change_passphrase(&id, &GOOD)),
        ("remove", store.remove(&id)),
    ] {
        let error = result.unwrap_err().to_string();
        assert!(error.starts_with(&format!("signer `kms` cannot {action} keys: ")), "{error}");
    }
}

#[test]
fn a_signature_that_does_not_verify_is_not_used() {
    let scripted = Scripted::new();
    let other = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    let answer = |bytes: &[u8]| serde_json::json!({ "signature": STANDARD.encode(bytes) });
    scripted.write("another_message", &answer(&scripted.key.sign(b"another message").unwrap()));
    scripted.write("another_key", &answer(&other.sign(MESSAGE).unwrap()));
    scripted.write("short", &answer(&[7; 63]));
    scripted.write("empty", &answer(&[]));
    for file in ["another_message", "another_key", "short", "empty"] {
        let message = scripted.fails(&format!("cat {file}"));
        assert!(message.starts_with("what it answered is no signature by targets key "), "{file}: {message}");
    }
}

#[test]
fn an_answer_that_is_none_is_told_as_what_it_is() {
    let scripted = Scripted::new();
    for (on_sign, expected) in [
        ("echo nonsense", "its answer is no JSON object"),
        ("cat good; echo nonsense", "its answer is no JSON object"),
        ("echo '[1]'", "its answer is no JSON object"),
        (":", "its answer is no JSON object"),
        ("head -c 40 good", "its answer is no JSON object"),
        ("echo '{}'", "its answer has no text `signature`"),
        ("echo '{\"signature\": 7}'", "its answer has no text `signature`"),
        ("echo '{\"signature\": \"%\"}'", "its signature is no base64"),
        ("cat good; exit 3", "it failed with exit code 3"),
        ("cat good; kill -9 $$", "signal 9 ended it"),
        ("echo '{\"error\": \"access \\u001b denied\"}'; exit 1", "access \\u{1b} denied"),
        ("echo '{\"error\": \"no\", \"signature\": \"\"}'", "no"),
        ("yes | head -c 300000", "it answered more than 256 kB"),
        ("yes", "it answered more than 256 kB"),
    ] {
        assert_eq!(scripted.fails(on_sign), expected, "{on_sign}");
    }
    let long = format!("echo '{{\"error\": \"{}\"}}'", "x".repeat(5000));
    assert_eq!(scripted.fails(&long).len(), 300);
}

#[test]
fn a_program_that_is_not_there_is_told() {
    let program = Program::new("/nowhere/signer", [], &|_: &str| None, &[], Duration::from_secs(1));
    let error = ExternalKeyStore::new("kms", program).list().unwrap_err().to_string();
    assert!(error.starts_with("signer `kms` cannot sign: `/nowhere/signer` cannot be started: "), "{error}");
}

#[test]
fn what_it_writes_to_standard_error_or_leaves_unread_does_not_matter() {
    let scripted = Scripted::new();
    scripted.sign("yes | head -c 1000000 >&2; cat good").unwrap();
    scripted.sign("exec 0<&-; cat good").unwrap();
    // More than a pipe holds, to a program that reads one line of it at most and to one that reads none.
    let id = scripted.key.id();
    let large = vec![b'x'; 1 << 20];
    let store = scripted.store("cat good");
    let error = store.unlock(&id, &GOOD).unwrap().sign(&large).unwrap_err().to_string();
    assert!(error.contains("no signature by"), "{error}");
    std::fs::write(scripted.path("script"), format!("cat '{}'", scripted.path("good").display())).unwrap();
    let error = store.unlock(&id, &GOOD).unwrap().sign(&large).unwrap_err().to_string();
    assert!(error.contains("no signature by"), "{error}");
}

#[test]
fn a_program_that_hangs_is_killed_with_all_it_started() {
    let scripted = Scripted::new();
    for on_sign in [
        "echo $$ > pid; sleep 1000",
        "sleep 1000 & echo $! > pid; cat good; wait",
        // Its child holds standard output open, and would hold us.
        "sleep 1000 & echo $! > pid; cat good",
        "trap '' TERM HUP INT; echo $$ > pid; while :; do sleep 1000; done",
    ] {
        let mut store = scripted.store(on_sign);
        store.list().unwrap();
        let external = Arc::get_mut(&mut store.signer).unwrap();
        external.program.set_deadline(Duration::from_secs(1));
        let begun = Instant::now();
        let error = store.unlock(&scripted.key.id(), &GOOD).unwrap().sign(MESSAGE).unwrap_err();
        let late =
            Error::Device { name: "signer `kms`".to_owned(), message: "it did not answer within 1 s".to_owned() };
        assert_eq!(error, late, "{on_sign}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{on_sign}");
        let pid = std::fs::read_to_string(scripted.path("pid")).unwrap();
        assert!(ends(pid.trim()), "{on_sign}: {pid} still runs");
    }
}

/// Whether a process is gone, or dead and not yet collected by whoever inherited it.
fn ends(pid: &str) -> bool {
    let begun = Instant::now();
    loop {
        match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Err(_) => return true,
            Ok(stat) if stat.contains(") Z ") => return true,
            Ok(_) if begun.elapsed() > Duration::from_secs(5) => return false,
            Ok(_) => std::thread::yield_now(),
        }
    }
}

#[test]
fn what_a_program_started_in_the_background_ends_with_it() {
    let scripted = Scripted::new();
    scripted.sign("sleep 1000 >/dev/null 2>&1 & echo $! > pid; cat good").unwrap();
    assert!(ends(std::fs::read_to_string(scripted.path("pid")).unwrap().trim()));
}

#[test]
fn a_program_sees_a_small_environment_and_no_secret() {
    let scripted = Scripted::new();
    scripted.sign("env > seen; pwd > where; cat good").unwrap();
    let seen = std::fs::read_to_string(scripted.path("seen")).unwrap();
    let mut names: Vec<_> = seen.lines().filter_map(|line| line.split('=').next()).collect();
    names.retain(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name));
    names.sort_unstable();
    assert_eq!(names, ["KMS_REGION", "PATH"]);
}

#[test]
fn keys_that_cannot_be_used_are_told_by_number_and_none_is_left_out() {
    let scripted = Scripted::new();
    let pem = scripted.key.public().to_public_pem();
    let rsa = include_str!("../../../tests/vectors/keys/rsa-2048.pub");
    let good = serde_json::json!({ "public_pem": pem });
    let with = |name: &str, value: &str| serde_json::json!({ "public_pem": pem, name: value });
    for (keys, expected) in [
        (vec![good.clone(), serde_json::json!({"public_pem": "x"})], "key 2 that it lists cannot be used: no public"),
        (vec![serde_json::json!({ "public_pem": rsa })], "it is neither Ed25519 nor P-256"),
        (vec![with("purpose", "everything")], "`everything` is no purpose"),
        (vec![with("collection", "UPPER")], "its collection is no image name"),
        (vec![with("collection", "alpine")], "spelled otherwise than `docker.io/library/alpine`"),
        (vec![with("handle", &"x".repeat(2000))], "its handle is longer"),
        (vec![good.clone(), good.clone()], "twice"),
        (vec![good.clone(); 201], "it lists 201 keys"),
        (vec![serde_json::json!(7)], "it lists no keys"),
    ] {
        scripted.write("answer", &serde_json::json!({ "keys": keys }));
        let store = scripted.script(&format!("cat '{}'", scripted.path("answer").display()));
        let error = store.list().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
