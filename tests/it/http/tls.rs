//! TLS: whose certificates are believed, and the wrong scheme on either side.

use boltseal::registry::Error;
use boltseal::registry::http::{Certificates, Client, Options, Scheme};

use super::{fetch, open, open_with, options, tag};
use crate::support::registry::{OCI_MANIFEST, TestRegistry};

fn started() -> TestRegistry {
    let registry = TestRegistry::start_tls();
    registry.repo("acme/app").push("1.0", OCI_MANIFEST, "{}");
    registry
}

fn tls_message(result: Result<impl std::fmt::Debug, Error>) -> String {
    match result {
        Err(Error::Tls { message, .. }) => message,
        other => panic!("expected a TLS error, got {other:?}"),
    }
}

#[tokio::test]
async fn a_registry_is_believed_by_its_own_ca() {
    let registry = started();
    let by_file = Options { ca: Some(registry.ca_file()), ..options() };
    fetch(&open_with(&registry, by_file), &tag("1.0")).await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join(registry.host());
    std::fs::create_dir(&own).unwrap();
    std::fs::copy(registry.ca_file(), own.join("ca.crt")).unwrap();
    let by_folder = Options { certs_d: vec![folder.path().to_owned()], ..options() };
    fetch(&open_with(&registry, by_folder), &tag("1.0")).await.unwrap();

    let unchecked = Options { certificates: Certificates::UnsafeIgnore, ..options() };
    fetch(&open_with(&registry, unchecked), &tag("1.0")).await.unwrap();
}

#[tokio::test]
async fn an_unknown_ca_is_refused_and_the_message_says_what_to_do() {
    let (registry, other) = (started(), started());
    for options in [Options { scheme: Scheme::Tls, ..options() }, Options { ca: Some(other.ca_file()), ..options() }] {
        let message = tls_message(fetch(&open_with(&registry, options), &tag("1.0")).await);
        assert!(message.contains("--ca") || message.contains("certificate"), "{message}");
    }
    assert!(registry.log().is_empty());
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let registry = started();
    let port = registry.host().rsplit_once(':').unwrap().1.to_owned();
    let client = Client::new(Options { ca: Some(registry.ca_file()), ..options() });
    let message =
        tls_message(fetch(&client.repository(&format!("localhost:{port}"), "acme/app").unwrap(), &tag("1.0")).await);
    assert!(message.contains("another name"), "{message}");
}

#[tokio::test]
async fn the_wrong_scheme_is_told_and_never_tried_the_other_way() {
    let (secure, plain) = (started(), TestRegistry::start());
    let message = tls_message(fetch(&open(&secure), &tag("1.0")).await);
    assert!(message.contains("--tls"), "{message}");
    let forced = Options { scheme: Scheme::Tls, ..options() };
    let message = tls_message(fetch(&open_with(&plain, forced), &tag("1.0")).await);
    assert!(message.contains("plain HTTP"), "{message}");
    assert!(secure.log().is_empty() && plain.log().is_empty());
}

#[tokio::test]
async fn an_unusable_ca_file_is_named() {
    let registry = started();
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.crt");
    std::fs::write(&empty, "nothing").unwrap();
    for file in [empty, folder.path().join("absent.crt")] {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let message =
            tls_message(fetch(&open_with(&registry, Options { ca: Some(file), ..options() }), &tag("1.0")).await);
        assert!(message.contains(&name), "{message}");
    }
}
