//! The test registry's HTTP side.

use std::collections::HashSet;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, header};
use axum::serve::Listener;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use boltseal::image::{Digest, Tag};
use bytes::Bytes;
use futures_util::stream;
use reqwest::Url;
use rustls::ServerConfig;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::state::{Entry, State, StoredManifest};
use super::{Auth, Cheat, Target, Upload};

type Answer = Response<Body>;

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

/// A server certificate for `127.0.0.1`, and its CA in PEM.
pub(super) fn certificates() -> (ServerConfig, String) {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name.push(rcgen::DnType::CommonName, "test CA");
    let pem = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let secret = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let settings = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], secret)
        .unwrap();
    (settings, pem)
}

/// Accepts TLS connections; a slow or failed handshake holds up nobody else.
struct TlsListener {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
}

impl TlsListener {
    fn new(listener: TcpListener, settings: ServerConfig) -> Self {
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(settings));
        let (done, ready) = mpsc::channel(16);
        tokio::spawn(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let (acceptor, done) = (acceptor.clone(), done.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let _ = done.send((stream, peer)).await;
                    }
                });
            }
        });
        Self { ready, address }
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// A request taken apart.
struct Asked<'a> {
    base: &'a str,
    method: Method,
    path: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
}

impl Asked<'_> {
    fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

async fn answer(shared: &Mutex<State>, base: &str, request: Request<Body>) -> Answer {
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

fn decide(state: &mut State, asked: &Asked<'_>) -> Answer {
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

struct Route<'a> {
    repository: String,
    kind: Kind<'a>,
}

enum Kind<'a> {
    Manifest(&'a str),
    Blob(&'a str),
    Upload(&'a str),
    Tags,
    Referrers(&'a str),
}

impl<'a> Route<'a> {
    fn of(path: &'a str) -> Option<Self> {
        let path = path.strip_prefix("/v2/")?;
        let find = |marker: &str| path.rfind(marker).map(|at| (path[..at].to_owned(), &path[at + marker.len()..]));
        let (repository, kind) = if let Some(repository) = path.strip_suffix("/tags/list") {
            (repository.to_owned(), Kind::Tags)
        } else if let Some((repository, token)) = find("/blobs/uploads/") {
            (repository, Kind::Upload(token))
        } else if let Some((repository, point)) = find("/manifests/") {
            (repository, Kind::Manifest(point))
        } else if let Some((repository, digest)) = find("/blobs/") {
            (repository, Kind::Blob(digest))
        } else {
            let (repository, digest) = find("/referrers/")?;
            (repository, Kind::Referrers(digest))
        };
        Some(Self { repository, kind })
    }

    fn target(&self) -> Option<Target> {
        match self.kind {
            Kind::Manifest(_) => Some(Target::Manifests),
            Kind::Blob(_) => Some(Target::Blobs),
            Kind::Tags => Some(Target::Tags),
            Kind::Referrers(_) => Some(Target::Referrers),
            Kind::Upload(_) => None,
        }
    }
}

fn refuse(state: &State, asked: &Asked<'_>, route: &Route<'_>) -> Option<Answer> {
    let action = match asked.method {
        Method::GET | Method::HEAD => "pull",
        Method::DELETE => "delete",
        _ => "push",
    };
    let given = asked.header(header::AUTHORIZATION).unwrap_or_default();
    let manners = &state.manners;
    let (allowed, challenge) = match &manners.auth {
        Auth::None => (true, "Basic realm=\"test\"".to_owned()),
        Auth::Basic { user, password } => (given == basic(user, password), "Basic realm=\"test\"".to_owned()),
        Auth::Bearer { .. } => {
            let held = given.strip_prefix("Bearer ").and_then(|token| state.tokens.get(token));
            let allowed = held.is_some_and(|(r, actions)| *r == route.repository && actions.contains(action));
            let realm = manners.realm.clone().unwrap_or_else(|| format!("{}/token", asked.base));
            let scope = format!("repository:{}:{action}", route.repository);
            (allowed, format!("Bearer realm=\"{realm}\",service=\"test\",scope=\"{scope}\""))
        }
    };
    (manners.refuse_all || !allowed)
        .then(|| with(error(401, "UNAUTHORIZED", "authentication required"), header::WWW_AUTHENTICATE, &challenge))
}

fn token(state: &mut State, asked: &Asked<'_>) -> Answer {
    if let Some(status) = state.manners.token_status {
        return error(status, "TOKEN", "no tokens today");
    }
    let Auth::Bearer { user, password, anonymous_pull } = state.manners.auth.clone() else {
        return error(404, "NOT_FOUND", "no tokens here");
    };
    let form: Vec<(String, String)> = if asked.method == Method::POST {
        let text = String::from_utf8_lossy(&asked.body);
        Url::parse(&format!("http://form/?{text}")).unwrap().query_pairs().into_owned().collect()
    } else {
        asked.query.clone()
    };
    let field = |name: &str| form.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let given = asked.header(header::AUTHORIZATION);
    let known = given == Some(basic(&user, &password).as_str())
        || (asked.method == Method::POST && field("refresh_token") == Some(&format!("refresh-{password}")));
    if !known && (given.is_some() || asked.method == Method::POST || !anonymous_pull) {
        return error(401, "UNAUTHORIZED", "incorrect username or password");
    }
    let Some(("repository", rest)) = field("scope").and_then(|scope| scope.split_once(':')) else {
        return error(400, "SCOPE", "no scope");
    };
    let (repository, actions) = rest.rsplit_once(':').unwrap();
    let actions: HashSet<String> = actions.split(',').filter(|a| known || *a == "pull").map(str::to_owned).collect();
    state.counter += 1;
    let token = format!("token-{}", state.counter);
    state.tokens.insert(token.clone(), (repository.to_owned(), actions));
    let padding = "x".repeat(state.manners.token_padding);
    // Real endpoints differ in the member's name; so does this one.
    let name = if asked.method == Method::POST { "access_token" } else { "token" };
    json_answer(200, &json!({name: token, "expires_in": state.manners.token_life, "padding": padding}))
}

fn manifest(state: &mut State, asked: &Asked<'_>, repository: &str, point: &str) -> Answer {
    let manners = state.manners.clone();
    let by_digest = point.parse::<Digest>().ok();
    match asked.method {
        Method::GET | Method::HEAD => {
            let Some(repo) = state.repositories.get(repository) else {
                return error(404, "NAME_UNKNOWN", "repository name not known to registry");
            };
            let digest = by_digest.or_else(|| repo.tags.get(point).copied());
            let Some((digest, found)) = digest.and_then(|d| Some((d, repo.manifests.get(&d)?))) else {
                return error(404, "MANIFEST_UNKNOWN", "manifest unknown");
            };
            let etag = format!("\"{digest}\"");
            if manners.etag && asked.header(header::IF_NONE_MATCH) == Some(&etag) {
                return with(empty(304), header::ETAG, &etag);
            }
            let answer = bytes_answer(&found.media_type, found.bytes.clone(), digest);
            if manners.etag { with(answer, header::ETAG, &etag) } else { answer }
        }
        Method::PUT => {
            let repo = state.repositories.entry(repository.to_owned()).or_default();
            let digest = Digest::of(&asked.body);
            if by_digest.is_some_and(|wanted| wanted != digest) {
                return error(400, "DIGEST_INVALID", "provided digest did not match uploaded content");
            }
            if by_digest.is_none() {
                if point.parse::<Tag>().is_err() {
                    return error(400, "TAG_INVALID", "manifest tag did not match URI");
                }
                let present = repo.tags.get(point).copied();
                if manners.immutable_tags && present.is_some_and(|present| present != digest) {
                    return error(400, "TAG_INVALID", "the tag cannot be overwritten: the repository is immutable");
                }
                let expected = asked.header(header::IF_MATCH);
                let etag = present.map(|d| format!("\"{d}\""));
                if manners.if_match && expected.is_some() && expected != etag.as_deref() {
                    return error(412, "PRECONDITION_FAILED", "the tag has moved");
                }
                repo.tags.insert(point.to_owned(), digest);
            }
            let media_type = asked.header(header::CONTENT_TYPE).unwrap_or_default().to_owned();
            repo.manifests.insert(digest, StoredManifest { bytes: asked.body.clone(), media_type });
            let answer = with(empty(201), header::LOCATION, &format!("/v2/{repository}/manifests/{digest}"));
            with(answer, "docker-content-digest".parse().unwrap(), &digest.to_string())
        }
        Method::DELETE if !manners.delete => error(405, "UNSUPPORTED", "the operation is unsupported"),
        Method::DELETE => {
            let Some(digest) = by_digest else { return error(400, "DIGEST_INVALID", "not a digest") };
            let repo = state.repositories.entry(repository.to_owned()).or_default();
            if repo.manifests.remove(&digest).is_none() {
                return error(404, "MANIFEST_UNKNOWN", "manifest unknown");
            }
            repo.tags.retain(|_, held| *held != digest);
            empty(202)
        }
        _ => error(405, "UNSUPPORTED", "the operation is unsupported"),
    }
}

fn blob(state: &State, asked: &Asked<'_>, repository: &str, digest: &str) -> Answer {
    let digest = digest.parse::<Digest>().ok();
    let found = digest.and_then(|d| Some((d, state.repositories.get(repository)?.blobs.get(&d)?.clone())));
    match (found, asked.method == Method::GET || asked.method == Method::HEAD) {
        (_, false) => error(405, "UNSUPPORTED", "the operation is unsupported"),
        (None, true) => error(404, "BLOB_UNKNOWN", "blob unknown to registry"),
        (Some((digest, bytes)), true) => bytes_answer("application/octet-stream", bytes, digest),
    }
}

fn upload(state: &mut State, asked: &Asked<'_>, repository: &str, token: &str) -> Answer {
    if asked.method == Method::POST && token.is_empty() {
        state.counter += 1;
        let token = format!("u-{}", state.counter);
        state.uploads.insert(token.clone(), repository.to_owned());
        let path = format!("/v2/{repository}/blobs/uploads/{token}");
        return match &state.manners.upload {
            Upload::Relative => with(empty(202), header::LOCATION, &path),
            Upload::Absolute => with(empty(202), header::LOCATION, &format!("{}{path}?_state=a%3Db", asked.base)),
            Upload::Elsewhere(url) => with(empty(202), header::LOCATION, url),
            Upload::Missing => empty(202),
        };
    }
    if asked.method != Method::PUT {
        return error(405, "UNSUPPORTED", "the operation is unsupported");
    }
    // An upload that was begun at another registry ends here for whoever sends it.
    let known = state.uploads.remove(token).is_some() || token == "foreign";
    let digest = asked.parameter("digest").and_then(|d| d.parse::<Digest>().ok());
    match digest {
        _ if !known => error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry"),
        Some(digest) if Digest::of(&asked.body) == digest => {
            let repo = state.repositories.entry(repository.to_owned()).or_default();
            repo.blobs.insert(digest, asked.body.clone());
            with(empty(201), "docker-content-digest".parse().unwrap(), &digest.to_string())
        }
        _ => error(400, "DIGEST_INVALID", "provided digest did not match uploaded content"),
    }
}

fn tags(state: &State, asked: &Asked<'_>, repository: &str) -> Answer {
    let Some(repo) = state.repositories.get(repository) else {
        return error(404, "NAME_UNKNOWN", "repository name not known to registry");
    };
    let last = asked.parameter("last").unwrap_or_default();
    let mut names: Vec<&String> =
        repo.tags.keys().filter(|t| state.manners.page.is_none() || t.as_str() > last).collect();
    let mut link = state.manners.next_link.clone();
    if let Some(page) = state.manners.page
        && names.len() > page
    {
        names.truncate(page);
        link = link.or(Some(format!("</v2/{repository}/tags/list?n={page}&last={}>; rel=\"next\"", names[page - 1])));
    }
    let answer = json_answer(200, &json!({"name": repository, "tags": names}));
    match link {
        Some(link) => with(answer, header::LINK, &link),
        None => answer,
    }
}

fn referrers(state: &State, repository: &str, subject: &str) -> Answer {
    if !state.manners.referrers {
        return error(404, "NOT_FOUND", "404 page not found");
    }
    let mut found = Vec::new();
    for (digest, stored) in state.repositories.get(repository).into_iter().flat_map(|repo| &repo.manifests) {
        let manifest: serde_json::Value = serde_json::from_slice(&stored.bytes).unwrap_or_default();
        if manifest["subject"]["digest"] == subject {
            let kind = manifest["artifactType"].as_str().or(manifest["config"]["mediaType"].as_str());
            found.push(json!({"mediaType": stored.media_type, "digest": digest.to_string(),
                "size": stored.bytes.len(), "artifactType": kind}));
        }
    }
    json_answer(200, &json!({"schemaVersion": 2, "mediaType": super::OCI_INDEX, "manifests": found}))
}

fn spoil(answer: Answer, cheat: Cheat, turn: usize) -> Answer {
    let (mut head, body) = answer.into_parts();
    let whole = futures_util::FutureExt::now_or_never(to_bytes(body, usize::MAX)).unwrap().unwrap();
    head.headers.remove(header::CONTENT_LENGTH);
    let mut length = |bytes: u64| head.headers.insert(header::CONTENT_LENGTH, bytes.into());
    let first = || whole.slice(..whole.len().min(1));
    let chunks = |pause: Duration, chunk: Bytes| {
        Body::from_stream(stream::unfold((), move |()| {
            let chunk = chunk.clone();
            async move {
                tokio::time::sleep(pause).await;
                Some((Ok::<_, Infallible>(chunk), ()))
            }
        }))
    };
    let then_silence = |bytes: Bytes| {
        let begin = stream::once(async move { Ok::<_, Infallible>(bytes) });
        Body::from_stream(futures_util::StreamExt::chain(begin, stream::pending()))
    };
    let body = match cheat {
        Cheat::Endless => chunks(Duration::ZERO, Bytes::from(vec![b' '; 16 * 1024])),
        Cheat::Drip(pause) => chunks(pause, Bytes::from_static(b" ")),
        Cheat::Hang => then_silence(first()),
        Cheat::Claims(bytes) => {
            length(bytes);
            then_silence(first())
        }
        Cheat::Short(more) => {
            length(whole.len() as u64 + more);
            Body::from_stream(stream::iter([Ok(whole), Err(io::Error::other("cut"))]))
        }
        Cheat::DigestHeader(text) => {
            head.headers.insert("docker-content-digest", text.parse().unwrap());
            Body::from(whole)
        }
        Cheat::Encoding(text) => {
            head.headers.insert(header::CONTENT_ENCODING, text.parse().unwrap());
            Body::from(whole)
        }
        Cheat::Bytes(bytes) => Body::from(bytes),
        Cheat::Alternate(bodies) => {
            head.headers.remove("docker-content-digest");
            head.headers.remove(header::ETAG);
            Body::from(bodies[turn % bodies.len()].clone())
        }
        Cheat::NoLength => Body::from_stream(stream::iter([Ok::<_, Infallible>(whole)])),
    };
    Response::from_parts(head, body)
}

fn basic(user: &str, password: &str) -> String {
    let mut text = "Basic ".to_owned();
    write!(text, "{}", STANDARD.encode(format!("{user}:{password}"))).unwrap();
    text
}

fn empty(status: u16) -> Answer {
    Response::builder().status(StatusCode::from_u16(status).unwrap()).body(Body::empty()).unwrap()
}

fn json_answer(status: u16, value: &serde_json::Value) -> Answer {
    let mut answer = with(empty(status), header::CONTENT_TYPE, "application/json");
    *answer.body_mut() = Body::from(value.to_string());
    answer
}

fn error(status: u16, code: &str, message: &str) -> Answer {
    json_answer(status, &json!({"errors": [{"code": code, "message": message}]}))
}

fn bytes_answer(media_type: &str, bytes: Bytes, digest: Digest) -> Answer {
    let mut answer = with(empty(200), header::CONTENT_TYPE, media_type);
    answer.headers_mut().insert("docker-content-digest", digest.to_string().parse().unwrap());
    *answer.body_mut() = Body::from(bytes);
    answer
}

fn with(mut answer: Answer, name: header::HeaderName, value: &str) -> Answer {
    answer.headers_mut().insert(name, value.parse().unwrap());
    answer
}
