//! Credentials: docker's `config.json` and podman's `auth.json`, and the helpers that they name.
//!
//! - They are looked up only after a registry asked for them, so a broken file never stops an anonymous read.
//! - The first file with an entry for the registry decides. In a file, `credHelpers` for the host comes first, then
//!   `credsStore`, then `auths`, where the longest matching `host/path` wins.
//! - A file or helper that fails is an error, never silently "anonymous".

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::helper;
use super::limits::{Limits, shown_bytes};

/// Folder of docker's `config.json`.
pub const DOCKER_CONFIG: &str = "DOCKER_CONFIG";
/// Podman's credentials file.
pub const REGISTRY_AUTH_FILE: &str = "REGISTRY_AUTH_FILE";

/// Most bytes of a credentials file.
const MAX_FILE: u64 = 1024 * 1024;
/// The name under which docker stores the Hub's credentials.
const HUB_KEY: &str = "https://index.docker.io/v1/";
/// The names of the Hub once scheme and `/v1/` are taken off.
const HUB_NAMES: [&str; 3] = ["index.docker.io", "docker.io", "registry-1.docker.io"];
/// Podman's name in `credHelpers` for the file itself.
const PODMAN_FILE_STORE: &str = "containers-auth.json";

/// How to sign in to a registry. Secrets are wiped on drop and never shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user and a password (or access token used as one).
    Password {
        /// The user.
        user: String,
        /// The password.
        password: Zeroizing<String>,
    },
    /// A refresh token (RFC 6749), from `docker login` at registries that give one.
    IdentityToken(Zeroizing<String>),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => write!(f, "Password({user}, ..)"),
            Self::IdentityToken(_) => f.write_str("IdentityToken(..)"),
        }
    }
}

/// Where credentials come from, in the order in which they are asked.
#[derive(Debug, Clone, Default)]
pub struct CredentialSources {
    /// Given outright, for every registry.
    pub fixed: Option<Credential>,
    /// Files in docker's or podman's format. A file that is not there has no entries.
    pub files: Vec<PathBuf>,
    /// Where helpers are searched instead of `PATH`.
    pub search_path: Option<OsString>,
}

impl CredentialSources {
    /// The usual places, from environment variables: `$REGISTRY_AUTH_FILE` where it is set, then docker's
    /// `config.json`, then podman's `auth.json` of this login and of this user.
    pub fn usual(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let folder = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = folder("HOME");
        let docker = folder(DOCKER_CONFIG).or_else(|| home.as_ref().map(|h| h.join(".docker")));
        let settings = folder("XDG_CONFIG_HOME").or_else(|| home.map(|h| h.join(".config")));
        let files = [
            folder(REGISTRY_AUTH_FILE),
            docker.map(|d| d.join("config.json")),
            folder("XDG_RUNTIME_DIR").map(|d| d.join("containers/auth.json")),
            settings.map(|d| d.join("containers/auth.json")),
        ];
        Self { fixed: None, files: files.into_iter().flatten().collect(), search_path: None }
    }

    /// The credentials for a repository of a registry, if there are any.
    ///
    /// # Errors
    /// A sentence that names the file or helper that failed.
    pub(super) async fn find(
        &self,
        host: &str,
        repository: &str,
        limits: &Limits,
    ) -> Result<Option<Credential>, String> {
        if self.fixed.is_some() {
            return Ok(self.fixed.clone());
        }
        for path in &self.files {
            let Some(file) = read(path)? else { continue };
            if let Some(name) = file.helper(host) {
                let key = if host == "docker.io" { HUB_KEY } else { host };
                if let Some(found) = helper::ask(name, key, self.search_path.as_deref(), limits).await? {
                    return Ok(Some(found));
                }
            }
            if let Some(entry) = file.entry(host, repository)
                && let Some(found) = entry.credential().map_err(|why| format!("`{}`: {why}", path.display()))?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct CredentialFile {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    creds_store: String,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
}

#[derive(serde::Deserialize)]
struct Entry {
    #[serde(default)]
    auth: Zeroizing<String>,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: Zeroizing<String>,
    #[serde(default, rename = "identitytoken")]
    identity_token: Zeroizing<String>,
}

impl CredentialFile {
    fn helper(&self, host: &str) -> Option<&str> {
        let own =
            self.cred_helpers.iter().find(|(key, _)| is_host(plain_key(key), host)).map(|(_, name)| name.as_str());
        own.or(Some(self.creds_store.as_str())).filter(|name| !name.is_empty() && *name != PODMAN_FILE_STORE)
    }

    /// The entry with the longest key that covers the repository.
    fn entry(&self, host: &str, repository: &str) -> Option<&Entry> {
        let covers = |key: &str| {
            let (key_host, path) = key.split_once('/').unwrap_or((key, ""));
            let below = repository.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            is_host(key_host, host) && (path.is_empty() || below)
        };
        let found = self.auths.iter().filter(|(key, _)| covers(plain_key(key)));
        found.max_by_key(|(key, _)| plain_key(key).split_once('/').map_or(0, |(_, path)| path.len())).map(|(_, e)| e)
    }
}

impl Entry {
    fn credential(&self) -> Result<Option<Credential>, String> {
        if !self.identity_token.is_empty() {
            return Ok(Some(Credential::IdentityToken(self.identity_token.clone())));
        }
        if self.auth.is_empty() {
            let given = !self.username.is_empty();
            return Ok(
                given.then(|| Credential::Password { user: self.username.clone(), password: self.password.clone() })
            );
        }
        let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let malformed = || "an `auth` member is not base64 of `user:password`".to_owned();
        let bytes = Zeroizing::new(
            GeneralPurpose::new(&STANDARD, lenient).decode(self.auth.as_bytes()).map_err(|_| malformed())?,
        );
        let text = std::str::from_utf8(&bytes).map_err(|_| malformed())?;
        let (user, password) = text.split_once(':').ok_or_else(malformed)?;
        let password = Zeroizing::new(password.trim_matches('\0').to_owned());
        Ok(Some(Credential::Password { user: user.to_owned(), password }))
    }
}

/// A key without scheme, the Hub's `/v1/`, and closing slashes.
fn plain_key(key: &str) -> &str {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let key = key.trim_end_matches('/');
    key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key)
}

fn is_host(key: &str, host: &str) -> bool {
    key.eq_ignore_ascii_case(host)
        || (host == "docker.io" && HUB_NAMES.contains(&key))
        || key.strip_suffix(":443").is_some_and(|key| key.eq_ignore_ascii_case(host))
}

fn read(path: &Path) -> Result<Option<CredentialFile>, String> {
    let unreadable = |e: std::io::Error| format!("the credentials file `{}` cannot be read: {e}", path.display());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unreadable(e)),
    };
    let mut text = Zeroizing::new(Vec::with_capacity(4096));
    file.take(MAX_FILE + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_FILE {
        return Err(format!("the credentials file `{}` is larger than {}", path.display(), shown_bytes(MAX_FILE)));
    }
    if text.trim_ascii().is_empty() {
        return Ok(None);
    }
    // The parser's own message could quote a secret: its place is enough.
    serde_json::from_slice(&text).map(Some).map_err(|e| {
        format!("the credentials file `{}` is malformed at line {} column {}", path.display(), e.line(), e.column())
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::{Duration, Instant};

    use super::*;

    struct Home(tempfile::TempDir);

    impl Home {
        fn with(config: &str) -> Self {
            let home = Self(tempfile::tempdir().unwrap());
            std::fs::write(home.0.path().join("config.json"), config).unwrap();
            home
        }

        fn helper(self, name: &str, script: &str) -> Self {
            let path = self.0.path().join(format!("docker-credential-{name}"));
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            self
        }

        async fn find(&self, host: &str, repository: &str) -> Result<Option<Credential>, String> {
            let search_path = Some(format!("{}:/usr/bin:/bin", self.0.path().display()).into());
            let sources =
                CredentialSources { fixed: None, files: vec![self.0.path().join("config.json")], search_path };
            let limits = Limits { helper: Duration::from_millis(700), helper_bytes: 1000, ..Limits::default() };
            sources.find(host, repository, &limits).await
        }
    }

    fn password(user: &str, password: &str) -> Credential {
        Credential::Password { user: user.to_owned(), password: Zeroizing::new(password.to_owned()) }
    }

    #[tokio::test]
    async fn keys_are_matched_as_docker_and_podman_write_them() {
        // "u:p", "hub:p", "team:p"
        let home = Home::with(
            r#"{"auths": {"r.example.com": {"auth": "dTpw"}, "r.example.com/team": {"auth": "dGVhbTpw"},
                "https://index.docker.io/v1/": {"auth": "aHViOnA"}, "t.example.com": {"identitytoken": "abc"},
                "http://old.example.com:5000/v1/": {"username": "o", "password": "p"}, "none.example.com": {}}}"#,
        );
        assert_eq!(home.find("r.example.com", "a/b").await, Ok(Some(password("u", "p"))));
        assert_eq!(home.find("r.example.com", "team/app").await, Ok(Some(password("team", "p"))));
        assert_eq!(home.find("r.example.com", "teams/app").await, Ok(Some(password("u", "p"))));
        assert_eq!(home.find("docker.io", "library/alpine").await, Ok(Some(password("hub", "p"))));
        assert_eq!(home.find("old.example.com:5000", "a").await, Ok(Some(password("o", "p"))));
        assert_eq!(home.find("other.example.com", "a").await, Ok(None));
        assert_eq!(home.find("none.example.com", "a").await, Ok(None));
        let token = home.find("t.example.com", "a").await.unwrap().unwrap();
        assert_eq!(format!("{token:?}"), "IdentityToken(..)");
    }

    #[tokio::test]
    async fn a_malformed_file_is_an_error_that_quotes_no_secret() {
        for text in [r#"{"auths": {"h.x": {"auth": 12345}}}"#, "{sesame", r#"{"auths": {"h.x": {"auth": "sesame!!"}}}"#]
        {
            let error = Home::with(text).find("h.x", "a").await.unwrap_err();
            assert!(error.contains("config.json") && !error.contains("sesame") && !error.contains("12345"), "{error}");
        }
        assert_eq!(Home::with(" ").find("h.x", "a").await, Ok(None));
    }

    #[tokio::test]
    async fn a_helper_is_asked_for_its_host() {
        let home = Home::with(r#"{"credHelpers": {"h.x": "fake"}, "credsStore": "store"}"#)
            .helper("fake", r#"read host; echo "{\"Username\":\"$1\",\"Secret\":\"for $host\"}""#)
            .helper("store", r#"echo '{"Username":"<token>","Secret":"t"}'"#);
        assert_eq!(home.find("h.x", "a").await, Ok(Some(password("get", "for h.x"))));
        assert_eq!(home.find("o.x", "a").await, Ok(Some(Credential::IdentityToken(Zeroizing::new("t".to_owned())))));
    }

    #[tokio::test]
    async fn a_helper_without_an_entry_means_the_next_source() {
        let home = Home::with(r#"{"credsStore": "fake", "auths": {"h.x": {"auth": "dTpw"}}}"#)
            .helper("fake", "echo credentials not found in native keychain; exit 1");
        assert_eq!(home.find("h.x", "a").await, Ok(Some(password("u", "p"))));
        assert_eq!(home.find("o.x", "a").await, Ok(None));
    }

    #[tokio::test]
    async fn a_failing_helper_is_an_error_that_names_it() {
        for (script, words) in [
            ("echo the vault is locked; exit 3", "the vault is locked"),
            (r#"echo '{"Username":"u","Secret":"sesame"}'; exit 1"#, "failed"),
            ("echo sesame", "something other than credentials"),
            ("head -c 5000 /dev/zero", "more than 1000 bytes"),
            ("exec sleep 30", "within 700 ms"),
        ] {
            let home = Home::with(r#"{"credsStore": "fake"}"#).helper("fake", script);
            let begin = Instant::now();
            let error = home.find("h.x", "a").await.unwrap_err();
            assert!(error.contains("`docker-credential-fake`") && error.contains(words), "{error}");
            assert!(!error.contains("sesame"), "{error}");
            assert!(begin.elapsed() < Duration::from_secs(5));
        }
        let missing = Home::with(r#"{"credsStore": "absent"}"#).find("h.x", "a").await.unwrap_err();
        assert!(missing.contains("docker-credential-absent") && missing.contains("cannot be run"), "{missing}");
        let odd = Home::with(r#"{"credsStore": "../../bin/sh"}"#).find("h.x", "a").await.unwrap_err();
        assert!(odd.contains("not the name of a credential helper"), "{odd}");
    }

    #[test]
    fn the_usual_places_are_in_the_documented_order() {
        let sources = CredentialSources::usual(|name| match name {
            "HOME" => Some("/home/u".into()),
            "XDG_RUNTIME_DIR" => Some("/run/user/1".into()),
            _ => None,
        });
        let expected =
            ["/home/u/.docker/config.json", "/run/user/1/containers/auth.json", "/home/u/.config/containers/auth.json"];
        assert_eq!(sources.files, expected.map(PathBuf::from));
        let set = CredentialSources::usual(|name| Some(format!("/{name}").into()));
        assert_eq!(set.files[0], PathBuf::from("/REGISTRY_AUTH_FILE"));
        assert_eq!(set.files[1], PathBuf::from("/DOCKER_CONFIG/config.json"));
    }
}
