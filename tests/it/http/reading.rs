//! What a well-behaved registry holds comes back as it is.

use boltseal::image::Digest;
use boltseal::registry::{Conditional, Error, Point, Repository as _};
use futures_util::TryStreamExt as _;

use super::{MAX, by_digest, fetch, open, tag};
use crate::support::registry::{OCI_INDEX, OCI_MANIFEST, TestRegistry};

#[tokio::test]
async fn a_manifest_comes_by_tag_and_by_digest() {
    let registry = TestRegistry::start();
    let digest = registry.repo("acme/app").push("1.0", OCI_INDEX, "{}");
    let repository = open(&registry);
    let manifest = fetch(&repository, &tag("1.0")).await.unwrap();
    assert_eq!((manifest.bytes.as_ref(), manifest.media_type.as_str()), (b"{}".as_ref(), OCI_INDEX));
    assert_eq!(manifest.digest, digest);
    assert_eq!(by_digest(&repository, digest).await.unwrap(), manifest);
    let head = repository.manifest_head(&tag("1.0")).await.unwrap();
    assert_eq!((head.digest, head.media_type.as_deref(), head.length), (Some(digest), Some(OCI_INDEX), Some(2)));
    assert_eq!(repository.location(), format!("{}/acme/app", registry.host()));
    let accept = registry.log()[0].header("accept").unwrap().to_owned();
    assert!(accept.contains(OCI_INDEX) && accept.contains("docker.distribution.manifest.list.v2+json"), "{accept}");
}

#[tokio::test]
async fn an_unchanged_tag_costs_one_request_without_a_body() {
    let registry = TestRegistry::start();
    let repo = registry.repo("acme/app");
    repo.push("1.0", OCI_MANIFEST, "{}");
    let repository = open(&registry);
    let etag = fetch(&repository, &tag("1.0")).await.unwrap().etag.unwrap();
    registry.clear_log();
    assert_eq!(repository.manifest(&tag("1.0"), Some(&etag), MAX).await, Ok(Conditional::NotModified));
    assert_eq!(registry.lines(), ["GET /v2/acme/app/manifests/1.0 304"]);
    assert_eq!(registry.log()[0].sent, 0);
    repo.push("1.0", OCI_MANIFEST, "{ }");
    assert!(matches!(repository.manifest(&tag("1.0"), Some(&etag), MAX).await, Ok(Conditional::Modified(_))));
    registry.with(|m| m.etag = false);
    assert_eq!(fetch(&repository, &tag("1.0")).await.unwrap().etag, None);
}

#[tokio::test]
async fn blobs_come_whole_and_as_streams() {
    let registry = TestRegistry::start();
    let content = vec![7; 300_000];
    let digest = registry.repo("acme/app").push_blob(content.clone());
    let repository = open(&registry);
    assert_eq!(repository.blob(&digest, 300_000).await.unwrap(), content);
    let chunks: Vec<_> = repository.open_blob(&digest, 300_000).await.unwrap().try_collect().await.unwrap();
    assert_eq!(chunks.concat(), content);
    assert_eq!(repository.has_blob(&digest).await, Ok(true));
    assert_eq!(repository.has_blob(&Digest::of(b"other")).await, Ok(false));
}

#[tokio::test]
async fn what_is_not_there_is_told_from_everything_else() {
    let registry = TestRegistry::start();
    let repository = open(&registry);
    let error = fetch(&repository, &tag("1.0")).await.unwrap_err();
    assert_eq!(error.to_string(), format!("`1.0` is not at {}/acme/app", registry.host()));
    assert!(error.is_not_found());
    let digest = Digest::of(b"x");
    assert!(repository.manifest_head(&Point::Digest(digest)).await.unwrap_err().is_not_found());
    assert!(repository.blob(&digest, 10).await.unwrap_err().is_not_found());
    assert!(repository.tags().await.unwrap_err().is_not_found());
    assert!(repository.delete_manifest(&digest).await.unwrap_err().is_not_found());
    registry.with(|m| m.refuse_all = true);
    assert!(matches!(fetch(&repository, &tag("1.0")).await, Err(Error::Denied { .. })));
}

#[tokio::test]
async fn a_snapshot_brings_a_repository_back_to_what_it_was() {
    let registry = TestRegistry::start();
    let repo = registry.repo("acme/app");
    let old = repo.push("1.0", OCI_MANIFEST, "old");
    let before = repo.snapshot();
    let new = repo.push("1.0", OCI_MANIFEST, "new");
    assert_eq!(fetch(&open(&registry), &tag("1.0")).await.unwrap().digest, new);
    repo.restore(before);
    assert_eq!(fetch(&open(&registry), &tag("1.0")).await.unwrap().digest, old);
    repo.remove_tag("1.0");
    assert!(fetch(&open(&registry), &tag("1.0")).await.unwrap_err().is_not_found());
}
