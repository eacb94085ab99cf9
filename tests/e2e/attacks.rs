//! What a hostile or badly kept registry can do, with what a plain client makes of it.

use std::time::Duration;

use crate::image::{Image, put_manifest, tag_digest};
use crate::machine::Machine;
use crate::scene::{REPOSITORY, Scene};

#[test]
fn a_registry_set_back_to_an_earlier_state_is_noticed() {
    let mut scene = Scene::signed();
    let reader = scene.reader();
    let before = scene.registry.snapshot();
    let next = scene.publish("1.0", "the repaired image");
    reader.run(["verify", &scene.tag("1.0")]).ok().stdout_has(&next.digest());

    scene.registry.restore(&before);
    // A plain client takes the old image again.
    assert_eq!(tag_digest(&scene.registry, REPOSITORY, "1.0"), Some(scene.image.digest()));
    reader.run(["verify", &scene.tag("1.0")]).code(14);
    reader.run(["pull", "--to", "oci:images:1.0", &scene.tag("1.0")]).code(14);
    scene.owner.run(["sign", &scene.tag("1.0")]).code(14);
}

#[test]
fn trust_data_that_vanishes_is_noticed_by_who_knew_it() {
    let scene = Scene::signed();
    let reader = scene.reader();
    let newcomer = scene.reader();
    reader.run(["verify", &scene.tag("1.0")]).ok();
    for tag in scene.registry.tags(REPOSITORY) {
        if tag.starts_with("trust.tuf") {
            scene.registry.forget_tag(REPOSITORY, &tag);
        }
    }
    reader.run(["verify", &scene.tag("1.0")]).code(14);
    newcomer.run(["verify", &scene.tag("1.0")]).code(10);
    scene.owner.run(["sign", &scene.tag("1.0")]).code(14);
}

#[test]
fn trust_data_copied_under_another_repository_speaks_for_nobody() {
    let scene = Scene::signed();
    scene.registry.clone_repository(REPOSITORY, "acme/other");
    let other = scene.registry.image("acme/other:1.0");
    // A plain client cannot tell.
    assert_eq!(tag_digest(&scene.registry, "acme/other", "1.0"), Some(scene.image.digest()));
    let reader = scene.reader();
    reader.run(["verify", &other]).code(16);
    // Not even where both names are trusted by the same root.
    reader.trust_for(&scene.registry.image("acme/other"), &scene.init);
    reader.run(["verify", &other]).code(12);
    reader.run(["verify", &scene.tag("1.0")]).ok();
}

#[test]
fn another_collection_s_signatures_do_not_speak_for_this_one() {
    let scene = Scene::signed();
    let stranger = Machine::fresh();
    Image::with_text("by somebody else").push(&scene.registry, "stranger/app", "1.0");
    stranger.run(["init", &scene.registry.image("stranger/app")]).ok();
    stranger.run(["sign", &scene.registry.image("stranger/app:1.0")]).ok();
    let reader = scene.reader();
    scene.registry.clone_repository("stranger/app", REPOSITORY);
    reader.run(["verify", &scene.tag("1.0")]).code(12);
}

#[test]
fn a_head_of_arbitrary_bytes_is_refused() {
    let scene = Scene::signed();
    let (knows, newcomer) = (scene.reader(), scene.reader());
    knows.run(["verify", &scene.tag("1.0")]).ok();
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let image = tag_digest(&scene.registry, REPOSITORY, "1.0").expect("the image is there");
    let path = format!("/v2/{REPOSITORY}/manifests/{image}");
    let manifest = scene.registry.request("GET", &path, &[("Accept", media_type)], b"").body;
    // The image itself under the head's tag: a manifest, but none of ours.
    put_manifest(&scene.registry, REPOSITORY, "trust.tuf", media_type, &manifest);
    knows.run(["verify", &scene.tag("1.0")]).fails();
    newcomer.run(["verify", &scene.tag("1.0")]).fails();
}

#[test]
fn metadata_that_was_changed_on_its_way_is_refused() {
    let scene = Scene::signed();
    let reader = scene.reader();
    let head = tag_digest(&scene.registry, REPOSITORY, "trust.tuf").expect("there is a head");
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let path = format!("/v2/{REPOSITORY}/manifests/{head}");
    let manifest = scene.registry.request("GET", &path, &[("Accept", media_type)], b"").text();
    assert!(manifest.contains("tuf"), "{manifest}");
    scene.registry.falsify(&head, format!("{manifest} ").as_bytes());
    reader.run(["verify", &scene.tag("1.0")]).fails();
}

#[test]
fn nothing_live_falls_to_the_registry_s_garbage_collection() {
    let mut scene = Scene::signed();
    let next = scene.publish("1.0", "the next image");
    let reader = scene.reader();
    for untagged in [false, true] {
        scene.registry.collect_garbage(untagged);
        reader.run(["verify", &scene.tag("1.0")]).ok().stdout_has(&next.digest());
        scene.reader().run(["verify", &scene.tag("1.0")]).ok().stdout_has(&next.digest());
    }
    scene.publish("2.0", "after the collection");
    reader.run(["verify", &scene.tag("2.0")]).ok();
}

#[test]
fn signers_side_by_side_lose_nothing() {
    let scene = Scene::signed();
    let tags: Vec<_> = (0..4).map(|number| format!("side-{number}")).collect();
    for tag in &tags {
        Image::with_text(tag).push(&scene.registry, REPOSITORY, tag);
    }
    let signed: Vec<bool> = std::thread::scope(|threads| {
        let scene = &scene;
        let running: Vec<_> = tags
            .iter()
            .map(|tag| threads.spawn(move || scene.owner.run(["sign", &scene.tag(tag)]).code_is(&[0, 31]) == 0))
            .collect();
        running.into_iter().map(|thread| thread.join().expect("a signer ends")).collect()
    });
    let reader = scene.reader();
    for (tag, _) in tags.iter().zip(signed).filter(|(_, signed)| *signed) {
        reader.run(["verify", &scene.tag(tag)]).ok();
    }
    // Whatever the race left behind, the next publisher goes on from there.
    scene.publish("after", "after the race");
    reader.run(["verify", &scene.tag("after")]).ok();
}

#[test]
fn a_dead_registry_is_told_and_not_taken_for_no() {
    let mut scene = Scene::signed();
    let reader = scene.reader();
    reader.run(["verify", &scene.tag("1.0")]).ok();
    scene.registry.stop();
    let begun = std::time::Instant::now();
    reader.run(["verify", &scene.tag("1.0")]).code(20);
    assert!(begun.elapsed() < Duration::from_secs(60));
    scene.registry.start();
    reader.run(["verify", &scene.tag("1.0")]).ok();
}
