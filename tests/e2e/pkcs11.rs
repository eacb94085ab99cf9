//! Keys in a PKCS#11 token, with SoftHSM: `cargo test --features hsm`.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::guides::commands;
use crate::image::Image;
use crate::machine::Machine;
use crate::process::{Ran, run};
use crate::scene::{REPOSITORY, Scene};
use crate::servers::Registry;

const MODULES: [&str; 2] = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so"];
const PIN: &str = "123456";

/// A machine's token.
struct Token<'a> {
    machine: &'a Machine,
}

impl<'a> Token<'a> {
    /// Makes a token with the label `release`, and names it in the machine's settings.
    fn plugged_into(machine: &'a Machine, more: &str) -> Self {
        let token = Self { machine };
        fs::create_dir(token.folder()).expect("a folder in our folder is made");
        let settings = format!("directories.tokendir = {}\nlog.level = ERROR\n", token.folder().display());
        fs::write(token.settings(), settings).expect("a file in our folder is written");
        let mut command = Command::new("softhsm2-util");
        command.args(["--init-token", "--free", "--label", "release", "--so-pin", "87654321", "--pin", PIN]);
        run(command.env("SOFTHSM2_CONF", token.settings())).ok();
        let config = machine.policy().with_file_name("config.toml");
        let module = MODULES.into_iter().find(|path| Path::new(path).exists()).expect("SoftHSM is installed");
        fs::create_dir_all(config.parent().expect("a file lies in a folder")).expect("a folder in our folder is made");
        fs::write(config, format!("[[pkcs11]]\ntoken = \"release\"\nmodule = \"{module}\"\n{more}"))
            .expect("a file in our folder is written");
        token
    }

    fn folder(&self) -> std::path::PathBuf {
        self.machine.work().join("tokens")
    }

    fn settings(&self) -> std::path::PathBuf {
        self.machine.work().join("softhsm2.conf")
    }

    fn run<'s>(&self, arguments: impl IntoIterator<Item = &'s str>) -> Ran {
        self.run_with_pin(PIN, arguments)
    }

    fn run_with_pin<'s>(&self, pin: &str, arguments: impl IntoIterator<Item = &'s str>) -> Ran {
        let settings = self.settings();
        let environment = [("SOFTHSM2_CONF", settings.as_os_str()), ("BOLTSEAL_PKCS11_PIN", OsStr::new(pin))];
        self.machine.run_with(&environment, arguments)
    }

    fn taken_out(&self) {
        fs::rename(self.folder(), self.machine.work().join("away")).expect("our folder is renamed");
        fs::create_dir(self.folder()).expect("a folder in our folder is made");
    }
}

#[test]
fn a_key_in_a_token_takes_over_a_role_and_readers_notice_nothing() {
    let scene = Scene::signed();
    let (name, reader) = (scene.name(), scene.reader());
    let token = Token::plugged_into(&scene.owner, "");
    for algorithm in ["ed25519", "p256"] {
        let generate = [
            "key",
            "generate",
            "--pkcs11",
            "release",
            "--purpose",
            "targets",
            "--name",
            &name,
            "--algorithm",
            algorithm,
        ];
        let id = token.run(generate).ok().stdout().to_owned();
        token.run(["key", "list"]).ok().stdout_has(&id).stdout_has("token release");
        token.run(["key", "rotate", &name, "targets", "--with", &id]).ok();
        let image = Image::with_text(algorithm);
        image.push(&scene.registry, REPOSITORY, algorithm);
        token.run(["sign", &scene.tag(algorithm)]).ok();
        reader.run(["verify", &scene.tag(algorithm)]).ok().stdout_has(&image.digest());
    }
    reader.run(["verify", &scene.tag("1.0")]).ok();
}

#[test]
fn a_root_key_in_a_token_signs_the_next_root() {
    let scene = Scene::signed();
    let (name, reader) = (scene.name(), scene.reader());
    reader.run(["verify", &scene.tag("1.0")]).ok();
    let token = Token::plugged_into(&scene.owner, "");
    let id = token.run(["key", "generate", "--pkcs11", "release", "--purpose", "root"]).ok().stdout().to_owned();
    token.run(["key", "rotate", &name, "root", "--with", &id]).ok();
    token.run(["key", "rotate", &name, "timestamp"]).ok();
    reader.run(["verify", &scene.tag("1.0")]).ok();
}

#[test]
fn without_the_token_or_its_pin_nothing_is_signed() {
    let scene = Scene::signed();
    let name = scene.name();
    let token = Token::plugged_into(&scene.owner, "");
    let generate = ["key", "generate", "--pkcs11", "release", "--purpose", "targets", "--name", &name];
    let id = token.run(generate).ok().stdout().to_owned();
    token.run(["key", "rotate", &name, "targets", "--with", &id]).ok();
    Image::with_text("not signed yet").push(&scene.registry, REPOSITORY, "2.0");
    let sign = ["sign", &scene.tag("2.0")];
    let wrong = token.run_with_pin("999999", sign).code(30).says("the PIN of token `release` is wrong");
    assert!(!wrong.all().contains("999999"), "{wrong}");
    let settings = token.settings();
    scene.owner.run_with(&[("SOFTHSM2_CONF", settings.as_os_str())], sign).code(30).says("no PIN for token `release`");
    token.taken_out();
    token.run(sign).code(30).says("token `release` cannot sign: it is not plugged in");
    token.run(["status", &name]).ok().says("only the key folder is looked at");
    scene.reader().run(["verify", &scene.tag("2.0")]).code(11);
}

#[test]
fn an_optional_token_may_be_absent_while_others_sign() {
    let scene = Scene::signed();
    let token = Token::plugged_into(&scene.owner, "optional = true\n");
    token.run(["key", "generate", "--pkcs11", "release", "--purpose", "root"]).ok();
    token.taken_out();
    token.run(["sign", &scene.tag("1.0")]).ok();
    token.run(["key", "generate", "--pkcs11", "release"]).code(30).says("it is not plugged in");
}

#[test]
fn a_token_or_module_that_is_not_there_is_told() {
    let machine = Machine::fresh();
    let token = Token::plugged_into(&machine, "[[pkcs11]]\ntoken = \"other\"\nmodule = \"/nowhere/module.so\"\n");
    token.run(["key", "generate", "--pkcs11", "third"]).code(2).says("which name `release`, `other`");
    token.run(["key", "generate", "--pkcs11", "other"]).code(30).says("`/nowhere/module.so` cannot be loaded");
    token.run(["key", "list"]).code(30).says("token `other`");
}

#[test]
fn the_guide_for_tokens_does_what_it_says() {
    let registry = Registry::open();
    let machine = Machine::fresh();
    for tag in ["1.0", "2.0"] {
        Image::with_text(tag).push(&registry, REPOSITORY, tag);
    }
    let name = registry.image(REPOSITORY);
    let (image, next) = (format!("{name}:1.0"), format!("{name}:2.0"));
    let script = commands(include_str!("../../docs/guides/hsm.md"));
    let ran = machine
        .script(&script, &[("NAME", &name), ("IMAGE", &image), ("NEXT", &next)])
        .ok()
        .stdout_has("token release");
    let reader = Machine::trusting(&ran);
    reader.run(["verify", &image, &next]).ok();
}
