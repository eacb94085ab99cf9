//! From what went wrong on the wire to the port's [`Error`], and whether to try again.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use reqwest::{Response, StatusCode, Url};

use super::body;
use super::limits::{Deadline, Late, Limits, shown_time};
use super::retry;
use crate::image::Digest;
use crate::registry::Error;

/// Longest piece of a registry's own words in a message.
const MAX_WORDS: usize = 300;

/// What a request is about, for messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    /// `host/repository`.
    pub(super) location: &'a str,
    /// The tag, digest or thing asked for.
    pub(super) what: &'a str,
}

/// One failed attempt.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    pub(super) again: Again,
}

/// Whether another attempt makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// The answer will not change.
    Never,
    /// One quick repetition, for a server that is just starting.
    Once,
    /// The server failed (5xx); it may have said when to come back.
    Failing(Option<Duration>),
    /// Busy, or the connection broke; it may have said when to come back.
    Later(Option<Duration>),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, again: Again::Never }
    }
}

impl Subject<'_> {
    pub(super) fn broken(&self, message: impl Into<String>) -> Error {
        Error::Broken { location: self.location.to_owned(), message: message.into() }
    }

    pub(super) fn unreachable(&self, message: impl Into<String>) -> Error {
        Error::Unreachable { location: self.location.to_owned(), message: message.into() }
    }

    pub(super) fn tls(&self, message: impl Into<String>) -> Error {
        Error::Tls { location: self.location.to_owned(), message: message.into() }
    }

    pub(super) fn denied(&self, message: impl Into<String>) -> Error {
        Error::Denied { what: self.what.to_owned(), location: self.location.to_owned(), message: message.into() }
    }

    pub(super) fn too_much(&self, limit: impl Into<String>) -> Error {
        Error::TooMuch { what: self.what.to_owned(), location: self.location.to_owned(), limit: limit.into() }
    }

    pub(super) fn mismatch(&self, wanted: Digest, got: Digest) -> Error {
        Error::Mismatch { location: self.location.to_owned(), wanted, got }
    }

    pub(super) fn unsupported(&self, what: impl Into<String>, message: impl Into<String>) -> Error {
        Error::Unsupported { what: what.into(), location: self.location.to_owned(), message: message.into() }
    }

    /// An answer that did not begin in time.
    pub(super) fn no_answer(&self, late: Late) -> Failure {
        let (Late::Idle(time) | Late::Total(time)) = late;
        self.unreachable(format!("no answer within {}", shown_time(time))).into()
    }

    /// A body that did not end in time.
    pub(super) fn late_body(&self, late: Late) -> Failure {
        match late {
            Late::Idle(time) => self.unreachable(format!("it fell silent for {}", shown_time(time))).into(),
            Late::Total(time) => self.too_much(shown_time(time)).into(),
        }
    }

    /// A request that got no answer.
    pub(super) fn unsent(&self, error: &reqwest::Error, url: &Url, limits: &Limits) -> Failure {
        let secure = url.scheme() == "https";
        if let Some(own) = find::<Error>(error) {
            // The stream that was being sent failed, not the registry.
            return own.clone().into();
        }
        if let Some(tls) = find::<rustls::Error>(error) {
            return self.tls(tls_words(tls)).into();
        }
        let io = find::<io::Error>(error).map(io::Error::kind);
        if secure && error.is_connect() && io == Some(io::ErrorKind::UnexpectedEof) {
            return self
                .tls("the other side ended the TLS handshake: is it a plain HTTP port (`--plain-http`)?")
                .into();
        }
        if find::<hyper::Error>(error).is_some_and(hyper::Error::is_parse) {
            return if secure { self.broken("its answer is not HTTP").into() } else { self.tls(SPEAKS_TLS).into() };
        }
        let words = safe(&root_cause(error));
        if error.is_connect() {
            let (message, again) = if io == Some(io::ErrorKind::ConnectionRefused) {
                (format!("{} refuses the connection", authority(url)), Again::Once)
            } else if error.is_timeout() {
                (format!("no connection to {} within {}", authority(url), shown_time(limits.connect)), Again::Never)
            } else {
                (format!("no connection to {}: {words}", authority(url)), Again::Never)
            };
            return Failure { error: self.unreachable(message), again };
        }
        Failure { error: self.unreachable(format!("the connection broke: {words}")), again: Again::Later(None) }
    }

    /// An answer whose status is not one that was hoped for. Reads its error body, capped.
    pub(super) async fn refused(&self, mut response: Response, deadline: &Deadline, limits: &Limits) -> Failure {
        let status = response.status();
        let wait = retry::retry_after(response.headers());
        let plain = response.url().scheme() == "http";
        let old = response.version() == reqwest::Version::HTTP_10;
        let text = body::read_some(&mut response, limits.error_bytes, deadline).await;
        let words = registry_words(&text);
        let message = if words.is_empty() { format!("HTTP {}", status.as_u16()) } else { words };
        let what = self.what.to_owned();
        let location = self.location.to_owned();
        match status {
            StatusCode::NOT_FOUND => Error::NotFound { what, location }.into(),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.denied(message).into(),
            StatusCode::METHOD_NOT_ALLOWED => self.unsupported(format!("this for `{what}`"), message).into(),
            // Registries agree on the word, not on the status: 400 (ECR), 409, 412 (Harbor).
            s if s.is_client_error() && message.to_ascii_lowercase().contains("immutable") => {
                self.unsupported(format!("moving `{what}`"), message).into()
            }
            StatusCode::PRECONDITION_FAILED => Error::Conflict { what, location }.into(),
            StatusCode::TOO_MANY_REQUESTS => {
                Failure { error: Error::Busy { what, location, retry_after: wait }, again: Again::Later(wait) }
            }
            StatusCode::REQUEST_TIMEOUT => {
                Failure { error: self.broken("it gave up waiting for the request"), again: Again::Later(wait) }
            }
            // nginx and Go say it in words; Go's answer to a HEAD, without a body, is known by its HTTP/1.0.
            StatusCode::BAD_REQUEST
                if plain && (old || String::from_utf8_lossy(&text).to_ascii_lowercase().contains("https")) =>
            {
                self.tls(SPEAKS_TLS).into()
            }
            s if is_code(&text, "UNSUPPORTED") => {
                self.unsupported(format!("this for `{what}`"), format!("HTTP {}: {message}", s.as_u16())).into()
            }
            s if s.is_server_error() => Failure {
                error: self.broken(format!("it answered {} for `{what}`: {message}", s.as_u16())),
                again: if s == StatusCode::NOT_IMPLEMENTED { Again::Never } else { Again::Failing(wait) },
            },
            s => self.broken(format!("it answered {} for `{what}`: {message}", s.as_u16())).into(),
        }
    }
}

/// What plain HTTP to a TLS port comes to.
const SPEAKS_TLS: &str = "it speaks TLS, and plain HTTP was tried: use `--tls`, or name its CA with `--ca FILE`";

fn tls_words(error: &rustls::Error) -> String {
    use rustls::{CertificateError as Bad, Error as Tls};
    match error {
        Tls::InvalidMessage(_) => "it does not speak TLS: is it a plain HTTP port (`--plain-http`)?".to_owned(),
        Tls::InvalidCertificate(Bad::UnknownIssuer) => {
            "its certificate comes from an issuer unknown here: name the CA with `--ca FILE` or in a `certs.d` folder"
                .to_owned()
        }
        Tls::InvalidCertificate(Bad::NotValidForName | Bad::NotValidForNameContext { .. }) => {
            format!("its certificate is for another name: {}", safe(&error.to_string()))
        }
        Tls::InvalidCertificate(Bad::Expired | Bad::ExpiredContext { .. }) => "its certificate has expired".to_owned(),
        other => safe(&other.to_string()),
    }
}

/// Host and port of a URL, for messages: never its path, query or user.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or("?");
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Text from outside as a message shows it: cut, and without control or direction-changing characters.
pub(super) fn safe(text: &str) -> String {
    let mut out: String = text.trim().chars().take(MAX_WORDS).flat_map(char::escape_debug).collect();
    if text.trim().chars().nth(MAX_WORDS).is_some() {
        out.push_str("...");
    }
    // `escape_debug` also escapes quotes, which are harmless here.
    out.replace("\\\"", "\"").replace("\\'", "'")
}

/// The `code: message` pairs of a registry's error answer; empty where it is not one.
fn registry_words(text: &[u8]) -> String {
    let words: Vec<String> = errors(text).into_iter().take(3).map(|e| format!("{}: {}", e.code, e.message)).collect();
    safe(&words.join("; "))
}

fn is_code(text: &[u8], code: &str) -> bool {
    errors(text).iter().any(|e| e.code == code)
}

#[derive(serde::Deserialize)]
struct Wrong {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

fn errors(text: &[u8]) -> Vec<Wrong> {
    #[derive(serde::Deserialize)]
    struct Answer {
        errors: Vec<Wrong>,
    }
    serde_json::from_slice::<Answer>(text).map(|a| a.errors).unwrap_or_default()
}

/// Finds an error of type `T` in the chain, also inside `io::Error`, whose `source` skips its own content.
fn find<'e, T: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn StdError = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    // The outermost error would print its URL, whose query may hold a signature.
    if cause.is::<reqwest::Error>() { "no further words".to_owned() } else { cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registrys_words_are_cut_and_made_safe() {
        let text = format!(r#"{{"errors":[{{"code":"DENIED","message":"\u001b[31mno\u202e {}"}}]}}"#, "x".repeat(999));
        let words = registry_words(text.as_bytes());
        assert!(words.starts_with("DENIED: \\u{1b}[31mno\\u{202e} xxx"), "{words}");
        assert!(words.len() < 400 && words.ends_with("..."));
        assert_eq!(registry_words(b"<html>"), "");
    }
}
