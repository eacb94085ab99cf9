//! The policy's rules as whole verdicts, each with what it lets pass and what it refuses.

use boltseal::ops::error::Error;
use boltseal::trust::policy::{Overrides, Pinned};
use boltseal::trust::{RoleKind, RoleName, Version};

use crate::support::forge::State;
use crate::support::machine::{Machine, days, exit_of};
use crate::support::scene::{Scene, push};

/// A machine whose scope for the scene's images has more fields.
fn with(scene: &Scene, more: &str) -> Machine {
    let machine = Machine::new(&scene.net);
    machine.trusts(&scene.name.to_string(), &scene.keys.root.id(), more);
    machine
}

#[tokio::test]
async fn without_a_policy_nothing_is_trusted_and_nothing_is_asked() {
    let scene = Scene::start().await;
    scene.registry.clear_log();
    let machine = Machine::new(&scene.net);
    assert_eq!(machine.exit(&scene.image("1.0")).await, 16);
    machine.trusts("registry.example.com/**", &scene.keys.root.id(), "");
    assert_eq!(machine.exit(&scene.image("1.0")).await, 16);
    assert!(scene.registry.log().is_empty());
    let host = scene.registry.host();
    machine.trusts(&format!("{host}/**"), &scene.keys.root.id(), "");
    assert_eq!(machine.exit(&scene.image("1.0")).await, 0);
}

#[tokio::test]
async fn a_list_of_tags_bounds_tags_and_digests_through_their_tags() {
    let scene = Scene::start().await;
    let release = scene.sign("release-1", "release").await;
    let machine = with(&scene, "tags = [\"release-*\"]");
    assert_eq!(machine.exit(&scene.image("release-1")).await, 0);
    assert_eq!(machine.exit(&scene.image("1.0")).await, 16);
    assert_eq!(machine.exit(&format!("{}@{release}", scene.name)).await, 0);
    assert_eq!(machine.exit(&format!("{}@{}", scene.name, scene.signed)).await, 16);
    assert_eq!(machine.exit(&format!("{}:release-1@{release}", scene.name)).await, 0);
}

#[tokio::test]
async fn a_list_of_signers_says_whose_word_counts() {
    let scene = Scene::start().await;
    assert_eq!(with(&scene, "signers = [\"targets\"]").exit(&scene.image("1.0")).await, 0);
    assert_eq!(with(&scene, "signers = [\"releases\"]").exit(&scene.image("1.0")).await, 11);
}

#[tokio::test]
async fn pinned_digests_are_signed_ones_or_the_current_one() {
    let scene = Scene::start().await;
    let new = scene.sign("1.0", "two").await;
    let former = format!("{}:1.0@{}", scene.name, scene.signed);
    let current = format!("{}:1.0@{new}", scene.name);
    for (more, code) in [("", 0), ("pinned = \"signed\"", 0), ("pinned = \"current\"", 15)] {
        let machine = with(&scene, more);
        assert_eq!(machine.exit(&former).await, code, "{more}");
        assert_eq!(machine.exit(&current).await, 0, "{more}");
    }
    // A digest that was signed under another tag only is not the tag's.
    let other = scene.sign("2.0", "three").await;
    assert_eq!(with(&scene, "").exit(&format!("{}:1.0@{other}", scene.name)).await, 15);
}

#[tokio::test]
async fn former_digests_pass_for_as_long_as_the_policy_says() {
    let scene = Scene::start().await;
    scene.sign("1.0", "two").await;
    let former = format!("{}:1.0@{}", scene.name, scene.signed);
    let machine = with(&scene, "superseded_for = \"10d\"");
    machine.pass(days(9));
    assert_eq!(machine.exit(&former).await, 0);
    assert_eq!(machine.exit(&scene.image("1.0")).await, 0);
    machine.pass(days(2));
    assert_eq!(machine.exit(&former).await, 11);
    assert_eq!(machine.exit(&format!("{}@{}", scene.name, scene.signed)).await, 11);
    assert_eq!(machine.exit(&scene.image("1.0")).await, 0);
}

#[tokio::test]
async fn memory_that_the_policy_asks_for_is_memory_or_a_checkpoint() {
    let scene = Scene::start().await;
    let machine = with(&scene, "require_memory = true");
    assert_eq!(machine.exit(&scene.image("1.0")).await, 16);
    // The first look was remembered; the second one is of a machine that knows the collection.
    assert_eq!(machine.exit(&scene.image("1.0")).await, 0);
    let carried = with(&scene, "require_memory = true");
    let state = State::read(&*scene.client()).await;
    let version = Version::new(state.version("timestamp")).unwrap();
    let floor = |version| [(RoleName::Top(RoleKind::Timestamp), version)];
    carried.checkpoint.lock().unwrap().record(scene.name.clone(), floor(version));
    assert_eq!(carried.exit(&scene.image("1.0")).await, 0);
    // A floor above what is served is a rollback.
    let next = Version::new(version.get() + 1).unwrap();
    carried.checkpoint.lock().unwrap().record(scene.name.clone(), floor(next));
    assert_eq!(carried.exit(&scene.image("1.0")).await, 14);
}

#[tokio::test]
async fn a_run_without_memory_verifies_and_is_refused_where_memory_is_asked_for() {
    let scene = Scene::start().await;
    let stateless = |more: &str| {
        let machine = with(&scene, more).with_store(boltseal::store::memory::MemoryStore::new());
        *machine.overrides.lock().unwrap() = Overrides { stateless: true, ..Overrides::default() };
        machine
    };
    let free = stateless("");
    assert_eq!(free.exit(&scene.image("1.0")).await, 0);
    assert!(!free.memory(&scene.name).exists());
    let bound = stateless("require_memory = true");
    assert_eq!(bound.exit(&scene.image("1.0")).await, 16);
    assert_eq!(bound.exit(&scene.image("1.0")).await, 16);
}

#[tokio::test]
async fn a_timestamp_that_promises_too_much_is_refused() {
    let scene = Scene::start().await;
    assert_eq!(with(&scene, "max_timestamp_life = \"14d\"").exit(&scene.image("1.0")).await, 0);
    assert_eq!(with(&scene, "max_timestamp_life = \"7d\"").exit(&scene.image("1.0")).await, 16);
}

#[tokio::test]
async fn a_root_below_the_pinned_version_does_not_count() {
    let scene = Scene::start().await;
    let machine = Machine::new(&scene.net);
    machine.policy(&format!(
        "[[scope]]\nimages = [\"{}\"]\nroot = {{ keys = [\"{}\"], threshold = 1, min_version = 2 }}",
        scene.name,
        scene.keys.root.id()
    ));
    assert_eq!(machine.exit(&scene.image("1.0")).await, 12);
    let name = &scene.name;
    let change = async |world: &boltseal::ops::world::World<'_>, ring: &boltseal::ops::ring::Ring<'_>| {
        let new = boltseal::ops::rotate::NewKey::Generate(boltseal::keystore::Algorithm::Ed25519);
        boltseal::ops::rotate::rotate(world, ring, name, None, RoleKind::Timestamp, new).await
    };
    scene.owner.run(change).await.unwrap();
    assert_eq!(machine.exit(&scene.image("1.0")).await, 0);
}

#[tokio::test]
async fn a_loosening_flag_is_refused_where_the_scope_does_not_allow_it() {
    let scene = Scene::start().await;
    scene.sign("1.0", "two").await;
    let former = format!("{}:1.0@{}", scene.name, scene.signed);
    let loosened = Overrides { pinned: Some(Pinned::Signed), ..Overrides::default() };
    let strict = with(&scene, "pinned = \"current\"");
    *strict.overrides.lock().unwrap() = loosened.clone();
    assert_eq!(strict.exit(&former).await, 16);
    let allowing = with(&scene, "pinned = \"current\"\nallow_override = true");
    *allowing.overrides.lock().unwrap() = loosened;
    assert_eq!(allowing.exit(&former).await, 0);
}

#[tokio::test]
async fn audit_and_off_let_pass_and_never_say_verified() {
    let scene = Scene::start().await;
    push(&*scene.client(), "2.0", "two").await;
    for (mode, allow) in [("enforce", false), ("audit", true)] {
        let machine = with(&scene, &format!("mode = \"{mode}\""));
        let verdict = machine.verdict(&scene.image("2.0"), boltseal::ops::verify::Served::Ignore).await;
        assert_eq!((verdict.allow(), verdict.verified()), (allow, false), "{mode}");
    }
    let machine = Machine::new(&scene.net);
    machine.policy(&format!("[[scope]]\nimages = [\"{}\"]\nmode = \"off\"", scene.name));
    let verdict = machine.verdict(&scene.image("1.0"), boltseal::ops::verify::Served::Ignore).await;
    assert_eq!((verdict.allow(), verdict.verified()), (true, false));
}

#[tokio::test]
async fn every_file_that_has_a_scope_must_be_satisfied() {
    let scene = Scene::start().await;
    let stranger = boltseal::keystore::PrivateKey::generate(boltseal::keystore::Algorithm::Ed25519).unwrap();
    let machine = with(&scene, "");
    let other = boltseal::trust::policy::RootKeys::new([stranger.id()].into(), 1, Version::ONE).unwrap();
    *machine.overrides.lock().unwrap() =
        Overrides { pin: Some(boltseal::trust::policy::Pin::Keys(other)), ..Overrides::default() };
    assert_eq!(machine.exit(&scene.image("1.0")).await, 12);
    *machine.overrides.lock().unwrap() = Overrides::default();
    assert_eq!(machine.exit(&scene.image("1.0")).await, 0);
}

#[tokio::test]
async fn a_policy_that_fails_while_signing_publishes_nothing() {
    let scene = Scene::start().await;
    push(&*scene.client(), "2.0", "two").await;
    let before = scene.repo().snapshot();
    let machine = Machine::new(&scene.net);
    let result = machine.sign(&[&scene.image("2.0")]).await;
    assert!(matches!(result, Err(Error::Policy(_))), "{result:?}");
    assert_eq!(exit_of(&result), 16);
    assert!(scene.repo().snapshot() == before);
}
