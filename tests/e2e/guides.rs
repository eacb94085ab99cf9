//! The guides do what they say: their commands are run, in order, in one shell.

use std::fs;

use crate::image::Image;
use crate::machine::Machine;
use crate::servers::Registry;

/// The shell blocks of a page, joined.
pub(crate) fn commands(page: &str) -> String {
    let mut script = String::new();
    let mut inside = false;
    for line in page.lines() {
        match line {
            "```sh" => inside = true,
            "```" => inside = false,
            _ if inside => {
                script.push_str(line);
                script.push('\n');
            }
            _ => {}
        }
    }
    assert!(!inside && !script.is_empty(), "the page has shell blocks, each with its end");
    script
}

#[test]
fn the_guide_for_ci_signs_deploys_and_refreshes() {
    let registry = Registry::open();
    let image = Image::with_text("built in a pipeline");
    image.push(&registry, "acme/app", "1.4.2");
    let machine = Machine::fresh();
    let write = |name: &str, text: &str| {
        fs::write(machine.work().join(name), text).expect("a file in our folder is written");
    };
    write("passphrase", "a passphrase for the pipeline\n");
    write("digest", &image.digest());

    let script = commands(include_str!("../../docs/guides/ci.md"));
    let (name, tag) = (registry.image("acme/app"), registry.image("acme/app:1.4.2"));
    let ran = machine.script(&script, &[("NAME", &name), ("IMAGE", &tag)]).ok();
    ran.stdout_has(&format!("deploy {name}@{}", image.digest()));
}

#[test]
fn the_guide_for_external_signers_does_what_it_says() {
    let registry = Registry::open();
    Image::with_text("signed elsewhere").push(&registry, "acme/app", "1.0");
    let machine = Machine::fresh();
    let script = commands(include_str!("../../docs/guides/external-signer.md"));
    let (name, tag) = (registry.image("acme/app"), registry.image("acme/app:1.0"));
    let ran = machine.script(&script, &[("NAME", &name), ("IMAGE", &tag)]).ok().stdout_has("signer kms");
    Machine::trusting(&ran).run(["verify", &tag]).ok();
}
