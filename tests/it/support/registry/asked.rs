//! A request as the test registry sees it: its parts, and what it is for.

use axum::http::{HeaderMap, Method, header};
use bytes::Bytes;

use super::Target;

/// A request taken apart.
pub(super) struct Asked<'a> {
    pub(super) base: &'a str,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Asked<'_> {
    pub(super) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

pub(super) struct Route<'a> {
    pub(super) repository: String,
    pub(super) kind: Kind<'a>,
}

pub(super) enum Kind<'a> {
    Manifest(&'a str),
    Blob(&'a str),
    Upload(&'a str),
    Tags,
    Referrers(&'a str),
}

impl<'a> Route<'a> {
    pub(super) fn of(path: &'a str) -> Option<Self> {
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

    pub(super) fn target(&self) -> Option<Target> {
        match self.kind {
            Kind::Manifest(_) => Some(Target::Manifests),
            Kind::Blob(_) => Some(Target::Blobs),
            Kind::Tags => Some(Target::Tags),
            Kind::Referrers(_) => Some(Target::Referrers),
            Kind::Upload(_) => None,
        }
    }
}
