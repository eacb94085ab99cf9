//! Signing in: Basic, tokens, and to whom credentials go.

use boltseal::registry::http::{Client, Credential, CredentialSources};
use boltseal::registry::{Error, Repository as _};
use bytes::Bytes;

use super::{fetch, open, open_with, options, tag, user};
use crate::support::registry::{Auth, OCI_MANIFEST, TestRegistry};

fn guarded(auth: Auth) -> TestRegistry {
    let registry = TestRegistry::start();
    registry.repo("acme/app").push("1.0", OCI_MANIFEST, "{}");
    registry.with(|m| m.auth = auth);
    registry
}

#[tokio::test]
async fn a_password_is_sent_only_after_it_was_asked_for_and_then_kept() {
    let registry = guarded(Auth::basic("u", "p:q"));
    let mut options = options();
    options.credentials = user("u", "p:q");
    let repository = open_with(&registry, options);
    fetch(&repository, &tag("1.0")).await.unwrap();
    fetch(&repository, &tag("1.0")).await.unwrap();
    repository.put_blob(Bytes::from("x")).await.unwrap();
    let log = registry.log();
    assert_eq!(log.iter().filter(|e| e.status == 401).count(), 1);
    assert_eq!(log[0].header("authorization"), None);
    assert_eq!(log.len(), 6);
}

#[tokio::test]
async fn a_token_is_fetched_once_for_its_scope_and_renewed_for_more() {
    let registry = guarded(Auth::bearer("u", "p"));
    let mut options = options();
    options.credentials = user("u", "p");
    let client = Client::new(options);
    let repository = client.repository(&registry.host(), "acme/app").unwrap();
    fetch(&repository, &tag("1.0")).await.unwrap();
    fetch(&client.repository(&registry.host(), "acme/app").unwrap(), &tag("1.0")).await.unwrap();
    assert_eq!(
        registry.lines(),
        [
            "GET /v2/acme/app/manifests/1.0 401",
            "GET /token?scope=repository%3Aacme%2Fapp%3Apull&service=test&account=u 200",
            "GET /v2/acme/app/manifests/1.0 200",
            "GET /v2/acme/app/manifests/1.0 200",
        ]
    );
    registry.clear_log();
    repository.put_blob(Bytes::from("x")).await.unwrap();
    let tokens: Vec<_> = registry.lines().into_iter().filter(|l| l.contains("/token")).collect();
    assert_eq!(tokens, ["GET /token?scope=repository%3Aacme%2Fapp%3Apull%2Cpush&service=test&account=u 200"]);
}

#[tokio::test]
async fn a_token_is_bound_to_its_repository() {
    let registry = guarded(Auth::bearer("u", "p"));
    registry.repo("acme/other").push("1.0", OCI_MANIFEST, "{}");
    let mut options = options();
    options.credentials = user("u", "p");
    let client = Client::new(options);
    for name in ["acme/app", "acme/other"] {
        fetch(&client.repository(&registry.host(), name).unwrap(), &tag("1.0")).await.unwrap();
    }
    let tokens: Vec<_> = registry.log().iter().filter_map(|e| e.header("authorization").map(str::to_owned)).collect();
    assert_eq!(tokens.iter().filter(|t| t.starts_with("Bearer ")).count(), 2);
    assert_ne!(tokens[1], tokens[3]);
}

#[tokio::test]
async fn anonymous_tokens_and_identity_tokens_work() {
    let registry = guarded(Auth::Bearer { user: "u".to_owned(), password: "p".to_owned(), anonymous_pull: true });
    fetch(&open(&registry), &tag("1.0")).await.unwrap();
    let error = open(&registry).put_blob(Bytes::from("x")).await.unwrap_err();
    assert!(error.to_string().contains("docker login"), "{error}");

    registry.with(|m| {
        m.auth = Auth::bearer("u", "p");
        m.realm = Some(format!("{}/oauth2/token", registry.url()));
    });
    let mut options = options();
    let fixed = Some(Credential::IdentityToken("refresh-p".to_owned().into()));
    options.credentials = CredentialSources { fixed, ..CredentialSources::default() };
    registry.clear_log();
    fetch(&open_with(&registry, options), &tag("1.0")).await.unwrap();
    assert_eq!(registry.lines()[1], "POST /oauth2/token 200");
}

#[tokio::test]
async fn an_expired_token_is_replaced_without_being_sent() {
    let registry = guarded(Auth::bearer("u", "p"));
    registry.with(|m| m.token_life = 0);
    let mut options = options();
    options.credentials = user("u", "p");
    let repository = open_with(&registry, options);
    fetch(&repository, &tag("1.0")).await.unwrap();
    fetch(&repository, &tag("1.0")).await.unwrap();
    assert_eq!(registry.log().iter().filter(|e| e.path.starts_with("/token")).count(), 2);
}

#[tokio::test]
async fn wrong_and_missing_credentials_are_denied_without_a_secret_in_the_message() {
    for auth in [Auth::basic("u", "right"), Auth::bearer("u", "right")] {
        let registry = guarded(auth);
        let error = fetch(&open(&registry), &tag("1.0")).await.unwrap_err();
        assert!(matches!(error, Error::Denied { .. }), "{error}");
        let mut options = options();
        options.credentials = user("u", "sesame");
        assert!(!format!("{options:?}").contains("sesame"));
        let error = fetch(&open_with(&registry, options), &tag("1.0")).await.unwrap_err();
        assert!(matches!(error, Error::Denied { .. }), "{error}");
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("UNAUTHORIZED") && !shown.contains("sesame"), "{shown}");
    }
}

#[tokio::test]
async fn a_registry_that_always_answers_401_ends_after_one_repetition() {
    let registry = guarded(Auth::None);
    registry.with(|m| m.refuse_all = true);
    let mut options = options();
    options.credentials = user("u", "p");
    assert!(matches!(fetch(&open_with(&registry, options), &tag("1.0")).await, Err(Error::Denied { .. })));
    assert_eq!(registry.log().len(), 2);
}

#[tokio::test]
async fn a_realm_by_plain_http_elsewhere_gets_no_credentials() {
    let registry = guarded(Auth::bearer("u", "p"));
    for realm in ["http://auth.example.com/token", "ftp://127.0.0.1/token", "nonsense", "http://u:p@127.0.0.1/"] {
        registry.with(|m| m.realm = Some(realm.to_owned()));
        let mut options = options();
        options.credentials = user("u", "p");
        let error = fetch(&open_with(&registry, options), &tag("1.0")).await.unwrap_err();
        assert!(matches!(&error, Error::Broken { message, .. } if message.contains("token endpoint")), "{error}");
    }
    assert!(registry.log().iter().all(|e| e.header("authorization").is_none()));
}

#[tokio::test]
async fn a_token_endpoint_that_fails_says_nothing_about_the_image() {
    let registry = guarded(Auth::bearer("u", "p"));
    for (status, denied) in [(404, false), (403, true), (400, false)] {
        registry.with(|m| m.token_status = Some(status));
        let error = fetch(&open(&registry), &tag("1.0")).await.unwrap_err();
        assert!(!error.is_not_found(), "{error}");
        assert_eq!(matches!(error, Error::Denied { .. }), denied, "{error}");
    }
    registry.with(|m| {
        m.token_status = None;
        m.token_padding = 2_000_000;
    });
    let mut options = options();
    options.credentials = user("u", "p");
    let error = fetch(&open_with(&registry, options), &tag("1.0")).await.unwrap_err();
    assert!(matches!(&error, Error::TooMuch { limit, .. } if limit == "1 MiB"), "{error}");
}

#[tokio::test]
async fn a_docker_config_signs_in_and_a_broken_one_denies_only_where_it_is_needed() {
    let registry = guarded(Auth::basic("u", "p"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    std::fs::write(&file, format!(r#"{{"auths":{{"{}":{{"auth":"dTpw"}}}}}}"#, registry.host())).unwrap();
    let with_file = || {
        let mut options = options();
        options.credentials.files = vec![file.clone()];
        open_with(&registry, options)
    };
    fetch(&with_file(), &tag("1.0")).await.unwrap();
    std::fs::write(&file, "{").unwrap();
    let error = fetch(&with_file(), &tag("1.0")).await.unwrap_err();
    assert!(matches!(&error, Error::Denied { message, .. } if message.contains("config.json")), "{error}");
    registry.with(|m| m.auth = Auth::None);
    fetch(&with_file(), &tag("1.0")).await.unwrap();
}
