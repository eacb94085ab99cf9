//! Indexes over several platforms, and docker's media types.

use std::ffi::OsStr;

use crate::image::{Dialect, Image, put_manifest};
use crate::process::run;
use crate::scene::{REPOSITORY, Scene};
use crate::servers::Dockerd;

#[test]
fn an_index_is_signed_with_the_images_it_lists() {
    for dialect in [Dialect::Oci, Dialect::Docker] {
        let scene = Scene::with(Image::index(dialect, &["amd64", "arm64", "s390x"], "many platforms"));
        let reader = scene.reader();
        reader.run(["verify", &scene.tag("1.0")]).ok().stdout_has(&scene.image.digest());
        for child in scene.image.children() {
            reader.run(["verify", &format!("{}@{}", scene.name(), child.digest())]).ok();
        }
        let stranger = Image::with_text("not in the index");
        reader.run(["verify", &format!("{}@{}", scene.name(), stranger.digest())]).code(11);
    }
}

#[test]
fn docker_gets_its_platform_of_a_signed_index() {
    let scene = Scene::with(Image::index(Dialect::Oci, &["amd64", "arm64"], "many platforms"));
    let docker = Dockerd::start();
    let reader = scene.reader();
    let host = docker.host();
    reader.run_with(&[("DOCKER_HOST", OsStr::new(&host))], ["pull", "--with", "docker", &scene.tag("1.0")]).ok();
    let mut inspect = docker.docker(&reader.clients.docker_config());
    inspect.args(["image", "inspect", "--format", "{{json .RepoDigests}} {{.Architecture}}", &scene.tag("1.0")]);
    run(&inspect).ok().stdout_has(&scene.image.digest());
}

#[test]
fn an_index_arrives_whole_in_a_layout() {
    let scene = Scene::with(Image::index(Dialect::Docker, &["amd64", "arm64"], "many platforms"));
    let reader = scene.reader();
    reader.run(["pull", "--to", "oci:images:1.0", &scene.tag("1.0")]).ok();
    let blobs = reader.work().join("images/blobs/sha256");
    for child in scene.image.children() {
        assert!(blobs.join(&child.digest()[7..]).exists());
    }
    assert!(blobs.join(&scene.image.digest()[7..]).exists());
}

#[test]
fn docker_s_own_media_types_are_signed_and_pulled() {
    let scene = Scene::with(Image::docker("schema 2"));
    let docker = Dockerd::start();
    let reader = scene.reader();
    let host = docker.host();
    reader.run_with(&[("DOCKER_HOST", OsStr::new(&host))], ["pull", "--with", "docker", &scene.tag("1.0")]).ok();
    let mut inspect = docker.docker(&reader.clients.docker_config());
    inspect.args(["image", "inspect", "--format", "{{json .RepoDigests}}", &scene.tag("1.0")]);
    run(&inspect).ok().stdout_has(&scene.image.digest());
}

#[test]
fn what_is_no_image_is_not_signed() {
    let scene = Scene::signed();
    let empty = br"{}";
    let begun = scene.registry.request("POST", &format!("/v2/{REPOSITORY}/blobs/uploads/"), &[], b"");
    let location = begun.header("location").expect("an upload has a location").to_owned();
    let path = location.find("/v2/").map_or(location.as_str(), |at| &location[at..]);
    let digest = crate::image::digest(empty);
    scene.registry.request("PUT", &format!("{path}&digest={digest}"), &[], empty);
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type, "artifactType": "application/vnd.example.report",
        "config": { "mediaType": "application/vnd.oci.empty.v1+json", "size": 2, "digest": digest }, "layers": [],
    });
    put_manifest(&scene.registry, REPOSITORY, "report", media_type, manifest.to_string().as_bytes());
    scene.owner.run(["sign", &scene.tag("report")]).fails().says("image");
    scene.owner.run(["sign", &scene.tag("trust.tuf")]).fails().says("trust.tuf");
}
