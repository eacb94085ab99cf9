//! What `inspect --history` can tell: the last steps, who took them, and whether somebody shows two different ones.

use boltseal::image::Digest;
use boltseal::ops::history::{self, Held, History, TagChange};
use boltseal::trust::RoleKind;

use crate::support::machine::Machine;
use crate::support::scene::{Scene, push};

async fn history(machine: &Machine, scene: &Scene) -> History {
    machine.run(async |world, _| history::history(world, &scene.name, None).await).await.unwrap()
}

fn held(history: &History) -> Vec<Vec<Held>> {
    history.states.iter().map(|state| state.held.iter().copied().collect()).collect()
}

fn moved(tag: &str, before: Option<Digest>, after: Option<Digest>) -> TagChange {
    TagChange { tag: tag.to_owned(), before, after }
}

#[tokio::test]
async fn the_last_step_is_told_with_who_took_it_and_what_it_changed() {
    let scene = Scene::start().await;
    let two = scene.sign("1.0", "another").await;
    let told = history(&scene.reader(), &scene).await;
    assert_eq!(held(&told), [vec![Held::Head], vec![Held::Predecessor]]);
    let last = &told.states[0];
    assert_eq!(last.changes.as_deref(), Some(&[moved("1.0", Some(scene.signed), Some(two))][..]));
    assert_eq!(last.signed_by[&RoleKind::Targets], [scene.keys.targets.id()]);
    assert_eq!(last.signed_by[&RoleKind::Timestamp], [scene.keys.online.id()]);
    assert_eq!(last.prev.as_deref(), Some(told.states[1].digest.hex().as_str()));
    assert!(last.time.is_some());
    assert!(told.forks.is_empty() && told.rolled_back.is_none());
    assert!(told.notices.iter().any(|notice| notice.contains("no longer held")), "{:?}", told.notices);
    assert_eq!(told.roots.len(), 1);
}

#[tokio::test]
async fn what_this_machine_remembers_goes_further_back() {
    let scene = Scene::start().await;
    let reader = scene.reader();
    reader.verify(&scene.image("1.0")).await.unwrap();
    scene.sign("2.0", "two").await;
    scene.sign("3.0", "three").await;
    let told = history(&reader, &scene).await;
    assert_eq!(held(&told), [vec![Held::Head], vec![Held::Predecessor], vec![Held::Memory]]);
    assert_eq!(told.states.iter().filter(|state| state.changes.is_some()).count(), 2);
    assert_eq!(held(&history(&scene.reader(), &scene).await).len(), 2, "another machine has not seen it");
    // Asking changes nothing.
    assert_eq!(held(&history(&reader, &scene).await).len(), 3);
}

#[tokio::test]
async fn a_fork_is_shown_where_the_registry_shows_another_successor_than_was_seen() {
    let scene = Scene::start().await;
    let before = scene.repo().snapshot();
    let reader = scene.reader();
    scene.sign("2.0", "two").await;
    reader.verify(&scene.image("2.0")).await.unwrap();
    // Somebody with all keys, and no memory of what was signed, goes on from the earlier state.
    scene.repo().restore(before);
    let amnesiac = crate::support::scene::owner(&scene.net, &scene.name, &scene.keys);
    push(&*scene.client(), "3.0", "three").await;
    amnesiac.sign(&[&scene.image("3.0")]).await.unwrap();
    let told = history(&reader, &scene).await;
    assert_eq!(told.forks.len(), 1);
    assert_eq!(told.forks[0].len(), 2);
}

#[tokio::test]
async fn a_registry_that_went_back_is_told_and_its_states_are_shown_all_the_same() {
    let scene = Scene::start().await;
    let before = scene.repo().snapshot();
    let reader = scene.reader();
    scene.sign("2.0", "two").await;
    reader.verify(&scene.image("2.0")).await.unwrap();
    scene.repo().restore(before);
    let told = history(&reader, &scene).await;
    let (seen, served) = told.rolled_back.unwrap();
    assert!(seen > served);
    assert_eq!(told.states[0].held, [Held::Memory].into());
}

#[tokio::test]
async fn a_state_that_no_trusted_key_signed_is_no_part_of_the_history() {
    let scene = Scene::start().await;
    let other = Scene::start().await;
    let reader = scene.reader();
    reader.verify(&scene.image("1.0")).await.unwrap();
    let foreign = std::fs::read(other.owner.memory(&other.name).join("timestamp.json")).unwrap();
    std::fs::write(reader.memory(&scene.name).join("timestamp.json"), foreign).unwrap();
    let told = history(&reader, &scene).await;
    assert!(told.states.iter().all(|state| !state.held.contains(&Held::Memory)));
    assert!(told.notices.iter().any(|notice| notice.contains("no trusted key signed")), "{:?}", told.notices);
}
