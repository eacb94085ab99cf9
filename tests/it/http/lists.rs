//! Lists of tags and referrers, in pages and without end.

use boltseal::registry::{Error, Repository as _};

use super::{open, open_with, options};
use crate::support::registry::{Cheat, OCI_MANIFEST, Target, TestRegistry};

fn with_tags(count: usize) -> TestRegistry {
    let registry = TestRegistry::start();
    let digest = registry.repo("acme/app").push("t000", OCI_MANIFEST, "{}");
    (0..count).for_each(|n| registry.repo("acme/app").set_tag(&format!("t{n:03}"), digest));
    registry
}

#[tokio::test]
async fn all_pages_of_tags_are_read() {
    let registry = with_tags(25);
    let repository = open(&registry);
    for (page, requests) in [(None, 1), (Some(10), 3), (Some(25), 1)] {
        registry.with(|m| m.page = page);
        registry.clear_log();
        let tags = repository.tags().await.unwrap();
        assert_eq!((tags.len(), tags[24].as_str()), (25, "t024"));
        assert_eq!(registry.log().len(), requests);
    }
}

#[tokio::test]
async fn a_list_that_points_back_at_itself_ends() {
    let registry = with_tags(3);
    for link in ["</v2/acme/app/tags/list?n=1000>; rel=\"next\"", "</v2/acme/app/tags/list?last=x>; rel=next"] {
        registry.with(|m| m.next_link = Some(link.to_owned()));
        registry.clear_log();
        assert_eq!(open(&registry).tags().await.unwrap().len(), 3);
        assert!(registry.log().len() <= 2);
    }
}

#[tokio::test]
async fn a_list_that_continues_elsewhere_is_refused() {
    let registry = with_tags(3);
    registry.with(|m| m.next_link = Some("<https://other.example.com/>; rel=\"next\"".to_owned()));
    assert!(matches!(open(&registry).tags().await, Err(Error::Broken { .. })));
}

#[tokio::test]
async fn lists_are_bounded_in_entries_pages_and_bytes() {
    let registry = with_tags(50);
    registry.with(|m| m.page = Some(10));
    for (entries, pages, bytes, expected) in
        [(49, 99, 9999, "49 entries"), (99, 4, 9999, "4 pages"), (99, 99, 300, "300 bytes")]
    {
        let mut options = options();
        options.limits.list_entries = entries;
        options.limits.list_pages = pages;
        options.limits.list_bytes = bytes;
        let error = open_with(&registry, options).tags().await.unwrap_err();
        assert!(matches!(&error, Error::TooMuch { limit, .. } if limit == expected), "{error}");
    }
}

#[tokio::test]
async fn what_is_no_list_is_broken_and_what_is_no_tag_is_passed_over() {
    let registry = with_tags(1);
    let answer = |text: &str| Some((Target::All, Cheat::Bytes(text.as_bytes().to_vec())));
    registry.with(|m| m.cheat = answer(r#"{"tags":["ok","-no","../x","\u001b[2J"]}"#));
    assert_eq!(open(&registry).tags().await.unwrap(), ["ok".parse().unwrap()]);
    registry.with(|m| m.cheat = answer(r#"{"name":"acme/app","tags":null}"#));
    assert_eq!(open(&registry).tags().await.unwrap(), []);
    registry.with(|m| m.cheat = answer("<html>"));
    assert!(matches!(open(&registry).tags().await, Err(Error::Broken { .. })));
}

#[tokio::test]
async fn referrers_are_listed_where_the_registry_can() {
    let registry = TestRegistry::start();
    let repo = registry.repo("acme/app");
    let subject = repo.push("1.0", OCI_MANIFEST, "{}");
    let text = format!(r#"{{"artifactType":"text/x","subject":{{"digest":"{subject}"}}}}"#);
    let referrer = repo.push_untagged(OCI_MANIFEST, text);
    let repository = open(&registry);
    let found = repository.referrers(&subject).await.unwrap().unwrap();
    assert_eq!((found[0].digest, found[0].artifact_type.as_deref()), (referrer, Some("text/x")));
    assert_eq!(repository.referrers(&referrer).await, Ok(Some(Vec::new())));
    registry.with(|m| m.referrers = false);
    assert_eq!(repository.referrers(&subject).await, Ok(None));
}
