//! Registries that lie, stall and flood: bounded in bytes and time, and never believed.

use std::time::{Duration, Instant};

use boltseal::image::Digest;
use boltseal::registry::{Error, Repository as _};
use futures_util::TryStreamExt as _;

use super::{MAX, by_digest, fetch, open, open_with, options, tag};
use crate::support::registry::{Cheat, OCI_MANIFEST, Target, TestRegistry};

fn cheating(target: Target, cheat: Cheat) -> (TestRegistry, Digest, Digest) {
    let registry = TestRegistry::start();
    let manifest = registry.repo("acme/app").push("1.0", OCI_MANIFEST, "{}");
    let blob = registry.repo("acme/app").push_blob("content");
    registry.with(|m| m.cheat = Some((target, cheat)));
    (registry, manifest, blob)
}

fn is_bounded(error: &Error) -> bool {
    matches!(error, Error::TooMuch { .. } | Error::Unreachable { .. })
}

#[tokio::test]
async fn endless_slow_and_hanging_answers_end_for_everything_that_is_read() {
    let cheats =
        [Cheat::Endless, Cheat::Drip(Duration::from_millis(50)), Cheat::Hang, Cheat::Claims(1 << 60), Cheat::Claims(2)];
    let tries = cheats.into_iter().map(async |cheat| {
        let said = format!("{cheat:?}");
        let (registry, digest, blob) = cheating(Target::All, cheat);
        let mut options = options();
        options.limits.list_bytes = 100_000;
        options.limits.total = Duration::from_millis(700);
        options.limits.min_rate = 1_000_000;
        let repository = open_with(&registry, options);
        let begin = Instant::now();
        let errors = [
            fetch(&repository, &tag("1.0")).await.unwrap_err(),
            by_digest(&repository, digest).await.unwrap_err(),
            repository.blob(&blob, 1000).await.unwrap_err(),
            repository.tags().await.unwrap_err(),
            repository.referrers(&digest).await.unwrap_err(),
            match repository.open_blob(&blob, 7).await {
                Err(error) => error,
                Ok(stream) => stream.try_collect::<Vec<_>>().await.unwrap_err(),
            },
        ];
        for error in errors {
            assert!(is_bounded(&error) || matches!(&error, Error::Broken { .. }), "{said}: {error}");
        }
        assert!(begin.elapsed() < Duration::from_secs(8), "{said}: {:?}", begin.elapsed());
    });
    futures_util::future::join_all(tries).await;
}

#[tokio::test]
async fn a_drip_ends_at_the_deadline_although_it_never_falls_silent() {
    let (registry, ..) = cheating(Target::All, Cheat::Drip(Duration::from_millis(20)));
    let begin = Instant::now();
    let error = fetch(&open(&registry), &tag("1.0")).await.unwrap_err();
    assert!(matches!(&error, Error::TooMuch { limit, .. } if limit == "1500 ms"), "{error}");
    assert!(begin.elapsed() >= Duration::from_millis(1400));
}

#[tokio::test]
async fn a_registry_that_does_not_answer_at_all_is_unreachable() {
    let (registry, ..) = cheating(Target::All, Cheat::NoLength);
    registry.with(|m| m.delay = Duration::from_secs(60));
    let error = fetch(&open(&registry), &tag("1.0")).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { message, .. } if message.contains("1500 ms")), "{error}");
}

#[tokio::test]
async fn an_answer_over_its_cap_is_refused_and_one_at_its_cap_is_not() {
    let registry = TestRegistry::start();
    let repo = registry.repo("acme/app");
    repo.push("full", OCI_MANIFEST, vec![b'x'; 4096]);
    repo.push("over", OCI_MANIFEST, vec![b'x'; 4097]);
    let repository = open(&registry);
    for cheat in [None, Some((Target::All, Cheat::NoLength))] {
        registry.with(|m| m.cheat = cheat);
        assert_eq!(fetch(&repository, &tag("full")).await.unwrap().bytes.len() as u64, MAX);
        let error = fetch(&repository, &tag("over")).await.unwrap_err();
        assert!(matches!(&error, Error::TooMuch { limit, .. } if limit == "4 KiB"), "{error}");
    }
}

#[tokio::test]
async fn other_bytes_than_asked_for_are_a_mismatch_and_not_asked_for_again() {
    let (registry, manifest, blob) = cheating(Target::All, Cheat::Bytes(b"swapped".to_vec()));
    let repository = open(&registry);
    let got = Digest::of(b"swapped");
    let expect = |wanted| Error::Mismatch { location: repository.location(), wanted, got };
    assert_eq!(by_digest(&repository, manifest).await, Err(expect(manifest)));
    assert_eq!(repository.blob(&blob, 100).await, Err(expect(blob)));
    let stream = repository.open_blob(&blob, 7).await.unwrap();
    assert_eq!(stream.try_collect::<Vec<_>>().await, Err(expect(blob)));
    // By tag the registry's own header contradicts the bytes.
    assert_eq!(fetch(&repository, &tag("1.0")).await, Err(expect(manifest)));
    assert_eq!(registry.log().len(), 4);
}

#[tokio::test]
async fn a_stream_longer_or_shorter_than_promised_is_an_error() {
    let (registry, _, blob) = cheating(Target::Blobs, Cheat::NoLength);
    let repository = open(&registry);
    for (length, too_much) in [(6, true), (8, false)] {
        let stream = repository.open_blob(&blob, length).await.unwrap();
        let error = stream.try_collect::<Vec<_>>().await.unwrap_err();
        assert_eq!(matches!(error, Error::TooMuch { .. }), too_much, "{error}");
    }
    registry.with(|m| m.cheat = None);
    assert!(repository.open_blob(&blob, 6).await.is_err());
}

#[tokio::test]
async fn a_digest_header_that_contradicts_the_bytes_is_a_mismatch() {
    let other = Digest::of(b"other");
    let (registry, digest, _) = cheating(Target::All, Cheat::DigestHeader(other.to_string()));
    let repository = open(&registry);
    let error = fetch(&repository, &tag("1.0")).await.unwrap_err();
    assert_eq!(error, Error::Mismatch { location: repository.location(), wanted: other, got: digest });
    registry.with(|m| m.cheat = Some((Target::All, Cheat::DigestHeader("sha256:zz".to_owned()))));
    assert!(matches!(fetch(&repository, &tag("1.0")).await, Err(Error::Broken { .. })));
    registry.with(|m| m.cheat = Some((Target::All, Cheat::DigestHeader(format!("sha512:{}", "0".repeat(128))))));
    assert_eq!(fetch(&repository, &tag("1.0")).await.unwrap().digest, digest);
}

#[tokio::test]
async fn an_encoding_that_nobody_asked_for_is_refused() {
    let (registry, _, blob) = cheating(Target::All, Cheat::Encoding("gzip".to_owned()));
    let repository = open(&registry);
    let error = fetch(&repository, &tag("1.0")).await.unwrap_err();
    assert!(matches!(&error, Error::Broken { message, .. } if message.contains("`gzip`")), "{error}");
    assert!(repository.blob(&blob, 100).await.is_err());
    assert!(repository.open_blob(&blob, 7).await.is_err());
    assert_eq!(registry.log()[0].header("accept-encoding"), Some("identity"));
}

#[tokio::test]
async fn a_tag_that_alternates_is_reported_as_it_was_at_each_request() {
    let bodies = vec![b"a".to_vec(), b"b".to_vec()];
    let (registry, ..) = cheating(Target::Manifests, Cheat::Alternate(bodies));
    let repository = open(&registry);
    let first = fetch(&repository, &tag("1.0")).await.unwrap().digest;
    let second = fetch(&repository, &tag("1.0")).await.unwrap().digest;
    assert_ne!(first, second);
    assert_eq!(fetch(&repository, &tag("1.0")).await.unwrap().digest, first);
}
