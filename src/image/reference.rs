//! Image references: `name[:tag][@digest]`, normalised as docker does.
//!
//! - A name has a host and a repository. A first component without `.` or `:` that is not `localhost` is no host:
//!   the host is then `docker.io`, and a single-component repository there gains `library/`.
//! - Default ports are dropped (`:443`, on loopback hosts `:80`), `index.docker.io` is `docker.io`. Nothing else is
//!   rewritten: `localhost:5000` and `127.0.0.1:5000` are different names.
//! - A tag is never defaulted here; a command that wants `latest` says so itself.
//! - Only `sha256` digests exist: they are what TUF target paths and entries carry.

use std::fmt;
use std::str::FromStr;

/// Longest repository path that the distribution specification allows, in bytes.
const MAX_REPOSITORY: usize = 255;
/// Longest tag that the distribution specification allows, in bytes.
const MAX_TAG: usize = 128;

/// Why a text is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// The name part is malformed.
    #[error("`{0}` is not an image name: expected `host[:port]/path` in lower case")]
    Name(String),
    /// The tag is malformed.
    #[error("`{0}` is not a tag: expected up to 128 letters, digits, `_`, `.` and `-`")]
    Tag(String),
    /// The digest is malformed or of another algorithm.
    #[error("`{0}` is not a digest: expected `sha256:` and 64 lower-case hex digits")]
    Digest(String),
    /// There is a tag or digest where only a name belongs.
    #[error("`{0}` names a tag or digest: expected an image name alone")]
    NotBare(String),
}

/// The identity of an image: host and repository, normalised. It never changes by mirroring.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageName {
    host: String,
    repository: String,
}

impl ImageName {
    /// Host with its port where that is not the default, such as `registry.example.com` or `127.0.0.1:5000`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Repository path below the host, such as `acme/app`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The TUF target path of a tag of this image: `<name>:<tag>`.
    pub fn tag_path(&self, tag: &Tag) -> String {
        format!("{self}:{tag}")
    }

    /// The TUF target path of a manifest of this image: `<name>@sha256:<hex>`.
    pub fn digest_path(&self, digest: &Digest) -> String {
        format!("{self}@{digest}")
    }

    /// True for hosts that can only be this machine: `127.0.0.0/8`, `::1` and `localhost`.
    pub fn is_loopback(&self) -> bool {
        is_loopback_host(&self.host)
    }

    /// Whether this name lies on the same repository path of another loopback spelling, for a hint after a miss.
    pub fn is_loopback_alias_of(&self, other: &ImageName) -> bool {
        self != other
            && self.is_loopback()
            && other.is_loopback()
            && self.repository == other.repository
            && split_port(&self.host).1 == split_port(&other.host).1
    }
}

impl FromStr for ImageName {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let reference: Reference = text.parse()?;
        if reference.tag.is_some() || reference.digest.is_some() {
            return Err(ReferenceError::NotBare(text.to_owned()));
        }
        Ok(reference.name)
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)
    }
}

impl fmt::Debug for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImageName({self})")
    }
}

/// A tag by the distribution specification: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

impl Tag {
    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the tag lies in the name space that Boltseal keeps for its own objects, `trust.tuf*`.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with("trust.tuf")
    }
}

impl FromStr for Tag {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let bytes = text.as_bytes();
        let valid = bytes.len() <= MAX_TAG
            && bytes.first().is_some_and(|&b| word(b))
            && bytes.iter().all(|&b| word(b) || b == b'.' || b == b'-');
        if valid { Ok(Self(text.to_owned())) } else { Err(ReferenceError::Tag(shown(text))) }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A SHA-256 content digest, `sha256:<64 hex>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// A digest from its 32 raw bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 raw bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 lower-case hex digits without the algorithm.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// A digest from 64 lower-case hex digits.
    ///
    /// # Errors
    /// [`ReferenceError::Digest`] for anything else.
    pub fn from_hex(text: &str) -> Result<Self, ReferenceError> {
        let malformed = || ReferenceError::Digest(shown(text));
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(malformed());
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| malformed())?;
        Ok(Self(bytes))
    }
}

impl FromStr for Digest {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let hex = text.strip_prefix("sha256:").ok_or_else(|| ReferenceError::Digest(shown(text)))?;
        Self::from_hex(hex).map_err(|_| ReferenceError::Digest(shown(text)))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What a person writes to name an image: a name, and a tag or a digest or both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// The image name.
    pub name: ImageName,
    /// The tag, where one is written.
    pub tag: Option<Tag>,
    /// The digest, where one is written.
    pub digest: Option<Digest>,
}

impl Reference {
    /// The same reference with `latest` where neither tag nor digest is written, as docker does.
    #[must_use]
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(Tag("latest".to_owned()));
        }
        self
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (text, None),
        };
        // A colon after the last slash begins a tag; one before it belongs to a port.
        let path_at = rest.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match rest[path_at..].find(':') {
            Some(at) => (&rest[..path_at + at], Some(rest[path_at + at + 1..].parse()?)),
            None => (rest, None),
        };
        Ok(Self { name: parse_name(name).ok_or_else(|| ReferenceError::Name(shown(text)))?, tag, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

fn parse_name(text: &str) -> Option<ImageName> {
    let (host, repository) = match text.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest.to_owned()),
        _ => ("docker.io", text.to_owned()),
    };
    let host = normalise_host(host)?;
    let repository =
        if host == "docker.io" && !repository.contains('/') { format!("library/{repository}") } else { repository };
    let valid = repository.len() <= MAX_REPOSITORY && repository.split('/').all(is_path_component);
    valid.then_some(ImageName { host, repository })
}

/// Host names are compared without case (RFC 4343), so they are kept in lower case.
fn normalise_host(host: &str) -> Option<String> {
    let host = host.to_ascii_lowercase();
    let (name, port) = split_port(&host);
    let valid_name = if let Some(v6) = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        v6.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        !name.is_empty()
            && name.split('.').all(|label| {
                !label.is_empty()
                    && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                    && !label.starts_with('-')
                    && !label.ends_with('-')
            })
    };
    if !valid_name {
        return None;
    }
    match port {
        None if host.contains(':') && !host.ends_with(']') => None,
        None => Some(normalise_hub(name)),
        // The default port follows the default scheme: plain HTTP on loopback, HTTPS elsewhere.
        Some("80") if is_loopback_host(name) => Some(name.to_owned()),
        Some("443") if !is_loopback_host(name) => Some(normalise_hub(name)),
        Some(port) => {
            let number: u16 = port.parse().ok().filter(|&n| n > 0)?;
            Some(format!("{name}:{number}"))
        }
    }
}

fn normalise_hub(name: &str) -> String {
    if name == "index.docker.io" { "docker.io".to_owned() } else { name.to_owned() }
}

fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') && !port.is_empty() => (name, Some(port)),
        _ => (host, None),
    }
}

fn is_loopback_host(host: &str) -> bool {
    let name = split_port(host).0;
    let bare = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
    name == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, the distribution specification's path component.
fn is_path_component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return false };
    if !alphanumeric(first) || !alphanumeric(last) {
        return false;
    }
    bytes
        .chunk_by(|a, b| alphanumeric(*a) == alphanumeric(*b))
        .all(|run| alphanumeric(run[0]) || matches!(run, b"." | b"_" | b"__") || run.iter().all(|&b| b == b'-'))
}

/// User input as an error shows it: cut to a readable length, control characters escaped.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        text.parse::<Reference>().unwrap().to_string()
    }

    #[test]
    fn names_are_normalised_as_docker_does() {
        let table = [
            ("alpine", "docker.io/library/alpine"),
            ("alpine:3", "docker.io/library/alpine:3"),
            ("acme/app", "docker.io/acme/app"),
            ("index.docker.io/alpine", "docker.io/library/alpine"),
            ("localhost/app", "localhost/app"),
            ("localhost:5000/app:1", "localhost:5000/app:1"),
            ("127.0.0.1:80/app", "127.0.0.1/app"),
            ("Registry.Example.com:443/a/b:v1", "registry.example.com/a/b:v1"),
            ("registry.example.com:80/a", "registry.example.com:80/a"),
            ("[::1]:5000/app", "[::1]:5000/app"),
        ];
        for (given, expected) in table {
            assert_eq!(canonical(given), expected, "{given}");
        }
    }

    #[test]
    fn malformed_references_are_refused() {
        let digest = format!("app@sha256:{}", "A".repeat(64));
        let long = "a/".repeat(200) + "a";
        for text in [
            "",
            ":",
            "/",
            "App",
            "a//b",
            "a/",
            "-a",
            "a..b",
            "a___b",
            "host:port/a",
            "h.x:0/a",
            "a:",
            "a:-x",
            "a@b",
            "a b",
            "a@sha256:00",
            "h.x:99999/a",
            "../a",
            "a/../b",
            "[::zz]:1/a",
            &digest,
            &long,
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_bare_name_has_neither_tag_nor_digest() {
        assert!(matches!("h.x/a:1".parse::<ImageName>(), Err(ReferenceError::NotBare(_))));
        assert_eq!("h.x/a".parse::<ImageName>().unwrap().to_string(), "h.x/a");
    }

    #[test]
    fn loopback_spellings_are_told_apart_and_hinted_at() {
        let (a, b): (ImageName, ImageName) = ("localhost:5000/x".parse().unwrap(), "127.0.0.1:5000/x".parse().unwrap());
        assert_ne!(a, b);
        assert!(a.is_loopback_alias_of(&b));
        assert!(!a.is_loopback_alias_of(&"127.0.0.1:5001/x".parse().unwrap()));
        assert!(!"127.evil.com/x".parse::<ImageName>().unwrap().is_loopback());
    }
}
