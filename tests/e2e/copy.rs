//! Trust travels with the image, also by other people's tools: skopeo copies, and a mirror verifies.

use std::fs;

use crate::image::{Dialect, Image, tag_digest};
use crate::machine::Machine;
use crate::process::run;
use crate::scene::{REPOSITORY, Scene};
use crate::servers::Registry;

/// A machine that trusts the owner's root and is told where the copy lies.
fn mirrored(scene: &Scene, location: &str) -> Machine {
    let machine = Machine::trusting(&scene.init);
    let policy = fs::read_to_string(machine.policy()).expect("there is a policy");
    let mirror = format!("\n[[mirror]]\nlocation = \"{location}\"\nof = \"{}\"\n", scene.name());
    fs::write(machine.policy(), policy + &mirror).expect("a file in our folder is written");
    machine
}

#[test]
fn what_skopeo_copies_verifies_through_a_mirror_under_its_own_name() {
    let mut scene = Scene::with(Image::index(Dialect::Oci, &["amd64", "arm64"], "many"));
    let elsewhere = Registry::open();
    let location = elsewhere.image("mirror/app");
    for tag in ["1.0", "trust.tuf"] {
        let mut skopeo = scene.owner.clients.skopeo();
        skopeo.args(["copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false"]);
        skopeo.arg(format!("docker://{}", scene.tag(tag))).arg(format!("docker://{location}:{tag}"));
        run(&skopeo).ok();
    }
    let reader = mirrored(&scene, &location);
    scene.registry.stop();
    reader.run(["verify", "--registry", &scene.tag("1.0")]).ok().stdout_has(&scene.image.digest());
    // The copy's own name is another name.
    let stranger = Machine::fresh();
    stranger.trust_for(&location, &scene.init);
    stranger.run(["verify", &format!("{location}:1.0")]).code(12);
}

#[test]
fn a_copy_lies_byte_for_byte_at_the_mirror_and_grows_with_its_source() {
    let scene = Scene::signed();
    let elsewhere = Registry::open();
    let location = elsewhere.image("mirror/app");
    scene.owner.run(["copy", &scene.name(), &location]).ok().stderr_has("[[mirror]]").stdout_has(&scene.image.digest());
    let same = |tag: &str| {
        let there = tag_digest(&elsewhere, "mirror/app", tag);
        assert!(there.is_some() && there == tag_digest(&scene.registry, REPOSITORY, tag), "{tag}");
    };
    same("1.0");
    same("trust.tuf");
    scene.publish("2.0", "two");
    scene.owner.run(["copy", &scene.name(), &location]).ok();
    same("2.0");
    same("trust.tuf");
    mirrored(&scene, &location).run(["verify", "--registry", &scene.tag("2.0")]).ok();
}

#[test]
fn an_air_gap_is_crossed_in_a_bundle_and_the_copy_survives_garbage_collection() {
    let scene = Scene::signed();
    scene.owner.run(["bundle", &scene.name(), "app.tar"]).ok();
    scene.owner.run(["bundle", &scene.name(), "app.tar"]).code(1).stderr_has("app.tar");
    let mut inside = Registry::open();
    let location = inside.image("mirror/app");
    let gate = Machine::trusting(&scene.init);
    fs::copy(scene.owner.work().join("app.tar"), gate.work().join("app.tar")).expect("the file is carried over");
    gate.run(["copy", "bundle:app.tar", &location]).code(2).stderr_has(&scene.name());
    gate.run(["copy", "bundle:app.tar", &location, "--name", &scene.name()]).ok();
    inside.collect_garbage(true);
    mirrored(&scene, &location).run(["verify", "--registry", &scene.tag("1.0")]).ok();
}
