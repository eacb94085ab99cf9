//! Files over HTTP: capped in bytes and time, absent told from failed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{StatusCode, Url};

use super::Error;
use crate::trust::update::{Answer, Request};

/// How long a connection may take to stand.
const CONNECT: Duration = Duration::from_secs(10);
/// How long nothing may come (slow drip).
const SILENCE: Duration = Duration::from_secs(20);
/// How long a whole answer may take (slow drip, one byte at a time).
const WHOLE: Duration = Duration::from_secs(300);
/// Most redirects followed for one file: where metadata come from is no part of why they are trusted.
const MAX_REDIRECTS: usize = 4;
/// RFC 3986 2.3: everything but the unreserved characters is encoded.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Percent-encodes text as one path segment.
fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// The files below one address.
#[derive(Debug)]
pub(super) struct Source {
    base: String,
    client: reqwest::Client,
}

impl Source {
    /// # Errors
    /// [`Error::Address`] for an address that is not HTTP.
    pub(super) fn new(base: &str) -> Result<Self, Error> {
        let address = |reason: String| Error::Address { url: base.to_owned(), reason };
        let url: Url = base.parse().map_err(|e| address(format!("{e}")))?;
        let secure = match url.scheme() {
            "http" => false,
            "https" => true,
            other => return Err(address(format!("`{other}` is neither http nor https"))),
        };
        if url.query().is_some() || url.fragment().is_some() {
            return Err(address("it has a query or a fragment".to_owned()));
        }
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(secure).map_err(|e| address(e.to_string()))?)
            .redirect(reqwest::redirect::Policy::limited(MAX_REDIRECTS))
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .timeout(WHOLE)
            .build()
            .map_err(|e| address(e.to_string()))?;
        Ok(Self { base: base.trim_end_matches('/').to_owned(), client })
    }

    /// A metadata file.
    pub(super) async fn metadata(&self, request: &Request) -> Answer {
        let role = encode(request.role.as_str());
        let file = match request.version {
            Some(version) => format!("{version}.{role}.json"),
            None => format!("{role}.json"),
        };
        self.get(&file, request.max).await
    }

    /// A target's file; the hash stands before the last part of its path (TUF 5.7.3).
    pub(super) async fn artifact(&self, path: &str, hash: Option<&str>, length: u64) -> Answer {
        let mut parts: Vec<String> = path.split('/').map(encode).collect();
        if let (Some(hash), Some(last)) = (hash, parts.last_mut()) {
            *last = format!("{hash}.{last}");
        }
        self.get(&parts.join("/"), length).await
    }

    async fn get(&self, file: &str, max: u64) -> Answer {
        let url = format!("{}/{file}", self.base);
        self.read(&url, max).await.unwrap_or_else(|e| Answer::Failed(e.without_url().to_string()))
    }

    async fn read(&self, url: &str, max: u64) -> Result<Answer, reqwest::Error> {
        let mut response = self.client.get(url).send().await?;
        match response.status() {
            StatusCode::OK => {}
            // Object stores without the right to list answer 403 for what is not there.
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN => return Ok(Answer::Absent),
            other => return Ok(Answer::Failed(format!("the server answered {}", other.as_u16()))),
        }
        let too_much = || Answer::Failed(format!("the server sends more than {max} bytes"));
        if response.content_length().is_some_and(|length| length > max) {
            return Ok(too_much());
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if bytes.len() as u64 + chunk.len() as u64 > max {
                return Ok(too_much());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Answer::Found(Bytes::from(bytes)))
    }
}

/// Reading the platform's certificates costs milliseconds, which plain HTTP need not pay.
fn tls(secure: bool) -> Result<rustls::ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        rustls::ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = if secure {
        let platform = rustls_platform_verifier::Verifier::new(provider)?;
        builder.dangerous().with_custom_certificate_verifier(Arc::new(platform))
    } else {
        builder.with_root_certificates(rustls::RootCertStore::empty())
    };
    Ok(builder.with_no_client_auth())
}
