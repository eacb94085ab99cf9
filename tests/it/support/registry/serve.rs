//! The test registry's HTTP side: from a request to an answer and a line in the log.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, header};
use axum::response::Response;
use reqwest::Url;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::Target;
use super::access::{refuse, token};
use super::answers::{empty, error, with};
use super::asked::{Asked, Kind, Route};
use super::content::{blob, manifest, referrers, tags, upload};
use super::spoil::spoil;
use super::state::{Entry, State};
use super::tls::TlsListener;

/// Serves until `stopped` ends.
pub(super) fn run(
    listener: std::net::TcpListener,
    certificates: Option<ServerConfig>,
    state: Arc<Mutex<State>>,
    base: String,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async move {
        let listener = TcpListener::from_std(listener).unwrap();
        let app = Router::new().fallback(move |request: Request<Body>| {
            let state = Arc::clone(&state);
            let base = base.clone();
            async move { answer(&state, &base, request).await }
        });
        let served = async move {
            match certificates {
                None => axum::serve(listener, app).await,
                Some(settings) => axum::serve(TlsListener::new(listener, settings), app).await,
            }
        };
        tokio::select! {
            result = served => result.unwrap(),
            _ = stopped => {}
        }
    });
}

async fn answer(shared: &Mutex<State>, base: &str, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let url = Url::parse(&format!("{base}{}", head.uri)).unwrap();
    let asked = Asked {
        base,
        method: head.method,
        path: url.path().to_owned(),
        query: url.query_pairs().into_owned().collect(),
        headers: head.headers,
        body,
    };
    let delay = shared.lock().unwrap().manners.delay;
    if delay > Duration::ZERO {
        tokio::time::sleep(delay).await;
    }
    let mut state = shared.lock().unwrap();
    let answer = decide(&mut state, &asked);
    let sent = axum::body::HttpBody::size_hint(answer.body()).exact().unwrap_or(0);
    let headers = asked.headers.iter();
    state.log.push(Entry {
        method: asked.method.to_string(),
        path: head.uri.to_string(),
        headers: headers.map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned())).collect(),
        received: asked.body.len() as u64,
        status: answer.status().as_u16(),
        sent: if asked.method == Method::HEAD { 0 } else { sent },
    });
    answer
}

fn decide(state: &mut State, asked: &Asked<'_>) -> Response {
    if asked.path == "/token" || asked.path == "/oauth2/token" {
        return token(state, asked);
    }
    if let Some(busy) = state.manners.busy.as_mut().filter(|busy| busy.requests > 0) {
        busy.requests -= 1;
        let mut answer = error(busy.status, "TOOMANYREQUESTS", "come back later");
        if let Some(wait) = &busy.retry_after {
            answer.headers_mut().insert(header::RETRY_AFTER, wait.parse().unwrap());
        }
        return answer;
    }
    let Some(route) = Route::of(&asked.path) else {
        return if asked.path == "/v2/" { empty(200) } else { error(404, "NOT_FOUND", "no such path") };
    };
    if let Some(refusal) = refuse(state, asked, &route) {
        return refusal;
    }
    if state.manners.gone.as_ref().is_some_and(|gone| asked.path.ends_with(gone)) {
        return error(404, "MANIFEST_UNKNOWN", "manifest unknown");
    }
    let reading = asked.method == Method::GET || asked.method == Method::HEAD;
    let target = route.target();
    if reading
        && let Some((of, to)) = &state.manners.redirect
        && (*of == Target::All || Some(*of) == target)
    {
        let to = to.strip_suffix('*').map_or_else(|| to.clone(), |prefix| format!("{prefix}{}", asked.path));
        return with(empty(307), header::LOCATION, &to);
    }
    let answer = match route.kind {
        Kind::Manifest(point) => manifest(state, asked, &route.repository, point),
        Kind::Blob(digest) => blob(state, asked, &route.repository, digest),
        Kind::Upload(token) => upload(state, asked, &route.repository, token),
        Kind::Tags => tags(state, asked, &route.repository),
        Kind::Referrers(digest) => referrers(state, &route.repository, digest),
    };
    match state.manners.cheat.clone() {
        Some((of, cheat)) if reading && answer.status() == 200 && (of == Target::All || Some(of) == target) => {
            state.counter += 1;
            spoil(answer, cheat, state.counter)
        }
        _ => answer,
    }
}
