//! Policy files: TOML to the plain types of [`crate::trust::policy`].
//!
//! ```toml
//! version = 1
//! default = "deny"                      # a name outside every scope: deny (also where left out) | allow
//!
//! [[scope]]
//! images = ["registry.example.com/acme/**"]
//! mode   = "enforce"                    # enforce (also where left out) | audit | off
//! root   = { keys = ["<id>", "<id>"], threshold = 2, min_version = 1 }   # or { file = "acme-root.json" }
//! signers = ["releases"]
//! tags    = ["release-*"]
//! pinned  = "signed"                    # signed | current
//! superseded_for = "30d"
//! max_timestamp_life = "14d"
//! require_memory = true
//! allow_override = true
//! trust_repository = "registry.example.com/acme/trust"
//!
//! [[mirror]]
//! location = "mirror.internal/acme"     # or "oci:/abs/folder"
//! of       = "registry.example.com/acme"
//! ```
//!
//! A pin's threshold is 1 for one key and has to be written for more; a root file's path is relative to the folder of
//! the policy file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;

use super::table::{Field, Source, Table};
use super::{Error, Folders, read_bytes, read_text};
use crate::trust::policy::duration::parse_duration;
use crate::trust::policy::{Mirror, Mode, Outside, Pin, Pinned, Policy, PolicyFile, RootFile, RootKeys, Scope};
use crate::trust::{KeyId, RoleKind, RoleName, Version};

/// The only version of the language.
const LANGUAGE: u64 = 1;
const SCOPE: [&str; 11] = [
    "images",
    "mode",
    "root",
    "signers",
    "tags",
    "pinned",
    "superseded_for",
    "max_timestamp_life",
    "require_memory",
    "allow_override",
    "trust_repository",
];

/// Reads all policy files that count, in their order: the system's and the user's where they are there, then each of
/// `extra`, which must be there.
///
/// # Errors
/// [`Error::Io`] and [`Error::Invalid`]: one bad file spoils all, since the rest might be looser.
pub fn load(folders: &Folders, extra: &[PathBuf]) -> Result<Policy, Error> {
    let mut files = Vec::new();
    let standing = [Some(folders.system_policy()), folders.user_policy().ok()];
    for path in standing.into_iter().flatten() {
        files.extend(load_file(&path)?);
    }
    for path in extra {
        let missing = || Error::Io { path: path.display().to_string(), message: "there is no such file".to_owned() };
        files.push(load_file(path)?.ok_or_else(missing)?);
    }
    Ok(Policy { files })
}

/// Reads one policy file; none where there is none.
///
/// # Errors
/// As for [`load`].
pub fn load_file(path: &Path) -> Result<Option<PolicyFile>, Error> {
    load_text(path)?.map(|text| parse(path, &text)).transpose()
}

/// Reads a policy file's text as it stands, for editing; none where there is no file.
///
/// # Errors
/// [`Error::Io`].
pub fn load_text(path: &Path) -> Result<Option<String>, Error> {
    read_text(path)
}

/// Reads a policy file's text. Root files that it names are read from disk.
///
/// # Errors
/// As for [`load`].
pub fn parse(path: &Path, text: &str) -> Result<PolicyFile, Error> {
    let shown = path.display().to_string();
    let source = Source { path: &shown, text };
    let parsed = source.parse()?;
    let table = Table::whole(source, &parsed, &["version", "default", "scope", "mirror"])?;
    let version = table.required("version")?;
    if version.positive()? != LANGUAGE {
        return Err(version.invalid(format!("expected {LANGUAGE}, the version of the policy language")));
    }
    let outside = table.field("default").map(|field| field.word(&[("deny", Outside::Deny), ("allow", Outside::Allow)]));
    let tables = |name: &str| table.field(name).map_or(Ok(Vec::new()), |field| field.list());
    let folder = path.parent().unwrap_or(Path::new("."));
    let scopes = tables("scope")?.iter().map(|field| scope(&field.table(&SCOPE)?, folder)).collect::<Result<_, _>>()?;
    let mut mirrors: Vec<Mirror> = Vec::new();
    for field in tables("mirror")? {
        let table = field.table(&["location", "of"])?;
        let mirror = mirror(&table)?;
        if mirrors.iter().any(|other| other.of() == mirror.of()) {
            return Err(table.invalid(format!("`{}` has two mirrors", mirror.of())));
        }
        mirrors.push(mirror);
    }
    Ok(PolicyFile { outside: outside.transpose()?.unwrap_or(Outside::Deny), scopes, mirrors, path: shown })
}

fn scope(table: &Table<'_>, folder: &Path) -> Result<Scope, Error> {
    let flag = |name: &str| table.field(name).map_or(Ok(false), |field| field.flag());
    let span = |name: &str| table.field(name).map(|field| duration(&field)).transpose();
    let modes = [("enforce", Mode::Enforce), ("audit", Mode::Audit), ("off", Mode::Off)];
    let pinned = [("signed", Pinned::Signed), ("current", Pinned::Current)];
    let signers = table.field("signers").map(|field| field.texts(signer)).transpose()?;
    Ok(Scope {
        line: table.line(),
        images: table.required("images")?.texts(Field::parsed)?,
        mode: table.field("mode").map_or(Ok(Mode::Enforce), |field| field.word(&modes))?,
        root: table.field("root").map(|field| root(&field, folder)).transpose()?,
        signers: signers.map(BTreeSet::from_iter),
        tags: table.field("tags").map(|field| field.texts(Field::parsed)).transpose()?,
        pinned: table.field("pinned").map(|field| field.word(&pinned)).transpose()?,
        superseded_for: span("superseded_for")?,
        max_timestamp_life: span("max_timestamp_life")?,
        require_memory: flag("require_memory")?,
        allow_override: flag("allow_override")?,
        trust_repository: table.field("trust_repository").map(|field| field.parsed()).transpose()?,
    })
}

fn duration(field: &Field<'_>) -> Result<SignedDuration, Error> {
    parse_duration(field.text()?).map_err(|message| field.invalid(message))
}

/// The name of a targets role: `targets` itself, or one that it delegates to.
fn signer(field: &Field<'_>) -> Result<String, Error> {
    let text = field.text()?;
    let is_targets_role = text == RoleKind::Targets.as_str() || RoleName::delegated(text).is_some();
    if is_targets_role {
        Ok(text.to_owned())
    } else {
        Err(field.invalid(format!("`{}` is no signer's name", text.escape_debug())))
    }
}

fn root(field: &Field<'_>, folder: &Path) -> Result<Pin, Error> {
    let table = field.table(&["keys", "threshold", "min_version", "file"])?;
    if let Some(file) = table.field("file") {
        if let Some(other) = ["keys", "threshold", "min_version"].into_iter().find_map(|name| table.field(name)) {
            return Err(other.invalid("it cannot stand beside `file`, which says it"));
        }
        let path = folder.join(file.text()?);
        let missing = || file.invalid(format!("there is no file `{}`", path.display()));
        let bytes = read_bytes(&path).map_err(|error| file.invalid(error.to_string()))?.ok_or_else(missing)?;
        return Ok(Pin::File(RootFile { path: path.display().to_string(), bytes }));
    }
    let keys = table.required("keys")?;
    let ids = keys.texts(|entry| KeyId::new(entry.text()?).ok_or_else(|| entry.invalid("expected a key id")))?;
    let threshold = match table.field("threshold") {
        Some(field) => usize::try_from(field.positive()?).map_err(|_| field.invalid("the number is too large"))?,
        None if ids.len() == 1 => 1,
        None => return Err(table.invalid("several keys need a `threshold`")),
    };
    let min_version = table.field("min_version").map_or(Ok(1), |field| field.positive())?;
    let min_version = Version::new(min_version).unwrap_or(Version::ONE);
    RootKeys::new(ids.into_iter().collect(), threshold, min_version)
        .map(Pin::Keys)
        .map_err(|message| keys.invalid(message))
}

fn mirror(table: &Table<'_>) -> Result<Mirror, Error> {
    let (location, of) = (table.required("location")?, table.required("of")?);
    Mirror::new(location.text()?, of.text()?).map_err(|message| table.invalid(message))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(text: &str) -> Result<PolicyFile, Error> {
        parse(Path::new("/p/policy.toml"), text)
    }

    fn id(letter: &str) -> String {
        letter.repeat(64)
    }

    #[test]
    fn the_whole_language_is_read() {
        let text = format!(
            r#"
version = 1
default = "allow"
[[scope]]
images = ["registry.example.com/acme/**", "alpine"]
mode   = "audit"
root   = {{ keys = ["{a}", "{b}"], threshold = 2, min_version = 3 }}
signers = ["releases", "targets"]
tags    = ["release-*"]
pinned  = "current"
superseded_for = "30d"
max_timestamp_life = "14d"
require_memory = true
allow_override = true
trust_repository = "registry.example.com/acme/trust"
[[scope]]
images = ["other.example/app"]
root.keys = ["{a}"]
[[mirror]]
location = "mirror.internal/acme"
of = "registry.example.com/acme"
[[mirror]]
location = "oci:/srv/app"
of = "registry.example.com/acme/app"
"#,
            a = id("a"),
            b = id("b")
        );
        let file = read(&text).unwrap();
        assert_eq!((file.path.as_str(), file.outside), ("/p/policy.toml", Outside::Allow));
        let scope = &file.scopes[0];
        assert_eq!((scope.line, scope.images[1].as_str()), (4, "docker.io/library/alpine"));
        let Some(Pin::Keys(keys)) = &scope.root else { panic!("{scope:?}") };
        assert_eq!((keys.keys().len(), keys.threshold(), keys.min_version().get()), (2, 2, 3));
        assert_eq!(scope.signers, Some(["releases".to_owned(), "targets".to_owned()].into()));
        assert_eq!((scope.mode, scope.pinned, scope.require_memory), (Mode::Audit, Some(Pinned::Current), true));
        assert_eq!(scope.superseded_for, Some(SignedDuration::from_hours(720)));
        assert_eq!(scope.max_timestamp_life, Some(SignedDuration::from_hours(336)));
        assert!(scope.allow_override && scope.trust_repository.is_some() && scope.tags.is_some());
        let plain = &file.scopes[1];
        assert_eq!((plain.mode, plain.pinned, plain.allow_override), (Mode::Enforce, None, false));
        let Some(Pin::Keys(keys)) = &plain.root else { panic!("{plain:?}") };
        assert_eq!((keys.threshold(), keys.min_version()), (1, Version::ONE));
        let policy = Policy { files: vec![file] };
        let location = policy.location_of(&"registry.example.com/acme/x".parse().unwrap()).unwrap();
        assert_eq!(location.to_string(), "mirror.internal/acme/x");
        assert!(policy.name_of_layout("/srv/app").unwrap().is_some());
    }

    #[test]
    fn a_file_that_says_no_default_denies() {
        assert_eq!(read("version = 1").unwrap().outside, Outside::Deny);
    }

    #[test]
    fn what_is_wrong_is_told_with_file_line_and_field() {
        let a = id("a");
        let scope = |rest: &str| format!("version = 1\n[[scope]]\nimages = [\"h.example/app\"]\n{rest}");
        let with_root = |root: &str| scope(&format!("root = {{ {root} }}"));
        for (text, message) in [
            (String::new(), "`/p/policy.toml` line 1, `version`: the field is missing"),
            ("version = 2".to_owned(), "line 1, `version`: expected 1"),
            ("version = \"1\"".to_owned(), "line 1, `version`: expected a positive integer, found a text"),
            ("version = 1\ndefault = \"permit\"".to_owned(), "line 2, `default`: expected `deny` or `allow`"),
            ("version = 1\nscope = 1".to_owned(), "line 2, `scope`: expected a list, found an integer"),
            ("version = 1\nscope = [1]".to_owned(), "line 2, `scope`: expected a table"),
            ("version = 1\n[scope]\n".to_owned(), "line 2, `scope`: expected a list, found a table"),
            ("version = 1\n[[scope]]\n".to_owned(), "line 2, `scope.images`: the field is missing"),
            ("version = 1\n[[scope]]\nimages = []".to_owned(), "line 3, `scope.images`: the list is empty"),
            ("version = 1\n[[scope]]\nimages = [\"a/*\"]".to_owned(), "line 3, `scope.images`: `a/*` is no pattern"),
            (scope("mod = \"off\""), "line 4, `scope.mod`: unknown field"),
            (scope("via = \"dct\""), "line 4, `scope.via`: unknown field"),
            (scope("mode = \"warn\""), "line 4, `scope.mode`: expected `enforce` or `audit` or `off`"),
            (scope("signers = []"), "line 4, `scope.signers`: the list is empty"),
            (scope("signers = [\"root\"]"), "line 4, `scope.signers`: `root` is no signer's name"),
            (scope("signers = [\"a\",\n \"a\"]"), "line 5, `scope.signers`: `a` stands twice"),
            (scope("tags = [\"a b\"]"), "line 4, `scope.tags`: `a b` is no pattern of tags"),
            (scope("pinned = true"), "line 4, `scope.pinned`: expected a text, found true or false"),
            (scope("superseded_for = \"1 month\""), "line 4, `scope.superseded_for`: `1 month` is no span"),
            (scope("require_memory = \"yes\""), "line 4, `scope.require_memory`: expected true or false"),
            (scope("trust_repository = \"a:1\""), "line 4, `scope.trust_repository`: `a:1` names a tag"),
            (scope("root = 1"), "line 4, `scope.root`: expected a table"),
            (with_root(""), "line 4, `scope.root.keys`: the field is missing"),
            (with_root("key = 1"), "line 4, `scope.root.key`: unknown field"),
            (with_root("keys = [\"abc\"]"), "line 4, `scope.root.keys`: `abc` is no key id"),
            (with_root(&format!("keys = [\"{a}\", \"{a}\"], threshold = 2")), "stands twice"),
            (with_root(&format!("keys = [\"{a}\"], threshold = 2")), "threshold 2 cannot be met by 1 distinct keys"),
            (with_root(&format!("keys = [\"{a}\"], threshold = 0")), "`scope.root.threshold`: expected a positive"),
            (with_root(&format!("keys = [\"{a}\"], threshold = -1")), "`scope.root.threshold`: expected a positive"),
            (with_root(&format!("keys = [\"{a}\"], threshold = 1.0")), "found a number with a fraction"),
            (with_root(&format!("keys = [\"{a}\"], min_version = 0")), "`scope.root.min_version`: expected a positive"),
            (with_root(&format!("keys = [\"{a}\", \"{}\"]", id("b"))), "`scope.root`: several keys need a `threshold`"),
            (with_root("file = \"r.json\", threshold = 1"), "`scope.root.threshold`: it cannot stand beside `file`"),
            (with_root("file = \"none.json\""), "`scope.root.file`: there is no file `/p/none.json`"),
            ("version = 1\n[[mirror]]\nof = \"h.example\"".to_owned(), "line 2, `mirror.location`: the field is missing"),
            ("version = 1\n[[mirror]]\nof = \"h\"\nlocation = \"m.example\"".to_owned(), "line 2, `mirror`: `h` is no"),
            (
                "version = 1\n[[mirror]]\nof = \"h.x\"\nlocation = \"m.x\"\n[[mirror]]\nof = \"H.x\"\nlocation = \"n.x\"".to_owned(),
                "line 5, `mirror`: `h.x` has two mirrors",
            ),
            ("version = 1\n[[scope]\n".to_owned(), "line 2: "),
        ] {
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains(message), "{error}\nwas expected to say: {message}");
        }
    }

    #[test]
    fn a_root_file_lies_beside_its_policy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.toml");
        fs::write(folder.path().join("root.json"), b"{\"signed\":1}").unwrap();
        let text = "version = 1\n[[scope]]\nimages = [\"h.example/a\"]\nroot = { file = \"root.json\" }";
        let file = parse(&path, text).unwrap();
        let Some(Pin::File(root)) = &file.scopes[0].root else { panic!("{file:?}") };
        assert_eq!(root.bytes, b"{\"signed\":1}");
        assert!(parse(&folder.path().join("below/policy.toml"), text).is_err());
        fs::create_dir(folder.path().join("folder.json")).unwrap();
        assert!(
            parse(&path, &text.replace("root.json", "folder.json")).unwrap_err().to_string().contains("plain file")
        );
    }

    #[test]
    fn files_are_read_in_order_and_a_missing_extra_one_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let folders = Folders { home: at("home"), config: Some(at("user")), system: at("system") };
        assert_eq!(load(&folders, &[]).unwrap(), Policy::default());
        assert!(matches!(load(&folders, &[at("none.toml")]), Err(Error::Io { .. })));
        for name in ["user", "system"] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("policy.toml"), "version = 1").unwrap();
        }
        fs::write(at("extra.toml"), "version = 1\ndefault = \"allow\"").unwrap();
        let policy = load(&folders, &[at("extra.toml")]).unwrap();
        let paths = ["system/policy.toml", "user/policy.toml", "extra.toml"].map(|name| at(name).display().to_string());
        assert_eq!(policy.files.iter().map(|file| file.path.clone()).collect::<Vec<_>>(), paths);
        // One bad file spoils all: it might have been the strict one.
        fs::write(at("system/policy.toml"), "version = 1\nscop = 1").unwrap();
        assert!(matches!(load(&folders, &[]), Err(Error::Invalid { line: 2, .. })));
        fs::write(at("system/policy.toml"), vec![b'#'; 2 << 20]).unwrap();
        assert!(matches!(load(&folders, &[]), Err(Error::Io { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_linked_policy_is_read_and_a_link_to_nowhere_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::write(at("real.toml"), "version = 1").unwrap();
        std::os::unix::fs::symlink(at("real.toml"), at("link.toml")).unwrap();
        std::os::unix::fs::symlink(at("gone.toml"), at("dangling.toml")).unwrap();
        assert!(load_file(&at("link.toml")).unwrap().is_some());
        assert!(load_file(&at("dangling.toml")).is_err());
        assert_eq!(load_file(&at("none.toml")), Ok(None));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(version = 1\n)?(\\[\\[scope\\]\\]\n)?[a-z\\[\\]{}=\"'.#0-9\n é]{0,80}") {
            let _ = read(&text);
        }
    }
}
