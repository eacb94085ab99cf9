//! One request from the first byte to the answer's head: redirects, signing in, and nothing else.

use bytes::Bytes;
use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Body, Method, Response, StatusCode, Url};

use super::Repository;
use super::auth::Actions;
use super::body;
use super::failure::{Failure, Subject, safe};
use super::limits::Deadline;
use super::reach::{check_step, same_origin};
use crate::registry::Error;

/// A request that can be sent again.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) actions: Actions,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    pub(super) subject: Subject<'a>,
}

impl Repository {
    /// A request for something below `/v2/<name>/`.
    pub(super) fn ask<'a>(&self, method: Method, path: &[&str], actions: Actions, subject: Subject<'a>) -> Ask<'a> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .expect("an HTTP URL has a path")
            .push("v2")
            .extend(self.name.split('/'))
            .extend(path.iter().filter(|part| !part.is_empty()));
        if path.last() == Some(&"") {
            // Starting an upload is a POST to a path with a closing slash.
            url.path_segments_mut().expect("an HTTP URL has a path").push("");
        }
        Ask { method, url, actions, headers: HeaderMap::new(), body: None, subject }
    }

    /// Sends a request, signs in where the registry asks for it, and repeats it once.
    pub(super) async fn exchange(&self, ask: &Ask<'_>, deadline: &Deadline) -> Result<Response, Failure> {
        let tokens = &self.client.tokens;
        let held = tokens.held(&self.host, &self.name, ask.actions);
        let mut first = self.follow(ask, held.as_ref(), deadline).await?;
        if first.status() != StatusCode::UNAUTHORIZED || !same_origin(first.url(), &self.base) {
            return Ok(first);
        }
        if let Some(held) = &held {
            tokens.forget(held);
        }
        let headers = first.headers().clone();
        // A body that was read to its end leaves the connection free for the repetition.
        let limits = &self.client.options.limits;
        if first.content_length().is_some_and(|length| length <= limits.error_bytes) {
            body::read_some(&mut first, limits.error_bytes, deadline).await;
        }
        drop(first);
        let grant = self.sign_in(ask.subject, ask.actions, &headers, deadline).await?;
        let second = self.follow(ask, Some(&grant.header), deadline).await?;
        if second.status() != StatusCode::UNAUTHORIZED {
            return Ok(second);
        }
        tokens.forget(&grant.header);
        let mut failure = ask.subject.refused(second, deadline, limits).await;
        if let (true, Error::Denied { message, .. }) = (grant.anonymous, &mut failure.error) {
            *message = format!("{} ({message})", self.no_credentials());
        }
        Err(failure)
    }

    /// Sends a request and follows the redirects of a GET or HEAD; credentials stay with the registry.
    async fn follow(
        &self,
        ask: &Ask<'_>,
        authorization: Option<&HeaderValue>,
        deadline: &Deadline,
    ) -> Result<Response, Failure> {
        let mut url = ask.url.clone();
        for _ in 0..=self.client.options.limits.redirects {
            let authorization = authorization.filter(|_| same_origin(&url, &self.base));
            let response = self.send(ask, url.clone(), authorization, deadline).await?;
            if !is_redirect(response.status()) || !(ask.method == Method::GET || ask.method == Method::HEAD) {
                return Ok(response);
            }
            url = self.location_header(ask.subject, &response)?;
        }
        let redirects = self.client.options.limits.redirects;
        Err(ask.subject.broken(format!("it redirects more than {redirects} times")).into())
    }

    /// The `Location` of an answer, if the registry may send us there.
    pub(super) fn location_header(&self, subject: Subject<'_>, response: &Response) -> Result<Url, Error> {
        let text = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let Some(text) = text else {
            return Err(subject.broken(format!("its answer {} has no location", response.status().as_u16())));
        };
        let url = response.url().join(text).map_err(|_| subject.broken(format!("`{}` is no location", safe(text))))?;
        check_step(&self.base, response.url(), &url).map_err(|why| subject.broken(format!("it points to {why}")))?;
        Ok(url)
    }

    /// Sends a request once, to exactly that URL.
    pub(super) async fn send(
        &self,
        ask: &Ask<'_>,
        url: Url,
        authorization: Option<&HeaderValue>,
        deadline: &Deadline,
    ) -> Result<Response, Failure> {
        let body = ask.body.clone().map(Body::from);
        self.transmit(ask, url, body, authorization, deadline).await
    }

    /// Sends a request once with a body that may be a stream.
    pub(super) async fn transmit(
        &self,
        ask: &Ask<'_>,
        url: Url,
        body: Option<Body>,
        authorization: Option<&HeaderValue>,
        deadline: &Deadline,
    ) -> Result<Response, Failure> {
        let subject = ask.subject;
        let client = self.client.sender(&url, &self.base).map_err(|why| subject.tls(why))?;
        let mut request = client.request(ask.method.clone(), url.clone()).headers(ask.headers.clone());
        request = request.header(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let sent = deadline.patient().step(request.send()).await.map_err(|late| subject.no_answer(late))?;
        let response = sent.map_err(|error| subject.unsent(&error, &url, &self.client.options.limits))?;
        // The query may hold a signature or a continuation secret, so the trace goes without.
        tracing::debug!(
            method = %ask.method,
            host = url.host_str().unwrap_or_default(),
            path = url.path(),
            status = response.status().as_u16(),
            length = response.content_length(),
            "request"
        );
        Ok(response)
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}
