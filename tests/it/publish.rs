//! Publishing without compare-and-swap: rivals at every step, killed publishers, intents of all kinds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use boltseal::image::Tag;
use boltseal::keystore::{Algorithm, PrivateKey, Purpose, Signer};
use boltseal::ops::error::Error;
use boltseal::ops::intents;
use boltseal::ops::rotate::{NewKey, rotate};
use boltseal::registry;
use boltseal::registry::memory::Verb;
use boltseal::trust::draft::{Signed, Unsigned};
use boltseal::trust::entry::{Change, Described};
use boltseal::trust::intent::{INTENT_LIFE, Intent, Meant, OpId};
use boltseal::trust::{RoleKind, RoleName, Version};
use futures_util::FutureExt;
use jiff::SignedDuration;
use serde_json::Value;

use crate::support::forge::State;
use crate::support::machine::{Machine, exit_of};
use crate::support::scene::{Inside, image};

/// The kinds of calls that a publish makes.
const VERBS: [Verb; 5] = [Verb::Manifest, Verb::PutBlob, Verb::PutManifest, Verb::Tags, Verb::Blob];

/// What ends a publisher at once: nothing that it would try again.
fn killed() -> registry::Error {
    let (what, location) = ("anything".to_owned(), "registry.example.com".to_owned());
    registry::Error::Denied { what, location, message: "killed".to_owned() }
}

/// Lets `rival` act before the n-th call of a kind; says whether there was such a call.
fn interleave<R>(scene: &Inside, verb: Verb, nth: usize, rival: R) -> impl Fn() -> bool + use<R>
where
    R: Future<Output = ()> + Send + 'static,
{
    let reached = Arc::new(AtomicBool::new(false));
    let note = Arc::clone(&reached);
    scene.repository.before(verb, nth, move || {
        note.store(true, Ordering::SeqCst);
        async move {
            rival.await;
            Ok(())
        }
        .boxed()
    });
    move || reached.load(Ordering::SeqCst)
}

/// Kills whoever makes the n-th call of a kind; says whether there was such a call.
fn kill(scene: &Inside, verb: Verb, nth: usize) -> impl Fn() -> bool + use<> {
    let reached = Arc::new(AtomicBool::new(false));
    let note = Arc::clone(&reached);
    scene.repository.before(verb, nth, move || {
        note.store(true, Ordering::SeqCst);
        async { Err(killed()) }.boxed()
    });
    move || reached.load(Ordering::SeqCst)
}

fn signing(machine: &Arc<Machine>, image: String) -> impl Future<Output = ()> + Send + 'static {
    let machine = Arc::clone(machine);
    async move {
        machine.sign(&[&image]).await.unwrap();
    }
}

/// Every content that a name ever had in the heads that were put.
async fn check_one_content(scene: &Inside, seen: &mut std::collections::BTreeMap<String, bytes::Bytes>) {
    for (name, bytes) in State::read(&scene.repository).await.files {
        if ["timestamp.json", "absorbed.json"].contains(&name.as_str()) {
            continue;
        }
        if let Some(other) = seen.insert(name.clone(), bytes.clone()) {
            assert_eq!(other, bytes, "{name} names two contents");
        }
    }
}

fn described(text: &str) -> Described {
    let (manifest, _) = image(text);
    Described {
        digest: boltseal::image::Digest::of(&manifest),
        length: manifest.len() as u64,
        media_type: boltseal::image::manifest::OCI_MANIFEST.to_owned(),
    }
}

fn set_tag(tag: &str, text: &str) -> Change {
    Change::SetTag {
        tag: tag.to_owned(),
        manifest: described(text),
        children: Vec::new(),
        annotations: std::collections::BTreeMap::new(),
        supersede: false,
    }
}

/// An intent as another publisher would lay it out.
struct Plan {
    op: OpId,
    base: u64,
    changes: Vec<Change>,
    key: PrivateKey,
}

/// An operation that has an hour from now.
fn op(scene: &Inside, random: [u8; 11]) -> OpId {
    OpId::new(scene.owner.now().checked_add(INTENT_LIFE).unwrap(), random)
}

/// An intent as its author means it who knew of no removal.
fn draft(name: &boltseal::image::ImageName, op: OpId, base: u64, changes: &[Change], file: &Signed) -> Unsigned {
    let base = Version::new(base).unwrap();
    let seen = std::collections::BTreeSet::new();
    let meant = Meant { op, base, above: base, seen: &seen, changes };
    Intent::draft(name, &RoleName::TARGETS, &meant, file).unwrap()
}

impl Plan {
    async fn of(scene: &Inside, tag: &str, text: &str) -> Self {
        let base = State::read(&scene.repository).await.version("targets");
        let seed: [u8; 11] = std::array::from_fn(|at| tag.as_bytes().get(at).copied().unwrap_or(7));
        let key = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        Self { op: op(scene, seed), base, changes: vec![set_tag(tag, text)], key }
    }

    /// Lays it out, signed by `key`, with the collection's present targets as the role file.
    async fn put(&self, scene: &Inside, key: &PrivateKey) {
        let base = Version::new(self.base).unwrap();
        let state = State::read(&scene.repository).await;
        let file = Signed { role: RoleName::TARGETS, version: base, bytes: state.file("targets") };
        let unsigned = draft(&scene.name, self.op, self.base, &self.changes, &file);
        let signature = key.sign(unsigned.message()).unwrap();
        let signed = unsigned.seal(&[(key.id(), signature)].into());
        intents::put(&scene.repository, &self.op, &signed, &file).await.unwrap();
    }
}

/// The tags of intents that the head has not absorbed.
async fn open_intents(scene: &Inside) -> Vec<Tag> {
    let absorbed = String::from_utf8(State::read(&scene.repository).await.file("absorbed").to_vec()).unwrap();
    let is_open = |tag: &Tag| !absorbed.contains(tag.as_str().trim_start_matches("trust.tuf.i-"));
    intent_tags(scene).into_iter().filter(is_open).collect()
}

fn intent_tags(scene: &Inside) -> Vec<Tag> {
    let tags = scene.repository.content().tags;
    tags.into_keys().filter(|tag| tag.as_str().starts_with("trust.tuf.i-")).collect()
}

#[tokio::test]
async fn a_rival_publish_at_any_step_loses_neither_change() {
    let mut steps = 0;
    for verb in VERBS {
        for nth in 1.. {
            let scene = Inside::start(2).await;
            let (me, rival) = (scene.publisher(), scene.publisher());
            let mut contents = std::collections::BTreeMap::new();
            check_one_content(&scene, &mut contents).await;
            let reached = interleave(&scene, verb, nth, signing(&rival, scene.image("t1")));
            me.sign(&[&scene.image("t0")]).await.unwrap();
            if !reached() {
                break;
            }
            steps += 1;
            check_one_content(&scene, &mut contents).await;
            let reader = scene.reader();
            for tag in ["1.0", "t0", "t1"] {
                assert_eq!(reader.exit(&scene.image(tag)).await, 0, "{tag} after {verb:?} {nth}");
            }
        }
    }
    assert!(steps >= 12, "a publish was interrupted at {steps} steps only");
}

#[tokio::test]
async fn a_publisher_killed_at_any_step_leaves_a_valid_state_and_the_next_one_goes_on() {
    let mut steps = 0;
    for verb in VERBS {
        for nth in 1.. {
            let scene = Inside::start(2).await;
            let reached = kill(&scene, verb, nth);
            let acknowledged = scene.publisher().sign(&[&scene.image("t0")]).await.is_ok();
            if !reached() {
                break;
            }
            steps += 1;
            let reader = scene.reader();
            assert_eq!(reader.exit(&scene.image("1.0")).await, 0, "{verb:?} {nth}");
            let begun = intent_tags(&scene).len() > 1;
            scene.publisher().sign(&[&scene.image("t1")]).await.unwrap();
            assert_eq!(reader.exit(&scene.image("t1")).await, 0, "{verb:?} {nth}");
            let finished = reader.exit(&scene.image("t0")).await == 0;
            assert!(finished || !acknowledged, "{verb:?} {nth}: an acknowledged change is gone");
            assert_eq!(finished, begun, "{verb:?} {nth}: what was begun is finished, and nothing else");
        }
    }
    assert!(steps >= 12, "a publish was killed at {steps} steps only");
}

#[tokio::test]
async fn a_publisher_killed_after_its_intent_is_finished_by_the_next_refresh() {
    let scene = Inside::start(1).await;
    scene.repository.fail(Verb::PutManifest, 2, killed());
    scene.publisher().sign(&[&scene.image("t0")]).await.unwrap_err();
    let reader = scene.reader();
    assert_eq!(reader.exit(&scene.image("t0")).await, 11);
    scene.publisher().refresh(&scene.name).await.unwrap();
    assert_eq!(reader.exit(&scene.image("t0")).await, 0);
}

#[tokio::test]
async fn a_machine_with_the_online_key_alone_adopts_a_ready_made_role_file() {
    let scene = Inside::start(1).await;
    scene.repository.fail(Verb::PutManifest, 2, killed());
    scene.publisher().sign(&[&scene.image("t0")]).await.unwrap_err();
    let online = scene.reader();
    online.hold(&scene.keys.online, Purpose::Online, Some(&scene.name));
    online.refresh(&scene.name).await.unwrap();
    assert_eq!(scene.reader().exit(&scene.image("t0")).await, 0);
}

#[tokio::test]
async fn a_role_file_that_was_not_made_from_the_present_one_waits_for_the_targets_key() {
    let scene = Inside::start(2).await;
    scene.repository.fail(Verb::PutManifest, 2, killed());
    scene.publisher().sign(&[&scene.image("t0")]).await.unwrap_err();
    // Somebody whose listing did not show the intent published meanwhile.
    let plan = open_intents(&scene).await.remove(0);
    let mut content = scene.repository.content();
    let digest = content.tags.remove(&plan).unwrap();
    scene.repository.restore(content);
    scene.publisher().sign(&[&scene.image("t1")]).await.unwrap();
    let mut content = scene.repository.content();
    content.tags.insert(plan, digest);
    scene.repository.restore(content);
    let online = scene.reader();
    online.hold(&scene.keys.online, Purpose::Online, Some(&scene.name));
    online.refresh(&scene.name).await.unwrap();
    let reader = scene.reader();
    assert_eq!(reader.exit(&scene.image("t0")).await, 11);
    assert_eq!(reader.exit(&scene.image("t1")).await, 0);
    scene.publisher().refresh(&scene.name).await.unwrap();
    assert_eq!(reader.exit(&scene.image("t0")).await, 0);
    assert_eq!(reader.exit(&scene.image("t1")).await, 0);
}

#[tokio::test]
async fn an_intent_that_expired_is_ignored() {
    let scene = Inside::start(2).await;
    scene.repository.fail(Verb::PutManifest, 2, killed());
    scene.publisher().sign(&[&scene.image("t0")]).await.unwrap_err();
    let later = scene.publisher();
    later.pass(SignedDuration::from_mins(61));
    later.sign(&[&scene.image("t1")]).await.unwrap();
    later.refresh(&scene.name).await.unwrap();
    let reader = scene.reader();
    assert_eq!(reader.exit(&scene.image("t0")).await, 11);
    assert_eq!(reader.exit(&scene.image("t1")).await, 0);
}

#[tokio::test]
async fn an_intent_counts_only_with_the_keys_the_collection_and_the_operation_it_is_for() {
    let scene = Inside::start(1).await;
    let honest = Plan::of(&scene, "t0", "image 0").await;
    honest.put(&scene, &honest.key).await;
    let report = scene.publisher().refresh(&scene.name).await.unwrap();
    assert!(report.ignored.iter().any(|said| said.contains("signed by 0 of the 1")), "{:?}", report.ignored);
    assert_eq!(scene.reader().exit(&scene.image("t0")).await, 11);

    // The online key signs snapshots, not entries.
    honest.put(&scene, &scene.keys.online).await;
    scene.publisher().refresh(&scene.name).await.unwrap();
    assert_eq!(scene.reader().exit(&scene.image("t0")).await, 11);

    // Under the tag of another operation.
    honest.put(&scene, &scene.keys.targets).await;
    let mut content = scene.repository.content();
    let digest = content.tags.remove(&intents::tag(&honest.op)).unwrap();
    content.tags.insert(intents::tag(&op(&scene, [9; 11])), digest);
    scene.repository.restore(content);
    let report = scene.publisher().refresh(&scene.name).await.unwrap();
    assert!(report.ignored.iter().any(|said| said.contains("another operation")), "{:?}", report.ignored);
    assert_eq!(scene.reader().exit(&scene.image("t0")).await, 11);

    // Of another collection that has the same targets key.
    let other = "registry.example.com/acme/other".parse().unwrap();
    let base = Version::new(honest.base).unwrap();
    let other_op = op(&scene, [8; 11]);
    let file = Signed { role: RoleName::TARGETS, version: base, bytes: "{}".into() };
    let unsigned = draft(&other, other_op, honest.base, &honest.changes, &file);
    let signature = scene.keys.targets.sign(unsigned.message()).unwrap();
    let signed = unsigned.seal(&[(scene.keys.targets.id(), signature)].into());
    intents::put(&scene.repository, &other_op, &signed, &file).await.unwrap();
    let report = scene.publisher().refresh(&scene.name).await.unwrap();
    assert!(report.ignored.iter().any(|said| said.contains("acme/other")), "{:?}", report.ignored);
    assert_eq!(scene.reader().exit(&scene.image("t0")).await, 11);

    honest.put(&scene, &scene.keys.targets).await;
    scene.publisher().refresh(&scene.name).await.unwrap();
    assert_eq!(scene.reader().exit(&scene.image("t0")).await, 0);
}

#[tokio::test]
async fn a_replayed_intent_does_nothing() {
    let scene = Inside::start(1).await;
    let plan = Plan::of(&scene, "t0", "image 0").await;
    plan.put(&scene, &scene.keys.targets).await;
    let with_intent = scene.repository.content();
    let machine = scene.publisher();
    machine.refresh(&scene.name).await.unwrap();
    machine.revoke(&scene.image("t0")).await.unwrap();
    let replay = || {
        let mut content = scene.repository.content();
        let tag = intents::tag(&plan.op);
        content.tags.insert(tag.clone(), with_intent.tags[&tag]);
        content.manifests.extend(with_intent.manifests.clone());
        scene.repository.restore(content);
    };
    replay();
    machine.refresh(&scene.name).await.unwrap();
    assert_eq!(scene.reader().exit(&scene.image("t0")).await, 11);
    // Also when the list of absorbed operations has dropped it: by then it has expired.
    machine.pass(SignedDuration::from_hours(3));
    machine.sign(&[&scene.image("t0")]).await.unwrap();
    machine.revoke(&scene.image("t0")).await.unwrap();
    replay();
    machine.refresh(&scene.name).await.unwrap();
    let reader = scene.reader();
    reader.set_clock(machine.now());
    assert_eq!(reader.exit(&scene.image("t0")).await, 11);
}

#[tokio::test]
async fn a_remove_beats_an_add_that_began_before_it() {
    // The rival revokes `1.0` while this publisher is about to move it: before its PUT, and before its intent.
    for (verb, nth) in [(Verb::PutManifest, 1), (Verb::PutManifest, 2), (Verb::Manifest, 4)] {
        let scene = Inside::start(0).await;
        let (me, rival) = (scene.publisher(), scene.publisher());
        crate::support::scene::push(&scene.repository, "1.0", "moved").await;
        let image = scene.image("1.0");
        let revoking = async move {
            rival.revoke(&image).await.unwrap();
        };
        let reached = interleave(&scene, verb, nth, revoking);
        let result = me.sign(&[&scene.image("1.0")]).await;
        assert!(reached(), "{verb:?} {nth}");
        assert_eq!(scene.reader().exit(&scene.image("1.0")).await, 11, "{verb:?} {nth}");
        assert!(reached(), "{verb:?} {nth}");
        assert!(matches!(result, Err(Error::Overruled { .. })), "{verb:?} {nth}: {result:?}");
        // Whoever means it signs again.
        me.sign(&[&scene.image("1.0")]).await.unwrap();
        assert_eq!(scene.reader().exit(&scene.image("1.0")).await, 0);
    }
}

#[tokio::test]
async fn an_intent_held_back_does_not_undo_a_later_revocation() {
    let scene = Inside::start(0).await;
    crate::support::scene::push(&scene.repository, "1.0", "moved").await;
    let plan = Plan::of(&scene, "1.0", "moved").await;
    plan.put(&scene, &scene.keys.targets).await;
    // The registry hides the intent, and shows it again once the tag is revoked.
    let with_intent = scene.repository.content();
    let mut content = with_intent.clone();
    content.tags.remove(&intents::tag(&plan.op));
    scene.repository.restore(content);
    let machine = scene.publisher();
    machine.revoke(&scene.image("1.0")).await.unwrap();
    let mut content = scene.repository.content();
    let tag = intents::tag(&plan.op);
    content.tags.insert(tag.clone(), with_intent.tags[&tag]);
    scene.repository.restore(content);
    machine.refresh(&scene.name).await.unwrap();
    assert_eq!(scene.reader().exit(&scene.image("1.0")).await, 11);
}

#[tokio::test]
async fn a_rotation_and_a_signing_at_once_lose_neither() {
    for kind in [RoleKind::Timestamp, RoleKind::Targets] {
        let scene = Inside::start(1).await;
        let new = PrivateKey::generate(Algorithm::Ed25519).unwrap();
        let purpose = if kind == RoleKind::Targets { Purpose::Targets } else { Purpose::Timestamp };
        let info = scene.owner.hold(&new, purpose, Some(&scene.name));
        let (name, rival, image) = (&scene.name, scene.publisher(), scene.image("t0"));
        let rotating = scene
            .owner
            .run(async |world, ring| rotate(world, ring, name, None, kind, NewKey::Held(info.clone())).await);
        let images = [image.as_str()];
        let (rotated, signed) = futures_util::future::join(rotating, rival.sign(&images)).await;
        assert_eq!(rotated.unwrap().root_version, 2, "{kind}");
        let root = State::read(&scene.repository).await.signed("root");
        assert_eq!(root["roles"][kind.as_str()]["keyids"], Value::from(vec![new.id().as_str()]), "{kind}");
        // The rival holds none of the new keys: it was in time, or was told so.
        let reader = scene.reader();
        assert_eq!(reader.exit(&scene.image("1.0")).await, 0, "{kind}");
        assert!(signed.is_err() || reader.exit(&image).await == 0, "{kind}: an acknowledged change is gone");
        scene.owner.sign(&images).await.unwrap();
        assert_eq!(reader.exit(&image).await, 0, "{kind}");
    }
}

#[tokio::test]
async fn intents_are_removed_once_they_are_absorbed_and_expired() {
    let scene = Inside::start(6).await;
    let machine = scene.publisher();
    for at in 0..5 {
        machine.sign(&[&scene.image(&format!("t{at}"))]).await.unwrap();
        machine.pass(SignedDuration::from_hours(2));
    }
    machine.sign(&[&scene.image("t5")]).await.unwrap();
    assert!(intent_tags(&scene).len() <= 2, "{:?}", intent_tags(&scene));
    let absorbed = State::read(&scene.repository).await.file("absorbed");
    let listed: Value = serde_json::from_slice(&absorbed).unwrap();
    assert!(listed.as_object().unwrap().len() <= 2, "{listed}");
    let reader = scene.reader();
    reader.set_clock(machine.now());
    for at in 0..6 {
        assert_eq!(reader.exit(&scene.image(&format!("t{at}"))).await, 0);
    }
}

#[tokio::test]
async fn fresh_intents_stay_for_publishers_that_stall() {
    let scene = Inside::start(2).await;
    let machine = scene.publisher();
    let before = intent_tags(&scene).len();
    machine.sign(&[&scene.image("t0")]).await.unwrap();
    machine.sign(&[&scene.image("t1")]).await.unwrap();
    assert_eq!(intent_tags(&scene).len(), before + 2);
}

#[tokio::test]
async fn cleaning_up_never_deletes_what_is_no_intent() {
    let scene = Inside::start(2).await;
    let machine = scene.publisher();
    machine.sign(&[&scene.image("t0")]).await.unwrap();
    // Who may write tags, and not delete, points those of absorbed intents at the head and at an image.
    let mut content = scene.repository.content();
    let victims = [content.tags[&"1.0".parse::<Tag>().unwrap()], content.tags[&"trust.tuf".parse::<Tag>().unwrap()]];
    for (at, tag) in intent_tags(&scene).into_iter().enumerate() {
        content.tags.insert(tag, victims[at % 2]);
    }
    scene.repository.restore(content);
    machine.pass(SignedDuration::from_hours(2));
    machine.refresh(&scene.name).await.unwrap();
    machine.sign(&[&scene.image("t1")]).await.unwrap();
    let manifests = scene.repository.content().manifests;
    assert!(victims.iter().all(|digest| manifests.contains_key(digest)));
}

#[tokio::test]
async fn a_flood_of_intents_stops_publishing_and_loses_nothing() {
    let scene = Inside::start(2).await;
    let mut content = scene.repository.content();
    let junk = content.tags[&"1.0".parse::<Tag>().unwrap()];
    for at in 0_u32..2000 {
        let random = std::array::from_fn(|byte| at.to_be_bytes().get(byte).copied().unwrap_or(0));
        content.tags.insert(intents::tag(&op(&scene, random)), junk);
    }
    scene.repository.restore(content);
    let result = scene.publisher().sign(&[&scene.image("t0")]).await;
    assert_eq!(exit_of(&result), 20, "{result:?}");
    assert_eq!(scene.reader().exit(&scene.image("1.0")).await, 0);
}

#[tokio::test]
async fn a_role_file_swapped_for_that_of_another_intent_is_not_adopted_in_its_place() {
    let scene = Inside::start(2).await;
    // Two publishers die at the same state, neither seeing the other's intent.
    let mut before = scene.repository.content();
    for tag in ["t0", "t1"] {
        let died = kill(&scene, Verb::PutManifest, 2);
        scene.publisher().sign(&[&scene.image(tag)]).await.unwrap_err();
        assert!(died());
        let after = scene.repository.content();
        before.tags.extend(after.tags.into_iter().filter(|(tag, _)| tag.as_str().starts_with("trust.tuf.i-")));
        before.manifests.extend(after.manifests);
        before.blobs.extend(after.blobs);
    }
    scene.repository.restore(before);
    // Every open intent now carries the role file of the other one.
    let mut content = scene.repository.content();
    let open = open_intents(&scene).await;
    assert_eq!(open.len(), 2);
    let mut wires: Vec<Value> =
        open.iter().map(|tag| serde_json::from_slice(&content.manifests[&content.tags[tag]].1).unwrap()).collect();
    let files: Vec<Value> = wires.iter().map(|wire| wire["layers"][1].clone()).collect();
    let count = wires.len();
    for (at, (tag, wire)) in open.iter().zip(&mut wires).enumerate() {
        wire["layers"][1] = files[(at + count - 1) % count].clone();
        let bytes = bytes::Bytes::from(wire.to_string());
        let digest = boltseal::image::Digest::of(&bytes);
        content.manifests.insert(digest, (boltseal::image::manifest::OCI_MANIFEST.to_owned(), bytes));
        content.tags.insert(tag.clone(), digest);
    }
    scene.repository.restore(content);
    let online = scene.reader();
    online.hold(&scene.keys.online, Purpose::Online, Some(&scene.name));
    online.refresh(&scene.name).await.unwrap();
    // Who holds the targets key still finds both operations open, and merges both.
    scene.publisher().refresh(&scene.name).await.unwrap();
    let reader = scene.reader();
    for tag in ["t0", "t1"] {
        assert_eq!(reader.exit(&scene.image(tag)).await, 0, "{tag}");
    }
}

#[tokio::test]
async fn nobody_builds_on_an_expired_base_without_naming_it() {
    let scene = Inside::start(1).await;
    let machine = scene.publisher();
    machine.pass(SignedDuration::from_hours(24 * 15));
    let digest = scene.repository.content().tags[&"trust.tuf".parse::<Tag>().unwrap()];
    assert_eq!(exit_of(&machine.sign(&[&scene.image("t0")]).await), 13);
    assert_eq!(exit_of(&machine.refresh(&scene.name).await), 13);
    let other = boltseal::image::Digest::of(b"another head");
    assert_eq!(exit_of(&machine.refresh_expired(&scene.name, Some(other)).await), 2);
    machine.refresh_expired(&scene.name, Some(digest)).await.unwrap();
    machine.sign(&[&scene.image("t0")]).await.unwrap();
    let reader = scene.reader();
    reader.set_clock(machine.now());
    assert_eq!(reader.exit(&scene.image("t0")).await, 0);
}

#[tokio::test]
async fn accepting_one_expired_head_accepts_no_other() {
    let scene = Inside::start(1).await;
    let old = scene.repository.content();
    let machine = scene.publisher();
    scene.owner.sign(&[&scene.image("t0")]).await.unwrap();
    let digest = scene.repository.content().tags[&"trust.tuf".parse::<Tag>().unwrap()];
    machine.pass(SignedDuration::from_hours(24 * 15));
    // The registry turns back to an older expired state once the accepted one was read.
    let repository = scene.repository.clone();
    scene.repository.before(Verb::Manifest, 2, move || {
        repository.restore(old);
        async { Ok(()) }.boxed()
    });
    let result = machine.refresh_expired(&scene.name, Some(digest)).await;
    assert_ne!(exit_of(&result), 0);
}

#[tokio::test]
async fn a_fast_forwarded_collection_is_recovered_by_rotating_the_online_keys() {
    for version in [u64::MAX, (1 << 53) - 1] {
        let scene = Inside::start(1).await;
        let reader = scene.reader();
        let mut state = State::read(&scene.repository).await;
        state.edit("snapshot", &[&scene.keys.online], |signed| signed["version"] = version.into());
        state.promise_snapshot(&[&scene.keys.online]);
        state.edit("timestamp", &[&scene.keys.online], |signed| signed["version"] = version.into());
        state.put(&scene.repository).await;
        assert_eq!(reader.exit(&scene.image("1.0")).await, 0);
        assert_eq!(exit_of(&scene.owner.sign(&[&scene.image("t0")]).await), 1);
        let name = &scene.name;
        for kind in [RoleKind::Snapshot, RoleKind::Timestamp] {
            let new = PrivateKey::generate(Algorithm::Ed25519).unwrap();
            let purpose = if kind == RoleKind::Snapshot { Purpose::Snapshot } else { Purpose::Timestamp };
            let info = scene.owner.hold(&new, purpose, Some(name));
            let rotated = scene
                .owner
                .run(async |world, ring| rotate(world, ring, name, None, kind, NewKey::Held(info.clone())).await)
                .await;
            assert!(rotated.is_ok(), "{kind}: {}", rotated.unwrap_err());
        }
        scene.owner.sign(&[&scene.image("t0")]).await.unwrap();
        assert_eq!(reader.exit(&scene.image("t0")).await, 0);
        assert!(State::read(&scene.repository).await.version("timestamp") < 1 << 52);
    }
}

#[tokio::test]
async fn the_list_of_absorbed_operations_is_believed_only_as_it_was_signed() {
    let scene = Inside::start(1).await;
    let mut state = State::read(&scene.repository).await;
    state.files.insert("absorbed.json".to_owned(), "{}".into());
    state.put(&scene.repository).await;
    assert_eq!(scene.reader().exit(&scene.image("1.0")).await, 0);
    assert_eq!(exit_of(&scene.publisher().sign(&[&scene.image("t0")]).await), 20);
    state.files.remove("absorbed.json");
    state.put(&scene.repository).await;
    assert_eq!(exit_of(&scene.publisher().sign(&[&scene.image("t0")]).await), 20);
}

#[tokio::test]
async fn a_failing_list_of_tags_is_no_empty_list() {
    let scene = Inside::start(1).await;
    let message = "down".to_owned();
    let down = registry::Error::Unreachable { location: "registry.example.com".to_owned(), message };
    scene.repository.fail(Verb::Tags, 1, down);
    let result = scene.publisher().sign(&[&scene.image("t0")]).await;
    assert_eq!(exit_of(&result), 20);
}

#[tokio::test]
async fn a_list_of_tags_that_lags_behind_is_waited_for_and_then_no_success() {
    let scene = Inside::start(2).await;
    tokio::time::pause();
    // Listings that lack what was put show the present again in the end.
    let repository = scene.repository.clone();
    let hide = move || {
        let whole = repository.content();
        let mut content = whole.clone();
        content.tags.retain(|tag, _| !tag.as_str().starts_with("trust.tuf.i-"));
        repository.restore(content);
        whole
    };
    let (repository, hidden) = (scene.repository.clone(), hide.clone());
    scene.repository.before(Verb::Tags, 1, move || {
        let whole = hidden();
        let again = repository.clone();
        repository.before(Verb::Tags, 3, move || {
            again.restore(whole);
            async { Ok(()) }.boxed()
        });
        async { Ok(()) }.boxed()
    });
    scene.publisher().sign(&[&scene.image("t0")]).await.unwrap();
    // One that never does is no list: a rival's intent could be missing as well.
    scene.repository.before(Verb::Tags, 1, move || {
        hide();
        async { Ok(()) }.boxed()
    });
    let result = scene.publisher().sign(&[&scene.image("t1")]).await;
    assert_eq!(exit_of(&result), 20, "{result:?}");
}

#[tokio::test]
async fn a_publisher_whom_somebody_beats_every_time_says_contended_and_loses_nothing() {
    let scene = Inside::start(1).await;
    let mut state = State::read(&scene.repository).await;
    // Somebody with the online key moves the head at every request.
    for nth in 1..2000 {
        state.edit("timestamp", &[&scene.keys.online], |_| {});
        let (state, repository) = (state.clone(), scene.repository.clone());
        scene.repository.before(Verb::Manifest, nth, move || {
            let mut content = repository.content();
            let draft =
                boltseal::registry::head::Head::build(&state.files, &std::collections::BTreeMap::default(), None)
                    .unwrap();
            let digest = draft.head.digest();
            let media_type = boltseal::image::manifest::OCI_MANIFEST.to_owned();
            content.manifests.insert(digest, (media_type, draft.manifest));
            content.tags.insert("trust.tuf".parse().unwrap(), digest);
            repository.restore(content);
            async { Ok(()) }.boxed()
        });
    }
    let machine = scene.publisher();
    tokio::time::pause();
    let result = machine.sign(&[&scene.image("t0")]).await;
    assert!(matches!(result, Err(Error::Contended { .. })), "{result:?}");
}
