//! The registry as the enemy: it serves old, mixed, foreign and forged metadata. Nothing of it is believed or kept.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use boltseal::image::manifest::OCI_MANIFEST;
use boltseal::image::{Digest, ImageName};
use boltseal::keystore::{Algorithm, PrivateKey, Purpose};
use boltseal::ops::error::Error;
use boltseal::trust;
use serde_json::{Value, json};

use crate::support::forge::State;
use crate::support::machine::{Machine, days, exit_of};
use crate::support::registry::{Cheat, Target};
use crate::support::scene::{Keys, Scene, owner, push, trusting};

/// Every file of a machine's memory.
fn memory(machine: &Machine, name: &ImageName) -> BTreeMap<String, Vec<u8>> {
    fn walk(folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, files);
            } else {
                files.insert(path.display().to_string(), fs::read(&path).unwrap());
            }
        }
    }
    let mut files = BTreeMap::new();
    walk(&machine.memory(name), &mut files);
    files
}

/// A machine that has verified `1.0` and remembers it.
async fn warm(scene: &Scene) -> Machine {
    let reader = scene.reader();
    reader.verify(&scene.image("1.0")).await.unwrap();
    reader
}

#[tokio::test]
async fn a_rollback_of_the_whole_repository_is_refused_by_readers_and_publishers() {
    let scene = Scene::start().await;
    let old = scene.repo().snapshot();
    let revoked = scene.image("1.0");
    scene.owner.revoke(&revoked).await.unwrap();
    let reader = scene.reader();
    assert_eq!(reader.exit(&revoked).await, 11);
    let before = memory(&reader, &scene.name);
    scene.repo().restore(old.clone());
    assert_eq!(reader.exit(&revoked).await, 14);
    assert_eq!(memory(&reader, &scene.name), before, "a rollback was remembered");
    // A publisher is a client first: it would launder the old state by signing it anew.
    assert_eq!(exit_of(&scene.owner.sign(&[&revoked]).await), 14);
    assert_eq!(exit_of(&scene.owner.refresh(&scene.name).await), 14);
    assert!(scene.repo().snapshot() == old, "somebody published over a rollback");
}

#[tokio::test]
async fn a_publisher_without_memory_cannot_know_of_a_rollback() {
    // The honest limit that docs/threats.md tells of: inside the timestamp's life it takes the old state for the present.
    let scene = Scene::start().await;
    let old = scene.repo().snapshot();
    scene.owner.revoke(&scene.image("1.0")).await.unwrap();
    let seen = State::read(&*scene.client()).await.version("targets");
    scene.repo().restore(old.clone());
    let fresh = owner(&scene.net, &scene.name, &scene.keys);
    push(&*scene.client(), "2.0", "two").await;
    fresh.sign(&[&scene.image("2.0")]).await.unwrap();
    assert_eq!(scene.reader().exit(&scene.image("1.0")).await, 0);
    // What closes it: a checkpoint, or a policy that asks for memory.
    scene.repo().restore(old);
    let floors = [(trust::RoleName::TARGETS, trust::Version::new(seen).unwrap())];
    let careful = scene.reader();
    careful.checkpoint.lock().unwrap().record(scene.name.clone(), floors);
    assert_eq!(careful.exit(&scene.image("1.0")).await, 14);
}

#[tokio::test]
async fn a_rollback_of_any_single_role_is_refused() {
    let scene = Scene::start().await;
    let old = State::read(&*scene.client()).await;
    scene.sign("2.0", "two").await;
    let new = State::read(&*scene.client()).await;
    for role in ["timestamp", "snapshot", "targets"] {
        new.put(&*scene.client()).await;
        let reader = scene.reader();
        reader.verify(&scene.image("2.0")).await.unwrap();
        let before = memory(&reader, &scene.name);
        let mut mixed = new.clone();
        mixed.replace(role, old.file(role));
        mixed.put(&*scene.client()).await;
        let code = reader.exit(&scene.image("2.0")).await;
        // Without the file that the parent promises the set is incomplete; memory still holds the right one.
        let expected = if role == "timestamp" { 14 } else { 0 };
        assert_eq!(code, expected, "{role}");
        if code != 0 {
            assert_eq!(memory(&reader, &scene.name), before, "{role}");
        }
        // A machine without memory finds that the pieces do not belong together.
        assert_eq!(scene.reader().exit(&scene.image("2.0")).await, 14, "{role}");
    }
}

#[tokio::test]
async fn old_targets_under_the_name_of_new_ones_are_refused() {
    let scene = Scene::start().await;
    let old = State::read(&*scene.client()).await;
    scene.sign("2.0", "two").await;
    let new = State::read(&*scene.client()).await;
    for role in ["snapshot", "targets"] {
        let mut mixed = new.clone();
        mixed.files.insert(new.name(role), old.file(role));
        mixed.put(&*scene.client()).await;
        assert_eq!(scene.reader().exit(&scene.image("1.0")).await, 14, "{role}");
    }
}

#[tokio::test]
async fn trust_data_that_vanished_is_no_unsigned_repository() {
    let scene = Scene::start().await;
    let reader = warm(&scene).await;
    let before = memory(&reader, &scene.name);
    scene.repo().remove_tag("trust.tuf");
    let error = reader.verify(&scene.image("1.0")).await.unwrap_err();
    assert!(matches!(&*error, Error::Vanished { .. }), "{error}");
    assert_eq!(reader.exit(&scene.image("1.0")).await, 14);
    assert_eq!(exit_of(&scene.owner.sign(&[&scene.image("1.0")]).await), 14);
    assert_eq!(memory(&reader, &scene.name), before);
    assert_eq!(scene.reader().exit(&scene.image("1.0")).await, 10);
}

#[tokio::test]
async fn another_manifest_or_garbage_in_the_place_of_the_head_is_refused() {
    let scene = Scene::start().await;
    let reader = warm(&scene).await;
    let repo = scene.repo();
    let image = repo.tag("1.0").unwrap().bytes;
    let many: Vec<Value> = (0..20_001)
        .map(|_| json!({"mediaType": "application/vnd.tuf.metadata+json", "digest": scene.signed, "size": 1}))
        .collect();
    let flood = json!({"schemaVersion": 2, "artifactType": "application/vnd.boltseal.tuf.head.v1+json",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": scene.signed, "size": 2}, "layers": many});
    for (bytes, code) in [
        (image.to_vec(), 12),
        (b"not json".to_vec(), 12),
        (b"{}".to_vec(), 12),
        (vec![b'['; 100_000], 12),
        (flood.to_string().into_bytes()[..2 << 20].to_vec(), 12),
        (flood.to_string().into_bytes(), 12),
        (vec![b' '; (4 << 20) + 1], 20),
    ] {
        let length = bytes.len();
        repo.push("trust.tuf", OCI_MANIFEST, bytes);
        assert_eq!(reader.exit(&scene.image("1.0")).await, code, "{length} bytes");
        assert_eq!(exit_of(&scene.owner.sign(&[&scene.image("1.0")]).await), code, "{length} bytes");
    }
    repo.push("trust.tuf", "application/vnd.oci.image.index.v1+json", r#"{"schemaVersion":2,"manifests":[]}"#);
    assert_eq!(reader.exit(&scene.image("1.0")).await, 12);
}

#[tokio::test]
async fn every_role_expires_and_is_named() {
    for (role, life) in [("timestamp", 14), ("snapshot", 30), ("targets", 365), ("root", 365)] {
        let scene = Scene::start().await;
        let reader = warm(&scene).await;
        let mut state = State::read(&*scene.client()).await;
        // The others are made to last; the timestamp is kept fresh.
        let far = "2028-11-20T00:00:00Z";
        let keys = &scene.keys;
        for (other, key) in [("root", &keys.root), ("targets", &keys.targets), ("snapshot", &keys.online)] {
            if other != role {
                state.edit(other, &[key], |signed| signed["expires"] = far.into());
            }
        }
        if role != "root" {
            let root = state.file("root");
            state.files.insert("2.root.json".to_owned(), root);
        }
        let soon = reader.now().checked_add(days(life + 10)).unwrap();
        if role != "snapshot" {
            state.list_targets(&[&keys.online]);
        }
        state.promise_snapshot(&[&keys.online]);
        if role != "timestamp" {
            state.edit("timestamp", &[&keys.online], |signed| signed["expires"] = trust::time::format(soon).into());
        }
        if role == "snapshot" {
            // Listing other targets would make the snapshot new.
            state.replace("targets", State::read(&*scene.client()).await.file("targets"));
        }
        // The first root is what the reader starts from.
        let first = State::read(&*scene.client()).await.file("root");
        state.files.insert("1.root.json".to_owned(), first);
        state.put(&*scene.client()).await;
        reader.pass(days(life) + jiff::SignedDuration::from_secs(1));
        let error = reader.verify(&scene.image("1.0")).await.unwrap_err();
        match &*error {
            Error::Trust { source: trust::Error::Expired { role: named, .. }, .. } => {
                assert_eq!(named.as_str(), role);
            }
            other => panic!("{role}: {other}"),
        }
        assert_eq!(reader.exit(&scene.image("1.0")).await, 13);
    }
}

#[tokio::test]
async fn a_registry_frozen_for_ever_is_noticed_when_the_timestamp_expires_also_behind_304() {
    let scene = Scene::start().await;
    let reader = warm(&scene).await;
    reader.pass(days(13));
    assert_eq!(reader.exit(&scene.image("1.0")).await, 0);
    reader.pass(days(2));
    scene.registry.clear_log();
    assert_eq!(reader.exit(&scene.image("1.0")).await, 13);
    assert_eq!(scene.registry.lines(), ["GET /v2/acme/app/manifests/trust.tuf 304"]);
    scene.registry.with(|m| m.etag = false);
    assert_eq!(reader.exit(&scene.image("1.0")).await, 13);
}

#[tokio::test]
async fn a_clock_set_back_by_more_than_a_day_is_refused() {
    let scene = Scene::start().await;
    let reader = warm(&scene).await;
    reader.pass(days(15));
    assert_eq!(reader.exit(&scene.image("1.0")).await, 13);
    reader.pass(days(-5));
    let error = reader.verify(&scene.image("1.0")).await.unwrap_err();
    assert!(matches!(&*error, Error::Trust { source: trust::Error::ClockWentBack { .. }, .. }), "{error}");
    assert_eq!(reader.exit(&scene.image("1.0")).await, 13);
}

#[tokio::test]
async fn metadata_copied_to_another_repository_is_refused_also_with_a_shared_root_key() {
    let scene = Scene::start().await;
    let other: ImageName = format!("{}/acme/other", scene.registry.host()).parse().unwrap();
    scene.registry.repo("acme/other").restore(scene.repo().snapshot());
    let reader = trusting(&scene.net, &other, &scene.keys.root.id());
    let error = reader.verify(&format!("{other}:1.0")).await.unwrap_err();
    assert!(matches!(&*error, Error::Trust { source: trust::Error::WrongCollection { .. }, .. }), "{error}");
    assert_eq!(reader.exit(&format!("{other}:1.0")).await, 12);
    assert_eq!(reader.exit(&format!("{other}@{}", scene.signed)).await, 12);
    let files: Vec<_> = memory(&reader, &other).into_keys().collect();
    assert!(files.iter().all(|file| file.ends_with("/lock") || file.ends_with("/marks.json")), "{files:?}");

    // The same once the reader knows the real collection of that name.
    let keys = Keys { root: PrivateKey::generate(Algorithm::Ed25519).unwrap(), ..Keys::generate() };
    let third: ImageName = format!("{}/acme/third", scene.registry.host()).parse().unwrap();
    let machine = owner(&scene.net, &third, &keys);
    machine.init(&third).await.unwrap();
    push(&*scene.net.repository(&third), "1.0", "one").await;
    machine.sign(&[&format!("{third}:1.0")]).await.unwrap();
    let before = memory(&machine, &third);
    scene.registry.repo("acme/third").restore(scene.repo().snapshot());
    assert_eq!(machine.exit(&format!("{third}:1.0")).await, 12);
    assert_eq!(memory(&machine, &third), before);
}

#[tokio::test]
async fn a_collection_of_other_keys_is_not_the_pinned_one() {
    let scene = Scene::start().await;
    let stranger = trusting(&scene.net, &scene.name, &PrivateKey::generate(Algorithm::Ed25519).unwrap().id());
    assert_eq!(stranger.exit(&scene.image("1.0")).await, 12);
    // The whole collection replaced by one of somebody else's.
    let reader = warm(&scene).await;
    let before = memory(&reader, &scene.name);
    let keys = Keys::generate();
    let rival = owner(&scene.net, &scene.name, &keys);
    let genuine = scene.repo().snapshot();
    scene.repo().remove_tag("trust.tuf");
    rival.init(&scene.name).await.unwrap();
    rival.sign(&[&scene.image("1.0")]).await.unwrap();
    assert_eq!(reader.exit(&scene.image("1.0")).await, 12);
    assert_eq!(scene.reader().exit(&scene.image("1.0")).await, 12);
    assert_eq!(memory(&reader, &scene.name), before);
    scene.repo().restore(genuine);
    assert_eq!(reader.exit(&scene.image("1.0")).await, 0);
}

#[tokio::test]
async fn a_mirror_that_serves_the_same_bytes_verifies_under_the_images_own_name() {
    let scene = Scene::start().await;
    let name: ImageName = "registry.example.com/acme/app".parse().unwrap();
    let keys = Keys::generate();
    let mirror =
        format!("[[mirror]]\nlocation = \"{}/copies\"\nof = \"registry.example.com/acme\"", scene.registry.host());
    let machine = owner(&scene.net, &name, &keys);
    machine.policy(&mirror);
    machine.init(&name).await.unwrap();
    let at: ImageName = format!("{}/copies/app", scene.registry.host()).parse().unwrap();
    let signed = push(&*scene.net.repository(&at), "1.0", "one").await;
    machine.sign(&[&format!("{name}:1.0")]).await.unwrap();
    let reader = trusting(&scene.net, &name, &keys.root.id());
    reader.policy(&mirror);
    assert_eq!(reader.verify(&format!("{name}:1.0")).await.unwrap().digest, signed);
    assert_eq!(reader.compare_exit(&format!("{name}:1.0")).await, 0);
    // Under the mirror's own name it is another image.
    let confused = trusting(&scene.net, &at, &keys.root.id());
    assert_eq!(confused.exit(&format!("{at}:1.0")).await, 12);
}

#[tokio::test]
async fn a_mirror_that_lags_behind_what_was_seen_elsewhere_is_refused() {
    let scene = Scene::start().await;
    scene.registry.repo("copies/app").restore(scene.repo().snapshot());
    scene.sign("2.0", "two").await;
    let reader = scene.reader();
    reader.verify(&scene.image("2.0")).await.unwrap();
    reader.policy(&format!("[[mirror]]\nlocation = \"{0}/copies/app\"\nof = \"{0}/acme/app\"", scene.registry.host()));
    assert_eq!(reader.exit(&scene.image("1.0")).await, 14);
    scene.registry.repo("copies/app").restore(scene.repo().snapshot());
    assert_eq!(reader.exit(&scene.image("2.0")).await, 0);
}

#[tokio::test]
async fn blobs_of_the_trusted_set_that_are_gone_are_a_broken_registry_and_not_missing_trust() {
    let scene = Scene::start().await;
    for at in 0..30 {
        push(&*scene.client(), &format!("t{at}"), &format!("image {at}")).await;
    }
    let images: Vec<String> = (0..30).map(|at| scene.image(&format!("t{at}"))).collect();
    scene.owner.sign(&images.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap();
    let whole = scene.repo().snapshot();
    scene.repo().change(|r| r.blobs.clear());
    assert_eq!(scene.reader().exit(&scene.image("1.0")).await, 20);
    scene.repo().restore(whole);
    // Other bytes for a blob of the head: the registry is broken, and the image has not been looked at.
    scene.registry.with(|m| m.cheat = Some((Target::Blobs, Cheat::Bytes(b"swapped".to_vec()))));
    assert_eq!(scene.reader().exit(&scene.image("1.0")).await, 20);
}

#[tokio::test]
async fn a_head_that_is_gone_although_its_tag_did_not_change_is_a_broken_registry() {
    let scene = Scene::start().await;
    let reader = warm(&scene).await;
    fs::remove_file(reader.memory(&scene.name).join("targets.json")).unwrap();
    let head = scene.repo().digest("trust.tuf").unwrap();
    scene.registry.clear_log();
    assert_eq!(reader.exit(&scene.image("1.0")).await, 0);
    assert_eq!(scene.registry.lines()[0], "GET /v2/acme/app/manifests/trust.tuf 304");
    fs::remove_file(reader.memory(&scene.name).join("targets.json")).unwrap();
    scene.registry.with(|m| m.gone = Some(format!("manifests/{head}")));
    assert_eq!(reader.exit(&scene.image("1.0")).await, 20);
}

#[tokio::test]
async fn a_bomb_in_a_compressed_file_ends_at_the_promised_length() {
    let scene = Scene::start().await;
    for at in 0..30 {
        push(&*scene.client(), &format!("t{at}"), &format!("image {at}")).await;
    }
    let images: Vec<String> = (0..30).map(|at| scene.image(&format!("t{at}"))).collect();
    scene.owner.sign(&images.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap();
    let mut state = State::read(&*scene.client()).await;
    for role in ["targets", "root"] {
        let honest = state.clone();
        // 40 MB of blanks make a gzip stream of about 40 kB, and still a valid JSON file.
        let mut bomb = state.file(role).to_vec();
        bomb.resize(40 << 20, b' ');
        state.files.insert(state.name(role), bomb.into());
        state.put(&*scene.client()).await;
        let begun = std::time::Instant::now();
        let code = scene.reader().exit(&scene.image("1.0")).await;
        assert!(code == 20 || code == 14, "{role}: {code}");
        assert!(begun.elapsed() < std::time::Duration::from_secs(5));
        state = honest;
    }
}

#[tokio::test]
async fn a_rotation_that_the_registry_hides_ends_with_the_root_or_timestamp() {
    // Hiding a root is a freeze: the old set is served whole, and it expires.
    let scene = Scene::start().await;
    let old = scene.repo().snapshot();
    let reader = warm(&scene).await;
    let new = PrivateKey::generate(Algorithm::Ed25519).unwrap();
    let info = scene.owner.hold(&new, Purpose::Targets, Some(&scene.name));
    let name = &scene.name;
    let rotate = async |world: &boltseal::ops::world::World<'_>, ring: &boltseal::ops::ring::Ring<'_>| {
        let new = boltseal::ops::rotate::NewKey::Held(info.clone());
        boltseal::ops::rotate::rotate(world, ring, name, None, trust::RoleKind::Targets, new).await
    };
    scene.owner.run(rotate).await.unwrap();
    scene.repo().restore(old);
    assert_eq!(reader.exit(&scene.image("1.0")).await, 0);
    reader.pass(days(15));
    assert_eq!(reader.exit(&scene.image("1.0")).await, 13);
    // Whoever saw the new root does not go back.
    assert_eq!(scene.owner.exit(&scene.image("1.0")).await, 14);
}

#[tokio::test]
async fn one_signature_repeated_meets_no_threshold_and_other_bytes_under_a_version_change_nothing() {
    let scene = Scene::start().await;
    let reader = warm(&scene).await;
    let honest = State::read(&*scene.client()).await;
    let before = memory(&reader, &scene.name);
    // Twice the same signature in a timestamp: malformed.
    let mut state = honest.clone();
    state.edit("timestamp", &[&scene.keys.online, &scene.keys.online], |_| {});
    state.put(&*scene.client()).await;
    assert_eq!(reader.exit(&scene.image("1.0")).await, 12);
    assert_eq!(memory(&reader, &scene.name), before);
    // Other bytes under the trusted version: what is trusted is kept, and said.
    let mut state = honest.clone();
    state.edit("timestamp", &[&scene.keys.online], |signed| {
        signed["version"] = (signed["version"].as_u64().unwrap() - 1).into();
        signed["x-other"] = true.into();
    });
    state.put(&*scene.client()).await;
    let verdict = reader.verdict(&scene.image("1.0"), boltseal::ops::verify::Served::Ignore).await;
    assert!(verdict.verified());
    assert!(verdict.notices.iter().any(|notice| notice.contains("another timestamp")), "{:?}", verdict.notices);
    assert_ne!(Digest::of(&state.file("timestamp")), Digest::of(&honest.file("timestamp")));
}
