//! Manifests: fetching by tag or digest, conditionally or not; storing, deleting.

use std::str::FromStr as _;

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use reqwest::{Method, Response, StatusCode};

use super::Repository;
use super::auth::Actions;
use super::body;
use super::failure::{Failure, Subject, safe};
use super::limits::Deadline;
use super::retry::{Pace, Retry};
use crate::image::Digest;
use crate::registry::{Conditional, Error, Manifest, ManifestHead, Point};

/// The manifest types that this client understands. Schema 1 is not among them.
const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, \
     application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.list.v2+json";
/// The registry's claim of what it holds.
const CONTENT_DIGEST: &str = "docker-content-digest";
/// Longest entity tag that is kept. Stops memory filled with headers.
const MAX_ETAG: usize = 1024;

impl Repository {
    pub(super) async fn fetch_manifest(
        &self,
        point: &Point,
        known: Option<&str>,
        max: u64,
    ) -> Result<Conditional, Error> {
        let what = point.to_string();
        let location = self.place();
        let subject = Subject { location: &location, what: &what };
        let mut ask = self.ask(Method::GET, &["manifests", &what], Actions::Pull, subject);
        ask.headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
        // An entity tag that cannot be sent is one that no registry gave: asking without it is safe.
        let known = known.and_then(|etag| HeaderValue::from_str(etag).ok());
        if let Some(etag) = &known {
            ask.headers.insert(IF_NONE_MATCH, etag.clone());
        }
        let limits = &self.client.options.limits;
        let deadline = limits.deadline();
        let pace = if matches!(point, Point::Tag(_)) { Pace::Unsettled } else { Pace::Steady };
        let mut retry = Retry::new(limits, pace, deadline);
        loop {
            let attempt = async {
                let response = self.exchange(&ask, &deadline).await?;
                match response.status() {
                    StatusCode::OK => read_manifest(subject, response, point, max, &deadline).await,
                    StatusCode::NOT_MODIFIED if known.is_some() => Ok(Conditional::NotModified),
                    _ => Err(subject.refused(response, &deadline, limits).await),
                }
            };
            match attempt.await {
                Ok(answer) => return Ok(answer),
                Err(failure) => retry.pause(failure).await?,
            }
        }
    }

    pub(super) async fn head_manifest(&self, point: &Point) -> Result<ManifestHead, Error> {
        let what = point.to_string();
        let location = self.place();
        let subject = Subject { location: &location, what: &what };
        let mut ask = self.ask(Method::HEAD, &["manifests", &what], Actions::Pull, subject);
        ask.headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
        let limits = &self.client.options.limits;
        let deadline = limits.deadline();
        let pace = if matches!(point, Point::Tag(_)) { Pace::Unsettled } else { Pace::Steady };
        let mut retry = Retry::new(limits, pace, deadline);
        loop {
            let attempt = async {
                let response = self.exchange(&ask, &deadline).await?;
                if response.status() != StatusCode::OK {
                    return Err(subject.refused(response, &deadline, limits).await);
                }
                let headers = response.headers();
                let length = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
                Ok(ManifestHead { digest: claimed(subject, headers)?, media_type: media_type(headers), length })
            };
            match attempt.await {
                Ok(head) => return Ok(head),
                Err(failure) => retry.pause(failure).await?,
            }
        }
    }

    pub(super) async fn store_manifest(
        &self,
        point: &Point,
        media_type: &str,
        bytes: Bytes,
        if_match: Option<&str>,
    ) -> Result<Digest, Error> {
        let digest = Digest::of(&bytes);
        let what = point.to_string();
        let location = self.place();
        let subject = Subject { location: &location, what: &what };
        if let Point::Digest(wanted) = point
            && *wanted != digest
        {
            return Err(subject.mismatch(*wanted, digest));
        }
        let unfit = |what: &str| subject.broken(format!("`{}` cannot be sent to it as {what}", safe(what)));
        let limits = &self.client.options.limits;
        let deadline = limits.transfer_deadline(bytes.len() as u64);
        let mut ask = self.ask(Method::PUT, &["manifests", &what], Actions::Push, subject);
        ask.headers.insert(CONTENT_TYPE, HeaderValue::from_str(media_type).map_err(|_| unfit("a media type"))?);
        if let Some(etag) = if_match {
            ask.headers.insert(IF_MATCH, HeaderValue::from_str(etag).map_err(|_| unfit("an entity tag"))?);
        }
        ask.body = Some(bytes);
        let mut retry = Retry::new(limits, Pace::Steady, deadline);
        loop {
            let attempt = async {
                let response = self.exchange(&ask, &deadline).await?;
                if !response.status().is_success() {
                    return Err(subject.refused(response, &deadline, limits).await);
                }
                check_claim(subject, response.headers(), digest)?;
                Ok(digest)
            };
            match attempt.await {
                Ok(digest) => return Ok(digest),
                // It may have been carried out, and somebody may have built on it since: who replaces something knows
                // by looking, and a repetition would set it back.
                Err(failure) if if_match.is_some() && !matches!(failure.error, Error::Busy { .. }) => {
                    return Err(failure.error);
                }
                Err(failure) => retry.pause(failure).await?,
            }
        }
    }

    pub(super) async fn remove_manifest(&self, digest: &Digest) -> Result<(), Error> {
        let what = digest.to_string();
        let location = self.place();
        let subject = Subject { location: &location, what: &what };
        let ask = self.ask(Method::DELETE, &["manifests", &what], Actions::Delete, subject);
        let limits = &self.client.options.limits;
        let deadline = limits.deadline();
        let mut retry = Retry::new(limits, Pace::Steady, deadline);
        loop {
            let attempt = async {
                let response = self.exchange(&ask, &deadline).await?;
                if response.status().is_success() {
                    return Ok(());
                }
                let mut failure = subject.refused(response, &deadline, limits).await;
                if let Error::Unsupported { what: operation, .. } = &mut failure.error {
                    *operation = format!("deleting `{what}`");
                }
                Err(failure)
            };
            match attempt.await {
                Ok(()) => return Ok(()),
                Err(failure) => retry.pause(failure).await?,
            }
        }
    }
}

async fn read_manifest(
    subject: Subject<'_>,
    mut response: Response,
    point: &Point,
    max: u64,
    deadline: &Deadline,
) -> Result<Conditional, Failure> {
    let bytes = body::read(subject, &mut response, max, deadline).await?;
    let digest = Digest::of(&bytes);
    if let Point::Digest(wanted) = point
        && *wanted != digest
    {
        return Err(subject.mismatch(*wanted, digest).into());
    }
    let headers = response.headers();
    check_claim(subject, headers, digest)?;
    let etag = headers.get(ETAG).and_then(|v| v.to_str().ok()).filter(|etag| etag.len() <= MAX_ETAG);
    Ok(Conditional::Modified(Manifest {
        bytes: bytes.into(),
        media_type: media_type(headers).unwrap_or_default(),
        digest,
        etag: etag.map(str::to_owned),
    }))
}

/// A claim that contradicts the bytes is not passed over: somebody on the way disagrees with somebody else.
pub(super) fn check_claim(subject: Subject<'_>, headers: &HeaderMap, digest: Digest) -> Result<(), Error> {
    match claimed(subject, headers)? {
        Some(claim) if claim != digest => Err(subject.mismatch(claim, digest)),
        _ => Ok(()),
    }
}

/// The digest in `Docker-Content-Digest`; claims by another algorithm are not judged.
fn claimed(subject: Subject<'_>, headers: &HeaderMap) -> Result<Option<Digest>, Error> {
    let Some(value) = headers.get(CONTENT_DIGEST) else { return Ok(None) };
    let text = String::from_utf8_lossy(value.as_bytes());
    match Digest::from_str(&text) {
        Ok(digest) => Ok(Some(digest)),
        Err(_) if text.starts_with("sha512:") || text.starts_with("sha384:") => Ok(None),
        Err(_) => Err(subject.broken(format!("it calls `{}` a digest", safe(&text)))),
    }
}

fn media_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let bare = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    (!bare.is_empty()).then_some(bare)
}
