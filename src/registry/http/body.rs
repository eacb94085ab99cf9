//! Reading bodies: never more bytes than the cap, never longer than the deadline, never an encoding nobody asked for.

use bytes::Bytes;
use futures_util::StreamExt;
use reqwest::Response;
use reqwest::header::{CONTENT_ENCODING, HeaderMap};
use sha2::{Digest as _, Sha256};

use super::failure::{Again, Failure, Subject, safe};
use super::limits::{Deadline, shown_bytes};
use crate::image::Digest;
use crate::registry::{BlobStream, Error};

/// What the first allocation may be on a registry's word alone.
const MAX_TRUSTED_LENGTH: u64 = 64 * 1024;

/// Reads a whole body of at most `max` bytes.
pub(super) async fn read(
    subject: Subject<'_>,
    response: &mut Response,
    max: u64,
    deadline: &Deadline,
) -> Result<Vec<u8>, Failure> {
    check_encoding(subject, response.headers())?;
    let claimed = response.content_length();
    if claimed.is_some_and(|length| length > max) {
        return Err(subject.too_much(shown_bytes(max)).into());
    }
    let first = usize::try_from(claimed.unwrap_or(0).min(MAX_TRUSTED_LENGTH)).unwrap_or(0);
    let mut bytes = Vec::with_capacity(first);
    loop {
        let chunk = deadline.step(response.chunk()).await.map_err(|late| subject.late_body(late))?;
        match chunk.map_err(|_| broken_body(subject))? {
            Some(chunk) if bytes.len() as u64 + chunk.len() as u64 > max => {
                return Err(subject.too_much(shown_bytes(max)).into());
            }
            Some(chunk) => bytes.extend_from_slice(&chunk),
            None => return Ok(bytes),
        }
    }
}

/// Reads the beginning of an error's body; whatever goes wrong, what came so far is the answer.
pub(super) async fn read_some(response: &mut Response, max: u64, deadline: &Deadline) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Ok(Ok(Some(chunk))) = deadline.step(response.chunk()).await {
        let room = usize::try_from(max).unwrap_or(usize::MAX).saturating_sub(bytes.len());
        bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            break;
        }
    }
    bytes
}

/// A body as a stream that ends with an error unless exactly `length` bytes came and hash to `digest`.
pub(super) fn stream(
    location: String,
    response: Response,
    digest: Digest,
    length: u64,
    deadline: Deadline,
) -> Result<BlobStream, Error> {
    let what = digest.to_string();
    {
        let subject = Subject { location: &location, what: &what };
        check_encoding(subject, response.headers())?;
        check_length(subject, response.content_length(), length)?;
    }
    let state = Some(Streaming { location, what, response, digest, length, deadline, hash: Sha256::new(), seen: 0 });
    Ok(futures_util::stream::unfold(state, |state| async {
        let mut state = state?;
        match state.next().await {
            Ok(Some(chunk)) => Some((Ok(chunk), Some(state))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed())
}

struct Streaming {
    location: String,
    what: String,
    response: Response,
    digest: Digest,
    length: u64,
    deadline: Deadline,
    hash: Sha256,
    seen: u64,
}

impl Streaming {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let subject = Subject { location: &self.location, what: &self.what };
        let chunk = self.deadline.step(self.response.chunk()).await.map_err(|late| subject.late_body(late).error)?;
        if let Some(chunk) = chunk.map_err(|_| broken_body(subject).error)? {
            self.seen += chunk.len() as u64;
            if self.seen > self.length {
                return Err(subject.too_much(shown_bytes(self.length)));
            }
            self.hash.update(&chunk);
            return Ok(Some(chunk));
        }
        check_length(subject, Some(self.seen), self.length)?;
        let got = Digest::from_bytes(std::mem::take(&mut self.hash).finalize().into());
        if got == self.digest { Ok(None) } else { Err(subject.mismatch(self.digest, got)) }
    }
}

fn check_length(subject: Subject<'_>, got: Option<u64>, wanted: u64) -> Result<(), Error> {
    match got {
        Some(got) if got > wanted => Err(subject.too_much(shown_bytes(wanted))),
        Some(got) if got < wanted => {
            Err(subject.broken(format!("it sent {got} bytes of {}, which has {wanted}", subject.what)))
        }
        _ => Ok(()),
    }
}

/// Nothing is asked for in an encoding, and a digest is of the plain bytes. It also keeps out decompression bombs.
fn check_encoding(subject: Subject<'_>, headers: &HeaderMap) -> Result<(), Error> {
    let odd = |value: &&reqwest::header::HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"identity");
    match headers.get_all(CONTENT_ENCODING).iter().find(odd) {
        None => Ok(()),
        Some(value) => Err(subject.broken(format!(
            "it sent `{}` in the content encoding `{}`, which was not asked for",
            subject.what,
            safe(&String::from_utf8_lossy(value.as_bytes()))
        ))),
    }
}

fn broken_body(subject: Subject<'_>) -> Failure {
    let error = subject.unreachable(format!("the connection broke inside the answer for `{}`", subject.what));
    Failure { error, again: Again::Later(None) }
}
