//! Pushing blobs and manifests, and deleting.

use boltseal::image::Digest;
use boltseal::registry::{Error, Point, Repository as _};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use super::{fetch, open, open_with, options, tag, user};
use crate::support::registry::{Auth, OCI_MANIFEST, TestRegistry, Upload};

#[tokio::test]
async fn a_blob_is_pushed_in_one_piece_and_only_once() {
    let registry = TestRegistry::start();
    let repository = open(&registry);
    for upload in [Upload::Relative, Upload::Absolute] {
        let content = Bytes::from(format!("{upload:?}"));
        registry.with(|m| m.upload = upload);
        registry.clear_log();
        let digest = repository.put_blob(content.clone()).await.unwrap();
        assert_eq!(registry.repo("acme/app").blob(digest), Some(content.clone()));
        let methods: Vec<_> = registry.log().iter().map(|e| e.method.clone()).collect();
        assert_eq!(methods, ["HEAD", "POST", "PUT"]);
        assert_eq!(registry.log()[2].received, content.len() as u64);
        repository.put_blob(content).await.unwrap();
        assert_eq!(registry.log().len(), 4);
    }
}

#[tokio::test]
async fn a_blob_is_pushed_from_a_stream() {
    let registry = TestRegistry::start();
    registry.with(|m| m.auth = Auth::bearer("u", "p"));
    let mut options = options();
    options.credentials = user("u", "p");
    let repository = open_with(&registry, options);
    let parts = || stream::iter(["ab", "cd"].map(|part| Ok(Bytes::from(part)))).boxed();
    let digest = Digest::of(b"abcd");
    repository.put_blob_stream(&digest, 4, parts()).await.unwrap();
    assert_eq!(registry.repo("acme/app").blob(digest).unwrap(), "abcd");
    let wrong = Digest::of(b"other");
    assert!(matches!(repository.put_blob_stream(&wrong, 4, parts()).await, Err(Error::Broken { .. })));
    assert_eq!(registry.repo("acme/app").blob(wrong), None);
}

#[tokio::test]
async fn a_source_that_fails_in_the_middle_is_the_one_blamed() {
    let registry = TestRegistry::start();
    let cause = Error::NotFound { what: "layer".to_owned(), location: "elsewhere".to_owned() };
    let parts = stream::iter([Ok(Bytes::from("ab")), Err(cause.clone())]).boxed();
    let result = open(&registry).put_blob_stream(&Digest::of(b"abcd"), 4, parts).await;
    assert_eq!(result, Err(cause));
}

#[tokio::test]
async fn an_upload_that_continues_on_another_host_takes_no_credentials_along() {
    let (registry, storage) = (TestRegistry::start(), TestRegistry::start());
    registry.with(|m| {
        m.auth = Auth::basic("u", "p");
        m.upload = Upload::Elsewhere(format!("{}/v2/acme/app/blobs/uploads/foreign?sig=1", storage.url()));
    });
    let mut options = options();
    options.credentials = user("u", "p");
    let digest = open_with(&registry, options).put_blob(Bytes::from("x")).await.unwrap();
    assert_eq!(
        storage.lines(),
        [format!("PUT /v2/acme/app/blobs/uploads/foreign?sig=1&digest=sha256%3A{} 201", digest.hex())]
    );
    assert_eq!(storage.log()[0].header("authorization"), None);
    assert!(registry.log().iter().any(|e| e.header("authorization").is_some()));
}

#[tokio::test]
async fn an_upload_without_a_location_is_an_error() {
    let registry = TestRegistry::start();
    registry.with(|m| m.upload = Upload::Missing);
    let error = open(&registry).put_blob(Bytes::from("x")).await.unwrap_err();
    assert!(error.to_string().contains("no location"), "{error}");
}

#[tokio::test]
async fn a_manifest_is_pushed_by_tag_and_by_digest() {
    let registry = TestRegistry::start();
    let repository = open(&registry);
    let bytes = Bytes::from("{}");
    let digest = repository.put_manifest(&tag("1.0"), OCI_MANIFEST, bytes.clone(), None).await.unwrap();
    assert_eq!(registry.repo("acme/app").tag("1.0").unwrap().media_type, OCI_MANIFEST);
    assert_eq!(registry.repo("acme/app").digest("1.0"), Some(digest));
    repository.put_manifest(&Point::Digest(digest), OCI_MANIFEST, bytes.clone(), None).await.unwrap();
    let wrong = Point::Digest(Digest::of(b"x"));
    let error = repository.put_manifest(&wrong, OCI_MANIFEST, bytes, None).await.unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }));
}

#[tokio::test]
async fn a_tag_that_moved_meanwhile_is_a_conflict_where_the_registry_looks() {
    let registry = TestRegistry::start();
    let repo = registry.repo("acme/app");
    repo.push("1.0", OCI_MANIFEST, "a");
    let repository = open(&registry);
    let etag = fetch(&repository, &tag("1.0")).await.unwrap().etag;
    let put = async |text: &'static str| {
        repository.put_manifest(&tag("1.0"), OCI_MANIFEST, Bytes::from(text), etag.as_deref()).await
    };
    repo.push("1.0", OCI_MANIFEST, "b");
    put("c").await.expect("this registry ignores If-Match, as real ones do");
    registry.with(|m| m.if_match = true);
    assert!(matches!(put("d").await, Err(Error::Conflict { .. })));
    assert_eq!(repo.tag("1.0").unwrap().bytes, "c");
}

#[tokio::test]
async fn a_tag_that_may_not_move_is_unsupported() {
    let registry = TestRegistry::start();
    registry.with(|m| m.immutable_tags = true);
    let repository = open(&registry);
    let put =
        async |text: &'static str| repository.put_manifest(&tag("1.0"), OCI_MANIFEST, Bytes::from(text), None).await;
    put("a").await.unwrap();
    put("a").await.unwrap();
    let error = put("b").await.unwrap_err();
    assert!(matches!(&error, Error::Unsupported { message, .. } if message.contains("immutable")), "{error}");
}

#[tokio::test]
async fn deleting_takes_the_manifest_and_its_tags() {
    let registry = TestRegistry::start();
    let digest = registry.repo("acme/app").push("1.0", OCI_MANIFEST, "a");
    let repository = open(&registry);
    registry.with(|m| m.delete = false);
    assert!(matches!(repository.delete_manifest(&digest).await, Err(Error::Unsupported { .. })));
    registry.with(|m| m.delete = true);
    repository.delete_manifest(&digest).await.unwrap();
    assert_eq!(registry.repo("acme/app").digest("1.0"), None);
}
