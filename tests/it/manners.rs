//! Signing, revoking and refreshing on registries that lack something.

use boltseal::image::ImageName;
use boltseal::keystore::Purpose;
use jiff::SignedDuration;

use crate::support::machine::{Machine, Net, exit_of};
use crate::support::registry::{Manners, TestRegistry};
use crate::support::scene::{Keys, Scene, owner, push};

/// The main job from one end to the other, with a second publisher who finds what the first left.
async fn the_main_job_works(scene: &Scene) {
    let publisher = owner(&scene.net, &scene.name, &scene.keys);
    let reader = scene.reader();
    assert_eq!(reader.exit(&scene.image("1.0")).await, 0);
    let next = scene.sign("2.0", "two").await;
    assert_eq!(reader.verify(&scene.image("2.0")).await.unwrap().digest, next);
    let moved = push(&*scene.client(), "2.0", "three").await;
    publisher.sign(&[&scene.image("2.0")]).await.unwrap();
    assert_eq!(reader.verify(&scene.image("2.0")).await.unwrap().digest, moved);
    publisher.revoke(&scene.image("2.0")).await.unwrap();
    scene.owner.refresh(&scene.name).await.unwrap();
    assert_eq!(reader.exit(&scene.image("2.0")).await, 11);
    assert_eq!(scene.reader().exit(&scene.image("1.0")).await, 0);
}

fn intents(scene: &Scene) -> usize {
    scene.repo().snapshot().tags.keys().filter(|tag| tag.starts_with("trust.tuf.i-")).count()
}

#[tokio::test]
async fn registries_without_entity_tags_referrers_or_delete_will_do() {
    let lacks: [fn(&mut Manners); 4] = [
        |manners| manners.etag = false,
        |manners| manners.referrers = false,
        |manners| manners.delete = false,
        |manners| (manners.etag, manners.referrers, manners.delete) = (false, false, false),
    ];
    for lack in lacks {
        let scene = Scene::start().await;
        scene.registry.with(lack);
        the_main_job_works(&scene).await;
    }
}

#[tokio::test]
async fn a_registry_that_honours_conditions_on_puts_will_do() {
    let scene = Scene::start().await;
    scene.registry.with(|manners| manners.if_match = true);
    the_main_job_works(&scene).await;
}

#[tokio::test]
async fn where_nothing_can_be_deleted_dead_intents_are_not_even_read() {
    let scene = Scene::start().await;
    scene.registry.with(|manners| manners.delete = false);
    for number in 0..8 {
        scene.sign(&format!("t{number}"), &format!("image {number}")).await;
    }
    scene.owner.pass(SignedDuration::from_hours(2));
    scene.owner.refresh(&scene.name).await.unwrap();
    assert_eq!(intents(&scene), 9);
    scene.owner.pass(SignedDuration::from_hours(24 * 8));
    scene.registry.clear_log();
    scene.owner.refresh(&scene.name).await.unwrap();
    let read = scene.registry.lines().into_iter().filter(|line| line.starts_with("GET") && line.contains("tuf.i-"));
    // One is looked at to be removed, and with the refusal that is all.
    assert!(read.count() <= 1);
}

#[tokio::test]
async fn dead_intents_are_removed_where_that_can_be_done() {
    let scene = Scene::start().await;
    for number in 0..8 {
        scene.sign(&format!("t{number}"), &format!("image {number}")).await;
    }
    assert_eq!(intents(&scene), 9);
    scene.owner.pass(SignedDuration::from_hours(2));
    scene.owner.refresh(&scene.name).await.unwrap();
    assert_eq!(intents(&scene), 0);
    assert_eq!(scene.reader().exit(&scene.image("t7")).await, 0);
}

#[tokio::test]
async fn where_tags_cannot_move_another_repository_holds_the_trust_data() {
    let (images, elsewhere) = (TestRegistry::start(), TestRegistry::start());
    images.with(|manners| manners.immutable_tags = true);
    let net = Net::new();
    let name: ImageName = format!("{}/acme/app", images.host()).parse().unwrap();
    let keys = Keys::generate();
    let machine = || {
        let machine = Machine::new(&net);
        let trust = format!("trust_repository = \"{}/acme/trust\"", elsewhere.host());
        machine.trusts(&name.to_string(), &keys.root.id(), &trust);
        machine
    };
    let publisher = machine();
    publisher.hold(&keys.root, Purpose::Root, None);
    publisher.hold(&keys.targets, Purpose::Targets, Some(&name));
    publisher.hold(&keys.online, Purpose::Online, Some(&name));
    publisher.init(&name).await.unwrap();
    let reader = machine();
    for tag in ["1.0", "2.0", "3.0"] {
        let digest = push(&*net.repository(&name), tag, tag).await;
        let image = format!("{name}:{tag}");
        publisher.sign(&[&image]).await.unwrap();
        assert_eq!(reader.verify(&image).await.unwrap().digest, digest);
    }
    publisher.revoke(&format!("{name}:1.0")).await.unwrap();
    assert_eq!(reader.exit(&format!("{name}:1.0")).await, 11);
    assert!(images.repo("acme/app").snapshot().tags.keys().all(|tag| !tag.starts_with("trust.tuf")));
}

#[tokio::test]
async fn where_the_head_cannot_move_nothing_is_said_to_be_signed() {
    let scene = Scene::start().await;
    scene.registry.with(|manners| manners.immutable_tags = true);
    push(&*scene.client(), "new", "new").await;
    assert_ne!(exit_of(&scene.owner.sign(&[&scene.image("new")]).await), 0);
    assert_eq!(scene.reader().exit(&scene.image("new")).await, 11);
}
