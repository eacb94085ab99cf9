use std::fs;
use std::path::PathBuf;

use futures_util::stream;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::image::manifest::{OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};

const MAX: u64 = 1024 * 1024;

struct Fixture {
    folder: TempDir,
    layout: LayoutRepository,
}

impl Fixture {
    /// A layout that is not there yet.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let layout = LayoutRepository::new(&folder.path().join("app")).unwrap();
        Self { folder, layout }
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join("app").join(relative)
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.path(&blob_path(digest))
    }

    fn index(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path("index.json")).unwrap()).unwrap()
    }

    fn set_index(&self, index: &Value) {
        fs::write(self.path("index.json"), index.to_string()).unwrap();
    }

    async fn push(&self, tag: &str, text: &str) -> Digest {
        self.layout.put_manifest(&point(tag), OCI_MANIFEST, body(text), None).await.unwrap()
    }

    async fn fetch(&self, tag: &str) -> Result<Manifest, Error> {
        match self.layout.manifest(&point(tag), None, MAX).await? {
            Conditional::Modified(manifest) => Ok(manifest),
            Conditional::NotModified => panic!("nothing was known"),
        }
    }
}

fn point(tag: &str) -> Point {
    Point::Tag(tag.parse().unwrap())
}

fn body(text: &str) -> Bytes {
    let config = json!({"mediaType": OCI_CONFIG, "digest": Digest::of(text.as_bytes()), "size": text.len()});
    json!({"schemaVersion": 2, "config": config, "layers": []}).to_string().into()
}

fn assert_broken<T: std::fmt::Debug>(result: Result<T, Error>, words: &str) {
    match result {
        Err(error @ Error::Broken { .. }) => assert!(error.to_string().contains(words), "{error}"),
        other => panic!("expected a broken layout, got {other:?}"),
    }
}

fn streamed(chunks: &[&'static [u8]]) -> BlobStream {
    let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk))).collect();
    stream::iter(chunks).boxed()
}

#[tokio::test]
async fn the_first_write_makes_the_layout() {
    let fixture = Fixture::new();
    assert!(fixture.fetch("1.0").await.unwrap_err().is_not_found());
    assert!(!fixture.path("").exists(), "a read makes nothing");
    let digest = fixture.push("1.0", "a").await;
    let marker: Value = serde_json::from_slice(&fs::read(fixture.path("oci-layout")).unwrap()).unwrap();
    assert_eq!(marker, json!({"imageLayoutVersion": "1.0.0"}));
    let entry = json!({"mediaType": OCI_MANIFEST, "digest": digest, "size": body("a").len(),
        "annotations": {"org.opencontainers.image.ref.name": "1.0"}});
    assert_eq!(fixture.index(), json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]}));
    let manifest = fixture.fetch("1.0").await.unwrap();
    assert_eq!((manifest.digest, manifest.media_type.as_str(), manifest.bytes), (digest, OCI_MANIFEST, body("a")));
    assert!(fixture.fetch("1.1").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn blobs_alone_make_a_layout_that_can_be_read() {
    let fixture = Fixture::new();
    fixture.layout.put_blob(Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(fixture.layout.tags().await.unwrap(), []);
}

#[tokio::test]
async fn a_known_digest_is_answered_without_a_body() {
    let fixture = Fixture::new();
    fixture.push("1.0", "a").await;
    let etag = fixture.fetch("1.0").await.unwrap().etag.unwrap();
    let again = fixture.layout.manifest(&point("1.0"), Some(&etag), MAX).await.unwrap();
    assert_eq!(again, Conditional::NotModified);
    fixture.push("1.0", "b").await;
    assert!(matches!(fixture.layout.manifest(&point("1.0"), Some(&etag), MAX).await, Ok(Conditional::Modified(_))));
}

#[tokio::test]
async fn everything_else_in_the_index_is_kept() {
    let fixture = Fixture::new();
    fixture.push("1.0", "a").await;
    let other = json!({"mediaType": "x/y", "digest": "sha512:00", "size": 3, "platform": {"os": "linux"},
        "annotations": {"org.opencontainers.image.ref.name": "registry.example.com/app:1.0"}, "x": 1.5});
    let before = json!({"x-first": [1, {"y": null}], "schemaVersion": 2, "manifests": [other],
        "annotations": {"kept": "yes"}});
    fixture.set_index(&before);
    // Written by hand to have spacing, escapes and numbers that a parser would lose.
    let odd = r#"{"z":  12345678901234567890123,"schemaVersion":2,"manifests":[{"digest":"sha512:\u0030","size":3 }]}"#;
    let digest = fixture.push("2.0", "b").await;
    fixture.layout.record_name(&"h.x/app".parse().unwrap()).await.unwrap();
    let after = fixture.index();
    assert_eq!(after["x-first"], before["x-first"]);
    assert_eq!(after["annotations"], json!({"kept": "yes", "vnd.boltseal.name": "h.x/app"}));
    assert_eq!(after["manifests"][0], before["manifests"][0]);
    assert_eq!(after["manifests"][1]["digest"], json!(digest));
    assert_eq!(fixture.layout.tags().await.unwrap(), ["2.0".parse().unwrap()]);

    fs::write(fixture.path("index.json"), odd).unwrap();
    fixture.push("2.0", "b").await;
    let text = fs::read_to_string(fixture.path("index.json")).unwrap();
    assert!(text.starts_with(r#"{"z":12345678901234567890123,"#), "{text}");
    assert!(text.contains(r#"{"digest":"sha512:\u0030","size":3 }"#), "{text}");
}

#[tokio::test]
async fn a_tag_moves_in_its_place_and_is_listed_once() {
    let fixture = Fixture::new();
    fixture.push("1.0", "a").await;
    fixture.push("2.0", "b").await;
    let moved = fixture.push("1.0", "c").await;
    let index = fixture.index();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
    assert_eq!(index["manifests"][0]["digest"], json!(moved));
}

#[tokio::test]
async fn a_tag_with_two_meanings_is_refused() {
    let fixture = Fixture::new();
    fixture.push("1.0", "a").await;
    let mut index = fixture.index();
    let mut second = index["manifests"][0].clone();
    index["manifests"].as_array_mut().unwrap().push(second.clone());
    fixture.set_index(&index);
    assert!(fixture.fetch("1.0").await.is_ok(), "the same twice has one meaning");
    second["digest"] = json!(Digest::of(b"other"));
    index["manifests"].as_array_mut().unwrap().push(second);
    fixture.set_index(&index);
    assert_broken(fixture.fetch("1.0").await, "two manifests under the tag `1.0`");
}

#[tokio::test]
async fn only_an_expected_predecessor_is_replaced() {
    let fixture = Fixture::new();
    fixture.push("1.0", "a").await;
    let etag = fixture.fetch("1.0").await.unwrap().etag.unwrap();
    let put = |text, etag: String| {
        let layout = fixture.layout.clone();
        async move { layout.put_manifest(&point("1.0"), OCI_MANIFEST, body(text), Some(&etag)).await }
    };
    put("b", etag.clone()).await.unwrap();
    assert!(matches!(put("c", etag).await, Err(Error::Conflict { .. })));
    assert_eq!(fixture.fetch("1.0").await.unwrap().bytes, body("b"));
}

#[tokio::test]
async fn a_manifest_asked_for_by_digest_needs_no_entry() {
    let fixture = Fixture::new();
    let point = Point::Digest(Digest::of(&body("child")));
    fixture.layout.put_manifest(&point, OCI_MANIFEST, body("child"), None).await.unwrap();
    assert_eq!(fixture.index()["manifests"], json!([]));
    let head = fixture.layout.manifest_head(&point).await.unwrap();
    assert_eq!(head.media_type.as_deref(), Some(OCI_MANIFEST));
    assert_eq!(head.length, Some(body("child").len() as u64));
    let config = fixture.layout.put_blob(Bytes::from_static(b"{\"config\":{}}")).await.unwrap();
    assert!(fixture.layout.manifest_head(&Point::Digest(config)).await.unwrap_err().is_not_found());
    let wrong = Point::Digest(Digest::of(b"other"));
    let refused = fixture.layout.put_manifest(&wrong, OCI_MANIFEST, body("child"), None).await;
    assert!(matches!(refused, Err(Error::Mismatch { .. })));
}

#[tokio::test]
async fn deleting_takes_every_tag_and_leaves_the_blob() {
    let fixture = Fixture::new();
    let digest = fixture.push("1.0", "a").await;
    fixture.push("2.0", "a").await;
    fixture.push("3.0", "b").await;
    fixture.layout.delete_manifest(&digest).await.unwrap();
    assert_eq!(fixture.layout.tags().await.unwrap(), ["3.0".parse().unwrap()]);
    assert!(fixture.blob(&digest).exists());
    assert!(fixture.layout.delete_manifest(&digest).await.unwrap_err().is_not_found());
    assert!(Fixture::new().layout.delete_manifest(&digest).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn blobs_stream_in_and_out_and_are_verified() {
    let fixture = Fixture::new();
    let layout = &fixture.layout;
    let whole = Bytes::from(vec![7; CHUNK * 2 + 1]);
    let digest = Digest::of(&whole);
    let length = whole.len() as u64;
    let halves = vec![Ok(whole.slice(..100)), Ok(whole.slice(100..))];
    layout.put_blob_stream(&digest, length, stream::iter(halves).boxed()).await.unwrap();
    let chunks: Vec<_> = layout.open_blob(&digest, length).await.unwrap().collect().await;
    assert_eq!(chunks.len(), 3);
    let read: Vec<u8> = chunks.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(read, whole);
    let empty = Digest::of(b"");
    layout.put_blob_stream(&empty, 0, streamed(&[])).await.unwrap();
    let chunks: Vec<_> = layout.open_blob(&empty, 0).await.unwrap().collect().await;
    assert!(chunks.iter().all(|chunk| chunk.as_ref().unwrap().is_empty()));
    assert_broken(layout.open_blob(&digest, 5).await.map(|_| ()), "not 5");
}

#[tokio::test]
async fn bytes_that_are_not_the_promised_ones_are_not_stored() {
    let fixture = Fixture::new();
    let digest = Digest::of(b"good");
    let put = |chunks| fixture.layout.put_blob_stream(&digest, 4, chunks);
    assert!(matches!(put(streamed(&[b"evil"])).await, Err(Error::Mismatch { .. })));
    assert!(matches!(put(streamed(&[b"good", b"x"])).await, Err(Error::TooMuch { .. })));
    assert!(put(streamed(&[b"goo"])).await.is_err());
    assert!(!fixture.layout.has_blob(&digest).await.unwrap());
    let drafts = fs::read_dir(fixture.path("")).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with(".boltseal-")
    });
    assert_eq!(drafts.count(), 0);
}

#[tokio::test]
async fn a_damaged_blob_is_refused_and_healed_by_putting_it_again() {
    let fixture = Fixture::new();
    let digest = fixture.layout.put_blob(Bytes::from_static(b"good")).await.unwrap();
    fs::write(fixture.blob(&digest), b"evil").unwrap();
    assert!(matches!(fixture.layout.blob(&digest, MAX).await, Err(Error::Mismatch { .. })));
    let mut stream = fixture.layout.open_blob(&digest, 4).await.unwrap();
    assert!(matches!(stream.next().await, Some(Err(Error::Mismatch { .. }))));
    assert!(!fixture.layout.has_blob(&digest).await.unwrap());
    fixture.layout.put_blob(Bytes::from_static(b"good")).await.unwrap();
    assert_eq!(fixture.layout.blob(&digest, MAX).await.unwrap(), b"good".as_slice());
}

#[tokio::test]
async fn every_read_is_capped() {
    let fixture = Fixture::new();
    let digest = fixture.push("1.0", "a").await;
    assert!(matches!(fixture.layout.blob(&digest, 3).await, Err(Error::TooMuch { .. })));
    assert!(matches!(fixture.layout.manifest(&point("1.0"), None, 3).await, Err(Error::TooMuch { .. })));
    fs::File::options().write(true).open(fixture.path("index.json")).unwrap().set_len(index::MAX + 1).unwrap();
    assert!(matches!(fixture.layout.tags().await, Err(Error::TooMuch { .. })));
}

#[tokio::test]
async fn a_folder_of_other_things_is_neither_read_nor_written() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.path("")).unwrap();
    assert!(fixture.fetch("1.0").await.unwrap_err().is_not_found(), "an empty folder is a layout to be");
    fs::write(fixture.path("index.json"), "{}").unwrap();
    assert_broken(fixture.fetch("1.0").await, "no OCI image layout");
    assert_broken(fixture.layout.put_blob(Bytes::from_static(b"x")).await, "no OCI image layout");
    assert_eq!(fs::read_dir(fixture.path("")).unwrap().count(), 1);
    fs::write(fixture.path("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert_broken(fixture.fetch("1.0").await, "only version 1 is supported");
}

#[tokio::test]
async fn malformed_indexes_are_refused_in_words() {
    let fixture = Fixture::new();
    fixture.push("1.0", "a").await;
    for (text, words) in [
        ("", "is malformed"),
        ("[]", "is malformed"),
        (r#"{"schemaVersion":1,"manifests":[]}"#, "`schemaVersion` 1, not 2"),
        (r#"{"schemaVersion":2}"#, "has no `manifests`"),
        (r#"{"schemaVersion":2,"manifests":[{"digest":1,"size":1}]}"#, "is malformed"),
        (r#"{"schemaVersion":2,"manifests":[],"manifests":[]}"#, "stands twice"),
    ] {
        fs::write(fixture.path("index.json"), text).unwrap();
        assert_broken(fixture.fetch("1.0").await, words);
        let put = fixture.layout.put_manifest(&point("1.0"), OCI_MANIFEST, body("b"), None).await;
        assert_broken(put, words);
        assert_eq!(fs::read_to_string(fixture.path("index.json")).unwrap(), text, "what is not understood stays");
    }
    fs::write(fixture.path("index.json"), r#"{"schemaVersion":2,"manifests":null}"#).unwrap();
    assert_eq!(fixture.layout.tags().await.unwrap(), []);
    fs::remove_file(fixture.path("index.json")).unwrap();
    assert_broken(fixture.layout.tags().await, "no `index.json`");
}

#[tokio::test]
async fn lies_of_the_index_are_refused() {
    let fixture = Fixture::new();
    fixture.push("1.0", "a").await;
    let honest = fixture.index();
    let lie = |member: &str, value: Value| {
        let mut index = honest.clone();
        index["manifests"][0][member] = value;
        fixture.set_index(&index);
    };
    lie("size", json!(1));
    assert_broken(fixture.fetch("1.0").await, "bytes, not");
    lie("digest", json!("sha256:../../../../etc/passwd"));
    assert_broken(fixture.fetch("1.0").await, "is not a digest");
    lie("digest", json!(Digest::of(b"absent")));
    assert!(fixture.fetch("1.0").await.unwrap_err().is_not_found());
    lie("mediaType", Value::Null);
    assert_eq!(fixture.fetch("1.0").await.unwrap().media_type, OCI_MANIFEST, "the body shows its type");
}

#[cfg(unix)]
#[tokio::test]
async fn links_that_lead_out_are_not_followed() {
    use std::os::unix::fs::symlink;
    let fixture = Fixture::new();
    let digest = fixture.layout.put_blob(Bytes::from_static(b"secret")).await.unwrap();
    let outside = fixture.folder.path().join("outside");
    fs::rename(fixture.blob(&digest), &outside).unwrap();
    symlink(&outside, fixture.blob(&digest)).unwrap();
    assert_broken(fixture.layout.blob(&digest, MAX).await, "leads out of the folder");
    assert_broken(fixture.layout.has_blob(&digest).await, "leads out of the folder");

    // A link that stays inside is how some build tools share blobs.
    fs::rename(&outside, fixture.path("blobs/shared")).unwrap();
    fs::remove_file(fixture.blob(&digest)).unwrap();
    symlink(fixture.path("blobs/shared"), fixture.blob(&digest)).unwrap();
    assert_eq!(fixture.layout.blob(&digest, MAX).await.unwrap(), b"secret".as_slice());

    let elsewhere = fixture.folder.path().join("elsewhere");
    fs::rename(fixture.path("blobs"), &elsewhere).unwrap();
    symlink(&elsewhere, fixture.path("blobs")).unwrap();
    assert_broken(fixture.layout.put_blob(Bytes::from_static(b"new")).await, "leads out of the folder");
    assert!(!elsewhere.join("sha256").join(Digest::of(b"new").hex()).exists());
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_in_place_of_the_lock_writes_nothing_outside() {
    let fixture = Fixture::new();
    fixture.push("1.0", "a").await;
    fs::remove_file(fixture.path(lock::FILE)).unwrap();
    let outside = fixture.folder.path().join("outside");
    std::os::unix::fs::symlink(&outside, fixture.path(lock::FILE)).unwrap();
    assert!(fixture.layout.put_manifest(&point("1.0"), OCI_MANIFEST, body("b"), None).await.is_err());
    assert!(!outside.exists());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_is_no_regular_file_is_an_error_and_no_wait() {
    let fixture = Fixture::new();
    let digest = fixture.push("1.0", "a").await;
    fs::remove_file(fixture.blob(&digest)).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        fixture.blob(&digest),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    assert_broken(fixture.layout.blob(&digest, MAX).await, "no regular file");
    assert_broken(fixture.layout.has_blob(&digest).await, "no regular file");
    fs::remove_file(fixture.blob(&digest)).unwrap();
    fs::create_dir(fixture.blob(&digest)).unwrap();
    assert_broken(fixture.layout.blob(&digest, MAX).await, "no regular file");
    fs::remove_file(fixture.path("oci-layout")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", fixture.path("oci-layout")).unwrap();
    assert_broken(fixture.fetch("1.0").await, "leads out of the folder");
}

#[tokio::test]
async fn what_the_system_refuses_is_told_in_its_words() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    for path in [file.clone(), file.join("below")] {
        let result = match LayoutRepository::new(&path) {
            Ok(layout) => layout.put_blob(Bytes::from_static(b"x")).await.map(|_| ()),
            Err(error) => Err(error),
        };
        assert_broken(result, "Not a directory");
    }
}

#[tokio::test]
async fn a_location_is_the_same_before_and_after_it_is_made() {
    let fixture = Fixture::new();
    let before = fixture.layout.location();
    fixture.push("1.0", "a").await;
    let again = LayoutRepository::new(&fixture.path("../app/.")).unwrap();
    assert_eq!(again.location(), before);
    assert_eq!(before, format!("oci:{}", fixture.path("").canonicalize().unwrap().display()));
}

#[tokio::test]
async fn the_recorded_name_is_read_back_and_nonsense_is_none() {
    let fixture = Fixture::new();
    assert!(fixture.layout.recorded_name().await.unwrap_err().is_not_found());
    let name: ImageName = "registry.example.com/acme/app".parse().unwrap();
    fixture.layout.record_name(&name).await.unwrap();
    assert_eq!(fixture.layout.recorded_name().await.unwrap(), Some(name));
    let mut index = fixture.index();
    for nonsense in [json!("Not A Name"), json!(7), json!(null)] {
        index["annotations"]["vnd.boltseal.name"] = nonsense;
        fixture.set_index(&index);
        assert_eq!(fixture.layout.recorded_name().await.unwrap(), None);
    }
}

#[tokio::test]
async fn writers_at_once_lose_nothing() {
    let fixture = Fixture::new();
    let writers = (0..24).map(|n| {
        // Each with a handle of its own, as processes have: the lock is of the open file.
        let layout = LayoutRepository::new(&fixture.path("")).unwrap();
        async move {
            layout.put_manifest(&point(&format!("t{n}")), OCI_MANIFEST, body(&n.to_string()), None).await.unwrap();
        }
    });
    futures_util::future::join_all(writers).await;
    assert_eq!(fixture.layout.tags().await.unwrap().len(), 24);
}

#[tokio::test]
async fn a_lock_that_stays_held_is_an_error_in_time() {
    let mut fixture = Fixture::new();
    fixture.push("1.0", "a").await;
    let _held = lock::acquire(&fixture.layout.folder, Duration::ZERO).unwrap();
    fixture.layout.lock_wait = Duration::from_millis(20);
    let put = fixture.layout.put_manifest(&point("1.0"), OCI_MANIFEST, body("b"), None).await;
    assert_broken(put, "another process held");
    assert_eq!(fixture.fetch("1.0").await.unwrap().bytes, body("a"), "readers do not wait");
}
