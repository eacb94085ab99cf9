//! An exported collection is a TUF repository like any other: python-tuf, which is not ours, reads it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::image::digest;
use crate::process::{Ran, run};
use crate::scene::Scene;

const REQUIREMENTS: &str = include_str!("export/requirements.txt");
const LOOKUP: &str = include_str!("export/lookup.py");

/// The Python with python-tuf that `tests/run` makes, outside the checkout.
fn python() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").expect("there is a HOME")).join(".cache");
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
    let pinned = digest(REQUIREMENTS.as_bytes());
    let hash = pinned.strip_prefix("sha256:").expect("every digest is SHA-256");
    let python = cache.join("boltseal-tests").join(format!("tuf-{}", &hash[..16])).join("bin/python");
    assert!(python.exists(), "there is no `{}`: `tests/run` makes it", python.display());
    python
}

/// What python-tuf finds under a target path in the folder `tuf` of the owner.
fn look_up(scene: &Scene, target: &str) -> Ran {
    run(Command::new(python()).args(["-c", LOOKUP]).arg(scene.owner.work().join("tuf")).arg(target))
}

#[test]
fn python_tuf_finds_in_an_export_what_was_signed_and_nothing_else() {
    let scene = Scene::signed();
    let hex = |digest: &str| digest.strip_prefix("sha256:").map(str::to_owned);
    scene.owner.run(["export", &scene.name(), "tuf"]).ok();
    assert_eq!(Some(look_up(&scene, &scene.tag("1.0")).ok().stdout().trim().to_owned()), hex(&scene.image.digest()));
    assert_eq!(look_up(&scene, &scene.tag("2.0")).ok().stdout().trim(), "");

    // Rotated roots, a newer state in the same folder.
    scene.owner.run(["key", "rotate", &scene.name(), "timestamp"]).ok();
    let two = scene.publish("2.0", "two");
    scene.owner.run(["export", &scene.name(), "tuf"]).ok();
    assert_eq!(Some(look_up(&scene, &scene.tag("2.0")).ok().stdout().trim().to_owned()), hex(&two.digest()));
    let names: Vec<String> = fs::read_dir(scene.owner.work().join("tuf/metadata"))
        .expect("the export is there")
        .map(|entry| entry.expect("a folder can be read").file_name().to_string_lossy().into_owned())
        .collect();
    assert!(names.iter().any(|name| name == "2.root.json"), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("absorbed")), "{names:?}");
}

#[test]
fn python_tuf_refuses_an_export_that_was_changed() {
    let scene = Scene::signed();
    scene.owner.run(["export", &scene.name(), "tuf"]).ok();
    let metadata = scene.owner.work().join("tuf/metadata");
    for entry in fs::read_dir(&metadata).expect("the export is there") {
        let path = entry.expect("a folder can be read").path();
        let whole = fs::read_to_string(&path).expect("metadata are text");
        let spoilt = whole.replacen("127.0.0.1", "127.0.0.2", 1);
        assert_ne!(whole, spoilt, "every role names its collection");
        fs::write(&path, spoilt).expect("a file in our folder is written");
        look_up(&scene, &scene.tag("1.0")).fails();
        fs::write(&path, whole).expect("a file in our folder is written");
    }
    look_up(&scene, &scene.tag("1.0")).ok();
}

#[test]
fn an_export_goes_nowhere_but_into_its_own_folder() {
    let scene = Scene::signed();
    let folder = scene.owner.work().join("tuf");
    fs::create_dir(&folder).expect("a folder in our folder is made");
    fs::write(folder.join("notes.txt"), "mine").expect("a file in our folder is written");
    scene.owner.run(["export", &scene.name(), "tuf"]).code(2).stderr_has("notes.txt");
    assert_eq!(fs::read_dir(&folder).expect("the folder is there").count(), 1);
}
