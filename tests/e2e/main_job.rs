//! The main job: one machine signs, others pull only what was signed.

use std::ffi::OsStr;

use serde_json::Value;

use crate::image::{Image, digest, tag_digest};
use crate::process::run;
use crate::scene::{REPOSITORY, Scene};
use crate::servers::{Containerd, Dockerd};

#[test]
fn another_machine_verifies_the_tag_and_learns_its_digest() {
    let scene = Scene::signed();
    let reader = scene.reader();
    reader.run(["verify", &scene.tag("1.0")]).ok().stdout_has(&scene.image.digest());
    assert_eq!(reader.run(["resolve", &scene.tag("1.0")]).ok().stdout(), scene.by_digest());
    reader.run(["verify", &scene.by_digest()]).ok();

    let json = reader.run(["verify", "--output", "json", &scene.tag("1.0")]).ok();
    let json: Value = serde_json::from_str(json.stdout()).expect("json output is JSON");
    assert_eq!(json["schema"], "boltseal.verify/v1");
    assert_eq!(json["results"][0]["digest"], scene.image.digest());
    assert_eq!(json["results"][0]["allow"], true);
    assert_eq!(json["results"][0]["verified"], true);
}

#[test]
fn the_trust_data_lies_in_the_image_s_own_repository() {
    let scene = Scene::signed();
    let tags = scene.registry.tags(REPOSITORY);
    assert!(tags.iter().any(|tag| tag == "trust.tuf"), "{tags:?}");
    let head = tag_digest(&scene.registry, REPOSITORY, "trust.tuf").expect("there is a head");
    let accept = [("Accept", "application/vnd.oci.image.manifest.v1+json")];
    let manifest = scene.registry.request("GET", &format!("/v2/{REPOSITORY}/manifests/{head}"), &accept, b"");
    let manifest: Value = serde_json::from_slice(&manifest.body).expect("a manifest is JSON");
    assert_eq!(manifest["artifactType"], "application/vnd.boltseal.tuf.head.v1+json");
}

#[test]
fn an_unchanged_collection_costs_one_request_without_a_body() {
    let scene = Scene::signed();
    let reader = scene.reader();
    reader.run(["verify", &scene.tag("1.0")]).ok();
    let mark = scene.registry.mark();
    reader.run(["verify", &scene.tag("1.0")]).ok().stdout_has(&scene.image.digest());
    let traffic = scene.registry.since(&mark);
    assert_eq!((traffic.requests(), traffic.bytes()), (1, 0), "{traffic:?}");
    assert_eq!(traffic.exchanges[0].status, 304);
}

#[test]
fn docker_gets_the_signed_image_although_the_tag_was_moved() {
    let scene = Scene::signed();
    let docker = Dockerd::start();
    let reader = scene.reader();
    let other = Image::with_text("another image");
    other.push(&scene.registry, REPOSITORY, "1.0");
    let host = docker.host();
    let inspect = || {
        let mut command = docker.docker(&reader.clients.docker_config());
        command.args(["image", "inspect", "--format", "{{json .RepoDigests}}", &scene.tag("1.0")]);
        run(&command)
    };

    // What docker alone would have done.
    run(docker.docker(&reader.clients.docker_config()).args(["pull", &scene.tag("1.0")])).ok();
    inspect().ok().stdout_has(&other.digest());

    reader.run_with(&[("DOCKER_HOST", OsStr::new(&host))], ["pull", "--with", "docker", &scene.tag("1.0")]).ok();
    let digests = inspect().ok();
    assert!(!digests.stdout().contains(&other.digest()), "{digests}");
    digests.stdout_has(&scene.image.digest());
}

#[test]
fn podman_gets_the_signed_image_although_the_tag_was_moved() {
    let scene = Scene::signed();
    let reader = scene.reader();
    Image::with_text("another image").push(&scene.registry, REPOSITORY, "1.0");
    let environment = reader.clients.podman_environment();
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_os_str())).collect();
    reader.run_with(&environment, ["pull", "--with", "podman", &scene.tag("1.0")]).ok();
    let mut inspect = reader.clients.podman();
    inspect.args(["image", "inspect", "--format", "{{.Digest}}", &scene.tag("1.0")]);
    assert_eq!(run(&inspect).ok().stdout(), scene.image.digest());
}

#[test]
fn containerd_gets_the_signed_image_although_the_tag_was_moved() {
    let scene = Scene::signed();
    let containerd = Containerd::start();
    let reader = scene.reader();
    Image::with_text("another image").push(&scene.registry, REPOSITORY, "1.0");
    let address = containerd.address();
    let environment = [("CONTAINERD_ADDRESS", address.as_os_str()), ("CONTAINERD_SNAPSHOTTER", OsStr::new("native"))];
    reader.run_with(&environment, ["pull", "--with", "ctr", &scene.tag("1.0")]).ok();
    let images = run(containerd.ctr().args(["images", "list"])).ok();
    let line = images.stdout().lines().find(|line| line.starts_with(&scene.tag("1.0"))).unwrap_or_default().to_owned();
    assert!(line.contains(&scene.image.digest()), "{images}");
}

#[test]
fn our_own_transfer_writes_a_layout_that_others_read() {
    let scene = Scene::signed();
    let reader = scene.reader();
    reader.run(["pull", "--to", "oci:images:1.0", &scene.tag("1.0")]).ok();
    let layout = format!("oci:{}:1.0", reader.work().join("images").display());
    let raw = run(reader.clients.skopeo().args(["inspect", "--raw", &layout])).ok();
    assert_eq!(digest(raw.stdout().as_bytes()), scene.image.digest());
}

#[test]
fn a_moved_tag_is_told_when_asked_for() {
    let scene = Scene::signed();
    let reader = scene.reader();
    reader.run(["verify", "--registry", &scene.tag("1.0")]).ok();
    Image::with_text("another image").push(&scene.registry, REPOSITORY, "1.0");
    reader.run(["verify", &scene.tag("1.0")]).ok().stdout_has(&scene.image.digest());
    reader.run(["verify", "--registry", &scene.tag("1.0")]).code(15);
}

#[test]
fn a_changed_manifest_is_refused() {
    let scene = Scene::signed();
    let reader = scene.reader();
    let mut changed = scene.registry.request(
        "GET",
        &format!("/v2/{REPOSITORY}/manifests/{}", scene.image.digest()),
        &[("Accept", scene.image.media_type())],
        b"",
    );
    changed.body.push(b' ');
    scene.registry.falsify(&scene.image.digest(), &changed.body);
    reader.run(["pull", "--to", "oci:images:1.0", &scene.tag("1.0")]).code(15);
    assert!(!reader.work().join("images/index.json").exists());
}

#[test]
fn a_tag_signed_again_moves_for_every_reader() {
    let scene = Scene::signed();
    let reader = scene.reader();
    reader.run(["verify", &scene.tag("1.0")]).ok().stdout_has(&scene.image.digest());
    let next = scene.publish("1.0", "the next image");
    let verified = reader.run(["verify", &scene.tag("1.0")]).ok().stdout_has(&next.digest());
    assert!(!verified.stdout().contains(&scene.image.digest()), "{verified}");
    // The former digest stays signed, until the policy's time is over.
    reader.run(["verify", &scene.by_digest()]).ok().says("superseded");
}

#[test]
fn a_revoked_tag_no_longer_verifies() {
    let scene = Scene::signed();
    let reader = scene.reader();
    scene.publish("2.0", "another release");
    reader.run(["verify", &scene.tag("1.0")]).ok();
    scene.owner.run(["revoke", "--yes", &scene.tag("1.0")]).ok();
    reader.run(["verify", &scene.tag("1.0")]).code(11);
    reader.run(["verify", &scene.tag("2.0")]).ok();
}

#[test]
fn all_that_is_signed_is_shown() {
    let scene = Scene::signed();
    scene.publish("2.0", "another release");
    let reader = scene.reader();
    let shown = reader.run(["inspect", &scene.name()]).ok();
    shown.stdout_has("1.0").stdout_has("2.0").stdout_has(&scene.image.digest()[7..19]);
    let docker = reader.run(["inspect", "--output", "docker", &scene.name()]).ok();
    let docker: Value = serde_json::from_str(docker.stdout()).expect("docker's form is JSON");
    assert_eq!(docker[0]["SignedTags"].as_array().map(Vec::len), Some(2));
    reader.run(["status", &scene.name()]).ok().says("timestamp");
}

#[test]
fn a_build_s_own_report_is_signed_and_a_wrong_one_is_not() {
    let scene = Scene::signed();
    let image = Image::with_text("built elsewhere");
    image.push(&scene.registry, REPOSITORY, "2.0");
    let file = scene.owner.work().join("digest");
    std::fs::write(&file, scene.image.digest()).expect("a file in our folder is written");
    scene.owner.run(["sign", "--digestfile", "digest", &scene.tag("2.0")]).code(15);
    std::fs::write(&file, image.digest()).expect("a file in our folder is written");
    scene.owner.run(["sign", "--digestfile", "digest", &scene.tag("2.0")]).ok();
    scene.reader().run(["verify", &scene.tag("2.0")]).ok().stdout_has(&image.digest());
}
