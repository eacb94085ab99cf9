//! What a thief of each key can do, and what they cannot: the table of docs/threats.md.

use boltseal::image::Digest;
use boltseal::keystore::{Algorithm, PrivateKey, Purpose};
use boltseal::ops::rotate::{NewKey, rotate};
use boltseal::trust::{RoleKind, time};
use serde_json::{Value, json};

use crate::support::forge::{State, entries};
use crate::support::machine::{Machine, days};
use crate::support::scene::{Scene, image, push};

/// The entries of an image that nobody signed.
async fn evil(scene: &Scene) -> (Digest, Vec<(String, Value)>) {
    let digest = push(&*scene.client(), "evil", "evil").await;
    let length = image("evil").0.len();
    (digest, entries(&scene.name.to_string(), "1.0", digest, length).into())
}

/// Adds entries to a targets role.
fn add(signed: &mut Value, entries: &[(String, Value)]) {
    for (path, entry) in entries {
        signed["targets"][path] = entry.clone();
    }
}

async fn warm(scene: &Scene) -> Machine {
    let reader = scene.reader();
    reader.verify(&scene.image("1.0")).await.unwrap();
    reader
}

/// Gives snapshot and timestamp keys of their own, which are then stolen one by one.
async fn apart(scene: &Scene) -> (PrivateKey, PrivateKey) {
    let mut made = Vec::new();
    for (kind, purpose) in [(RoleKind::Snapshot, Purpose::Snapshot), (RoleKind::Timestamp, Purpose::Timestamp)] {
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let info = scene.owner.hold(&key, purpose, Some(&scene.name));
        let name = &scene.name;
        let done = async |world: &boltseal::ops::world::World<'_>, ring: &boltseal::ops::ring::Ring<'_>| {
            rotate(world, ring, name, None, kind, NewKey::Held(info.clone())).await
        };
        scene.owner.run(done).await.unwrap();
        made.push(key);
    }
    let timestamp = made.pop().unwrap();
    (made.pop().unwrap(), timestamp)
}

#[tokio::test]
async fn a_thief_of_the_registry_credentials_can_withhold_and_nothing_else() {
    let scene = Scene::start().await;
    let (digest, evil) = evil(&scene).await;
    let reader = warm(&scene).await;
    let thief = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    let mut state = State::read(&*scene.client()).await;
    state.edit("targets", &[&thief], |signed| {
        add(signed, &evil);
    });
    state.publish(&[&thief]);
    state.put(&*scene.client()).await;
    scene.repo().set_tag("1.0", digest);
    for machine in [&reader, &scene.reader()] {
        assert_eq!(machine.exit(&scene.image("1.0")).await, 12);
        assert_eq!(machine.exit(&format!("{}@{digest}", scene.name)).await, 12);
    }
}

#[tokio::test]
async fn a_thief_of_the_online_key_can_sign_no_image() {
    let scene = Scene::start().await;
    let (digest, evil) = evil(&scene).await;
    let online = &scene.keys.online;
    let mut state = State::read(&*scene.client()).await;
    state.edit("targets", &[online], |signed| {
        add(signed, &evil);
    });
    state.publish(&[online]);
    state.put(&*scene.client()).await;
    for machine in [&scene.reader(), &*scene.owner] {
        assert_eq!(machine.exit(&scene.image("1.0")).await, 12);
        assert_eq!(machine.exit(&format!("{}@{digest}", scene.name)).await, 12);
    }
}

#[tokio::test]
async fn a_thief_of_the_online_key_can_bring_back_old_targets_to_fresh_machines_only() {
    let scene = Scene::start().await;
    let online = &scene.keys.online;
    let old = State::read(&*scene.client()).await.file("targets");
    scene.owner.revoke(&scene.image("1.0")).await.unwrap();
    let reader = scene.reader();
    assert_eq!(reader.exit(&scene.image("1.0")).await, 11);
    let mut state = State::read(&*scene.client()).await;
    state.replace("targets", old);
    state.publish(&[online]);
    state.put(&*scene.client()).await;
    assert_eq!(reader.exit(&scene.image("1.0")).await, 14);
    // The honest limit: a machine that never saw the new targets cannot know.
    assert_eq!(scene.reader().exit(&scene.image("1.0")).await, 0);
}

#[tokio::test]
async fn a_thief_of_the_online_key_cannot_stretch_a_freeze_beyond_the_policys_limit() {
    let scene = Scene::start().await;
    let online = &scene.keys.online;
    let reader = warm(&scene).await;
    let mut state = State::read(&*scene.client()).await;
    state.edit("timestamp", &[online], |signed| signed["expires"] = "2036-11-21T00:00:00Z".into());
    state.put(&*scene.client()).await;
    assert_eq!(reader.exit(&scene.image("1.0")).await, 16);
    // Within the limit it can, each time anew, until targets or root expire.
    let far = time::format(reader.now().checked_add(days(29)).unwrap());
    state.edit("timestamp", &[online], |signed| signed["expires"] = far.into());
    state.put(&*scene.client()).await;
    assert_eq!(reader.exit(&scene.image("1.0")).await, 0);
    reader.pass(days(30));
    assert_eq!(reader.exit(&scene.image("1.0")).await, 13);
}

#[tokio::test]
async fn a_thief_of_the_timestamp_key_alone_cannot_show_another_snapshot() {
    let scene = Scene::start().await;
    let (_, timestamp) = apart(&scene).await;
    let old = State::read(&*scene.client()).await;
    scene.sign("2.0", "two").await;
    let reader = scene.reader();
    reader.verify(&scene.image("2.0")).await.unwrap();
    let mut state = State::read(&*scene.client()).await;
    // A snapshot of the thief's own.
    state.list_targets(&[&timestamp]);
    state.promise_snapshot(&[&timestamp]);
    state.put(&*scene.client()).await;
    assert_eq!(reader.exit(&scene.image("2.0")).await, 12);
    assert_eq!(scene.reader().exit(&scene.image("2.0")).await, 12);
    // An old one, genuinely signed: for those who remember, a rollback; for a fresh machine, within its expiry, not.
    let mut state = State::read(&*scene.client()).await;
    state.replace("snapshot", old.file("snapshot"));
    state.replace("targets", old.file("targets"));
    state.promise_snapshot(&[&timestamp]);
    state.put(&*scene.client()).await;
    let wary = scene.reader();
    assert_eq!(wary.exit(&scene.image("1.0")).await, 0);
    assert_eq!(scene.owner.exit(&scene.image("2.0")).await, 14);
}

#[tokio::test]
async fn a_thief_of_the_snapshot_key_alone_can_show_nothing() {
    let scene = Scene::start().await;
    let (snapshot, _) = apart(&scene).await;
    let reader = warm(&scene).await;
    let mut state = State::read(&*scene.client()).await;
    let honest = state.clone();
    // The timestamp says which snapshot it is.
    state.list_targets(&[&snapshot]);
    state.put(&*scene.client()).await;
    assert_eq!(scene.reader().exit(&scene.image("1.0")).await, 14);
    assert_eq!(reader.exit(&scene.image("1.0")).await, 0);
    // Under the name of the promised one its bytes are not the promised ones.
    let mut state = honest.clone();
    state.list_targets(&[&snapshot]);
    let forged = state.file("snapshot");
    let mut state = honest.clone();
    state.files.insert(honest.name("snapshot"), forged);
    state.put(&*scene.client()).await;
    assert_eq!(scene.reader().exit(&scene.image("1.0")).await, 14);
    // Nor can it sign the timestamp.
    let mut state = honest;
    state.publish(&[&snapshot]);
    state.put(&*scene.client()).await;
    assert_eq!(reader.exit(&scene.image("1.0")).await, 12);
}

#[tokio::test]
async fn a_thief_of_the_targets_key_alone_needs_somebody_who_publishes() {
    let scene = Scene::start().await;
    let (digest, evil) = evil(&scene).await;
    let targets = &scene.keys.targets;
    let mut state = State::read(&*scene.client()).await;
    state.edit("targets", &[targets], |signed| {
        add(signed, &evil);
    });
    let file = state.file("targets");
    state.put(&*scene.client()).await;
    let reader = scene.reader();
    assert_eq!(reader.exit(&scene.image("1.0")).await, 14);
    // With the online key beside it, it is the signer: this is what the two keys are for.
    let mut state = State::read(&*scene.client()).await;
    state.replace("targets", file);
    state.publish(&[&scene.keys.online]);
    state.put(&*scene.client()).await;
    assert_eq!(reader.verify(&scene.image("1.0")).await.unwrap().digest, digest);
}

#[tokio::test]
async fn after_the_targets_key_is_rotated_the_stolen_one_signs_nothing_any_more() {
    let scene = Scene::start().await;
    let (_, evil) = evil(&scene).await;
    let reader = warm(&scene).await;
    let stolen = &scene.keys.targets;
    let new = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    let info = scene.owner.hold(&new, Purpose::Targets, Some(&scene.name));
    let name = &scene.name;
    let done = async |world: &boltseal::ops::world::World<'_>, ring: &boltseal::ops::ring::Ring<'_>| {
        rotate(world, ring, name, None, RoleKind::Targets, NewKey::Held(info.clone())).await
    };
    scene.owner.run(done).await.unwrap();
    // No machine had to be told.
    assert_eq!(reader.exit(&scene.image("1.0")).await, 0);
    let mut state = State::read(&*scene.client()).await;
    state.edit("targets", &[stolen], |signed| {
        add(signed, &evil);
    });
    state.publish(&[&scene.keys.online]);
    state.put(&*scene.client()).await;
    assert_eq!(reader.exit(&scene.image("1.0")).await, 12);
    assert_eq!(scene.reader().exit(&scene.image("1.0")).await, 12);
}

#[tokio::test]
async fn a_thief_of_the_root_key_is_everything_until_the_pin_is_replaced() {
    let scene = Scene::start().await;
    let (digest, evil) = evil(&scene).await;
    let reader = warm(&scene).await;
    let root = &scene.keys.root;
    let own = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    let genuine = State::read(&*scene.client()).await;
    let mut state = genuine.clone();
    let first = state.file("root");
    let public = serde_json::to_value(own.public()).unwrap();
    state.edit("root", &[root], |signed| {
        let id = own.id().to_string();
        signed["keys"][&id] = public;
        for role in ["targets", "snapshot", "timestamp"] {
            signed["roles"][role] = json!({"keyids": [id], "threshold": 1});
        }
    });
    state.files.insert("1.root.json".to_owned(), first);
    state.edit("targets", &[&own], |signed| {
        add(signed, &evil);
    });
    state.publish(&[&own]);
    state.put(&*scene.client()).await;
    assert_eq!(reader.verify(&scene.image("1.0")).await.unwrap().digest, digest);
    // A pin on another key ends it.
    let fresh = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    let pinned = crate::support::scene::trusting(&scene.net, &scene.name, &fresh.id());
    assert_eq!(pinned.exit(&scene.image("1.0")).await, 12);
}

#[tokio::test]
async fn a_root_that_the_old_threshold_did_not_sign_is_refused() {
    let scene = Scene::start().await;
    let reader = warm(&scene).await;
    let own = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    let honest = State::read(&*scene.client()).await;
    let first = honest.file("root");
    // By the thief alone, by an online key, and by the old key without the new one.
    for signers in [vec![&own], vec![&scene.keys.online, &scene.keys.targets], vec![&scene.keys.root]] {
        let mut state = honest.clone();
        let public = serde_json::to_value(own.public()).unwrap();
        state.edit("root", &signers, |signed| {
            let id = own.id().to_string();
            signed["keys"][&id] = public;
            signed["roles"]["root"] = json!({"keyids": [id], "threshold": 1});
        });
        state.files.insert("1.root.json".to_owned(), first.clone());
        state.put(&*scene.client()).await;
        assert_eq!(reader.exit(&scene.image("1.0")).await, 12);
        assert_eq!(scene.reader().exit(&scene.image("1.0")).await, 12);
    }
    honest.put(&*scene.client()).await;
    assert_eq!(reader.exit(&scene.image("1.0")).await, 0);
}

#[tokio::test]
async fn versions_pushed_to_the_end_by_a_thief_are_left_behind_by_rotating_the_online_keys() {
    let scene = Scene::start().await;
    let online = &scene.keys.online;
    let reader = warm(&scene).await;
    let mut state = State::read(&*scene.client()).await;
    state.edit("timestamp", &[online], |signed| signed["version"] = ((1_u64 << 53) - 1).into());
    state.put(&*scene.client()).await;
    assert_eq!(reader.exit(&scene.image("1.0")).await, 0);
    apart(&scene).await;
    scene.sign("2.0", "two").await;
    assert_eq!(reader.exit(&scene.image("2.0")).await, 0);
}
