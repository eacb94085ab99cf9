//! Registries that are busy or failing for a while.

use std::time::{Duration, Instant};

use boltseal::registry::{Error, Repository as _};
use bytes::Bytes;

use super::{by_digest, fetch, open, open_with, options, tag};
use crate::support::registry::{Busy, Cheat, OCI_MANIFEST, Target, TestRegistry};

fn busy(requests: u32, status: u16, retry_after: Option<&str>) -> Busy {
    Busy { requests, status, retry_after: retry_after.map(str::to_owned) }
}

#[tokio::test]
async fn passing_trouble_passes_unseen() {
    let registry = TestRegistry::start();
    let digest = registry.repo("acme/app").push("1.0", OCI_MANIFEST, "{}");
    let repository = open(&registry);
    for (requests, status) in [(3, 429), (3, 503), (1, 408), (3, 500)] {
        registry.clear_log();
        registry.with(|m| m.busy = Some(busy(requests, status, None)));
        by_digest(&repository, digest).await.unwrap();
        assert_eq!(registry.log().len(), requests as usize + 1, "{status}");
    }
    registry.with(|m| m.busy = Some(busy(2, 502, None)));
    repository.put_blob(Bytes::from("x")).await.unwrap();
    registry.with(|m| m.busy = Some(busy(2, 502, None)));
    repository.put_manifest(&tag("2.0"), OCI_MANIFEST, Bytes::from("x"), None).await.unwrap();
}

#[tokio::test]
async fn a_tag_in_the_middle_of_a_move_is_asked_for_five_times_more() {
    let registry = TestRegistry::start();
    registry.repo("acme/app").push("1.0", OCI_MANIFEST, "{}");
    let repository = open(&registry);
    registry.with(|m| m.busy = Some(busy(5, 500, None)));
    fetch(&repository, &tag("1.0")).await.unwrap();
    registry.with(|m| m.busy = Some(busy(99, 500, None)));
    registry.clear_log();
    let error = fetch(&repository, &tag("1.0")).await.unwrap_err();
    assert!(matches!(&error, Error::Broken { message, .. } if message.contains("500")), "{error}");
    assert_eq!(registry.log().len(), 6);
}

#[tokio::test]
async fn a_registry_is_not_asked_again_before_it_wants_to_be() {
    let registry = TestRegistry::start();
    registry.repo("acme/app").push("1.0", OCI_MANIFEST, "{}");
    registry.with(|m| m.busy = Some(busy(1, 429, Some("1"))));
    let mut options = options();
    options.limits.total = Duration::from_secs(5);
    let begin = Instant::now();
    fetch(&open_with(&registry, options), &tag("1.0")).await.unwrap();
    assert!(begin.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_wait_beyond_the_deadline_is_handed_to_the_caller_at_once() {
    let registry = TestRegistry::start();
    registry.with(|m| m.busy = Some(busy(9, 429, Some("3600"))));
    let begin = Instant::now();
    let error = fetch(&open(&registry), &tag("1.0")).await.unwrap_err();
    assert!(matches!(error, Error::Busy { retry_after: Some(wait), .. } if wait == Duration::from_secs(3600)));
    assert!(begin.elapsed() < Duration::from_secs(1));
    assert_eq!(registry.log().len(), 1);
}

#[tokio::test]
async fn a_lasting_storm_ends_in_busy() {
    let registry = TestRegistry::start();
    registry.with(|m| m.busy = Some(busy(99, 429, None)));
    let error = fetch(&open(&registry), &tag("1.0")).await.unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error}");
    assert_eq!(registry.log().len(), 4);
}

#[tokio::test]
async fn a_connection_that_breaks_inside_an_answer_is_tried_again() {
    let registry = TestRegistry::start();
    registry.repo("acme/app").push("1.0", OCI_MANIFEST, "{}");
    registry.with(|m| m.cheat = Some((Target::All, Cheat::Short(10))));
    let error = fetch(&open(&registry), &tag("1.0")).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert_eq!(registry.log().len(), 4);
}

#[tokio::test]
async fn a_dead_registry_is_unreachable_at_once() {
    let registry = TestRegistry::start();
    let repository = open(&registry);
    drop(registry);
    let begin = Instant::now();
    let error = fetch(&repository, &tag("1.0")).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { message, .. } if message.contains("refuses")), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(1));
}
