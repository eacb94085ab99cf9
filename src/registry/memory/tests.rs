use serde_json::json;

use super::*;
use crate::image::manifest::{OCI_CONFIG, OCI_MANIFEST};

const MAX: u64 = 1024;

fn tag(text: &str) -> Point {
    Point::Tag(text.parse().unwrap())
}

async fn push(repository: &MemoryRepository, name: &str, text: &str) -> Digest {
    let config = repository.put_blob(Bytes::copy_from_slice(text.as_bytes())).await.unwrap();
    let config = json!({"mediaType": OCI_CONFIG, "digest": config, "size": text.len()});
    let body = json!({"schemaVersion": 2, "config": config, "layers": []}).to_string();
    repository.put_manifest(&tag(name), OCI_MANIFEST, body.into(), None).await.unwrap()
}

#[tokio::test]
async fn a_known_entity_tag_is_answered_without_a_body() {
    let repository = MemoryRepository::new("memory/a");
    push(&repository, "1", "x").await;
    let Conditional::Modified(manifest) = repository.manifest(&tag("1"), None, MAX).await.unwrap() else {
        panic!("nothing was known");
    };
    let etag = manifest.etag.unwrap();
    let again = repository.manifest(&tag("1"), Some(&etag), MAX).await.unwrap();
    assert_eq!(again, Conditional::NotModified);
    push(&repository, "1", "y").await;
    assert!(matches!(repository.manifest(&tag("1"), Some(&etag), MAX).await, Ok(Conditional::Modified(_))));
}

#[tokio::test]
async fn a_rival_acts_before_the_nth_call_and_everything_is_logged() {
    let repository = MemoryRepository::new("memory/a");
    push(&repository, "1", "x").await;
    let rival = repository.clone();
    repository.before(Verb::Manifest, 2, move || {
        async move {
            push(&rival, "1", "rival").await;
            Ok(())
        }
        .boxed()
    });
    repository.take_calls();
    let first = repository.manifest(&tag("1"), None, MAX).await.unwrap();
    let second = repository.manifest(&tag("1"), None, MAX).await.unwrap();
    assert_ne!(first, second);
    let verbs: Vec<_> = repository.take_calls().into_iter().map(|call| call.verb).collect();
    assert_eq!(verbs, [Verb::Manifest, Verb::Manifest, Verb::PutBlob, Verb::PutManifest]);
}

#[tokio::test]
async fn an_injected_failure_happens_once() {
    let repository = MemoryRepository::new("memory/a");
    push(&repository, "1", "x").await;
    let busy = Error::Busy { what: "1".to_owned(), location: "memory/a".to_owned(), retry_after: None };
    repository.fail(Verb::Manifest, 1, busy.clone());
    assert_eq!(repository.manifest(&tag("1"), None, MAX).await, Err(busy));
    assert!(repository.manifest(&tag("1"), None, MAX).await.is_ok());
}

#[tokio::test]
async fn an_old_state_can_be_replayed() {
    let repository = MemoryRepository::new("memory/a");
    push(&repository, "1", "x").await;
    let old = repository.content();
    push(&repository, "2", "y").await;
    repository.restore(old);
    assert!(repository.manifest(&tag("2"), None, MAX).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn deleting_takes_every_tag_and_unknown_blobs_are_refused() {
    let repository = MemoryRepository::new("memory/a");
    let digest = push(&repository, "1", "x").await;
    assert_eq!(push(&repository, "2", "x").await, digest);
    repository.delete_manifest(&digest).await.unwrap();
    assert_eq!(repository.tags().await.unwrap(), []);
    let absent = json!({"mediaType": OCI_CONFIG, "digest": Digest::of(b"absent"), "size": 6});
    let body = json!({"schemaVersion": 2, "config": absent, "layers": []}).to_string();
    assert!(repository.put_manifest(&tag("3"), OCI_MANIFEST, body.into(), None).await.is_err());
}

#[tokio::test]
async fn referrers_are_listed_where_the_registry_has_them() {
    let subject = Digest::of(b"subject");
    let body = json!({"subject": {"digest": subject}, "artifactType": "a/b"}).to_string();
    for (referrers, expected) in [(false, None), (true, Some(1))] {
        let repository = MemoryRepository::with_manners("memory/a", Manners { etags: true, referrers });
        repository.put_manifest(&tag("1"), OCI_MANIFEST, body.clone().into(), None).await.unwrap();
        let found = repository.referrers(&subject).await.unwrap();
        assert_eq!(found.map(|list| list.len()), expected);
    }
}
