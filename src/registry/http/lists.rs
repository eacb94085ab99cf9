//! Lists in pages: tags, and manifests that refer to another.
//!
//! A registry may ignore the page size (distribution 2.8.2 does), point back at a page that was there already, or send
//! empty pages for ever: pages, entries, bytes and time are bounded over the whole list.

use std::collections::HashSet;

use reqwest::header::{HeaderMap, LINK};
use reqwest::{Method, StatusCode, Url};

use super::Repository;
use super::auth::Actions;
use super::body;
use super::failure::{Failure, Subject, safe};
use super::limits::{Deadline, shown_bytes};
use super::reach::same_origin;
use super::request::Ask;
use super::retry::{Pace, Retry};
use crate::image::{Digest, Tag};
use crate::registry::{Error, Referrer};

/// The page size that is asked for.
const PAGE: &str = "1000";

#[derive(serde::Deserialize)]
struct TagPage {
    tags: Option<Vec<String>>,
}

#[derive(serde::Deserialize)]
struct ReferrerPage {
    manifests: Option<Vec<Descriptor>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    digest: String,
    artifact_type: Option<String>,
}

impl Repository {
    pub(super) async fn list_tags(&self) -> Result<Vec<Tag>, Error> {
        let location = self.place();
        let subject = Subject { location: &location, what: "the list of tags" };
        let mut ask = self.ask(Method::GET, &["tags", "list"], Actions::Pull, subject);
        ask.url.query_pairs_mut().append_pair("n", PAGE);
        let mut seen = HashSet::new();
        let mut tags = Vec::new();
        let mut add = |text: &[u8]| {
            let page: TagPage = serde_json::from_slice(text)?;
            // What is no tag by the specification cannot be asked for either.
            for tag in page.tags.unwrap_or_default().iter().filter_map(|tag| tag.parse::<Tag>().ok()) {
                if seen.insert(tag.clone()) {
                    tags.push(tag);
                }
            }
            Ok(tags.len())
        };
        self.pages(ask, &mut add).await?;
        Ok(tags)
    }

    pub(super) async fn list_referrers(&self, digest: &Digest) -> Result<Option<Vec<Referrer>>, Error> {
        let what = format!("the referrers of {digest}");
        let location = self.place();
        let subject = Subject { location: &location, what: &what };
        let ask = self.ask(Method::GET, &["referrers", &digest.to_string()], Actions::Pull, subject);
        let mut found: Vec<Referrer> = Vec::new();
        let mut add = |text: &[u8]| {
            let page: ReferrerPage = serde_json::from_slice(text)?;
            for descriptor in page.manifests.unwrap_or_default() {
                if let Ok(digest) = descriptor.digest.parse() {
                    found.push(Referrer { digest, artifact_type: descriptor.artifact_type });
                }
            }
            Ok(found.len())
        };
        match self.pages(ask, &mut add).await {
            Ok(()) => Ok(Some(found)),
            Err(Error::NotFound { .. } | Error::Unsupported { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Fetches page after page; `add` takes one page's bytes and tells how many entries there are now.
    async fn pages(
        &self,
        mut ask: Ask<'_>,
        add: &mut (dyn FnMut(&[u8]) -> Result<usize, serde_json::Error> + Send),
    ) -> Result<(), Error> {
        let subject = ask.subject;
        let limits = &self.client.options.limits;
        let deadline = limits.deadline();
        let mut room = limits.list_bytes;
        let mut visited = HashSet::new();
        let mut before = 0;
        for _ in 0..limits.list_pages {
            visited.insert(ask.url.clone());
            let mut retry = Retry::new(limits, Pace::Steady, deadline);
            let (text, next) = loop {
                match self.page(&ask, room, &deadline).await {
                    Ok(page) => break page,
                    Err(failure) => retry.pause(failure).await?,
                }
            };
            room -= text.len() as u64;
            let entries = add(&text).map_err(|e| {
                subject.broken(format!("{} is malformed at line {} column {}", subject.what, e.line(), e.column()))
            })?;
            if entries > limits.list_entries {
                return Err(subject.too_much(format!("{} entries", limits.list_entries)));
            }
            match next {
                // A page that brings nothing new is the end, whatever it points at.
                Some(next) if entries > before && !visited.contains(&next) => ask.url = next,
                _ => return Ok(()),
            }
            before = entries;
        }
        Err(subject.too_much(format!("{} pages", limits.list_pages)))
    }

    async fn page(&self, ask: &Ask<'_>, room: u64, deadline: &Deadline) -> Result<(Vec<u8>, Option<Url>), Failure> {
        let subject = ask.subject;
        let limits = &self.client.options.limits;
        let mut response = self.exchange(ask, deadline).await?;
        if response.status() != StatusCode::OK {
            return Err(subject.refused(response, deadline, limits).await);
        }
        let text = body::read(subject, &mut response, room, deadline).await.map_err(|mut failure| {
            if matches!(failure.error, Error::TooMuch { ref limit, .. } if *limit == shown_bytes(room)) {
                failure.error = subject.too_much(shown_bytes(limits.list_bytes));
            }
            failure
        })?;
        let next = match next_link(response.headers()) {
            None => None,
            Some(link) => {
                let url = ask.url.join(&link).ok().filter(|url| same_origin(url, &self.base));
                Some(url.ok_or_else(|| subject.broken(format!("its next page is elsewhere: `{}`", safe(&link))))?)
            }
        };
        Ok((text, next))
    }
}

/// The target of `Link: <...>; rel="next"` (RFC 8288).
fn next_link(headers: &HeaderMap) -> Option<String> {
    headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok()).find_map(|text| {
        let (target, parameters) = text.trim().strip_prefix('<')?.split_once('>')?;
        let relation = parameters.split(';').map(str::trim).find_map(|p| p.strip_prefix("rel="))?;
        (relation.trim_matches('"') == "next").then(|| target.to_owned())
    })
}
