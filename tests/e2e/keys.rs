//! Keys: rotation that readers do not notice, files that OpenSSL reads, passphrases.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use crate::image::Image;
use crate::machine::Machine;
use crate::process::run;
use crate::scene::{REPOSITORY, Scene};

#[test]
fn every_role_s_key_is_replaced_while_readers_go_on() {
    let scene = Scene::signed();
    let reader = scene.reader();
    let cold = scene.reader();
    reader.run(["verify", &scene.tag("1.0")]).ok();
    for role in ["timestamp", "snapshot", "targets", "root"] {
        scene.owner.run(["key", "rotate", &scene.name(), role]).ok();
        reader.run(["verify", &scene.tag("1.0")]).ok().stdout_has(&scene.image.digest());
        let tag = format!("after-{role}");
        let next = scene.publish(&tag, &tag);
        reader.run(["verify", &scene.tag(&tag)]).ok().stdout_has(&next.digest());
    }
    // A machine that knows the first root alone walks the whole chain.
    cold.run(["verify", &scene.tag("1.0")]).ok().stdout_has(&scene.image.digest());
}

#[test]
fn a_machine_without_the_keys_cannot_sign() {
    let scene = Scene::signed();
    let reader = scene.reader();
    Image::with_text("not signed yet").push(&scene.registry, REPOSITORY, "2.0");
    reader.run(["sign", &scene.tag("2.0")]).code(30);
    reader.run(["verify", &scene.tag("2.0")]).code(11);
}

#[test]
fn a_wrong_passphrase_names_the_key_and_changes_nothing() {
    let scene = Scene::signed();
    let wrong = [("BOLTSEAL_PASSPHRASE", OsStr::new("not the passphrase"))];
    let refused = scene.owner.run_with(&wrong, ["sign", &scene.tag("1.0")]).code(30).says("passphrase");
    assert!(!refused.all().contains("not the passphrase"), "{refused}");
    scene.reader().run(["verify", &scene.tag("1.0")]).ok();
}

#[test]
fn openssl_reads_every_key_file() {
    let scene = Scene::signed();
    let files = std::fs::read_dir(scene.owner.home().join("keys")).expect("the keys are there");
    let files: Vec<_> = files.map(|file| file.expect("our folder is read").path()).collect();
    let files: Vec<_> = files.iter().filter(|file| file.extension() == Some(OsStr::new("pem"))).collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        let openssl = |passphrase: &str| {
            let mut command = Command::new("openssl");
            command.args(["pkey", "-noout", "-text_pub", "-passin", passphrase, "-in"]).arg(file);
            run(&command)
        };
        openssl("pass:correct horse battery staple").ok().says("ed25519");
        openssl("pass:another").fails();
    }
}

#[test]
fn keys_that_openssl_made_are_taken_in() {
    let machine = Machine::fresh();
    let make = |algorithm: &[&str], file: &str| -> PathBuf {
        let path = machine.work().join(file);
        run(Command::new("openssl").arg("genpkey").args(algorithm).arg("-out").arg(&path)).ok();
        path
    };
    make(&["-algorithm", "ed25519"], "ed25519.pem");
    make(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], "p256.pem");
    make(&["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"], "p384.pem");
    make(&["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], "rsa.pem");
    machine.run(["key", "import", "ed25519.pem", "--purpose", "root"]).ok();
    machine.run(["key", "import", "p256.pem", "--purpose", "root"]).ok();
    let listed = machine.run(["key", "list"]).ok();
    listed.says("ed25519").says("p256");
    for other in ["p384.pem", "rsa.pem"] {
        machine.run(["key", "import", other, "--purpose", "root"]).code(30);
    }
}

#[test]
fn the_backup_gives_another_machine_the_keys_back() {
    let scene = Scene::signed();
    scene.owner.run(["key", "export", "--all", "--to", "backup.json"]).ok();
    let spare = scene.reader();
    let backup = scene.owner.work().join("backup.json");
    spare.run([OsStr::new("key"), OsStr::new("import"), backup.as_os_str()]).ok();
    spare.run(["sign", &scene.tag("1.0")]).ok();
    scene.reader().run(["verify", &scene.tag("1.0")]).ok();
}

#[test]
fn docker_s_passphrase_variables_open_the_keys() {
    let scene = Scene::signed();
    let phrase = OsStr::new("correct horse battery staple");
    let mut command = scene.owner.boltseal(["sign", &scene.tag("1.0")]);
    command.env_remove("BOLTSEAL_PASSPHRASE");
    command.env("DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE", phrase);
    command.env("DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE", phrase);
    run(&command).ok();

    let mut without = scene.owner.boltseal(["sign", &scene.tag("1.0")]);
    run(without.env_remove("BOLTSEAL_PASSPHRASE")).code(30);
}
