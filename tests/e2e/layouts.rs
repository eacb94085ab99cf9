//! OCI image layouts on disk: the same trust without any server.

use std::fs;

use crate::image::Image;
use crate::machine::Machine;
use crate::process::{Ran, run};

const NAME: &str = "registry.example.com/acme/app";

/// A machine with a signed layout in its folder `images`.
fn signed() -> (Machine, Ran, Image) {
    let owner = Machine::fresh();
    let image = Image::with_text("in a folder");
    image.write_layout(&owner.work().join("images"), "1.0");
    let init = owner.run(["init", "oci:images", "--name", NAME]).ok();
    owner.run(["sign", "oci:images:1.0", "--name", NAME]).ok();
    (owner, init, image)
}

/// Carries the layout of one machine to another, as on a disk.
fn carry(from: &Machine, to: &Machine) {
    run(std::process::Command::new("cp").arg("-a").arg(from.work().join("images")).arg(to.work())).ok();
}

#[test]
fn a_layout_is_signed_carried_and_verified_without_a_server() {
    let (owner, init, image) = signed();
    let reader = Machine::trusting(&init);
    carry(&owner, &reader);
    reader.run(["verify", "oci:images:1.0", "--name", NAME]).ok().stdout_has(&image.digest());
    let resolved = reader.run(["resolve", "oci:images:1.0", "--name", NAME]).ok();
    assert!(resolved.stdout().ends_with(&image.digest()), "{resolved}");
}

#[test]
fn a_layout_without_a_name_is_refused_with_the_recorded_one_as_a_hint() {
    let (owner, init, _) = signed();
    let reader = Machine::trusting(&init);
    carry(&owner, &reader);
    reader.run(["verify", "oci:images:1.0"]).code(2).stderr_has(NAME);
}

#[test]
fn a_tag_moved_in_a_layout_still_yields_the_signed_image() {
    let (owner, init, image) = signed();
    let reader = Machine::trusting(&init);
    carry(&owner, &reader);
    Image::with_text("another image").write_layout(&reader.work().join("images"), "1.0");
    reader.run(["verify", "oci:images:1.0", "--name", NAME]).ok().stdout_has(&image.digest());
    reader.run(["verify", "--registry", "oci:images:1.0", "--name", NAME]).code(15);
}

#[test]
fn a_signed_layout_stays_one_that_others_read() {
    let (owner, _, image) = signed();
    let layout = format!("oci:{}:1.0", owner.work().join("images").display());
    let raw = run(owner.clients.skopeo().args(["inspect", "--raw", &layout])).ok();
    assert_eq!(crate::image::digest(raw.stdout().as_bytes()), image.digest());
    let index = fs::read_to_string(owner.work().join("images/index.json")).expect("a layout has an index");
    assert!(index.contains("trust.tuf"), "{index}");
}

#[test]
fn the_quickstart_tells_its_story_without_a_server() {
    let machine = Machine::fresh();
    machine.run(["quickstart"]).ok().says("refused");
}
