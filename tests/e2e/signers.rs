//! Keys behind another program: signing end to end, and programs that misbehave.

use std::fs;

use crate::image::Image;
use crate::machine::Machine;
use crate::scene::{REPOSITORY, Scene};

/// Makes a signer of a shell script on a machine. `sign` is what it does to sign; `$key` is its key.
fn install(machine: &Machine, name: &str, sign: &str) {
    let work = machine.work();
    let script = format!(
        "set -eu; key='{key}'; request=$(cat); ask() {{ printf '%s' \"$request\" | jq -r \"$1\"; }}\n\
         [ -e \"$key\" ] || openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out \"$key\"\n\
         if [ \"$(ask .request)\" = keys ]; then openssl pkey -in \"$key\" -pubout |\n\
         jq -R -s '{{keys: [{{public_pem: ., purpose: \"targets\", collection: \"{name}\"}}]}}'; else {sign}; fi\n",
        key = work.join("kms.pem").display()
    );
    fs::write(work.join("signer.sh"), script).expect("a file in our folder is written");
    let settings = machine.policy().with_file_name("config.toml");
    let text = format!(
        "[[external]]\nname = \"kms\"\ncommand = [\"/bin/sh\", \"{}\"]\ndeadline = \"20s\"\n",
        work.join("signer.sh").display()
    );
    fs::create_dir_all(settings.parent().expect("a file lies in a folder")).expect("a folder in our folder is made");
    fs::write(settings, text).expect("a file in our folder is written");
}

const WELL: &str =
    "ask .message | base64 -d | openssl dgst -sha256 -sign \"$key\" | base64 -w 0 | jq -R '{signature: .}'";

/// The id of the key that lies behind the program.
fn external_key(machine: &Machine) -> String {
    let listed = machine.run(["key", "list", "--output", "json"]).ok();
    let document: serde_json::Value = serde_json::from_str(listed.stdout()).expect("the list is JSON");
    let keys = document["keys"].as_array().expect("there are keys");
    let key = keys.iter().find(|key| key["store"] == "signer kms").expect("the program's key is listed");
    key["id"].as_str().expect("an id is text").to_owned()
}

#[test]
fn a_program_takes_over_a_role_and_readers_notice_nothing() {
    let scene = Scene::signed();
    let reader = scene.reader();
    reader.run(["verify", &scene.tag("1.0")]).ok();
    install(&scene.owner, &scene.name(), WELL);
    let key = external_key(&scene.owner);
    scene.owner.run(["key", "rotate", &scene.name(), "targets", "--with", &key]).ok();
    let next = scene.publish("2.0", "signed by a program");
    reader.run(["verify", &scene.tag("2.0")]).ok().stdout_has(&next.digest());
    scene.owner.run(["status", &scene.name()]).ok().stdout_has(&key[..12]);
    scene.owner.run(["key", "remove", &key, "--yes"]).code(2).says("remove the key where it lives");
    scene.owner.run(["key", "export", &key]).code(2).says("never leaves it");
    scene.owner.run(["key", "export", &key, "--public"]).ok().stdout_has("BEGIN PUBLIC KEY");
}

#[test]
fn what_a_misbehaving_program_answers_is_never_published() {
    let scene = Scene::signed();
    install(&scene.owner, &scene.name(), WELL);
    let key = external_key(&scene.owner);
    scene.owner.run(["key", "rotate", &scene.name(), "targets", "--with", &key]).ok();
    Image::with_text("not signed yet").push(&scene.registry, REPOSITORY, "2.0");
    let head = || crate::image::tag_digest(&scene.registry, REPOSITORY, "trust.tuf");
    let before = head();
    for (sign, said) in [
        ("echo '{\"signature\": \"MEUCIQ==\"}'", "no signature by"),
        (
            "echo anything | openssl dgst -sha256 -sign \"$key\" | base64 -w 0 | jq -R '{signature: .}'",
            "no signature by",
        ),
        ("echo nonsense", "no JSON object"),
        ("echo '{\"error\": \"the service is on holiday\"}'", "the service is on holiday"),
        ("echo to standard error >&2; exit 3", "exit code 3"),
        ("yes", "more than 256 kB"),
    ] {
        install(&scene.owner, &scene.name(), sign);
        scene.owner.run(["sign", &scene.tag("2.0")]).code(30).says("signer `kms` cannot sign").says(said);
        assert_eq!(head(), before, "{sign}");
    }
    let reader = scene.reader();
    reader.run(["verify", &scene.tag("1.0")]).ok();
    reader.run(["verify", &scene.tag("2.0")]).code(11);
    install(&scene.owner, &scene.name(), WELL);
    scene.owner.run(["sign", &scene.tag("2.0")]).ok();
    reader.run(["verify", &scene.tag("2.0")]).ok();
}

#[test]
fn a_program_that_is_gone_is_named_and_the_key_folder_still_shows() {
    let scene = Scene::signed();
    install(&scene.owner, &scene.name(), WELL);
    fs::remove_file(scene.owner.work().join("signer.sh")).expect("our file is removed");
    scene.owner.run(["sign", &scene.tag("1.0")]).code(30).says("signer `kms`");
    scene.owner.run(["key", "list"]).code(30).says("signer `kms`");
    scene.owner.run(["status", &scene.name()]).ok().says("only the key folder is looked at");
    scene.reader().run(["verify", &scene.tag("1.0")]).ok();
}
