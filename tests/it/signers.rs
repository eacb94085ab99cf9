//! Signers: who else may sign, what their word counts for, and how it ends.

use boltseal::keystore::{Algorithm, PrivateKey, Purpose, Signer as _};
use boltseal::ops::error::Error;
use boltseal::ops::sign::Options;
use boltseal::ops::signer as ops;
use boltseal::trust::signer::Signer;

use crate::support::machine::{Machine, days, exit_of};
use crate::support::scene::{Inside, push};

fn key() -> PrivateKey {
    PrivateKey::generate(Algorithm::Ed25519).unwrap()
}

fn signer(name: &str, keys: &[&PrivateKey], threshold: u32, tags: &[&str]) -> Signer {
    let keys = keys.iter().map(|key| key.key().clone()).collect();
    Signer { name: name.to_owned(), keys, threshold, tags: tags.iter().map(|tag| (*tag).to_owned()).collect() }
}

async fn add(scene: &Inside, signer: Signer) -> Result<Vec<ops::Listed>, Error> {
    scene.owner.run(async |world, ring| ops::add(world, ring, &scene.name, None, signer).await).await
}

async fn remove(scene: &Inside, signer: &str) -> Result<Vec<ops::Listed>, Error> {
    scene.owner.run(async |world, ring| ops::remove(world, ring, &scene.name, None, signer).await).await
}

/// A machine that holds a signer's key and the online key, and no targets key.
fn pipeline(scene: &Inside, name: &str, keys: &[&PrivateKey]) -> Machine {
    let machine = scene.reader();
    machine.hold(&scene.keys.online, Purpose::Online, Some(&scene.name));
    for key in keys {
        machine.hold(key, Purpose::Signer(name.to_owned()), None);
    }
    machine
}

#[tokio::test]
async fn a_signer_signs_alone_and_every_verdict_names_him() {
    let scene = Inside::start(0).await;
    let alice = key();
    let listed = add(&scene, signer("alice", &[&alice], 1, &["release-*"])).await.unwrap();
    assert_eq!((listed.len(), listed[0].signed), (1, None), "nothing is signed yet");
    let before = scene.reader();
    assert_eq!(before.exit(&scene.image("1.0")).await, 0, "a signer who has signed nothing is in nobody's way");

    let digest = push(&scene.repository, "release-1", "one of alice").await;
    pipeline(&scene, "alice", &[&alice]).sign(&[&scene.image("release-1")]).await.unwrap();
    for reader in [scene.reader(), before] {
        let endorsed = reader.verify(&scene.image("release-1")).await.unwrap();
        assert_eq!((endorsed.digest, endorsed.signers), (digest, vec!["alice".to_owned()]));
        let by_digest = reader.verify(&format!("{}@{digest}", scene.name)).await.unwrap();
        assert_eq!(by_digest.signers, ["alice"]);
        assert_eq!(reader.verify(&scene.image("1.0")).await.unwrap().signers, ["targets"]);
    }
}

#[tokio::test]
async fn a_signer_cannot_sign_beyond_its_tags() {
    let scene = Inside::start(1).await;
    let alice = key();
    add(&scene, signer("alice", &[&alice], 1, &["release-*"])).await.unwrap();
    let machine = pipeline(&scene, "alice", &[&alice]);
    let refused = machine.sign(&[&scene.image("t0")]).await;
    assert_eq!(exit_of(&refused), 30, "the targets keys would have to: {refused:?}");
    let chosen = Options { role: Some("alice".to_owned()), ..Options::default() };
    assert_eq!(exit_of(&machine.sign_with(&[&scene.image("t0")], &chosen).await), 2);
    assert_eq!(scene.reader().exit(&scene.image("t0")).await, 11);
}

#[tokio::test]
async fn a_signer_of_two_keys_needs_both() {
    let scene = Inside::start(1).await;
    let (one, other) = (key(), key());
    add(&scene, signer("pair", &[&one, &other], 2, &["t*"])).await.unwrap();
    let alone = pipeline(&scene, "pair", &[&one]);
    assert_eq!(exit_of(&alone.sign(&[&scene.image("t0")]).await), 30);
    pipeline(&scene, "pair", &[&one, &other]).sign(&[&scene.image("t0")]).await.unwrap();
    assert_eq!(scene.reader().verify(&scene.image("t0")).await.unwrap().signers, ["pair"]);
}

#[tokio::test]
async fn a_removed_signer_no_longer_counts_and_the_others_go_on() {
    let scene = Inside::start(2).await;
    let alice = key();
    add(&scene, signer("alice", &[&alice], 1, &["t*"])).await.unwrap();
    let machine = pipeline(&scene, "alice", &[&alice]);
    machine.sign(&[&scene.image("t0")]).await.unwrap();
    let reader = scene.reader();
    assert_eq!(reader.exit(&scene.image("t0")).await, 0);
    assert!(remove(&scene, "alice").await.unwrap().is_empty());
    assert_eq!(reader.exit(&scene.image("t0")).await, 11);
    assert_eq!(scene.reader().exit(&scene.image("t0")).await, 11);
    assert_eq!(exit_of(&machine.sign(&[&scene.image("t1")]).await), 30);
    scene.owner.sign(&[&scene.image("t1")]).await.unwrap();
    assert_eq!(reader.verify(&scene.image("t1")).await.unwrap().signers, ["targets"]);
    assert_eq!(exit_of(&remove(&scene, "alice").await), 2, "there is no such signer any more");
}

#[tokio::test]
async fn a_signer_may_come_back_under_its_name_with_another_key() {
    let scene = Inside::start(2).await;
    let (stolen, new) = (key(), key());
    add(&scene, signer("ci", &[&stolen], 1, &["t*"])).await.unwrap();
    pipeline(&scene, "ci", &[&stolen]).sign(&[&scene.image("t0")]).await.unwrap();
    let reader = scene.reader();
    assert_eq!(reader.exit(&scene.image("t0")).await, 0);
    add(&scene, signer("ci", &[&new], 1, &["t*"])).await.unwrap();
    assert_eq!(reader.exit(&scene.image("t0")).await, 12, "what the former key signed has no voice");
    pipeline(&scene, "ci", &[&new]).sign(&[&scene.image("t0"), &scene.image("t1")]).await.unwrap();
    assert_eq!(reader.verify(&scene.image("t1")).await.unwrap().signers, ["ci"]);
    assert_eq!(exit_of(&pipeline(&scene, "ci", &[&stolen]).sign(&[&scene.image("t0")]).await), 30);
}

#[tokio::test]
async fn what_only_a_signer_vouches_for_is_revoked_by_the_targets_keys_and_signed_again_by_them_too() {
    let scene = Inside::start(1).await;
    let alice = key();
    add(&scene, signer("alice", &[&alice], 1, &["t*"])).await.unwrap();
    let machine = pipeline(&scene, "alice", &[&alice]);
    machine.sign(&[&scene.image("t0")]).await.unwrap();
    let digest = scene.reader().verify(&scene.image("t0")).await.unwrap().digest;
    scene.owner.revoke(&scene.image("t0")).await.unwrap();
    let reader = scene.reader();
    for image in [scene.image("t0"), format!("{}@{digest}", scene.name)] {
        assert_eq!(reader.exit(&image).await, 11, "{image}");
    }
    assert_eq!(exit_of(&machine.sign(&[&scene.image("t0")]).await), 30, "alice cannot lift what the targets keys said");
    scene.owner.hold(&alice, Purpose::Signer("alice".to_owned()), None);
    scene.owner.sign(&[&scene.image("t0")]).await.unwrap();
    assert_eq!(reader.verify(&scene.image("t0")).await.unwrap().signers, ["alice"]);
}

#[tokio::test]
async fn a_signer_revokes_its_own_word_without_the_targets_keys() {
    let scene = Inside::start(1).await;
    let alice = key();
    add(&scene, signer("alice", &[&alice], 1, &["t*"])).await.unwrap();
    let machine = pipeline(&scene, "alice", &[&alice]);
    machine.sign(&[&scene.image("t0")]).await.unwrap();
    machine.revoke(&scene.image("t0")).await.unwrap();
    assert_eq!(scene.reader().exit(&scene.image("t0")).await, 11);
    let others = machine.revoke(&scene.image("1.0")).await;
    assert_eq!(exit_of(&others), 30, "the targets keys vouch for 1.0: {others:?}");
    assert_eq!(scene.reader().exit(&scene.image("1.0")).await, 0);
}

#[tokio::test]
async fn a_policy_counts_only_the_signers_that_it_names() {
    let scene = Inside::start(1).await;
    let (alice, bob) = (key(), key());
    add(&scene, signer("alice", &[&alice], 1, &["t*"])).await.unwrap();
    add(&scene, signer("bob", &[&bob], 1, &["t*"])).await.unwrap();
    pipeline(&scene, "alice", &[&alice]).sign(&[&scene.image("t0")]).await.unwrap();
    let strict = Machine::new(&scene.net);
    strict.trusts(&scene.name.to_string(), &scene.keys.root.id(), "signers = [\"bob\"]");
    assert_eq!(strict.exit(&scene.image("t0")).await, 11);
    assert_eq!(strict.exit(&scene.image("1.0")).await, 11, "nor does the word of the targets keys count");
    pipeline(&scene, "bob", &[&bob]).sign(&[&scene.image("t0")]).await.unwrap();
    assert_eq!(strict.verify(&scene.image("t0")).await.unwrap().signers, ["bob"]);
}

#[tokio::test]
async fn targets_can_be_rotated_beside_signers_and_blocked_paths() {
    let scene = Inside::start(1).await;
    let alice = key();
    add(&scene, signer("alice", &[&alice], 1, &["t*", "1.*"])).await.unwrap();
    pipeline(&scene, "alice", &[&alice]).sign(&[&scene.image("t0")]).await.unwrap();
    scene.owner.revoke(&scene.image("t0")).await.unwrap();
    let reader = scene.reader();
    assert_eq!(reader.exit(&scene.image("t0")).await, 11);
    let new = boltseal::ops::rotate::NewKey::Generate(Algorithm::Ed25519);
    let kind = boltseal::trust::RoleKind::Targets;
    let rotated = scene
        .owner
        .run(async |world, ring| boltseal::ops::rotate::rotate(world, ring, &scene.name, None, kind, new).await)
        .await;
    rotated.unwrap();
    for reader in [reader, scene.reader()] {
        assert_eq!(reader.exit(&scene.image("1.0")).await, 0);
        assert_eq!(reader.exit(&scene.image("t0")).await, 11, "it stays blocked under the new keys");
    }
}

#[tokio::test]
async fn a_signers_role_is_refreshed_where_its_key_is_and_refused_once_it_expired() {
    let scene = Inside::start(1).await;
    let alice = key();
    add(&scene, signer("alice", &[&alice], 1, &["t*"])).await.unwrap();
    let machine = pipeline(&scene, "alice", &[&alice]);
    machine.sign(&[&scene.image("t0")]).await.unwrap();
    let reader = scene.reader();
    for _ in 0..20 {
        for machine in [&machine, &*scene.owner, &reader] {
            machine.pass(days(10));
        }
        machine.refresh(&scene.name).await.unwrap();
        scene.owner.refresh(&scene.name).await.unwrap();
    }
    assert_eq!(reader.exit(&scene.image("t0")).await, 0, "half of a year was over, and alice signed again");
    for _ in 0..37 {
        for machine in [&*scene.owner, &reader] {
            machine.pass(days(10));
        }
        scene.owner.refresh(&scene.name).await.unwrap();
    }
    assert_eq!(reader.exit(&scene.image("1.0")).await, 0);
    assert_eq!(reader.exit(&scene.image("t0")).await, 13, "without alice's key nobody can speak for alice");
}

#[tokio::test]
async fn what_was_revoked_does_not_come_back_when_an_expired_signer_signs_again() {
    let scene = Inside::start(3).await;
    let alice = key();
    add(&scene, signer("alice", &[&alice], 1, &["t*"])).await.unwrap();
    let machine = pipeline(&scene, "alice", &[&alice]);
    machine.sign(&[&scene.image("t0"), &scene.image("t1")]).await.unwrap();
    let as_targets = Options { role: Some("targets".to_owned()), ..Options::default() };
    scene.owner.sign_with(&[&scene.image("t0")], &as_targets).await.unwrap();
    let reader = scene.reader();
    for _ in 0..37 {
        for machine in [&machine, &*scene.owner, &reader] {
            machine.pass(days(10));
        }
        scene.owner.refresh(&scene.name).await.unwrap();
    }
    assert_eq!(reader.exit(&scene.image("t0")).await, 0, "the targets keys vouch for it still");
    scene.owner.revoke(&scene.image("t0")).await.unwrap();
    machine.sign(&[&scene.image("t2")]).await.unwrap();
    assert_eq!(reader.exit(&scene.image("t0")).await, 11);
    for tag in ["t1", "t2"] {
        assert_eq!(reader.exit(&scene.image(tag)).await, 0, "what alice had signed is not lost: {tag}");
    }
}
