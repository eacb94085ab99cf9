//! The main job in one process: init, sign, verify, resolve, and what is refused.

use boltseal::image::Digest;
use boltseal::image::manifest::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use boltseal::ops::error::Error;
use boltseal::registry::Point;
use serde_json::json;

use crate::support::machine::{Machine, exit_of};
use crate::support::registry::TestRegistry;
use crate::support::scene::{Inside, Keys, Scene, owner, push, push_index, reader};

#[tokio::test]
async fn a_signed_image_verifies_on_another_machine_as_what_was_signed() {
    let scene = Scene::start().await;
    let endorsed = scene.reader().verify(&scene.image("1.0")).await.unwrap();
    assert_eq!(endorsed.digest, scene.signed);
    assert_eq!(endorsed.media_type, OCI_MANIFEST);
    assert_eq!(endorsed.signers, ["targets"]);
    assert_eq!(endorsed.superseded, None);
}

#[tokio::test]
async fn a_tag_that_was_moved_in_the_registry_still_stands_for_the_signed_digest() {
    let scene = Scene::start().await;
    push(&*scene.client(), "1.0", "evil").await;
    let reader = scene.reader();
    assert_eq!(reader.verify(&scene.image("1.0")).await.unwrap().digest, scene.signed);
    assert_eq!(reader.compare_exit(&scene.image("1.0")).await, 15);
    scene.repo().set_tag("1.0", scene.signed);
    assert_eq!(reader.compare_exit(&scene.image("1.0")).await, 0);
    scene.repo().remove_tag("1.0");
    assert_eq!(reader.exit(&scene.image("1.0")).await, 0);
    assert_eq!(reader.compare_exit(&scene.image("1.0")).await, 15);
}

#[tokio::test]
async fn an_unsigned_tag_beside_signed_ones_is_not_signed_even_where_it_is_a_signed_image() {
    let scene = Scene::start().await;
    push(&*scene.client(), "2.0", "two").await;
    scene.repo().set_tag("latest", scene.signed);
    let reader = scene.reader();
    for tag in ["2.0", "latest", "absent"] {
        assert_eq!(reader.exit(&scene.image(tag)).await, 11, "{tag}");
    }
}

#[tokio::test]
async fn digests_are_verified_too() {
    let scene = Scene::start().await;
    let unsigned = push(&*scene.client(), "2.0", "two").await;
    let reader = scene.reader();
    let name = &scene.name;
    assert_eq!(reader.verify(&format!("{name}@{}", scene.signed)).await.unwrap().digest, scene.signed);
    assert_eq!(reader.exit(&format!("{name}@{unsigned}")).await, 11);
    assert_eq!(reader.exit(&format!("{name}:1.0@{}", scene.signed)).await, 0);
    assert_eq!(reader.exit(&format!("{name}:1.0@{unsigned}")).await, 15);
    assert_eq!(reader.exit(&format!("{name}:2.0@{}", scene.signed)).await, 11);
}

#[tokio::test]
async fn an_index_is_signed_with_its_children_in_oci_and_docker_types() {
    let scene = Scene::start().await;
    let (index, children) = push_index(&*scene.client(), "multi", "multi").await;
    let docker_child = json!({"schemaVersion": 2, "mediaType": DOCKER_MANIFEST,
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": Digest::of(b"{}"), "size": 2},
        "layers": []});
    let child = scene.repo().push_untagged(DOCKER_MANIFEST, docker_child.to_string());
    let list = json!({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [{"mediaType": DOCKER_MANIFEST,
        "digest": child, "size": docker_child.to_string().len(), "platform": {"os": "linux", "architecture": "amd64"}}]});
    let list = scene.repo().push("list", DOCKER_LIST, list.to_string());
    let single = scene.repo().push("docker", DOCKER_MANIFEST, format!("{docker_child} "));
    let (multi, listed, one) = (scene.image("multi"), scene.image("list"), scene.image("docker"));
    scene.owner.sign(&[&multi, &listed, &one]).await.unwrap();

    let reader = scene.reader();
    let media_type = async |image: &str| reader.verify(image).await.unwrap().media_type;
    assert_eq!(media_type(&multi).await, OCI_INDEX);
    assert_eq!(media_type(&listed).await, DOCKER_LIST);
    assert_eq!(media_type(&one).await, DOCKER_MANIFEST);
    for digest in [index, children[0], children[1], list, child, single] {
        assert_eq!(reader.exit(&format!("{}@{digest}", scene.name)).await, 0, "{digest}");
    }
}

#[tokio::test]
async fn what_is_no_image_is_not_signed_and_nothing_is_published() {
    let scene = Scene::start().await;
    let schema1 = json!({"schemaVersion": 1, "name": "acme/app", "tag": "old", "fsLayers": [], "history": []});
    let artifact = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": "application/x-sbom",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest::of(b"{}"), "size": 2},
        "layers": []});
    let repo = scene.repo();
    repo.push("old", "application/vnd.docker.distribution.manifest.v1+prettyjws", schema1.to_string());
    repo.push("sbom", OCI_MANIFEST, artifact.to_string());
    repo.push("junk", OCI_MANIFEST, "not json");
    repo.push("both", OCI_INDEX, json!({"schemaVersion": 2, "manifests": [], "layers": []}).to_string());
    let before = repo.snapshot();
    for (tag, words) in [("old", "schema 1"), ("sbom", "artifact"), ("junk", "malformed"), ("both", "layers")] {
        let error = scene.owner.sign(&[&scene.image(tag)]).await.unwrap_err();
        assert!(matches!(&error, Error::Manifest { .. }), "{tag}: {error}");
        assert!(error.to_string().contains(words), "{tag}: {error}");
    }
    assert!(scene.owner.sign(&[&scene.image("trust.tuf")]).await.is_err());
    assert!(scene.owner.sign(&[&scene.image("absent")]).await.is_err());
    assert!(repo.snapshot() == before, "a refused signing wrote something");
}

#[tokio::test]
async fn signing_a_digest_that_the_tag_does_not_hold_is_refused() {
    let scene = Scene::start().await;
    let other = push(&*scene.client(), "2.0", "two").await;
    let result = scene.owner.sign(&[&format!("{}:1.0@{other}", scene.name)]).await;
    assert_eq!(exit_of(&result), 15);
}

#[tokio::test]
async fn signing_what_is_signed_already_publishes_nothing() {
    let scene = Scene::start().await;
    let before = scene.repo().snapshot();
    let signed = scene.owner.sign(&[&scene.image("1.0")]).await.unwrap();
    assert!(signed[0].already);
    assert!(scene.repo().snapshot() == before);
}

#[tokio::test]
async fn a_former_digest_of_a_tag_stays_signed_and_is_told_to_be_superseded() {
    let scene = Scene::start().await;
    let new = scene.sign("1.0", "two").await;
    let reader = scene.reader();
    assert_eq!(reader.verify(&scene.image("1.0")).await.unwrap().digest, new);
    let pinned = format!("{}:1.0@{}", scene.name, scene.signed);
    let former = reader.verify(&pinned).await.unwrap();
    assert_eq!(former.digest, scene.signed);
    assert!(former.superseded.is_some());
    assert!(reader.verify(&format!("{}@{}", scene.name, scene.signed)).await.unwrap().superseded.is_some());
}

#[tokio::test]
async fn superseding_at_once_takes_the_former_digest_back() {
    let scene = Scene::start().await;
    push(&*scene.client(), "1.0", "two").await;
    let options = boltseal::ops::sign::Options { supersede: true, ..Default::default() };
    scene.owner.sign_with(&[&scene.image("1.0")], &options).await.unwrap();
    let reader = scene.reader();
    assert_eq!(reader.exit(&format!("{}:1.0@{}", scene.name, scene.signed)).await, 15);
    assert_eq!(reader.exit(&format!("{}@{}", scene.name, scene.signed)).await, 11);
}

#[tokio::test]
async fn what_was_revoked_no_longer_verifies_by_tag_or_digest() {
    let scene = Scene::start().await;
    let reader = scene.reader();
    assert_eq!(reader.exit(&scene.image("1.0")).await, 0);
    scene.owner.revoke(&scene.image("1.0")).await.unwrap();
    assert_eq!(reader.exit(&scene.image("1.0")).await, 11);
    assert_eq!(reader.exit(&format!("{}@{}", scene.name, scene.signed)).await, 11);
    assert_eq!(exit_of(&scene.owner.revoke(&scene.image("1.0")).await), 11);
}

#[tokio::test]
async fn a_warm_verification_of_nothing_new_is_one_request_without_a_body() {
    let scene = Scene::start().await;
    let reader = scene.reader();
    reader.verify(&scene.image("1.0")).await.unwrap();
    scene.registry.clear_log();
    reader.verify(&scene.image("1.0")).await.unwrap();
    assert_eq!(scene.registry.lines(), ["GET /v2/acme/app/manifests/trust.tuf 304"]);
    assert_eq!(scene.registry.log()[0].sent, 0);
}

#[tokio::test]
async fn a_registry_without_entity_tags_is_asked_for_the_digest_alone() {
    let scene = Scene::start().await;
    scene.registry.with(|m| m.etag = false);
    let reader = scene.reader();
    reader.verify(&scene.image("1.0")).await.unwrap();
    scene.registry.clear_log();
    reader.verify(&scene.image("1.0")).await.unwrap();
    assert_eq!(scene.registry.lines(), ["HEAD /v2/acme/app/manifests/trust.tuf 200"]);
    scene.sign("2.0", "two").await;
    assert_eq!(reader.exit(&scene.image("2.0")).await, 0);
}

#[tokio::test]
async fn a_second_init_is_refused_and_leaves_the_collection_as_it_is() {
    let scene = Scene::start().await;
    let before = scene.repo().snapshot();
    let rival = Machine::new(&scene.net);
    let error = rival.init(&scene.name).await.unwrap_err();
    assert!(matches!(error, Error::Exists { .. }), "{error}");
    assert!(scene.repo().snapshot() == before);
}

#[tokio::test]
async fn a_collection_that_this_machine_remembers_is_not_made_anew_when_it_vanished() {
    let scene = Scene::start().await;
    scene.repo().remove_tag("trust.tuf");
    let before = scene.repo().snapshot();
    assert_eq!(exit_of(&scene.owner.init(&scene.name).await), 14);
    assert!(scene.repo().snapshot() == before);
}

#[tokio::test]
async fn an_unsigned_repository_has_no_trust_data_and_a_loopback_alias_is_hinted_at() {
    let scene = Scene::start().await;
    let alias = scene.name.to_string().replace("127.0.0.1", "localhost");
    let keys = &scene.keys;
    let reader = scene.reader();
    reader.trusts("localhost:*/**", &keys.root.id(), "");
    reader.verify(&scene.image("1.0")).await.unwrap();
    // The registry holds the repository under both names; the metadata speaks for one.
    assert_eq!(reader.exit(&format!("{alias}:1.0")).await, 12);
    scene.repo().remove_tag("trust.tuf");
    let error = reader.verify(&format!("{alias}:1.0")).await.unwrap_err();
    match &*error {
        Error::NoTrustData { alias: Some(known), .. } => assert_eq!(known, &scene.name),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn an_empty_registry_says_no_trust_data_and_never_that_unsigned_is_fine() {
    let registry = TestRegistry::start();
    let net = crate::support::machine::Net::new();
    let name = format!("{}/acme/app", registry.host()).parse().unwrap();
    let keys = Keys::generate();
    assert_eq!(reader(&net, &name, &keys).exit(&format!("{name}:1.0")).await, 10);
    assert_eq!(exit_of(&owner(&net, &name, &keys).sign(&[&format!("{name}:1.0")]).await), 1);
    push(&*net.repository(&name), "1.0", "one").await;
    assert_eq!(exit_of(&owner(&net, &name, &keys).sign(&[&format!("{name}:1.0")]).await), 10);
}

#[tokio::test]
async fn two_verifications_at_once_and_two_signings_at_once_all_succeed() {
    let scene = Inside::start(4).await;
    let reader = scene.reader();
    let image = scene.image("1.0");
    let (one, two) = futures_util::future::join(reader.verify(&image), reader.verify(&image)).await;
    assert!(one.is_ok() && two.is_ok());
    let (a, b) = (scene.publisher(), scene.publisher());
    let (t0, t1, t2, t3) = (scene.image("t0"), scene.image("t1"), scene.image("t2"), scene.image("t3"));
    let (one, two) = futures_util::future::join(a.sign(&[&t0]), b.sign(&[&t1])).await;
    assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
    // One machine twice at once: its memory is written by both.
    let (one, two) = futures_util::future::join(a.sign(&[&t2]), a.sign(&[&t3])).await;
    assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
    for tag in ["1.0", "t0", "t1", "t2", "t3"] {
        assert_eq!(reader.exit(&scene.image(tag)).await, 0, "{tag}");
    }
}

#[tokio::test]
async fn a_publisher_without_the_targets_key_signs_nothing() {
    let scene = Scene::start().await;
    push(&*scene.client(), "2.0", "two").await;
    let before = scene.repo().snapshot();
    let result = scene.reader().sign(&[&scene.image("2.0")]).await;
    assert_eq!(exit_of(&result), 30);
    assert!(scene.repo().snapshot() == before);
    let point = Point::Tag("2.0".parse().unwrap());
    assert!(scene.client().manifest_head(&point).await.is_ok());
}
