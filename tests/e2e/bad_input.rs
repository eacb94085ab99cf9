//! What a new user does wrong: one clear sentence each, the right exit code, and a hint.

use std::ffi::OsStr;
use std::fs;

use crate::image::Image;
use crate::machine::Machine;
use crate::process::free_port;
use crate::scene::{REPOSITORY, Scene};

#[test]
fn an_unsigned_tag_in_a_signed_repository_is_no_valid_trust_data() {
    let scene = Scene::signed();
    Image::with_text("unsigned").push(&scene.registry, REPOSITORY, "2.0");
    let reader = scene.reader();
    reader.run(["verify", &scene.tag("2.0")]).code(11).says("no valid trust data for 2.0");
    reader.run(["pull", "--to", "oci:images:2.0", &scene.tag("2.0")]).code(11);
    assert!(reader.run(["resolve", &scene.tag("2.0")]).code(11).stdout().is_empty());
}

#[test]
fn a_repository_without_trust_data_is_told_from_one_with() {
    let scene = Scene::signed();
    Image::with_text("unsigned").push(&scene.registry, "acme/other", "1.0");
    let reader = scene.reader();
    let other = scene.registry.image("acme/other:1.0");
    // Nobody said whom to trust there.
    reader.run(["verify", &other]).code(16).stderr_has("trust add");
    reader.trust_for(&scene.registry.image("acme/other"), &scene.init);
    reader.run(["verify", &other]).code(10);
}

#[test]
fn without_a_policy_everything_is_refused_with_the_way_out() {
    let scene = Scene::signed();
    Machine::fresh().run(["verify", &scene.tag("1.0")]).code(16).stderr_has("trust add");
}

#[test]
fn the_other_name_of_loopback_is_another_image() {
    let scene = Scene::signed();
    let reader = scene.reader();
    let alias = |name: &str| name.replace("127.0.0.1", "localhost");
    reader.run(["verify", &alias(&scene.tag("1.0"))]).code(16);
    reader.trust_for(&alias(&scene.name()), &scene.init);
    reader.run(["verify", &alias(&scene.tag("1.0"))]).code(12).stderr_has(&scene.name());
}

#[test]
fn an_image_that_does_not_exist_is_not_signed() {
    let scene = Scene::signed();
    scene.owner.run(["sign", &scene.tag("missing")]).fails().says("missing");
    // Without a tag it is `latest`, as for docker, and that is said.
    scene.owner.run(["sign", &scene.name()]).fails().says("latest");
    scene.owner.run(["sign", "Not A Name:1.0"]).code(2);
    scene.owner.run(["verify", &format!("{}@sha256:12", scene.name())]).code(2).says("digest");
}

#[test]
fn a_digest_that_is_not_the_tag_s_is_refused() {
    let scene = Scene::signed();
    let other = Image::with_text("another image");
    other.push(&scene.registry, REPOSITORY, "other");
    let both = format!("{}@{}", scene.tag("1.0"), other.digest());
    scene.owner.run(["sign", &both]).code(15);
    scene.reader().run(["verify", &both]).fails();
}

#[test]
fn a_port_where_nothing_listens_is_a_dead_registry() {
    let scene = Scene::signed();
    let reader = scene.reader();
    let dead = format!("127.0.0.1:{}/acme/app", free_port());
    reader.trust_for(&dead, &scene.init);
    reader.run(["verify", &format!("{dead}:1.0")]).code(20).says("127.0.0.1");
}

#[test]
fn https_to_a_plain_port_is_never_tried_again_without() {
    let scene = Scene::signed();
    let reader = scene.reader();
    let mark = scene.registry.mark();
    reader.run(["verify", "--tls", &scene.tag("1.0")]).code(20).says("tls");
    assert_eq!(scene.registry.since(&mark).requests(), 0);
}

#[test]
fn a_home_that_cannot_be_written_is_told() {
    let scene = Scene::signed();
    let reader = scene.reader();
    // A file where the folder should be stops root too.
    if reader.home().exists() {
        fs::remove_dir_all(reader.home()).expect("our folder can be removed");
    }
    fs::write(reader.home(), b"").expect("a file in our folder is written");
    let home = reader.home().display().to_string();
    reader.run(["verify", &scene.tag("1.0")]).code(1).says(&home);
    reader.run(["verify", "--stateless", &scene.tag("1.0")]).ok();
}

#[test]
fn a_full_disk_is_told_and_leaves_the_memory_whole() {
    let scene = Scene::signed();
    let reader = scene.reader();
    reader.run(["verify", &scene.tag("1.0")]).ok();
    let next = scene.publish("1.0", "the next image");
    // Files beyond a size of nothing: what a full disk feels like to a program.
    let verify = format!("trap '' XFSZ; ulimit -f 0; boltseal verify {}", scene.tag("1.0"));
    reader.script(&verify, &[]).fails();
    reader.run(["verify", &scene.tag("1.0")]).ok().stdout_has(&next.digest());
}

#[test]
fn a_damaged_memory_is_explained_and_never_reset() {
    let scene = Scene::signed();
    let reader = scene.reader();
    reader.run(["verify", &scene.tag("1.0")]).ok();
    let trust = reader.home().join("trust");
    let mut damaged = 0;
    let mut folders = vec![trust];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("our folder is read") {
            let path = entry.expect("our folder is read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension() == Some(OsStr::new("json")) {
                fs::write(&path, b"{\"signed\":").expect("our file is written");
                damaged += 1;
            }
        }
    }
    assert!(damaged > 0);
    for _ in 0..2 {
        reader.run(["verify", &scene.tag("1.0")]).fails().says("trust");
    }
}

#[test]
fn two_commands_at_once_both_do_their_work() {
    let scene = Scene::signed();
    let reader = scene.reader();
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| reader.run(["verify", &scene.tag("1.0")]).ok());
        }
    });
}

#[test]
fn a_file_that_holds_no_key_is_refused() {
    let scene = Scene::signed();
    fs::write(scene.owner.work().join("key.pem"), "not a key").expect("a file in our folder is written");
    scene.owner.run(["key", "import", "key.pem"]).code(30);
    scene.owner.run(["key", "import", "missing.pem"]).fails().says("missing.pem");
}

#[test]
fn a_broken_policy_refuses_everything() {
    let scene = Scene::signed();
    let reader = scene.reader();
    reader.run(["verify", &scene.tag("1.0")]).ok();
    let policy = fs::read_to_string(reader.policy()).expect("the pin is in the user's policy");
    fs::write(reader.policy(), format!("{policy}\nunknown = true\n")).expect("our file is written");
    reader.run(["verify", &scene.tag("1.0")]).fails().says("unknown");
}

#[test]
fn several_images_give_the_first_refusal_in_their_order() {
    let scene = Scene::signed();
    let reader = scene.reader();
    Image::with_text("unsigned").push(&scene.registry, "acme/other", "1.0");
    let other = scene.registry.image("acme/other:1.0");
    reader.run(["verify", &scene.tag("1.0"), &scene.tag("2.0"), &other]).code(11);
    reader.run(["verify", &other, &scene.tag("2.0")]).code(16);
}

#[test]
fn a_reader_that_stops_listening_changes_nothing() {
    let scene = Scene::signed();
    let reader = scene.reader();
    let script = format!("set +o pipefail; boltseal inspect {} | true; exit ${{PIPESTATUS[0]}}", scene.name());
    reader.script(&script, &[]).ok();
}
