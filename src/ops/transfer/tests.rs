use std::sync::Mutex;

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::image::manifest::{OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use crate::registry::layout::LayoutRepository;
use crate::registry::memory::{MemoryRepository, Verb};

#[derive(Default)]
struct Watcher(Mutex<Vec<String>>, Mutex<u64>);

impl Progress for Watcher {
    fn started(&self, total: u64) {
        self.0.lock().unwrap().push(format!("started {total}"));
    }
    fn advanced(&self, bytes: u64) {
        *self.1.lock().unwrap() += bytes;
    }
    fn finished(&self) {
        self.0.lock().unwrap().push("finished".to_owned());
    }
}

fn unwatched() -> Arc<dyn Progress> {
    Arc::new(Unwatched)
}

async fn blob(repository: &dyn Repository, media_type: &str, text: &str) -> Value {
    let digest = repository.put_blob(Bytes::copy_from_slice(text.as_bytes())).await.unwrap();
    json!({"mediaType": media_type, "digest": digest, "size": text.len()})
}

async fn put(repository: &dyn Repository, media_type: &str, body: Value) -> Manifest {
    let bytes = Bytes::from(body.to_string());
    let point = Point::Digest(Digest::of(&bytes));
    repository.put_manifest(&point, media_type, bytes.clone(), None).await.unwrap();
    Manifest::parse_object(media_type, bytes).unwrap()
}

async fn image(repository: &dyn Repository, text: &str) -> Manifest {
    let config = blob(repository, OCI_CONFIG, &format!("config of {text}")).await;
    let layers = [blob(repository, "application/x", "shared").await, blob(repository, "application/x", text).await];
    put(repository, OCI_MANIFEST, json!({"schemaVersion": 2, "config": config, "layers": layers})).await
}

fn child(manifest: &Manifest) -> Value {
    json!({"mediaType": manifest.media_type, "digest": manifest.digest, "size": manifest.size()})
}

async fn index(repository: &dyn Repository, children: &[&Manifest]) -> Manifest {
    let list: Vec<_> = children.iter().map(|manifest| child(manifest)).collect();
    put(repository, OCI_INDEX, json!({"schemaVersion": 2, "manifests": list})).await
}

#[tokio::test]
async fn an_index_moves_with_all_it_lists_and_the_tag_comes_last() {
    let (from, to) = (MemoryRepository::new("memory/a"), MemoryRepository::new("memory/b"));
    let (amd, arm) = (image(&from, "amd64").await, image(&from, "arm64").await);
    let config = blob(&from, "application/vnd.oci.empty.v1+json", "{}").await;
    let attestation = json!({"schemaVersion": 2, "artifactType": "a/b", "config": config, "layers": []});
    let attestation = put(&from, OCI_MANIFEST, attestation).await;
    let root = index(&from, &[&amd, &arm, &attestation]).await;
    let tag: Tag = "1.0".parse().unwrap();
    let done = copy_image(&from, &root, &to, Some(&tag), &unwatched()).await.unwrap();
    assert_eq!(done.present, 0);
    let (source, copy) = (from.content(), to.content());
    assert_eq!((copy.manifests, copy.blobs), (source.manifests, source.blobs));
    assert_eq!(copy.tags[&tag], root.digest);
    let mut puts = to.take_calls().into_iter().filter(|call| call.verb == Verb::PutManifest);
    assert_eq!(puts.next_back().unwrap().what, "1.0");
}

#[tokio::test]
async fn what_is_there_is_not_sent_again_and_progress_counts_it() {
    let (from, to) = (MemoryRepository::new("memory/a"), MemoryRepository::new("memory/b"));
    let root = image(&from, "amd64").await;
    to.put_blob(Bytes::from_static(b"shared")).await.unwrap();
    let watcher = Arc::new(Watcher::default());
    let progress: Arc<dyn Progress> = watcher.clone();
    let done = copy_image(&from, &root, &to, None, &progress).await.unwrap();
    assert_eq!(done, Transferred { sent: 20, present: 6, foreign: vec![] });
    assert_eq!(*watcher.0.lock().unwrap(), ["started 26", "finished"]);
    assert_eq!(*watcher.1.lock().unwrap(), 26);
    assert!(to.content().tags.is_empty());
}

#[tokio::test]
async fn a_manifest_listed_at_two_depths_is_stored_before_both_parents() {
    let (from, to) = (MemoryRepository::new("memory/a"), MemoryRepository::new("memory/b"));
    let leaf = image(&from, "leaf").await;
    let inner = index(&from, &[&leaf]).await;
    // The destination refuses an index whose children it does not hold.
    for children in [[&leaf, &inner], [&inner, &leaf]] {
        let root = index(&from, &children).await;
        copy_image(&from, &root, &to, None, &unwatched()).await.unwrap();
    }
    let middle = index(&from, &[&inner]).await;
    let root = index(&from, &[&inner, &middle, &leaf]).await;
    copy_image(&from, &root, &MemoryRepository::new("memory/c"), None, &unwatched()).await.unwrap();
}

#[tokio::test]
async fn foreign_layers_stay_where_they_are() {
    let (from, to) = (MemoryRepository::new("memory/a"), MemoryRepository::new("memory/b"));
    let config = blob(&from, OCI_CONFIG, "c").await;
    let far = Digest::of(b"far away");
    let layer = json!({"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "digest": far,
        "size": 8, "urls": ["https://example.com/x"]});
    let body = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
    let root = put(&from, OCI_MANIFEST, body).await;
    let done = copy_image(&from, &root, &to, None, &unwatched()).await.unwrap();
    assert_eq!(done.foreign, [far]);
    assert_eq!(to.content().blobs.len(), 1);
}

#[tokio::test]
async fn nothing_but_the_promised_bytes_is_stored() {
    let (from, to) = (MemoryRepository::new("memory/a"), MemoryRepository::new("memory/b"));
    let leaf = image(&from, "amd64").await;
    let root = index(&from, &[&leaf]).await;
    let whole = from.content();

    let mut content = whole.clone();
    content.blobs.insert(Digest::of(b"amd64"), Bytes::from_static(b"other"));
    from.restore(content);
    let error = copy_image(&from, &root, &to, None, &unwatched()).await.unwrap_err();
    assert!(matches!(error, TransferError::Registry(registry::Error::Mismatch { .. })), "{error}");

    let mut content = whole.clone();
    content.manifests.get_mut(&leaf.digest).unwrap().1 = Bytes::from_static(b"other");
    from.restore(content);
    let error = copy_image(&from, &root, &to, None, &unwatched()).await.unwrap_err();
    assert!(matches!(error, TransferError::Registry(registry::Error::Mismatch { .. })), "{error}");

    let mut content = whole.clone();
    content.manifests.get_mut(&leaf.digest).unwrap().0 = OCI_INDEX.to_owned();
    from.restore(content);
    let error = copy_image(&from, &root, &to, None, &unwatched()).await.unwrap_err();
    assert!(matches!(error, TransferError::Differs { what: "media type", .. }), "{error}");

    let mut content = whole;
    content.blobs.remove(&Digest::of(b"amd64"));
    from.restore(content);
    let error = copy_image(&from, &root, &to, None, &unwatched()).await.unwrap_err();
    assert!(matches!(error, TransferError::Registry(registry::Error::NotFound { .. })), "{error}");
    assert!(to.content().manifests.is_empty());
}

#[tokio::test]
async fn indexes_within_indexes_come_to_an_end() {
    let (from, to) = (MemoryRepository::new("memory/a"), MemoryRepository::new("memory/b"));
    let mut root = image(&from, "leaf").await;
    for _ in 0..MAX_DEPTH {
        root = index(&from, &[&root]).await;
    }
    assert!(copy_image(&from, &root, &to, None, &unwatched()).await.is_ok());
    root = index(&from, &[&root]).await;
    let error = copy_image(&from, &root, &to, None, &unwatched()).await.unwrap_err();
    assert!(matches!(error, TransferError::TooMuch { .. }), "{error}");
}

#[tokio::test]
async fn indexes_that_list_the_same_over_and_over_come_to_an_end() {
    let (from, to) = (MemoryRepository::new("memory/a"), MemoryRepository::new("memory/b"));
    let leaf = image(&from, "leaf").await;
    let low = index(&from, &[&leaf; 500]).await;
    let root = index(&from, &[&low; 500]).await;
    let error = copy_image(&from, &root, &to, None, &unwatched()).await.unwrap_err();
    assert_eq!(error, TransferError::TooMuch { limit: "10000 entries".to_owned() });
}

#[tokio::test]
async fn an_image_goes_through_a_layout_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (MemoryRepository::new("memory/a"), MemoryRepository::new("memory/b"));
    let layout = LayoutRepository::new(&folder.path().join("x")).unwrap();
    let (amd, arm) = (image(&from, "amd64").await, image(&from, "arm64").await);
    let root = index(&from, &[&amd, &arm]).await;
    let tag: Tag = "1.0".parse().unwrap();
    copy_image(&from, &root, &layout, Some(&tag), &unwatched()).await.unwrap();
    assert_eq!(layout.tags().await.unwrap(), std::slice::from_ref(&tag));
    copy_image(&layout, &root, &to, Some(&tag), &unwatched()).await.unwrap();
    assert_eq!(to.content().blobs, from.content().blobs);
    assert_eq!(to.content().manifests, from.content().manifests);
}

#[test]
fn a_transfer_may_run_on_any_thread() {
    fn is_send<T: Send>(_: &T) {}
    let (from, to) = (MemoryRepository::new("memory/a"), MemoryRepository::new("memory/b"));
    let bytes = Bytes::from(json!({"schemaVersion": 2, "manifests": []}).to_string());
    let root = Manifest::parse(OCI_INDEX, bytes).unwrap();
    let progress = unwatched();
    is_send(&copy_image(&from, &root, &to, None, &progress));
}
