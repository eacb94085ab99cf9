//! Key files of other tools, real ones: `openssl` must be on the machine that runs the tests.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::*;
use crate::keystore::suite::{Fixed, GOOD};
use crate::keystore::{Algorithm, Signer};

/// What `openssl` prints; it must succeed. `input` goes to its stdin.
fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed where the tests run");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A signature by us, judged by openssl.
fn openssl_verifies(key: &PrivateKey, folder: &Path) -> String {
    let path = |name: &str| folder.join(name).display().to_string();
    let (public, message, signature) = (path("public"), path("message"), path("signature"));
    std::fs::write(&public, key.public().to_public_pem()).unwrap();
    std::fs::write(&message, "message").unwrap();
    std::fs::write(&signature, key.sign(b"message").unwrap()).unwrap();
    let output = if key.public().algorithm() == "ed25519" {
        openssl(
            &["pkeyutl", "-verify", "-pubin", "-inkey", &public, "-rawin", "-in", &message, "-sigfile", &signature],
            b"",
        )
    } else {
        openssl(&["dgst", "-sha256", "-verify", &public, "-signature", &signature, &message], b"")
    };
    String::from_utf8(output).unwrap()
}

const ED25519: &[&str] = &["genpkey", "-algorithm", "ed25519"];
const P256: &[&str] = &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];

fn with<'a>(arguments: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [arguments, more].concat()
}

fn refusal(bytes: &[u8]) -> String {
    match PrivateKey::from_pem(bytes, Some("password")) {
        Err(Refusal::Unusable(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn openssl_reads_the_keys_that_we_write() {
    for algorithm in [Algorithm::Ed25519, Algorithm::P256] {
        let key = PrivateKey::generate(algorithm).unwrap();
        let pem = key.to_encrypted_pem("correct horse").unwrap();
        let public = openssl(&["pkey", "-passin", "pass:correct horse", "-pubout"], pem.as_bytes());
        assert_eq!(String::from_utf8(public).unwrap(), key.public().to_public_pem(), "{algorithm:?}");
        let form = String::from_utf8(openssl(&["asn1parse"], pem.as_bytes())).unwrap();
        assert!(form.contains("scrypt") || form.contains("1.3.6.1.4.1.11591.4.11"), "{form}");
        assert!(form.contains("aes-256-cbc"), "{form}");
    }
}

#[test]
fn openssl_verifies_what_keys_made_by_openssl_sign_here() {
    let folder = tempfile::tempdir().unwrap();
    let encrypted = ["-aes-256-cbc", "-pass", "pass:password"];
    let sec1 = openssl(&["ecparam", "-name", "prime256v1", "-genkey"], b"");
    assert!(sec1.starts_with(b"-----BEGIN EC PARAMETERS-----"));
    let p256 = openssl(P256, b"");
    let files = [
        ("Ed25519", openssl(ED25519, b"")),
        ("Ed25519, encrypted", openssl(&with(ED25519, &encrypted), b"")),
        ("P-256", p256.clone()),
        ("P-256, encrypted", openssl(&with(P256, &encrypted), b"")),
        ("P-256, scrypt", openssl(&["pkcs8", "-topk8", "-scrypt", "-passout", "pass:password"], &p256)),
        (
            "P-256, PBKDF2 with SHA-1",
            openssl(
                &["pkcs8", "-topk8", "-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA1", "-passout", "pass:password"],
                &p256,
            ),
        ),
        ("P-256, SEC1 with its parameters", sec1),
        ("P-256, SEC1", openssl(&["pkey", "-traditional"], &p256)),
        ("P-256, in text", [b"Some words\r\nabout: it\r\n".to_vec(), p256.clone(), b"and after\n".to_vec()].concat()),
        ("P-256, DER", openssl(&["pkcs8", "-topk8", "-nocrypt", "-outform", "DER"], &p256)),
        ("P-256, encrypted DER", openssl(&["pkcs8", "-topk8", "-passout", "pass:password", "-outform", "DER"], &p256)),
    ];
    for (name, file) in files {
        let key = PrivateKey::from_pem(&file, Some("password")).unwrap_or_else(|refusal| panic!("{name}: {refusal:?}"));
        let said = openssl_verifies(&key, folder.path());
        assert!(said.contains("Verified Successfully") || said.contains("Verified OK"), "{name}: {said}");
        if name.contains("encrypted") {
            assert_eq!(PrivateKey::from_pem(&file, Some("passwort")).unwrap_err(), Refusal::WrongPassphrase, "{name}");
            assert_eq!(PrivateKey::from_pem(&file, None).unwrap_err(), Refusal::NeedsPassphrase, "{name}");
        }
    }
}

#[test]
fn a_version_2_key_is_read_and_must_fit_its_public_half() {
    use ed25519_dalek::pkcs8::{EncodePrivateKey, KeypairBytes, PublicKeyBytes};
    let secret = ed25519_dalek::SigningKey::from_bytes(&[3; 32]);
    let file = |public: [u8; 32]| {
        let pair = KeypairBytes { secret_key: secret.to_bytes(), public_key: Some(PublicKeyBytes(public)) };
        pair.to_pkcs8_der().unwrap()
    };
    let key = PrivateKey::from_pem(file(secret.verifying_key().to_bytes()).as_bytes(), None).unwrap();
    assert_eq!(key.public(), &Key::ed25519(secret.verifying_key().to_bytes()).unwrap());
    let other = ed25519_dalek::SigningKey::from_bytes(&[4; 32]).verifying_key().to_bytes();
    assert!(refusal(file(other).as_bytes()).contains("do not belong together"));
}

#[test]
fn other_things_are_refused_by_what_they_are() {
    let curve =
        |name: &str| openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", &format!("ec_paramgen_curve:{name}")], b"");
    let algorithm = |name: &str| openssl(&["genpkey", "-algorithm", name], b"");
    let ed25519 = openssl(ED25519, b"");
    let rsa = algorithm("RSA");
    let old = openssl(&["ec", "-aes256", "-passout", "pass:password"], &curve("P-256"));
    let pbes1 = openssl(&["pkcs8", "-topk8", "-v1", "PBE-SHA1-3DES", "-passout", "pass:password"], &ed25519);
    let triple = openssl(&["pkcs8", "-topk8", "-v2", "des3", "-passout", "pass:password"], &ed25519);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem").display().to_string();
    std::fs::write(&path, &ed25519).unwrap();
    let certificate = openssl(&["req", "-x509", "-new", "-key", &path, "-subj", "/CN=x"], b"");
    for (file, words) in [
        (rsa.clone(), "algorithm RSA"),
        (openssl(&["pkcs8", "-topk8", "-passout", "pass:password"], &rsa), "algorithm RSA"),
        (openssl(&["pkey", "-traditional"], &rsa), "algorithm RSA"),
        (curve("P-384"), "algorithm P-384"),
        (openssl(&["pkey", "-traditional"], &curve("P-384")), "algorithm P-384"),
        (algorithm("ed448"), "algorithm Ed448"),
        (algorithm("x25519"), "algorithm X25519"),
        (openssl(&["pkey", "-pubout"], &ed25519), "it is a public key"),
        (certificate, "it is a certificate"),
        (old, "OpenSSL's old form"),
        (pbes1, "openssl pkcs8 -topk8"),
        (triple, "openssl pkcs8 -topk8"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n".to_vec(), "OpenSSH key"),
        (b"ssh-ed25519 AAAAC3Nz me".to_vec(), "OpenSSH public key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_vec(), "damaged"),
        ([ed25519.clone(), ed25519.clone()].concat(), "more than one private key"),
        (Vec::new(), "it is empty"),
        (vec![b' '; MAX_KEY_FILE + 1], "65537 bytes"),
        (b"hello".to_vec(), "no private key in PEM"),
        (b"0\x82\x01".to_vec(), "no private key in PEM"),
    ] {
        let said = refusal(&file);
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn a_key_file_that_is_a_bomb_is_refused_without_work() {
    let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    let pem = key.to_encrypted_pem("password").unwrap();
    let mut der = pem::blocks(pem.as_bytes()).unwrap().remove(0).body;
    // The integers N = 16384 (two bytes) and r = 8 of the scrypt parameters.
    let at = der.windows(7).position(|window| window == [2, 2, 0x40, 0, 2, 1, 8]).unwrap();
    der[at + 6] = 0x7f;
    der[at + 2] = 0x7f;
    assert!(refusal(&der).contains("scrypt parameters are invalid"));
    der[at + 2] = 0x40;
    assert!(refusal(&der).contains("MiB of memory"));

    let p256 = openssl(P256, b"");
    let slow = openssl(&["pkcs8", "-topk8", "-iter", "10000001", "-passout", "pass:x", "-outform", "DER"], &p256);
    assert!(refusal(&slow).contains("10000001 rounds"));
}

#[test]
fn keys_of_docker_content_trust_tell_what_they_are_for() {
    let root = KeyFile::parse(include_bytes!("../../../tests/vectors/notary/root.key")).unwrap();
    assert_eq!((root.purpose(), root.collection()), (Some(Purpose::Root), None));
    root.open(Some("lab-root-pass")).unwrap();
    assert_eq!(root.open(Some("lab-repo-pass")).unwrap_err(), Refusal::WrongPassphrase);

    let targets = KeyFile::parse(include_bytes!("../../../tests/vectors/notary/targets.key")).unwrap();
    assert_eq!(targets.purpose(), Some(Purpose::Targets));
    assert_eq!(targets.collection().as_deref(), Some("127.0.0.1:5000/notarylab/del"));
    targets.open(Some("lab-repo-pass")).unwrap();

    let alice = KeyFile::parse(include_bytes!("../../../tests/vectors/notary/alice.key")).unwrap();
    assert_eq!(alice.purpose(), Some(Purpose::Signer("alice".to_owned())));
    let public = public_key(include_bytes!("../../../tests/vectors/notary/alice.pub")).unwrap();
    assert_eq!(alice.open(Some("lab-repo-pass")).unwrap().public(), &public);

    let rsa = KeyFile::parse(include_bytes!("../../../tests/vectors/notary/rsa.key")).unwrap();
    let Err(Refusal::Unusable(said)) = rsa.open(Some("lab-repo-pass")) else { panic!("an RSA key cannot sign") };
    assert_eq!(said, "it is a private key of algorithm RSA, and only Ed25519 and P-256 keys sign");
}

#[test]
fn cosign_keys_of_both_labels_open() {
    let folder = tempfile::tempdir().unwrap();
    for (file, public, passphrase) in [
        (
            &include_bytes!("../../../tests/vectors/cosign/sigstore.key")[..],
            &include_bytes!("../../../tests/vectors/cosign/sigstore.pub")[..],
            "cosign-test",
        ),
        (
            include_bytes!("../../../tests/vectors/cosign/legacy.key"),
            include_bytes!("../../../tests/vectors/cosign/legacy.pub"),
            "",
        ),
    ] {
        let key = PrivateKey::from_pem(file, Some(passphrase)).unwrap();
        assert_eq!(key.public(), &public_key(public).unwrap());
        assert!(openssl_verifies(&key, folder.path()).contains("Verified OK"));
        assert_eq!(PrivateKey::from_pem(file, Some("other")).unwrap_err(), Refusal::WrongPassphrase);
    }
}

#[test]
fn cosign_files_that_are_damaged_or_bombs_are_refused() {
    let wrap = |json: &str| {
        use base64::Engine;
        let body = base64::engine::general_purpose::STANDARD.encode(json);
        format!("-----BEGIN {0}-----\n{body}\n-----END {0}-----\n", cosign::LABELS[0])
    };
    let json = |n: u64, nonce: &str| {
        format!(
            r#"{{"kdf":{{"name":"scrypt","params":{{"N":{n},"r":8,"p":1}},"salt":"AAAA"}},"cipher":{{"name":"nacl/secretbox","nonce":"{nonce}"}},"ciphertext":"AAAA"}}"#
        )
    };
    let nonce = "A".repeat(32);
    assert!(refusal(wrap(&json(1 << 40, &nonce)).as_bytes()).contains("MiB of memory"));
    assert!(refusal(wrap(&json(1000, &nonce)).as_bytes()).contains("parameters are invalid"));
    assert!(refusal(wrap(&json(1 << 15, "AAAA")).as_bytes()).contains("24 bytes"));
    assert!(refusal(wrap("{}").as_bytes()).contains("JSON is malformed"));
    assert!(refusal(wrap(&json(2, &nonce).replace("scrypt", "argon2")).as_bytes()).contains("with scrypt"));
    let short = PrivateKey::from_pem(wrap(&json(2, &nonce)).as_bytes(), Some("x"));
    assert_eq!(short.unwrap_err(), Refusal::WrongPassphrase);
}

#[test]
fn a_public_key_is_wanted_and_a_private_one_given() {
    let said = public_key(&openssl(ED25519, b"")).unwrap_err();
    assert!(said.starts_with("it is a private key"), "{said}");
    assert!(public_key(b"").is_err());
    assert!(public_key(b"hello").is_err());
    let key = openssl(&["pkey", "-pubout"], &openssl(ED25519, b""));
    assert!(public_key(&key).is_ok());
    assert!(public_key(&[key.clone(), key].concat()).is_err());
}

#[test]
fn a_wrong_passphrase_for_a_file_names_the_file() {
    let file = KeyFile::parse(include_bytes!("../../../tests/vectors/notary/root.key")).unwrap();
    let error = file.open_with("root.key", None, &GOOD).unwrap_err();
    assert_eq!(error, Error::WrongPassphrase("root.key".to_owned()));
    file.open_with("root.key", None, &Fixed("lab-root-pass", "")).unwrap();
}
