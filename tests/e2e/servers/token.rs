//! A token server as registries with bearer tokens expect it: hands out short-lived ES256 tokens for a scope.
//!
//! The right user gets what is asked for; nobody in particular gets `pull` below `public/`; a wrong password gets 401.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::registry::{PASSWORD, USER};

/// Who issues the tokens, as the registry's settings name it.
pub(crate) const ISSUER: &str = "token server of one test";
/// Whom the tokens are for.
pub(crate) const SERVICE: &str = "registry of one test";
/// Life of a token in seconds, which is the least that docker accepts.
const LIFE: u64 = 60;

struct Inner {
    key: EcdsaKeyPair,
    certificate: Vec<u8>,
    asked: AtomicUsize,
}

impl Inner {
    /// A token as distribution's specification describes it: a JWT with the certificate in its header.
    fn sign(&self, subject: &str, access: &[Value]) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_secs();
        let header = json!({ "typ": "JWT", "alg": "ES256", "x5c": [BASE64_STANDARD.encode(&self.certificate)] });
        let claims = json!({
            "iss": ISSUER, "sub": subject, "aud": SERVICE, "jti": "one of many", "iat": now, "nbf": now - 5, "exp": now + LIFE,
            "access": access,
        });
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).expect("a P-256 key signs");
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

/// A running token server.
pub(crate) struct TokenServer {
    host: String,
    inner: Arc<Inner>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl TokenServer {
    /// Starts one on a free port, and leaves the certificate that its tokens chain to at `certificate`.
    pub(crate) fn start(certificate: &Path) -> Self {
        let pair = rcgen::KeyPair::generate().expect("a key is made");
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names are valid names");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let signed = params.self_signed(&pair).expect("a certificate signs itself");
        std::fs::write(certificate, signed.pem()).expect("a file in our folder is written");
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pair.serialize_der(), &SystemRandom::new())
                .expect("the key just made is a P-256 key");
        let inner = Arc::new(Inner { key, certificate: signed.der().to_vec(), asked: AtomicUsize::new(0) });

        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        listener.set_nonblocking(true).expect("a listener can be made non-blocking");
        let host = listener.local_addr().expect("a bound listener has an address").to_string();
        let (stop, stopped) = oneshot::channel();
        let state = Arc::clone(&inner);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener changes hands");
                let router = Router::new().route("/token", get(token)).with_state(state);
                let stop = async move {
                    let _ = stopped.await;
                };
                axum::serve(listener, router).with_graceful_shutdown(stop).await.expect("serving loopback works");
            });
        });
        Self { host, inner, stop: Some(stop), thread: Some(thread) }
    }

    /// Where tokens are asked for.
    pub(crate) fn realm(&self) -> String {
        format!("http://{}/token", self.host)
    }

    /// A header that lets its sender do everything in one repository.
    pub(crate) fn bearer(&self, repository: &str) -> String {
        let access = json!({ "type": "repository", "name": repository, "actions": ["pull", "push", "delete"] });
        format!("Bearer {}", self.inner.sign(USER, &[access]))
    }

    /// How often a token was asked for.
    pub(crate) fn asked(&self) -> usize {
        self.inner.asked.load(Ordering::Relaxed)
    }
}

impl Drop for TokenServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn token(
    State(inner): State<Arc<Inner>>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    inner.asked.fetch_add(1, Ordering::Relaxed);
    let known = match headers.get("authorization").map(|value| value.to_str().unwrap_or_default()) {
        None => false,
        Some(value) if value == basic(USER, PASSWORD) => true,
        Some(_) => return StatusCode::UNAUTHORIZED.into_response(),
    };
    let access: Vec<Value> = query
        .iter()
        .filter(|(name, _)| name == "scope")
        .flat_map(|(_, scopes)| scopes.split(' '))
        .filter_map(|scope| granted(scope, known))
        .collect();
    let token = inner.sign(if known { USER } else { "" }, &access);
    Json(json!({ "token": token, "access_token": token, "expires_in": LIFE })).into_response()
}
/// What of a scope (`repository:NAME:pull,push`) the caller is given.
fn granted(scope: &str, known: bool) -> Option<Value> {
    let (kind, rest) = scope.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    let actions: Vec<&str> =
        actions.split(',').filter(|action| known || (*action == "pull" && name.starts_with("public/"))).collect();
    (!actions.is_empty()).then(|| json!({ "type": kind, "name": name, "actions": actions }))
}

/// The header of HTTP's basic authentication.
pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}
