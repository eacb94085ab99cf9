//! `config.toml`: what a user or a machine sets once instead of by flags.
//!
//! ```toml
//! engine = "podman"                     # docker | podman | nerdctl | ctr
//! output = "text"                       # text | json
//! home   = "/srv/boltseal"              # keys and memory; an absolute path
//! certs  = ["/etc/docker/certs.d"]      # folders in docker's form, instead of the usual ones
//! ca     = "/etc/ssl/company.pem"       # certificates that are believed as well
//! tls    = ["localhost:5000"]           # loopback registries that speak HTTPS
//! plain_http = ["registry.lan:5000"]    # registries that speak plain HTTP
//! max_timestamp_life = "30d"            # where no policy scope says it
//! ```
//!
//! `[[pkcs11]]` and `[[external]]`, which must stand below all of these, name keys that live elsewhere: see the module
//! `signers`.
//!
//! There is no setting that switches off the check of certificates: that is a flag, for one run.

use std::path::{Path, PathBuf};

use jiff::SignedDuration;

use super::signers::{External, Token, externals, tokens};
use super::table::{Field, Source, Table};
use super::{Error, Folders, read_text};
use crate::image::ImageName;
use crate::trust::policy::duration::parse_duration;

/// A program that pulls images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Engine {
    /// Docker's client.
    Docker,
    /// Podman.
    Podman,
    /// nerdctl, for containerd.
    Nerdctl,
    /// ctr, containerd's own client.
    Ctr,
}

impl Engine {
    /// All of them, in the order in which they are tried.
    pub const ALL: [Self; 4] = [Self::Docker, Self::Podman, Self::Nerdctl, Self::Ctr];

    /// The program's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Nerdctl => "nerdctl",
            Self::Ctr => "ctr",
        }
    }
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// What files set. What is left out is for the program to choose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// The program that pulls.
    pub engine: Option<Engine>,
    /// How results are written.
    pub output: Option<Output>,
    /// Where keys and memory lie.
    pub home: Option<PathBuf>,
    /// Folders with each host's certificates, in docker's form.
    pub certs: Option<Vec<PathBuf>>,
    /// A file of CA certificates that are believed as well.
    pub ca: Option<PathBuf>,
    /// Loopback hosts that speak HTTPS, in the normal form of [`ImageName::host`].
    pub tls: Option<Vec<String>>,
    /// Hosts that speak plain HTTP, in the normal form of [`ImageName::host`].
    pub plain_http: Option<Vec<String>>,
    /// How far ahead a timestamp may expire.
    pub max_timestamp_life: Option<SignedDuration>,
    /// PKCS#11 tokens with keys.
    pub pkcs11: Option<Vec<Token>>,
    /// Programs that sign.
    pub external: Option<Vec<External>>,
}

impl Settings {
    /// The settings of both files: the user's beat the system's, field by field. A list replaces a list.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Invalid`]. A file that is not there sets nothing.
    pub fn load(folders: &Folders) -> Result<Self, Error> {
        let mut settings = Self::default();
        for folder in folders.config.iter().chain([&folders.system]) {
            let path = folder.join("config.toml");
            if let Some(text) = read_text(&path)? {
                settings = settings.or(Self::parse(&path.display().to_string(), &text)?);
            }
        }
        Ok(settings)
    }

    /// Reads one file's text.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn parse(path: &str, text: &str) -> Result<Self, Error> {
        let source = Source { path, text };
        let parsed = source.parse()?;
        let known = [
            "engine",
            "output",
            "home",
            "certs",
            "ca",
            "tls",
            "plain_http",
            "max_timestamp_life",
            "pkcs11",
            "external",
        ];
        let table = Table::whole(source, &parsed, &known)?;
        let engines = Engine::ALL.map(|engine| (engine.as_str(), engine));
        let hosts = |field: Field<'_>| field.texts(host);
        Ok(Self {
            engine: table.field("engine").map(|field| field.word(&engines)).transpose()?,
            output: table
                .field("output")
                .map(|field| field.word(&[("text", Output::Text), ("json", Output::Json)]))
                .transpose()?,
            home: table.field("home").map(|field| absolute(&field)).transpose()?,
            certs: table.field("certs").map(|field| field.texts(absolute)).transpose()?,
            ca: table.field("ca").map(|field| absolute(&field)).transpose()?,
            tls: table.field("tls").map(hosts).transpose()?,
            plain_http: table.field("plain_http").map(hosts).transpose()?,
            max_timestamp_life: table
                .field("max_timestamp_life")
                .map(|field| parse_duration(field.text()?).map_err(|message| field.invalid(message)))
                .transpose()?,
            pkcs11: table.field("pkcs11").map(|field| tokens(&field)).transpose()?,
            external: table.field("external").map(|field| externals(&field)).transpose()?,
        })
    }

    /// These settings, and the lower ones where these say nothing.
    pub fn or(self, lower: Self) -> Self {
        Self {
            engine: self.engine.or(lower.engine),
            output: self.output.or(lower.output),
            home: self.home.or(lower.home),
            certs: self.certs.or(lower.certs),
            ca: self.ca.or(lower.ca),
            tls: self.tls.or(lower.tls),
            plain_http: self.plain_http.or(lower.plain_http),
            max_timestamp_life: self.max_timestamp_life.or(lower.max_timestamp_life),
            pkcs11: self.pkcs11.or(lower.pkcs11),
            external: self.external.or(lower.external),
        }
    }
}

/// What a file says must not depend on the folder in which the program is started.
fn absolute(field: &Field<'_>) -> Result<PathBuf, Error> {
    let path = Path::new(field.text()?);
    if path.is_absolute() { Ok(path.to_owned()) } else { Err(field.invalid("expected an absolute path")) }
}

fn host(field: &Field<'_>) -> Result<String, Error> {
    let text = field.text()?;
    let name: Option<ImageName> = format!("{text}/x/y").parse().ok();
    name.filter(|name| name.repository() == "x/y")
        .map(|name| name.host().to_owned())
        .ok_or_else(|| field.invalid(format!("`{}` is no host: expected `host` or `host:port`", text.escape_debug())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, Error> {
        Settings::parse("/c/config.toml", text)
    }

    #[test]
    fn every_setting_is_read() {
        let text = r#"
engine = "podman"
output = "json"
home = "/srv/boltseal"
certs = ["/etc/docker/certs.d"]
ca = "/etc/ssl/company.pem"
tls = ["localhost:5000"]
plain_http = ["Registry.lan:5000"]
max_timestamp_life = "12h"
"#;
        let settings = Settings {
            engine: Some(Engine::Podman),
            output: Some(Output::Json),
            home: Some("/srv/boltseal".into()),
            certs: Some(vec!["/etc/docker/certs.d".into()]),
            ca: Some("/etc/ssl/company.pem".into()),
            tls: Some(vec!["localhost:5000".to_owned()]),
            plain_http: Some(vec!["registry.lan:5000".to_owned()]),
            max_timestamp_life: Some(SignedDuration::from_hours(12)),
            pkcs11: None,
            external: None,
        };
        assert_eq!(parse(text), Ok(settings));
        assert_eq!(parse(""), Ok(Settings::default()));
    }

    #[test]
    fn what_is_wrong_is_told_with_file_line_and_field() {
        for (text, message) in [
            ("\nengin = \"docker\"", "`/c/config.toml` line 2, `engin`: unknown field: expected one of engine, output"),
            ("engine = \"lxc\"", "line 1, `engine`: expected `docker` or `podman` or `nerdctl` or `ctr`, found `lxc`"),
            ("\n\noutput = 1", "line 3, `output`: expected a text, found an integer"),
            ("home = \"srv\"", "line 1, `home`: expected an absolute path"),
            ("certs = \"/x\"", "line 1, `certs`: expected a list, found a text"),
            ("certs = []", "line 1, `certs`: the list is empty"),
            ("tls = [\"a.example\",\n\"a.example\"]", "line 2, `tls`: `a.example` stands twice"),
            ("tls = [\"a.example/b\"]", "line 1, `tls`: `a.example/b` is no host"),
            ("tls = [\"acme\"]", "line 1, `tls`: `acme` is no host"),
            ("max_timestamp_life = \"30\"", "line 1, `max_timestamp_life`: `30` is no span of time"),
            ("engine = \"docker\"\nengine = \"ctr\"", "line 2: duplicate key"),
            ("engine = ", "line 1: "),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn the_users_settings_beat_the_systems_field_by_field() {
        let root = tempfile::tempdir().unwrap();
        let (config, system) = (root.path().join("user"), root.path().join("system"));
        let folders = Folders { home: "/h".into(), config: Some(config.clone()), system: system.clone() };
        assert_eq!(Settings::load(&folders), Ok(Settings::default()));
        std::fs::create_dir(&config).unwrap();
        std::fs::create_dir(&system).unwrap();
        std::fs::write(config.join("config.toml"), "engine = \"podman\"").unwrap();
        std::fs::write(system.join("config.toml"), "engine = \"ctr\"\noutput = \"json\"").unwrap();
        let settings = Settings::load(&folders).unwrap();
        assert_eq!((settings.engine, settings.output), (Some(Engine::Podman), Some(Output::Json)));
        std::fs::write(system.join("config.toml"), [0xff, 0xfe]).unwrap();
        assert!(matches!(Settings::load(&folders), Err(Error::Io { .. })));
    }
}
