//! Blobs: fetching whole or as a stream, and storing in one piece.

use bytes::Bytes;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use reqwest::{Body, Method, StatusCode, Url};

use super::Repository;
use super::auth::Actions;
use super::body;
use super::failure::{Failure, Subject};
use super::limits::Deadline;
use super::manifests::check_claim;
use super::reach::same_origin;
use super::request::Ask;
use super::retry::{Pace, Retry};
use crate::image::Digest;
use crate::registry::{BlobStream, Error};

impl Repository {
    pub(super) async fn fetch_blob(&self, digest: &Digest, max: u64) -> Result<Bytes, Error> {
        let what = digest.to_string();
        let location = self.place();
        let subject = Subject { location: &location, what: &what };
        let ask = self.ask(Method::GET, &["blobs", &what], Actions::Pull, subject);
        let limits = &self.client.options.limits;
        let deadline = limits.transfer_deadline(max);
        let mut retry = Retry::new(limits, Pace::Steady, deadline);
        loop {
            let attempt = async {
                let mut response = self.exchange(&ask, &deadline).await?;
                if response.status() != StatusCode::OK {
                    return Err(subject.refused(response, &deadline, limits).await);
                }
                let bytes = body::read(subject, &mut response, max, &deadline).await?;
                let got = Digest::of(&bytes);
                if got != *digest {
                    return Err(subject.mismatch(*digest, got).into());
                }
                Ok(bytes.into())
            };
            match attempt.await {
                Ok(bytes) => return Ok(bytes),
                Err(failure) => retry.pause(failure).await?,
            }
        }
    }

    pub(super) async fn stream_blob(&self, digest: &Digest, length: u64) -> Result<BlobStream, Error> {
        let what = digest.to_string();
        let location = self.place();
        let subject = Subject { location: &location, what: &what };
        let ask = self.ask(Method::GET, &["blobs", &what], Actions::Pull, subject);
        let limits = &self.client.options.limits;
        let mut retry = Retry::new(limits, Pace::Steady, limits.deadline());
        loop {
            let deadline = limits.transfer_deadline(length);
            let attempt = async {
                let response = self.exchange(&ask, &limits.deadline()).await?;
                if response.status() != StatusCode::OK {
                    return Err(subject.refused(response, &deadline, limits).await);
                }
                Ok(body::stream(location.clone(), response, *digest, length, deadline)?)
            };
            match attempt.await {
                Ok(stream) => return Ok(stream),
                Err(failure) => retry.pause(failure).await?,
            }
        }
    }

    pub(super) async fn holds_blob(&self, digest: &Digest, actions: Actions) -> Result<bool, Error> {
        let what = digest.to_string();
        let location = self.place();
        let subject = Subject { location: &location, what: &what };
        let ask = self.ask(Method::HEAD, &["blobs", &what], actions, subject);
        let limits = &self.client.options.limits;
        let deadline = limits.deadline();
        let mut retry = Retry::new(limits, Pace::Steady, deadline);
        loop {
            let attempt = async {
                let response = self.exchange(&ask, &deadline).await?;
                match response.status() {
                    StatusCode::OK => Ok(true),
                    StatusCode::NOT_FOUND => Ok(false),
                    _ => Err(subject.refused(response, &deadline, limits).await),
                }
            };
            match attempt.await {
                Ok(there) => return Ok(there),
                Err(failure) => retry.pause(failure).await?,
            }
        }
    }

    pub(super) async fn store_blob(&self, bytes: Bytes) -> Result<Digest, Error> {
        let digest = Digest::of(&bytes);
        if self.holds_blob(&digest, Actions::Push).await? {
            return Ok(digest);
        }
        let what = digest.to_string();
        let location = self.place();
        let subject = Subject { location: &location, what: &what };
        let length = bytes.len() as u64;
        let limits = &self.client.options.limits;
        let deadline = limits.transfer_deadline(length);
        let mut retry = Retry::new(limits, Pace::Steady, deadline);
        loop {
            let attempt = async {
                let url = self.start_upload(subject, &deadline).await?;
                let mut ask = self.finish_ask(subject, url, &digest, length);
                ask.body = Some(bytes.clone());
                let response = if same_origin(&ask.url, &self.base) {
                    self.exchange(&ask, &deadline).await?
                } else {
                    self.send(&ask, ask.url.clone(), None, &deadline).await?
                };
                self.check_stored(subject, response, digest, &deadline).await
            };
            match attempt.await {
                Ok(()) => return Ok(digest),
                Err(failure) => retry.pause(failure).await?,
            }
        }
    }

    pub(super) async fn store_blob_stream(&self, digest: &Digest, length: u64, bytes: BlobStream) -> Result<(), Error> {
        if self.holds_blob(digest, Actions::Push).await? {
            return Ok(());
        }
        let what = digest.to_string();
        let location = self.place();
        let subject = Subject { location: &location, what: &what };
        let limits = &self.client.options.limits;
        let deadline = limits.deadline();
        let mut retry = Retry::new(limits, Pace::Steady, deadline);
        let url = loop {
            match self.start_upload(subject, &deadline).await {
                Ok(url) => break url,
                Err(failure) => retry.pause(failure).await?,
            }
        };
        // The stream can be read once only, so from here on there is neither a repetition nor a sign-in.
        let ask = self.finish_ask(subject, url, digest, length);
        let held = self.client.tokens.held(&self.host, &self.name, Actions::Push);
        let held = held.filter(|_| same_origin(&ask.url, &self.base));
        let deadline = limits.transfer_deadline(length);
        let body = Some(Body::wrap_stream(bytes));
        let response =
            self.transmit(&ask, ask.url.clone(), body, held.as_ref(), &deadline).await.map_err(|f| f.error)?;
        self.check_stored(subject, response, *digest, &deadline).await.map_err(|f| f.error)
    }

    /// Opens an upload and tells where its bytes go.
    async fn start_upload(&self, subject: Subject<'_>, deadline: &Deadline) -> Result<Url, Failure> {
        let mut ask = self.ask(Method::POST, &["blobs", "uploads", ""], Actions::Push, subject);
        ask.body = Some(Bytes::new());
        let response = self.exchange(&ask, deadline).await?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(subject.refused(response, deadline, &self.client.options.limits).await);
        }
        Ok(self.location_header(subject, &response)?)
    }

    fn finish_ask<'a>(&self, subject: Subject<'a>, mut url: Url, digest: &Digest, length: u64) -> Ask<'a> {
        url.query_pairs_mut().append_pair("digest", &digest.to_string());
        let mut ask = self.ask(Method::PUT, &[], Actions::Push, subject);
        ask.url = url;
        ask.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        ask.headers.insert(CONTENT_LENGTH, length.into());
        ask
    }

    async fn check_stored(
        &self,
        subject: Subject<'_>,
        response: reqwest::Response,
        digest: Digest,
        deadline: &Deadline,
    ) -> Result<(), Failure> {
        if !response.status().is_success() {
            return Err(subject.refused(response, deadline, &self.client.options.limits).await);
        }
        Ok(check_claim(subject, response.headers(), digest)?)
    }
}
