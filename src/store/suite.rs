//! What every memory does, run over each adapter.

use super::{Error, HeadMark, Store};
use crate::image::{Digest, ImageName};

fn name(text: &str) -> ImageName {
    text.parse().unwrap()
}

/// The port's promises within one process. The store waits briefly for locks.
pub(super) fn behaves(store: &dyn Store) {
    let app = name("registry.example.com:5000/acme/app");
    assert_eq!(store.collections().unwrap(), []);
    {
        let mut memory = store.open(&app).unwrap();
        assert_eq!(memory.files().unwrap(), [""; 0]);
        assert_eq!(memory.read("timestamp.json").unwrap(), None);
        assert_eq!(memory.head("anywhere").unwrap(), None);
        assert_eq!(memory.latest_time().unwrap(), None);
        memory.remove("timestamp.json").unwrap();

        memory.write("1.root.json", b"one").unwrap();
        memory.write("timestamp.json", b"old").unwrap();
        memory.write("timestamp.json", b"new").unwrap();
        let long = format!("roles/{}.json", "%C3%A9".repeat(100));
        memory.write_all(&[("roles/%2E%2E%2Fx.json", b"role"), (&long, b"long")]).unwrap();
        let listed = ["1.root.json", "roles/%2E%2E%2Fx.json", &long, "timestamp.json"];
        assert_eq!(memory.files().unwrap(), listed);
        assert_eq!(memory.read("timestamp.json").unwrap().unwrap(), "new");
        assert_eq!(memory.read(&long).unwrap().unwrap(), "long");
        memory.remove("timestamp.json").unwrap();
        memory.remove(&long).unwrap();
        assert_eq!(memory.read("timestamp.json").unwrap(), None);
        assert_eq!(memory.files().unwrap(), ["1.root.json", "roles/%2E%2E%2Fx.json"]);

        for bad in ["../x.json", "/x.json", "roles/../x.json", "roles/a/b.json", "x", ".json", "marks.json", "a\0.json"]
        {
            assert!(matches!(memory.read(bad), Err(Error::Damaged { .. })), "{bad:?}");
            assert!(matches!(memory.write(bad, b""), Err(Error::Damaged { .. })), "{bad:?}");
            assert!(matches!(memory.remove(bad), Err(Error::Damaged { .. })), "{bad:?}");
        }

        let mark = HeadMark { digest: Digest::of(b"head"), etag: Some("\"tag\"".to_owned()) };
        memory.set_head("mirror.internal/app", Some(&mark)).unwrap();
        memory.set_head("oci:/a \"b\"", Some(&HeadMark { etag: None, ..mark.clone() })).unwrap();
        assert_eq!(memory.head("mirror.internal/app").unwrap(), Some(mark));
        assert_eq!(memory.head("oci:/a \"b\"").unwrap().unwrap().etag, None);
        memory.set_head("mirror.internal/app", None).unwrap();
        assert_eq!(memory.head("mirror.internal/app").unwrap(), None);

        let time = "2026-11-21T03:00:00Z".parse().unwrap();
        memory.set_latest_time(time).unwrap();
        memory.set_latest_time("2026-11-19T03:00:00Z".parse().unwrap()).unwrap();
        assert_eq!(memory.latest_time().unwrap(), Some(time), "time does not move back");

        assert!(matches!(store.open(&app), Err(Error::Locked { .. })), "the lock is held by the handle");
    }
    let other = name("registry.example.com:5000/acme");
    let mut memory = store.open(&other).unwrap();
    assert_eq!(memory.files().unwrap(), [""; 0], "memories are apart");
    memory.set_head("x", Some(&HeadMark { digest: Digest::of(b"x"), etag: None })).unwrap();
    drop(memory);
    drop(store.open(&name("never.example/written")).unwrap());
    assert_eq!(store.collections().unwrap(), [other, app]);
}

/// The port's promises from one process to the next. `start` makes a store of the next process.
pub(super) fn outlives(start: &dyn Fn() -> Box<dyn Store>) {
    let app = name("registry.example.com/acme/app");
    let time = "2026-11-21T03:00:00Z".parse().unwrap();
    let mark = HeadMark { digest: Digest::of(b"head"), etag: None };
    let long = format!("roles/{}.json", "%C3%A9".repeat(100));
    {
        let mut memory = start().open(&app).unwrap();
        memory.write_all(&[("1.root.json", b"one"), (&long, b"long")]).unwrap();
        memory.set_head("here", Some(&mark)).unwrap();
        memory.set_latest_time(time).unwrap();
    }
    let memory = start().open(&app).unwrap();
    assert_eq!(memory.files().unwrap(), ["1.root.json", &long]);
    assert_eq!(memory.read("1.root.json").unwrap().unwrap(), "one");
    assert_eq!(memory.head("here").unwrap(), Some(mark));
    assert_eq!(memory.latest_time().unwrap(), Some(time));
}
