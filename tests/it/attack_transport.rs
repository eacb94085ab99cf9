//! The registry as the enemy on the wire, against whole use cases: bounded in bytes and time, with the right exit code,
//! and nothing kept.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::machine::{Machine, exit_of};
use crate::support::registry::{Auth, Busy, Cheat, Target, TestRegistry};
use crate::support::scene::{Scene, push};

/// Longest time that one use case may take against a registry that stalls; the bounds in tests are two seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// Every file of memory of the scene's collection.
fn memory(machine: &Machine, scene: &Scene) -> Vec<(String, Vec<u8>)> {
    let folder = machine.memory(&scene.name);
    let mut files: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

/// What verify, sign and refresh come to against a spoilt registry, and that none of them changes anything.
async fn try_all(cheat: (Target, Cheat)) -> [u8; 3] {
    let scene = Scene::start().await;
    push(&*scene.client(), "2.0", "two").await;
    let reader = scene.reader();
    reader.verify(&scene.image("1.0")).await.unwrap();
    let (content, before) = (scene.repo().snapshot(), memory(&reader, &scene));
    let said = format!("{cheat:?}");
    scene.registry.with(|m| {
        // Without entity tags the head is read anew.
        m.etag = false;
        m.cheat = Some(cheat);
    });
    let begun = Instant::now();
    let fresh = scene.reader();
    let exits = [
        fresh.exit(&scene.image("1.0")).await,
        exit_of(&scene.owner.sign(&[&scene.image("2.0")]).await),
        exit_of(&scene.owner.refresh(&scene.name).await),
    ];
    assert!(begun.elapsed() < PATIENCE, "{said}: {:?}", begun.elapsed());
    let kept: Vec<_> = memory(&fresh, &scene).into_iter().map(|(name, _)| name).collect();
    assert!(kept.iter().all(|name| name.ends_with("lock") || name.ends_with("marks.json")), "{said}: {kept:?}");
    scene.registry.with(|m| m.cheat = None);
    assert!(scene.repo().snapshot() == content, "{said}: something was published");
    assert_eq!(reader.exit(&scene.image("1.0")).await, 0, "{said}");
    let kept: Vec<_> = memory(&reader, &scene).into_iter().map(|(name, _)| name).collect();
    assert_eq!(kept, before.into_iter().map(|(name, _)| name).collect::<Vec<_>>());
    exits
}

#[tokio::test]
async fn endless_slow_and_hanging_answers_end_every_use_case_in_time() {
    let drip = Cheat::Drip(Duration::from_millis(20));
    let cheats = [Cheat::Endless, drip, Cheat::Hang, Cheat::Claims(1 << 60), Cheat::Short(7)];
    let tries = cheats.into_iter().map(|cheat| try_all((Target::All, cheat)));
    for exits in futures_util::future::join_all(tries).await {
        assert_eq!(exits, [20, 20, 20]);
    }
}

#[tokio::test]
async fn answers_that_alternate_or_lie_about_themselves_are_not_believed() {
    let other = boltseal::image::Digest::of(b"other").to_string();
    assert_eq!(try_all((Target::Manifests, Cheat::DigestHeader(other))).await, [20, 15, 20]);
    assert_eq!(try_all((Target::Manifests, Cheat::Encoding("gzip".to_owned()))).await, [20, 20, 20]);
    let turns = vec![b"{}".to_vec(), b"[]".to_vec()];
    assert_eq!(try_all((Target::Manifests, Cheat::Alternate(turns))).await[0], 12);
    assert_eq!(try_all((Target::Manifests, Cheat::Bytes(b"{}".to_vec()))).await[0], 20);
}

#[tokio::test]
async fn the_digest_verified_is_the_digest_answered_whatever_the_tag_says_meanwhile() {
    // CVE-2022-47633 and CVE-2023-47630 of Kyverno: the tag is resolved once, and by the metadata alone.
    let scene = Scene::start().await;
    push(&*scene.client(), "1.0", "evil").await;
    scene.registry.clear_log();
    let endorsed = scene.reader().verify(&scene.image("1.0")).await.unwrap();
    assert_eq!(endorsed.digest, scene.signed);
    let asked: Vec<String> = scene.registry.lines();
    assert!(asked.iter().all(|line| !line.contains("manifests/1.0")), "{asked:?}");
}

#[tokio::test]
async fn a_storm_of_429_is_rate_limited_and_one_that_passes_is_ridden_out() {
    let scene = Scene::start().await;
    let storm = |requests| Some(Busy { requests, status: 429, retry_after: Some("3600".into()) });
    scene.registry.with(|m| m.busy = storm(1000));
    let begun = Instant::now();
    assert_eq!(scene.reader().exit(&scene.image("1.0")).await, 22);
    assert_eq!(exit_of(&scene.owner.refresh(&scene.name).await), 22);
    assert!(begun.elapsed() < PATIENCE);
    scene.registry.with(|m| m.busy = Some(Busy { requests: 2, status: 429, retry_after: Some("0".into()) }));
    assert_eq!(scene.reader().exit(&scene.image("1.0")).await, 0);
    scene.registry.with(|m| m.busy = Some(Busy { requests: 2, status: 500, retry_after: None }));
    assert_eq!(scene.reader().exit(&scene.image("1.0")).await, 0);
    scene.registry.with(|m| m.busy = Some(Busy { requests: 1000, status: 503, retry_after: None }));
    assert_eq!(scene.reader().exit(&scene.image("1.0")).await, 20);
}

#[tokio::test]
async fn refused_access_is_neither_missing_trust_data_nor_a_broken_registry() {
    let scene = Scene::start().await;
    scene.registry.with(|m| m.refuse_all = true);
    assert_eq!(scene.reader().exit(&scene.image("1.0")).await, 21);
    assert_eq!(exit_of(&scene.owner.sign(&[&scene.image("1.0")]).await), 21);
}

#[tokio::test]
async fn redirects_to_another_host_carry_no_credentials_and_change_no_verdict() {
    let scene = Scene::start().await;
    let other = TestRegistry::start();
    other.repo("acme/app").push("trust.tuf", "application/vnd.oci.image.manifest.v1+json", "{}");
    scene.registry.with(|m| m.redirect = Some((Target::Manifests, format!("{}*", other.url()))));
    assert_eq!(scene.reader().exit(&scene.image("1.0")).await, 12);
    assert!(other.log().iter().all(|entry| entry.header("authorization").is_none()));
    // The right bytes from elsewhere are the right bytes.
    other.repo("acme/app").restore(scene.repo().snapshot());
    assert_eq!(scene.reader().exit(&scene.image("1.0")).await, 0);
    // Nobody listens there.
    scene.registry.with(|m| m.redirect = Some((Target::Manifests, "http://127.0.0.1:1/*".to_owned())));
    assert_eq!(scene.reader().exit(&scene.image("1.0")).await, 20);
}

#[tokio::test]
async fn a_token_realm_on_another_host_gets_no_password() {
    let scene = Scene::start().await;
    let thief = TestRegistry::start();
    scene.registry.with(|m| {
        m.auth = Auth::bearer("user", "secret");
        m.realm = Some(format!("{}/token", thief.url()));
    });
    let code = scene.reader().exit(&scene.image("1.0")).await;
    assert!(code == 21 || code == 20, "{code}");
    assert!(thief.log().iter().all(|entry| entry.header("authorization").is_none()));
}

#[tokio::test]
async fn a_head_deleted_between_two_reads_of_a_publish_loses_nothing() {
    let scene = Scene::start().await;
    push(&*scene.client(), "2.0", "two").await;
    let whole = scene.repo().snapshot();
    let head = scene.repo().digest("trust.tuf").unwrap();
    scene.repo().remove_tag("trust.tuf");
    assert_eq!(exit_of(&scene.owner.sign(&[&scene.image("2.0")]).await), 14);
    assert_eq!(scene.repo().digest("trust.tuf"), None, "somebody published over a head that vanished");
    scene.repo().restore(whole);
    assert_eq!(scene.repo().digest("trust.tuf"), Some(head));
    scene.owner.sign(&[&scene.image("2.0")]).await.unwrap();
    assert_eq!(scene.reader().exit(&scene.image("2.0")).await, 0);
}

#[tokio::test]
async fn a_list_of_tags_that_cannot_be_had_is_no_success_and_stops_no_verification() {
    for cheat in [Cheat::Endless, Cheat::Hang, Cheat::Bytes(b"{}".to_vec())] {
        let scene = Scene::start().await;
        push(&*scene.client(), "2.0", "two").await;
        let said = format!("{cheat:?}");
        scene.registry.with(|m| m.cheat = Some((Target::Tags, cheat)));
        let begun = Instant::now();
        assert_eq!(exit_of(&scene.owner.sign(&[&scene.image("2.0")]).await), 20, "{said}");
        assert!(begun.elapsed() < PATIENCE, "{said}");
        assert_eq!(scene.reader().exit(&scene.image("1.0")).await, 0, "{said}");
        scene.registry.with(|m| m.cheat = None);
        scene.owner.sign(&[&scene.image("2.0")]).await.unwrap();
        assert_eq!(scene.reader().exit(&scene.image("2.0")).await, 0, "{said}");
    }
}
