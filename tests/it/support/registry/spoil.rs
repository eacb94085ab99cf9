//! Good answers made bad.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::header;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;

use super::Cheat;

pub(super) fn spoil(answer: Response, cheat: Cheat, turn: usize) -> Response {
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
