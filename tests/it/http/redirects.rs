//! Where a registry may send the client, and what goes along.

use boltseal::registry::{Error, Repository as _};

use super::{fetch, open, open_with, options, tag, user};
use crate::support::registry::{Auth, OCI_MANIFEST, Target, TestRegistry};

#[tokio::test]
async fn a_blob_may_come_from_another_host_which_sees_no_credentials() {
    let (registry, cdn) = (TestRegistry::start(), TestRegistry::start());
    let digest = cdn.repo("acme/app").push_blob("content");
    registry.with(|m| {
        m.auth = Auth::basic("u", "p");
        m.redirect = Some((Target::Blobs, format!("{}*", cdn.url())));
    });
    let mut options = options();
    options.credentials = user("u", "p");
    let repository = open_with(&registry, options);
    assert_eq!(repository.blob(&digest, 100).await.unwrap(), "content");
    assert_eq!(cdn.log()[0].header("authorization"), None);
    // A 401 of the other host is no reason to give it any.
    cdn.with(|m| m.refuse_all = true);
    assert!(matches!(repository.blob(&digest, 100).await, Err(Error::Denied { .. })));
    assert!(cdn.log().iter().all(|e| e.header("authorization").is_none()));
}

#[tokio::test]
async fn credentials_follow_a_redirect_on_the_same_host() {
    let registry = TestRegistry::start();
    registry.repo("moved/app").push("1.0", OCI_MANIFEST, "{}");
    registry.with(|m| m.auth = Auth::basic("u", "p"));
    let mut options = options();
    options.credentials = user("u", "p");
    let repository = open_with(&registry, options);
    fetch(&repository, &tag("1.0")).await.unwrap_err();
    registry.clear_log();
    registry.with(|m| m.redirect = Some((Target::Manifests, "/v2/moved/app/tags/list".to_owned())));
    fetch(&repository, &tag("1.0")).await.unwrap();
    assert!(registry.log().iter().all(|e| e.header("authorization").is_some()));
}

#[tokio::test]
async fn a_redirect_loop_ends() {
    let registry = TestRegistry::start();
    registry.with(|m| m.redirect = Some((Target::Manifests, format!("{}*", registry.url()))));
    let error = fetch(&open(&registry), &tag("1.0")).await.unwrap_err();
    assert!(error.to_string().contains("redirects more than 5 times"), "{error}");
    assert_eq!(registry.log().len(), 6);
}

#[tokio::test]
async fn https_never_leaves_for_plain_http() {
    let (registry, other) = (TestRegistry::start_tls(), TestRegistry::start());
    other.repo("acme/app").push("1.0", OCI_MANIFEST, "{}");
    registry.with(|m| m.redirect = Some((Target::Manifests, format!("{}*", other.url()))));
    let mut options = options();
    options.ca = Some(registry.ca_file());
    let error = fetch(&open_with(&registry, options), &tag("1.0")).await.unwrap_err();
    assert!(matches!(&error, Error::Broken { message, .. } if message.contains("plain HTTP")), "{error}");
    assert!(other.log().is_empty());
}

#[tokio::test]
async fn a_redirect_to_nowhere_is_an_error() {
    let registry = TestRegistry::start();
    for to in ["ftp://x/", "http://[", "http://u:p@127.0.0.1:1/"] {
        registry.with(|m| m.redirect = Some((Target::Manifests, to.to_owned())));
        assert!(matches!(fetch(&open(&registry), &tag("1.0")).await, Err(Error::Broken { .. })), "{to}");
    }
}
