//! The HTTP adapter against registries with good and bad manners.

mod auth;
mod hostile;
mod lists;
mod reading;
mod redirects;
mod retries;
mod tls;
mod writing;

use std::time::Duration;

use boltseal::image::Digest;
use boltseal::registry::http::{Client, Credential, CredentialSources, Limits, Options, Repository};
use boltseal::registry::{Conditional, Error, Manifest, Point, Repository as _};

use crate::support::registry::TestRegistry;

/// Longest manifest in these tests.
const MAX: u64 = 4096;

/// The product's bounds, shortened so that a test need not wait.
fn limits() -> Limits {
    Limits {
        connect: Duration::from_secs(2),
        idle: Duration::from_millis(300),
        total: Duration::from_millis(1500),
        back_off: Duration::from_millis(4),
        unsettled_within: Duration::from_millis(60),
        ..Limits::default()
    }
}

/// Options that look at nothing on this machine.
fn options() -> Options {
    Options { certs_d: Vec::new(), limits: limits(), ..Options::default() }
}

fn user(name: &str, password: &str) -> CredentialSources {
    let password = password.to_owned().into();
    let fixed = Some(Credential::Password { user: name.to_owned(), password });
    CredentialSources { fixed, ..CredentialSources::default() }
}

fn open_with(registry: &TestRegistry, options: Options) -> Repository {
    Client::new(options).repository(&registry.host(), "acme/app").unwrap()
}

fn open(registry: &TestRegistry) -> Repository {
    open_with(registry, options())
}

fn tag(text: &str) -> Point {
    Point::Tag(text.parse().unwrap())
}

async fn fetch(repository: &Repository, point: &Point) -> Result<Manifest, Error> {
    match repository.manifest(point, None, MAX).await? {
        Conditional::Modified(manifest) => Ok(manifest),
        Conditional::NotModified => panic!("not modified, though nothing was known"),
    }
}

async fn by_digest(repository: &Repository, digest: Digest) -> Result<Manifest, Error> {
    fetch(repository, &Point::Digest(digest)).await
}
