//! Answers of the test registry.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::Response;
use boltseal::image::Digest;
use bytes::Bytes;
use serde_json::json;

pub(super) fn empty(status: u16) -> Response {
    Response::builder().status(StatusCode::from_u16(status).unwrap()).body(Body::empty()).unwrap()
}

pub(super) fn json_answer(status: u16, value: &serde_json::Value) -> Response {
    let mut answer = with(empty(status), header::CONTENT_TYPE, "application/json");
    *answer.body_mut() = Body::from(value.to_string());
    answer
}

pub(super) fn error(status: u16, code: &str, message: &str) -> Response {
    json_answer(status, &json!({"errors": [{"code": code, "message": message}]}))
}

pub(super) fn bytes_answer(media_type: &str, bytes: Bytes, digest: Digest) -> Response {
    let mut answer = with(empty(200), header::CONTENT_TYPE, media_type);
    answer.headers_mut().insert("docker-content-digest", digest.to_string().parse().unwrap());
    *answer.body_mut() = Body::from(bytes);
    answer
}

pub(super) fn with(mut answer: Response, name: header::HeaderName, value: &str) -> Response {
    answer.headers_mut().insert(name, value.parse().unwrap());
    answer
}
