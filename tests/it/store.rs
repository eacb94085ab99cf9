//! The client's memory in whole use cases: damage is explained and never reset, trouble never makes a verdict weaker.

use std::fs;
use std::time::Duration;

use boltseal::ops::error::Error;
use boltseal::store::dir::DirStore;
use boltseal::store::{self, Memory, Store};
use boltseal::{image::ImageName, trust};

use crate::support::machine::{Machine, exit_of};
use crate::support::scene::Scene;

async fn warm(scene: &Scene) -> Machine {
    let reader = scene.reader();
    reader.verify(&scene.image("1.0")).await.unwrap();
    reader
}

#[tokio::test]
async fn a_damaged_file_is_an_error_that_names_it_and_stays_as_it_is() {
    let scene = Scene::start().await;
    for file in ["1.root.json", "timestamp.json", "snapshot.json", "marks.json"] {
        for damage in ["", "{", "not json", "{\"signatures\":[],\"signed\":{}}"] {
            let reader = warm(&scene).await;
            let path = reader.memory(&scene.name).join(file);
            fs::write(&path, damage).unwrap();
            let error = reader.verify(&scene.image("1.0")).await.unwrap_err();
            let role = file.trim_end_matches(".json").trim_start_matches("1.");
            assert!(error.to_string().contains(role), "{file} {damage}: {error}");
            assert!(error.to_string().contains("damaged"), "{file} {damage}: {error}");
            assert_eq!(reader.exit(&scene.image("1.0")).await, 1, "{file} {damage}");
            assert_eq!(exit_of(&reader.sign(&[&scene.image("1.0")]).await), 1, "{file} {damage}");
            assert_eq!(fs::read_to_string(&path).unwrap(), damage, "{file} was reset");
        }
    }
}

#[tokio::test]
async fn a_truncated_file_is_damage() {
    let scene = Scene::start().await;
    for file in ["1.root.json", "timestamp.json", "snapshot.json"] {
        let reader = warm(&scene).await;
        let path = reader.memory(&scene.name).join(file);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let error = reader.verify(&scene.image("1.0")).await.unwrap_err();
        assert!(matches!(&*error, Error::Trust { source: trust::Error::Damaged { .. }, .. }), "{file}: {error}");
        fs::write(&path, whole).unwrap();
        assert_eq!(reader.exit(&scene.image("1.0")).await, 0, "{file}");
    }
}

#[tokio::test]
async fn targets_that_are_damaged_or_gone_are_fetched_again_since_the_snapshot_says_which_they_are() {
    let scene = Scene::start().await;
    let reader = warm(&scene).await;
    let path = reader.memory(&scene.name).join("targets.json");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, "{").unwrap();
    assert_eq!(reader.exit(&scene.image("1.0")).await, 0);
    assert_eq!(fs::read(&path).unwrap(), whole);
    fs::remove_file(&path).unwrap();
    assert_eq!(reader.exit(&scene.image("1.0")).await, 0);
}

#[tokio::test]
async fn memory_held_by_another_process_is_waited_for_and_then_told_of() {
    let scene = Scene::start().await;
    let reader = warm(&scene).await;
    let other = DirStore::new(reader.home.path());
    let held = other.open(&scene.name).unwrap();
    let error = reader.verify(&scene.image("1.0")).await.unwrap_err();
    assert!(matches!(&*error, Error::Store(store::Error::Locked { .. })), "{error}");
    drop(held);
    assert_eq!(reader.exit(&scene.image("1.0")).await, 0);
}

#[tokio::test]
async fn another_process_that_moved_memory_on_is_not_overwritten() {
    let scene = Scene::start().await;
    let reader = warm(&scene).await;
    let old = scene.repo().snapshot();
    scene.sign("2.0", "two").await;
    // A second process of this machine sees the new state while the registry serves the first one the old one.
    let twin = scene.reader().with_store(DirStore::new(reader.home.path()));
    assert_eq!(twin.exit(&scene.image("2.0")).await, 0);
    scene.repo().restore(old);
    assert_eq!(reader.exit(&scene.image("1.0")).await, 14);
    assert_eq!(twin.exit(&scene.image("1.0")).await, 14);
}

/// A store whose disk is full: it reads, and writes nothing.
#[derive(Debug)]
struct FullDisk(DirStore);

struct Full(Box<dyn Memory>);

fn full<T>() -> Result<T, store::Error> {
    let message = "No space left on device (os error 28)".to_owned();
    Err(store::Error::Io { action: "write", path: "/home/user/trust".to_owned(), message })
}

impl Store for FullDisk {
    fn open(&self, collection: &ImageName) -> Result<Box<dyn Memory>, store::Error> {
        Ok(Box::new(Full(self.0.open(collection)?)))
    }

    fn collections(&self) -> Result<Vec<ImageName>, store::Error> {
        self.0.collections()
    }
}

impl Memory for Full {
    fn files(&self) -> Result<Vec<String>, store::Error> {
        self.0.files()
    }

    fn read(&self, file: &str) -> Result<Option<bytes::Bytes>, store::Error> {
        self.0.read(file)
    }

    fn write(&mut self, _file: &str, _bytes: &[u8]) -> Result<(), store::Error> {
        full()
    }

    fn remove(&mut self, _file: &str) -> Result<(), store::Error> {
        full()
    }

    fn head(&self, location: &str) -> Result<Option<store::HeadMark>, store::Error> {
        self.0.head(location)
    }

    fn set_head(&mut self, _location: &str, _mark: Option<&store::HeadMark>) -> Result<(), store::Error> {
        full()
    }

    fn latest_time(&self) -> Result<Option<jiff::Timestamp>, store::Error> {
        self.0.latest_time()
    }

    fn set_latest_time(&mut self, _time: jiff::Timestamp) -> Result<(), store::Error> {
        full()
    }
}

#[tokio::test]
async fn a_full_disk_is_an_error_where_something_must_be_remembered_and_none_where_nothing_changed() {
    let scene = Scene::start().await;
    let reader = warm(&scene).await;
    let disk = || FullDisk(DirStore::new(reader.home.path()).with_lock_wait(Duration::from_millis(300)));
    let twin = scene.reader().with_store(disk());
    assert_eq!(twin.exit(&scene.image("1.0")).await, 0);
    scene.sign("2.0", "two").await;
    let error = twin.verify(&scene.image("2.0")).await.unwrap_err();
    assert!(error.to_string().contains("No space left"), "{error}");
    assert_eq!(twin.exit(&scene.image("2.0")).await, 1);
    // A verdict that is worse than the trouble comes first.
    scene.repo().remove_tag("trust.tuf");
    assert_eq!(twin.exit(&scene.image("2.0")).await, 14);
}

#[tokio::test]
async fn a_home_that_is_a_file_or_not_writable_is_an_error_and_no_fresh_start() {
    let scene = Scene::start().await;
    let machine = scene.reader();
    let file = machine.home.path().join("file");
    fs::write(&file, "").unwrap();
    let machine = machine.with_store(DirStore::new(&file));
    let error = machine.verify(&scene.image("1.0")).await.unwrap_err();
    assert!(matches!(&*error, Error::Store(store::Error::Io { .. })), "{error}");
    assert_eq!(machine.exit(&scene.image("1.0")).await, 1);
}

#[tokio::test]
async fn memory_deleted_in_part_is_never_taken_for_a_fresh_start_of_roots() {
    let scene = Scene::start().await;
    let reader = warm(&scene).await;
    // Without its root the memory of a timestamp still is a floor.
    fs::remove_file(reader.memory(&scene.name).join("1.root.json")).unwrap();
    assert_eq!(reader.exit(&scene.image("1.0")).await, 0);
    let old = scene.repo().snapshot();
    scene.sign("2.0", "two").await;
    assert_eq!(reader.exit(&scene.image("2.0")).await, 0);
    fs::remove_file(reader.memory(&scene.name).join("1.root.json")).unwrap();
    scene.repo().restore(old);
    assert_eq!(reader.exit(&scene.image("1.0")).await, 14);
}
