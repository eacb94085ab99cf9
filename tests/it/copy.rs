//! Trust travels with images: to another registry, through a layout and a bundle, and back.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use boltseal::image::{Digest, ImageName, Tag};
use boltseal::ops::bundle;
use boltseal::ops::copy::{self, Copied, Request, Watch};
use boltseal::ops::error::Error;
use boltseal::ops::transfer::{Progress, Unwatched};
use boltseal::registry::memory::{Content, MemoryRepository, Verb};
use boltseal::registry::{Conditional, Point, Repository};
use boltseal::trust::policy::Location;

use crate::support::machine::{Machine, days, exit, exit_of};
use crate::support::scene::{Scene, push, push_index};

struct Nobody;

impl Watch for Nobody {
    fn image(&self, _tag: &Tag) -> Arc<dyn Progress> {
        Arc::new(Unwatched)
    }
}

fn mirror() -> ImageName {
    "mirror.internal/acme/app".parse().unwrap()
}

fn at(name: &ImageName) -> Location {
    Location::Repository(name.clone())
}

fn folder(path: &Path) -> Location {
    Location::Layout(path.display().to_string())
}

/// `copy SRC DST`, where `from` is a copy of the images or none for where the policy says.
async fn copy(
    machine: &Machine,
    name: &ImageName,
    from: Option<Location>,
    to: Location,
    tags: &[&str],
) -> Result<Copied, Error> {
    let tags: BTreeSet<Tag> = tags.iter().map(|tag| tag.parse().unwrap()).collect();
    let request = Request { name: name.clone(), from, to, tags };
    machine.run(async |world, _| copy::copy(world, &request, &Nobody).await).await
}

/// What a place holds under a tag.
async fn digest(repository: &dyn Repository, tag: &str) -> Option<Digest> {
    match repository.manifest(&Point::Tag(tag.parse().unwrap()), None, 4 << 20).await {
        Ok(Conditional::Modified(manifest)) => Some(manifest.digest),
        _ => None,
    }
}

/// A signed collection, and an empty repository to copy it to.
async fn scene() -> (Scene, MemoryRepository) {
    let scene = Scene::start().await;
    let there = scene.net.inside(&mirror());
    (scene, there)
}

/// A machine that trusts the root and finds the images at the mirror.
fn mirrored(scene: &Scene) -> Machine {
    let machine = scene.reader();
    machine.policy(&format!("[[mirror]]\nlocation = \"{}\"\nof = \"{}\"\n", mirror(), scene.name));
    machine
}

#[tokio::test]
async fn a_copy_verifies_under_the_image_s_own_name_through_a_mirror_and_under_no_other() {
    let (scene, there) = scene().await;
    let two = scene.sign("2.0", "two").await;
    let copied = copy(&scene.reader(), &scene.name, None, at(&mirror()), &[]).await.unwrap();
    assert_eq!(copied.mirrors, [(mirror().to_string(), scene.name.to_string())]);
    assert_eq!(digest(&there, "trust.tuf").await, Some(copied.head));
    let reader = mirrored(&scene);
    scene.registry.clear_log();
    assert_eq!(reader.verify(&scene.image("1.0")).await.unwrap().digest, scene.signed);
    assert_eq!(reader.compare(&scene.image("2.0")).await.unwrap().digest, two);
    assert!(scene.registry.lines().is_empty(), "the bytes come from the mirror alone");
    let stranger = Machine::new(&scene.net);
    stranger.trusts(&mirror().to_string(), &scene.keys.root.id(), "");
    assert_eq!(stranger.exit(&format!("{}:1.0", mirror())).await, 12);
}

#[tokio::test]
async fn an_index_is_copied_with_all_that_it_lists() {
    let (scene, there) = scene().await;
    let (index, children) = push_index(&*scene.client(), "multi", "many").await;
    scene.owner.sign(&[&scene.image("multi")]).await.unwrap();
    copy(&scene.reader(), &scene.name, None, at(&mirror()), &["multi"]).await.unwrap();
    assert_eq!(digest(&there, "multi").await, Some(index));
    for child in children {
        assert!(there.manifest(&Point::Digest(child), None, 4 << 20).await.is_ok());
    }
    assert_eq!(digest(&there, "1.0").await, None, "it was not named");
}

#[tokio::test]
async fn what_is_not_signed_stays_behind_and_a_moved_tag_is_copied_as_signed() {
    let (scene, there) = scene().await;
    push(&*scene.client(), "dirty", "unsigned").await;
    push(&*scene.client(), "1.0", "evil").await;
    let copied = copy(&scene.reader(), &scene.name, None, at(&mirror()), &[]).await.unwrap();
    let left: Vec<&str> = copied.left.iter().map(|(tag, _)| tag.as_str()).collect();
    assert_eq!(left, ["dirty"]);
    assert_eq!(digest(&there, "dirty").await, None);
    assert_eq!(digest(&there, "1.0").await, Some(scene.signed));
    let named = copy(&scene.reader(), &scene.name, None, at(&mirror()), &["dirty"]).await;
    assert_eq!(exit_of(&named), 11);
}

#[tokio::test]
async fn a_signed_tag_that_the_registry_lists_no_more_is_copied_all_the_same() {
    let (scene, there) = scene().await;
    scene.repo().remove_tag("1.0");
    copy(&scene.reader(), &scene.name, None, at(&mirror()), &[]).await.unwrap();
    assert_eq!(digest(&there, "1.0").await, Some(scene.signed));
}

#[tokio::test]
async fn nothing_is_copied_that_this_machine_would_not_trust() {
    let (scene, there) = scene().await;
    let reader = scene.reader();
    reader.pass(days(60));
    assert_eq!(exit_of(&copy(&reader, &scene.name, None, at(&mirror()), &[]).await), 13);
    let stranger = Machine::new(&scene.net);
    assert_eq!(exit_of(&copy(&stranger, &scene.name, None, at(&mirror()), &[]).await), 16);
    assert!(there.content().manifests.is_empty());
}

#[tokio::test]
async fn whenever_a_copy_is_cut_off_no_trust_data_stand_without_their_images() {
    let (scene, there) = scene().await;
    scene.sign("2.0", "two").await;
    for nth in 0..20 {
        there.restore(Content::default());
        let gone =
            boltseal::registry::Error::Unreachable { location: mirror().to_string(), message: "gone".to_owned() };
        there.fail(Verb::PutManifest, nth, gone);
        let outcome = copy(&scene.reader(), &scene.name, None, at(&mirror()), &[]).await;
        let trusted = digest(&there, "trust.tuf").await.is_some();
        if outcome.is_ok() {
            assert!(trusted && nth >= 3, "two images and the head take three writes at least");
            return;
        }
        assert!(!trusted, "write {nth} failed");
    }
    panic!("the copy never came to its end");
}

#[tokio::test]
async fn older_trust_data_are_replaced_equal_ones_kept_and_newer_ones_never_touched() {
    let (scene, there) = scene().await;
    let reader = scene.reader();
    copy(&reader, &scene.name, None, at(&mirror()), &[]).await.unwrap();
    let old = there.content();
    assert!(copy(&reader, &scene.name, None, at(&mirror()), &[]).await.unwrap().trust_was_there);

    scene.sign("2.0", "two").await;
    let copied = copy(&reader, &scene.name, None, at(&mirror()), &[]).await.unwrap();
    assert!(!copied.trust_was_there);
    assert_eq!(digest(&there, "trust.tuf").await, Some(copied.head));

    // The first state again, from a copy that was made of it, by somebody who saw no other.
    let early: ImageName = "early.internal/acme/app".parse().unwrap();
    scene.net.inside(&early).restore(old);
    let refused = copy(&scene.reader(), &scene.name, Some(at(&early)), at(&mirror()), &[]).await.unwrap_err();
    assert!(matches!(refused, Error::Newer { .. }) && exit(&refused) == 14, "{refused}");
    assert_eq!(digest(&there, "trust.tuf").await, Some(copied.head));
    // And by somebody who remembers better: the source itself is a rollback.
    assert_eq!(exit_of(&copy(&reader, &scene.name, Some(at(&early)), at(&mirror()), &[]).await), 14);
}

#[tokio::test]
async fn trust_data_of_another_collection_are_never_replaced() {
    let (scene, there) = scene().await;
    let other = Scene::start().await;
    other.net.inside(&mirror());
    let squatter = copy(&other.reader(), &other.name, None, at(&mirror()), &[]).await;
    // Each scene has a net of its own, so the content is carried over.
    squatter.unwrap();
    there.restore(other.net.inside(&mirror()).content());
    let before = digest(&there, "trust.tuf").await;
    let refused = copy(&scene.reader(), &scene.name, None, at(&mirror()), &[]).await.unwrap_err();
    assert!(matches!(refused, Error::Occupied { .. }) && exit(&refused) == 12, "{refused}");
    assert_eq!(digest(&there, "trust.tuf").await, before);
}

#[tokio::test]
async fn an_image_goes_out_through_a_layout_and_a_bundle_and_back_into_a_registry() {
    let (scene, there) = scene().await;
    let disk = tempfile::tempdir().unwrap();
    let (out, back) = (disk.path().join("out"), disk.path().join("back"));
    copy(&scene.reader(), &scene.name, None, folder(&out), &[]).await.unwrap();
    bundle::write(&out, &disk.path().join("app.tar")).unwrap();
    bundle::unpack(&disk.path().join("app.tar"), &back).unwrap();

    let inside = scene.reader();
    let copied = copy(&inside, &scene.name, Some(folder(&back)), at(&mirror()), &[]).await.unwrap();
    assert_eq!(copied.images.len(), 1);
    assert_eq!(digest(&there, "1.0").await, Some(scene.signed));
    assert_eq!(mirrored(&scene).compare_exit(&scene.image("1.0")).await, 0);
    assert_eq!(digest(&there, "trust.tuf").await, digest(&*scene.client(), "trust.tuf").await, "byte for byte");
}

#[tokio::test]
async fn a_spoilt_blob_in_a_bundle_is_noticed_before_trust_data_arrive() {
    let (scene, there) = scene().await;
    let disk = tempfile::tempdir().unwrap();
    let out = disk.path().join("out");
    copy(&scene.reader(), &scene.name, None, folder(&out), &[]).await.unwrap();
    let blob = out.join("blobs/sha256").join(scene.signed.hex());
    let mut bytes = std::fs::read(&blob).unwrap();
    bytes[10] ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    let failed = copy(&scene.reader(), &scene.name, Some(folder(&out)), at(&mirror()), &[]).await;
    assert_eq!(exit_of(&failed), 15);
    assert_eq!(digest(&there, "trust.tuf").await, None);
}

#[tokio::test]
async fn a_place_is_not_copied_onto_itself() {
    let (scene, _) = scene().await;
    let same = copy(&scene.reader(), &scene.name, None, at(&scene.name), &[]).await;
    assert_eq!(exit_of(&same), 2);
}
