//! Signing in: what a registry's 401 asks for, and the memory of what it accepted.
//!
//! - Nothing is asked beforehand: the request itself goes first, without credentials or with those that worked before.
//! - Tokens live in this process only.
//! - A token realm is bound by the rules of redirects; plain HTTP only where the registry itself is plain HTTP and the
//!   realm is on this machine or on the registry's own host.

use std::collections::HashMap;
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::Repository;
use super::body;
use super::challenge::{self, Challenge};
use super::credentials::Credential;
use super::failure::{Failure, Subject, authority, safe};
use super::limits::Deadline;
use super::reach::{check_step, is_loopback};
use super::request::Ask;

/// What a token endpoint calls this program.
const CLIENT_ID: &str = "boltseal";
/// How long a token lives whose endpoint does not say (docker's token specification).
const DEFAULT_LIFE: Duration = Duration::from_secs(60);
/// Longest time for which a token is kept, whatever its endpoint says.
const MAX_LIFE: Duration = Duration::from_secs(3600);

/// What a request needs leave for; each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Actions {
    Pull,
    Push,
    Delete,
}

impl fmt::Display for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
            Self::Delete => "pull,push,delete",
        })
    }
}

/// The `Authorization` headers that worked, by host, repository and actions.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<HashMap<(String, String, Actions), Held>>);

#[derive(Debug)]
struct Held {
    header: HeaderValue,
    until: Option<Instant>,
}

/// How to repeat a request that was answered with 401.
pub(super) struct Grant {
    pub(super) header: HeaderValue,
    /// Whether credentials stand behind it, or nothing more than an anonymous token.
    pub(super) anonymous: bool,
}

impl Tokens {
    /// A header that covers the actions and is still good.
    pub(super) fn held(&self, host: &str, repository: &str, actions: Actions) -> Option<HeaderValue> {
        let held = self.0.lock().expect("no holder of this lock panics");
        [Actions::Pull, Actions::Push, Actions::Delete].into_iter().filter(|&a| a >= actions).find_map(|actions| {
            let entry = held.get(&(host.to_owned(), repository.to_owned(), actions))?;
            entry.until.is_none_or(|until| Instant::now() < until).then(|| entry.header.clone())
        })
    }

    fn keep(&self, repository: &Repository, actions: Actions, header: HeaderValue, until: Option<Instant>) {
        let key = (repository.host.clone(), repository.name.clone(), actions);
        self.0.lock().expect("no holder of this lock panics").insert(key, Held { header, until });
    }

    /// Forgets a header that was refused.
    pub(super) fn forget(&self, header: &HeaderValue) {
        self.0.lock().expect("no holder of this lock panics").retain(|_, held| held.header != header);
    }
}

impl Repository {
    /// Answers a 401: finds credentials, and a token where the registry wants one.
    pub(super) async fn sign_in(
        &self,
        subject: Subject<'_>,
        actions: Actions,
        headers: &HeaderMap,
        deadline: &Deadline,
    ) -> Result<Grant, Failure> {
        let Some(challenge) = challenge::choose(headers) else {
            return Err(subject.denied("it asks for credentials in no way known here (Basic, Bearer)").into());
        };
        let options = &self.client.options;
        let found = deadline
            .patient()
            .step(options.credentials.find(&self.host, &self.name, &options.limits))
            .await
            .map_err(|late| subject.no_answer(late))?
            .map_err(|why| subject.denied(why))?;
        match challenge {
            Challenge::Basic => {
                let Some(Credential::Password { user, password }) = &found else {
                    return Err(subject.denied(self.no_credentials()).into());
                };
                let header = basic(user, password);
                // A password opens whatever it opens: it is kept for every action.
                self.client.tokens.keep(self, Actions::Delete, header.clone(), None);
                Ok(Grant { header, anonymous: false })
            }
            Challenge::Bearer { realm, service } => {
                let (header, life) =
                    self.token(subject, actions, &realm, service.as_deref(), found.as_ref(), deadline).await?;
                self.client.tokens.keep(self, actions, header.clone(), Some(Instant::now() + life));
                Ok(Grant { header, anonymous: found.is_none() })
            }
        }
    }

    /// What to say where credentials are wanted and none were found.
    pub(super) fn no_credentials(&self) -> String {
        format!("it asks for credentials, and none for `{}` were found: use `docker login {0}`", self.host)
    }

    async fn token(
        &self,
        subject: Subject<'_>,
        actions: Actions,
        realm: &str,
        service: Option<&str>,
        credential: Option<&Credential>,
        deadline: &Deadline,
    ) -> Result<(HeaderValue, Duration), Failure> {
        let url = self.realm(realm).map_err(|why| subject.broken(why))?;
        let scope = format!("repository:{}:{actions}", self.name);
        let mut pairs = vec![("scope", scope.as_str())];
        pairs.extend(service.map(|service| ("service", service)));
        let mut ask = Ask { method: Method::GET, url, actions, headers: HeaderMap::new(), body: None, subject };
        if let Some(Credential::IdentityToken(refresh)) = credential {
            pairs.extend([("grant_type", "refresh_token"), ("refresh_token", refresh), ("client_id", CLIENT_ID)]);
            let form = Url::parse_with_params("http://form/", &pairs).expect("a constant URL");
            ask.method = Method::POST;
            ask.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
            ask.body = Some(form.query().unwrap_or_default().to_owned().into());
        } else {
            if let Some(Credential::Password { user, password }) = credential {
                pairs.push(("account", user));
                ask.headers.insert(AUTHORIZATION, basic(user, password));
            }
            ask.url.query_pairs_mut().extend_pairs(&pairs);
        }
        let limits = &self.client.options.limits;
        let mut response = self.send(&ask, ask.url.clone(), None, deadline).await?;
        let status = response.status();
        if !status.is_success() {
            let mut failure = subject.refused(response, deadline, limits).await;
            // A 404 of the token endpoint says nothing about the image.
            let ours =
                matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS);
            if !ours {
                failure.error = subject.broken(format!(
                    "its token endpoint at {} answered {}",
                    authority(&ask.url),
                    status.as_u16()
                ));
            }
            return Err(failure);
        }
        let text = Zeroizing::new(body::read(subject, &mut response, limits.token_bytes, deadline).await?);
        let malformed = || subject.broken(format!("its token endpoint at {} sent no token", authority(&ask.url)));
        let answer: TokenAnswer = serde_json::from_slice(&text).map_err(|_| malformed())?;
        let token = if answer.token.is_empty() { &answer.access_token } else { &answer.token };
        if token.is_empty() {
            return Err(malformed().into());
        }
        let text = Zeroizing::new(format!("Bearer {}", token.as_str()));
        let mut header = HeaderValue::from_str(&text).map_err(|_| malformed())?;
        header.set_sensitive(true);
        let life = answer.expires_in.map_or(DEFAULT_LIFE, Duration::from_secs).min(MAX_LIFE);
        // The rest is for the way there and for clocks that run apart.
        Ok((header, life.mul_f64(0.8)))
    }

    /// The URL of a token endpoint, if the registry may name it.
    fn realm(&self, realm: &str) -> Result<Url, String> {
        let url =
            Url::parse(realm).map_err(|_| format!("it names a token endpoint that is no URL: `{}`", safe(realm)))?;
        check_step(&self.base, &self.base, &url).map_err(|why| format!("its token endpoint points to {why}"))?;
        let plain = url.scheme() == "http";
        if plain && !is_loopback(&url) && url.host_str() != self.base.host_str() {
            return Err(format!("its token endpoint {} would get credentials by plain HTTP", authority(&url)));
        }
        Ok(url)
    }
}

#[derive(serde::Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: Zeroizing<String>,
    #[serde(default)]
    access_token: Zeroizing<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

fn basic(user: &str, password: &str) -> HeaderValue {
    let pair = Zeroizing::new(format!("{user}:{password}"));
    let text = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
    let mut header = HeaderValue::from_str(&text).expect("base64 is a valid header value");
    header.set_sensitive(true);
    header
}
