//! What the test registry stores and lists.

use axum::http::{Method, header};
use axum::response::Response;
use boltseal::image::{Digest, Tag};
use serde_json::json;

use super::answers::{bytes_answer, empty, error, json_answer, with};
use super::asked::Asked;
use super::state::{State, StoredManifest};
use super::{OCI_INDEX, Upload};

pub(super) fn manifest(state: &mut State, asked: &Asked<'_>, repository: &str, point: &str) -> Response {
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

pub(super) fn blob(state: &State, asked: &Asked<'_>, repository: &str, digest: &str) -> Response {
    let digest = digest.parse::<Digest>().ok();
    let found = digest.and_then(|d| Some((d, state.repositories.get(repository)?.blobs.get(&d)?.clone())));
    match (found, asked.method == Method::GET || asked.method == Method::HEAD) {
        (_, false) => error(405, "UNSUPPORTED", "the operation is unsupported"),
        (None, true) => error(404, "BLOB_UNKNOWN", "blob unknown to registry"),
        (Some((digest, bytes)), true) => bytes_answer("application/octet-stream", bytes, digest),
    }
}

pub(super) fn upload(state: &mut State, asked: &Asked<'_>, repository: &str, token: &str) -> Response {
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

pub(super) fn tags(state: &State, asked: &Asked<'_>, repository: &str) -> Response {
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

pub(super) fn referrers(state: &State, repository: &str, subject: &str) -> Response {
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
    json_answer(200, &json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found}))
}
