//! Registries over HTTP: the distribution specification's API behind the registry port.
//!
//! - One [`Client`] for each process: it holds the connections and, in memory only, the tokens.
//! - Loopback names (`127.0.0.0/8`, `::1`, `localhost`) are plain HTTP unless the options or a `certs.d` folder say
//!   otherwise; everything else is HTTPS. The other scheme is never tried behind the user's back.
//! - Credentials go to the registry and to the token endpoint that it names, never along a redirect to another host.
//! - Every answer is bounded in bytes, count and time ([`Limits`]), and busy or failing registries are asked again.
//!
//! ```no_run
//! use boltseal::registry::http::{Client, Options};
//!
//! let client = Client::new(Options::default());
//! let repository = client.repository("registry.example.com", "acme/app")?;
//! # Ok::<(), boltseal::registry::Error>(())
//! ```

mod auth;
mod blobs;
mod body;
mod challenge;
mod credentials;
mod failure;
mod helper;
mod limits;
mod lists;
mod manifests;
mod port;
mod reach;
mod request;
mod retry;
mod tls;

pub use credentials::{Credential, CredentialSources, DOCKER_CONFIG, REGISTRY_AUTH_FILE};
pub use limits::Limits;
pub use tls::Certificates;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use reqwest::Url;
use reqwest::redirect::Policy;

use super::Error;
use failure::{Subject, authority, safe};

/// Which scheme a registry is spoken to with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scheme {
    /// HTTPS, but plain HTTP for loopback names without a CA or `certs.d` folder of their own.
    #[default]
    ByName,
    /// HTTPS, whatever the name (`--tls`).
    Tls,
    /// Plain HTTP, whatever the name (`--plain-http`): anybody on the way can read credentials and withhold updates.
    UnsafePlain,
}

/// What a [`Client`] is made of.
#[derive(Debug, Clone)]
pub struct Options {
    /// Plain HTTP or HTTPS.
    pub scheme: Scheme,
    /// Whether certificates are checked.
    pub certificates: Certificates,
    /// The CA of the registry (`--ca`), which alone is then believed for it.
    pub ca: Option<PathBuf>,
    /// Folders in docker's `certs.d` form: `<folder>/<host[:port]>/*.crt`, `*.cert`, `*.key`.
    pub certs_d: Vec<PathBuf>,
    /// Where credentials come from.
    pub credentials: CredentialSources,
    /// Bounds on bytes, count and time.
    pub limits: Limits,
    /// What the client calls itself.
    pub user_agent: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            scheme: Scheme::ByName,
            certificates: Certificates::Verify,
            ca: None,
            certs_d: ["/etc/docker/certs.d", "/etc/containers/certs.d"].map(PathBuf::from).into(),
            credentials: CredentialSources::default(),
            limits: Limits::default(),
            user_agent: concat!("boltseal/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// The HTTP side of this process: connections, and tokens in memory.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

/// One repository of one registry.
#[derive(Clone)]
pub struct Repository {
    client: Arc<Shared>,
    /// Scheme, host and port of the registry; the path is empty.
    base: Url,
    host: String,
    name: String,
}

struct Shared {
    options: Options,
    tokens: auth::Tokens,
    senders: Mutex<HashMap<Sender, reqwest::Client>>,
}

/// Which of the differently configured HTTP clients.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Sender {
    /// Plain HTTP to this machine, never through a proxy.
    PlainNear,
    Plain,
    /// TLS to a host as a registry.
    Registry(String),
    /// TLS to a host with a `certs.d` folder that a registry named.
    Named(String),
    /// TLS to every other host that a registry named.
    Platform,
}

impl Client {
    /// A client; it does nothing yet, and costs next to nothing until the first request.
    pub fn new(options: Options) -> Self {
        Self(Arc::new(Shared { options, tokens: auth::Tokens::default(), senders: Mutex::default() }))
    }

    /// One repository of a registry. `host` is `name[:port]` as in an image name.
    ///
    /// # Errors
    /// [`Error::Broken`] for a host that is none.
    pub fn repository(&self, host: &str, repository: &str) -> Result<Repository, Error> {
        let location = format!("{host}/{repository}");
        let subject = Subject { location: &location, what: repository };
        // The Hub's registry answers under another name than its images have.
        let api_host = if host == "docker.io" { "registry-1.docker.io" } else { host };
        let no_host = || subject.broken(format!("`{}` is not a registry host", safe(host)));
        if api_host.is_empty() || api_host.contains(['/', '?', '#', '@', '\\']) {
            return Err(no_host());
        }
        let secure = Url::parse(&format!("https://{api_host}/")).map_err(|_| no_host())?;
        let base = if self.0.is_plain(&secure) {
            Url::parse(&format!("http://{api_host}/")).map_err(|_| no_host())?
        } else {
            secure
        };
        Ok(Repository { client: Arc::clone(&self.0), base, host: host.to_owned(), name: repository.to_owned() })
    }
}

impl Repository {
    /// Whether the registry is spoken to by plain HTTP.
    pub fn is_plain(&self) -> bool {
        self.base.scheme() == "http"
    }
}

impl Shared {
    fn is_plain(&self, url: &Url) -> bool {
        let options = &self.options;
        match options.scheme {
            Scheme::UnsafePlain => true,
            Scheme::Tls => false,
            Scheme::ByName => {
                reach::is_loopback(url)
                    && options.ca.is_none()
                    && options.certificates == Certificates::Verify
                    && tls::host_folders(&options.certs_d, &authority(url)).is_empty()
            }
        }
    }

    /// The HTTP client for a URL that `registry` is or named, made at its first use.
    ///
    /// # Errors
    /// Says which file or setting stands in the way.
    fn sender(&self, url: &Url, registry: &Url) -> Result<reqwest::Client, String> {
        let options = &self.options;
        let host = authority(url);
        let folders = |host: &str| tls::host_folders(&options.certs_d, host);
        let is_registry = reach::same_origin(url, registry);
        let sender = match url.scheme() {
            "http" if reach::is_loopback(url) => Sender::PlainNear,
            "http" => Sender::Plain,
            _ if is_registry => Sender::Registry(host.clone()),
            _ if !folders(&host).is_empty() => Sender::Named(host.clone()),
            _ => Sender::Platform,
        };
        let mut senders = self.senders.lock().expect("no holder of this lock panics");
        if let Some(known) = senders.get(&sender) {
            return Ok(known.clone());
        }
        let settings = if url.scheme() == "http" {
            tls::none()?
        } else {
            let mut files = tls::host_files(&folders(&host))?;
            let ca = options.ca.clone();
            if is_registry {
                files.authorities.extend(ca);
                tls::settings(&files, &[], options.certificates)?
            } else {
                tls::settings(&files, ca.as_slice(), options.certificates)?
            }
        };
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(settings)
            .redirect(Policy::none())
            .referer(false)
            .connect_timeout(options.limits.connect)
            .user_agent(&options.user_agent);
        if reach::is_loopback(url) {
            builder = builder.no_proxy();
        }
        let made = builder.build().map_err(|e| format!("the HTTP client cannot be set up: {e}"))?;
        senders.insert(sender, made.clone());
        Ok(made)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("options", &self.0.options).finish_non_exhaustive()
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Repository({}/{} at {})", self.host, self.name, self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(options: Options, host: &str) -> String {
        Client::new(options).repository(host, "a").unwrap().base.to_string()
    }

    #[test]
    fn only_loopback_names_are_plain_http_by_default() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("localhost:5001")).unwrap();
        let options = || Options { certs_d: vec![folder.path().to_owned()], ..Options::default() };
        for (host, expected) in [
            ("localhost:5000", "http://localhost:5000/"),
            ("localhost:5001", "https://localhost:5001/"),
            ("127.3.2.1", "http://127.3.2.1/"),
            ("[::1]:5000", "http://[::1]:5000/"),
            ("registry.example.com", "https://registry.example.com/"),
            ("10.0.0.1:5000", "https://10.0.0.1:5000/"),
            ("registry.local:80", "https://registry.local:80/"),
            ("docker.io", "https://registry-1.docker.io/"),
        ] {
            assert_eq!(base(options(), host), expected);
        }
        assert_eq!(base(Options { scheme: Scheme::Tls, ..options() }, "localhost:5000"), "https://localhost:5000/");
        assert_eq!(base(Options { ca: Some("ca.pem".into()), ..options() }, "localhost"), "https://localhost/");
        assert_eq!(base(Options { scheme: Scheme::UnsafePlain, ..options() }, "h.x"), "http://h.x/");
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for host in ["", "a/b", "user@h.x", "h.x?y", "h.x:99999", "a b"] {
            assert!(Client::new(Options::default()).repository(host, "a").is_err(), "{host}");
        }
    }
}
