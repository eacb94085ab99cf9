//! Pins: which root the policy trusts for which images, written, listed and taken back.
//!
//! - An edit keeps what stands in the file: order, comments, layout. It is made under a lock, read back by the same
//!   reader that every verification uses, and only then put in place.
//! - Adding the same pin twice changes nothing. Another root for the same images is refused unless asked for, since it
//!   is what an attacker would want to have written.
//! - A scope for several patterns is never changed for all of them at the word for one: that one is taken out, with a
//!   copy of everything else that the scope says.

mod edit;

use std::fs;
use std::path::{Path, PathBuf};

use crate::config;
use crate::store::{self, atomic, lock};
use crate::trust::policy::{ImagePattern, Pin, Policy, PolicyFile, RootKeys, Scope};

/// What stands in a policy file that is made.
const HEAD: &str = "\
# Which root keys are trusted for which images; `boltseal trust` edits it and keeps your comments.
version = 1
default = \"deny\"
";
/// A policy is no secret, and the system's binds users who must be able to read it.
const FILE_MODE: u32 = 0o644;

/// What is to be done where the images have another root already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherRoot {
    /// Refuse.
    Refuse,
    /// Put the new one in its place.
    Replace,
}

/// What an addition did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The same pin was there.
    Unchanged,
    /// A pin was written where there was none.
    Added,
    /// A pin was written in the place of another.
    Replaced,
}

/// The outcome of [`add`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// The file that holds the pin.
    pub path: PathBuf,
    /// What was done.
    pub change: Change,
    /// The wider scope of the same file that decided the image before and does so no longer, with whatever it says of
    /// signers and tags: pattern and line. Only for a whole image name.
    pub shadows: Option<(String, usize)>,
}

/// One scope with its file, for listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed<'a> {
    /// The file.
    pub file: &'a str,
    /// The scope.
    pub scope: &'a Scope,
}

/// Why a pin cannot be written or taken back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The policy file cannot be read or understood.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The policy file cannot be written, or another process holds it.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The images have another root.
    #[error("`{path}` line {line} trusts another root for `{images}`")]
    Conflict {
        /// The file.
        path: String,
        /// The line of the scope.
        line: usize,
        /// The pattern.
        images: String,
    },
    /// No scope has these images.
    #[error("`{path}` has no scope for `{images}`")]
    NotThere {
        /// The file.
        path: String,
        /// The pattern.
        images: String,
    },
    /// The file is a policy, but written so that an edit would not say what is meant.
    #[error("`{path}` cannot be edited: expected every scope as a `[[scope]]` table with a list `images`")]
    Shape {
        /// The file.
        path: String,
    },
}

/// Writes a pin for the images into a policy file, which is made where it is missing.
///
/// The pin is to hold all root keys and the root's own threshold: fewer could not be met, or would trust fewer.
///
/// # Errors
/// [`Error::Conflict`] where the images have another root and `other` says to refuse; the others as they say.
pub fn add(path: &Path, images: &ImagePattern, pin: &RootKeys, other: OtherRoot) -> Result<Added, Error> {
    let draft = Draft::open(path, Missing::Create)?;
    let added = |change, shadows| Added { path: draft.path.clone(), change, shadows };
    let Some((at, scope)) = draft.scope_of(images) else {
        let name = images.whole_name();
        let wider = name.and_then(|name| draft.file.governing(&name).ok().flatten());
        let shadows = wider.map(|(scope, pattern)| (pattern.to_string(), scope.line));
        draft.save(edit::append(&draft.text, images, pin), images, Some(pin))?;
        return Ok(added(Change::Added, shadows));
    };
    let change = match &scope.root {
        Some(Pin::Keys(keys)) if keys == pin => return Ok(added(Change::Unchanged, None)),
        None => Change::Added,
        Some(_) if other == OtherRoot::Replace => Change::Replaced,
        Some(_) => {
            let path = draft.path.display().to_string();
            return Err(Error::Conflict { path, line: scope.line, images: images.to_string() });
        }
    };
    draft.save(edit::set_root(&draft.text, at, images, pin), images, Some(pin))?;
    Ok(added(change, None))
}

/// Takes the scope of the images out of a policy file. Wider scopes, other files and the default decide them then.
///
/// Returns the path of the file.
///
/// # Errors
/// [`Error::NotThere`] where no scope has exactly these images; the others as they say.
pub fn remove(path: &Path, images: &ImagePattern) -> Result<PathBuf, Error> {
    let not_there = || Error::NotThere { path: path.display().to_string(), images: images.to_string() };
    if fs::symlink_metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        return Err(not_there());
    }
    let draft = Draft::open(path, Missing::Refuse)?;
    let (at, _) = draft.scope_of(images).ok_or_else(not_there)?;
    draft.save(edit::remove(&draft.text, at, images), images, None)?;
    Ok(draft.path.clone())
}

/// Every scope of every file, in their order.
pub fn list(policy: &Policy) -> Vec<Listed<'_>> {
    let mut listed = Vec::new();
    for PolicyFile { path: file, scopes, .. } in &policy.files {
        listed.extend(scopes.iter().map(|scope| Listed { file, scope }));
    }
    listed
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Create,
    Refuse,
}

/// A policy file under its lock, with what it says now.
struct Draft {
    /// The file itself, where the path given was a link to it.
    path: PathBuf,
    text: String,
    file: PolicyFile,
    _lock: fs::File,
}

impl Draft {
    fn open(path: &Path, missing: Missing) -> Result<Self, Error> {
        let io = |action, message: String| store::Error::Io { action, path: path.display().to_string(), message };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        if missing == Missing::Create {
            fs::create_dir_all(folder).map_err(|error| io("create", error.to_string()))?;
        }
        // People keep their settings in linked folders; a rename over the link would cut it.
        let path = if fs::symlink_metadata(path).is_ok() {
            fs::canonicalize(path).map_err(|error| io("read", error.to_string()))?
        } else {
            let folder = fs::canonicalize(folder).map_err(|error| io("read", error.to_string()))?;
            folder.join(path.file_name().ok_or_else(|| io("write", "it names no file".to_owned()))?)
        };
        let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let lock = lock::lock(&path.with_file_name(format!(".{file_name}.lock")), lock::LOCK_WAIT)?;
        let text = config::policy::load_text(&path)?.unwrap_or_else(|| HEAD.to_owned());
        let file = config::policy::parse(&path, &text)?;
        Ok(Self { path, text, file, _lock: lock })
    }

    fn scope_of(&self, images: &ImagePattern) -> Option<(usize, &Scope)> {
        self.file.scopes.iter().enumerate().find(|(_, scope)| scope.images.contains(images))
    }

    /// Puts an edit in place, once it reads back as what is meant: the images with this pin, or without a scope.
    fn save(&self, text: Option<String>, images: &ImagePattern, pin: Option<&RootKeys>) -> Result<(), Error> {
        let shape = || Error::Shape { path: self.path.display().to_string() };
        let text = text.ok_or_else(shape)?;
        let file = config::policy::parse(&self.path, &text)?;
        let mut scopes = file.scopes.iter().filter(|scope| scope.images.contains(images));
        let meant = match (scopes.next(), pin) {
            (Some(Scope { root: Some(Pin::Keys(keys)), .. }), Some(pin)) => keys == pin,
            (None, None) => true,
            _ => false,
        };
        if !meant || scopes.next().is_some() {
            return Err(shape());
        }
        Ok(atomic::replace(&self.path, text.as_bytes(), FILE_MODE)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::policy::Mode;
    use crate::trust::{KeyId, Version};

    fn pin(letters: &str, threshold: usize) -> RootKeys {
        let keys = letters.chars().map(|letter| KeyId::new(&letter.to_string().repeat(64)).unwrap());
        RootKeys::new(keys.collect(), threshold, Version::ONE).unwrap()
    }

    fn images(text: &str) -> ImagePattern {
        text.parse().unwrap()
    }

    fn short(text: &str) -> String {
        text.replace(&"a".repeat(64), "<a>").replace(&"b".repeat(64), "<b>")
    }

    /// The line of a pin with one key.
    fn root(letter: char) -> String {
        format!("root = {{ keys = [\"<{letter}>\"], threshold = 1, min_version = 1 }}\n")
    }

    /// A policy file in a folder of its own; `<a>` stands for a key id.
    struct Bench(tempfile::TempDir);

    impl Bench {
        fn new(text: &str) -> Self {
            let bench = Self(tempfile::tempdir().unwrap());
            let full = text.replace("<a>", &"a".repeat(64)).replace("<b>", &"b".repeat(64));
            fs::write(bench.path(), full).unwrap();
            bench
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("policy.toml")
        }

        fn text(&self) -> String {
            short(&fs::read_to_string(self.path()).unwrap())
        }

        fn policy(&self) -> Policy {
            Policy { files: vec![config::policy::load_file(&self.path()).unwrap().unwrap()] }
        }

        fn add(&self, pattern: &str, pin: &RootKeys) -> Result<Added, Error> {
            add(&self.path(), &images(pattern), pin, OtherRoot::Refuse)
        }

        fn replace(&self, pattern: &str, pin: &RootKeys) -> Result<Added, Error> {
            add(&self.path(), &images(pattern), pin, OtherRoot::Replace)
        }
    }

    const COMMENTED: &str = r#"# mine
version = 1   # the language
default = "deny"

# the shop
[[scope]]
images = ["h.example/shop/**", "h.example/till"] # both
mode   = "audit"
root   = { keys = ["<a>"], threshold = 1 }
tags   = ["v*"]

[[mirror]]   # near
location = "m.example"
of = "h.example"
"#;

    #[test]
    fn a_missing_file_is_made_with_its_folder() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("config/boltseal/policy.toml");
        let added = add(&path, &images("h.example/app"), &pin("ab", 2), OtherRoot::Refuse).unwrap();
        assert_eq!((added.change, added.shadows), (Change::Added, None));
        let expected = format!(
            "{HEAD}\n[[scope]]\nimages = [\"h.example/app\"]\nmode = \"enforce\"\nroot = {{ keys = [\"<a>\", \"<b>\"], threshold = 2, min_version = 1 }}\n"
        );
        assert_eq!(short(&fs::read_to_string(&path).unwrap()), expected);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        }
        let policy = Policy { files: vec![config::policy::load_file(&path).unwrap().unwrap()] };
        let ruling = policy.rule(&"h.example/app".parse().unwrap()).unwrap();
        assert_eq!((ruling.mode, ruling.pins), (Mode::Enforce, vec![Pin::Keys(pin("ab", 2))]));
    }

    #[test]
    fn an_addition_keeps_everything_that_stands_in_the_file() {
        let bench = Bench::new(COMMENTED);
        bench.add("h.example/app", &pin("b", 1)).unwrap();
        let new = format!("\n[[scope]]\nimages = [\"h.example/app\"]\nmode = \"enforce\"\n{}", root('b'));
        let text = bench.text();
        assert!(text.contains(&new), "{text}");
        assert_eq!(text.replacen(&new, "", 1), COMMENTED);
    }

    #[test]
    fn the_same_pin_twice_changes_nothing() {
        let bench = Bench::new(COMMENTED);
        for pattern in ["h.example/till", "h.example:443/till", "h.example/shop/**"] {
            assert_eq!(bench.add(pattern, &pin("a", 1)).unwrap().change, Change::Unchanged);
        }
        assert_eq!(bench.text(), COMMENTED);
    }

    #[test]
    fn another_root_is_refused_unless_asked_for() {
        let bench = Bench::new(COMMENTED);
        let error = bench.add("h.example/till", &pin("b", 1)).unwrap_err();
        assert!(matches!(&error, Error::Conflict { line: 6, images, .. } if images == "h.example/till"), "{error}");
        assert_eq!(bench.text(), COMMENTED);
        assert_eq!(bench.replace("h.example/till", &pin("b", 1)).unwrap().change, Change::Replaced);
        // The other pattern of the scope keeps its root, and both keep their tags and mode.
        for (name, letter) in [("h.example/till", "b"), ("h.example/shop/x", "a")] {
            let ruling = bench.policy().rule(&name.parse().unwrap()).unwrap();
            assert_eq!((ruling.mode, &ruling.pins), (Mode::Audit, &vec![Pin::Keys(pin(letter, 1))]), "{name}");
            assert!(!ruling.allows_tag(&"x".parse().unwrap()), "{name}");
        }
        assert!(bench.text().starts_with("# mine\nversion = 1   # the language\n"));
    }

    #[test]
    fn a_root_is_replaced_in_place_where_the_scope_has_one_pattern() {
        let head = "version = 1\n[[scope]] # here\nimages = [\"alpine\"]\n";
        let bench = Bench::new(&format!("{head}root.keys = [\"<a>\"]\nroot.threshold = 1\n# end\n"));
        bench.replace("docker.io/library/alpine", &pin("b", 1)).unwrap();
        assert_eq!(bench.text(), format!("{head}{}# end\n", root('b')));
        bench.replace("alpine", &pin("a", 1)).unwrap();
        assert_eq!(bench.text(), format!("{head}{}# end\n", root('a')));
    }

    #[test]
    fn a_scope_without_a_root_gains_one() {
        let text = "version = 1\n[[scope]]\nimages = [\"h.example/a\"]\ntags = [\"v*\"]\n";
        let bench = Bench::new(text);
        assert_eq!(bench.add("h.example/a", &pin("a", 1)).unwrap().change, Change::Added);
        assert_eq!(bench.text(), format!("{text}{}", root('a')));
    }

    #[test]
    fn a_narrower_scope_says_what_it_shadows() {
        let bench = Bench::new(COMMENTED);
        let added = bench.add("h.example/shop/app", &pin("b", 1)).unwrap();
        assert_eq!(added.shadows, Some(("h.example/shop/**".to_owned(), 6)));
        assert_eq!(bench.add("h.example/other", &pin("b", 1)).unwrap().shadows, None);
    }

    #[test]
    fn removing_takes_one_pattern_and_the_scope_with_the_last() {
        for (first, second) in [("h.example/till", "h.example/shop/**"), ("h.example/shop/**", "h.example/till")] {
            let bench = Bench::new(COMMENTED);
            remove(&bench.path(), &images(first)).unwrap();
            let list = "\"h.example/shop/**\", \"h.example/till\"";
            assert_eq!(bench.text(), COMMENTED.replace(list, &format!("\"{second}\"")));
            remove(&bench.path(), &images(second)).unwrap();
            let file = &bench.policy().files[0];
            assert_eq!((file.scopes.len(), file.mirrors.len()), (0, 1));
            assert!(bench.text().starts_with("# mine\nversion = 1   # the language\n"), "{}", bench.text());
            assert!(matches!(remove(&bench.path(), &images(first)), Err(Error::NotThere { .. })));
        }
    }

    #[test]
    fn removing_from_a_file_that_is_not_there_makes_none() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("none/policy.toml");
        assert!(matches!(remove(&path, &images("h.example/till")), Err(Error::NotThere { .. })));
        assert!(!path.parent().unwrap().exists());
    }

    #[test]
    fn a_file_that_cannot_be_understood_or_edited_is_left_alone() {
        let bench = Bench::new("version = 1\nscop = 1\n");
        assert!(matches!(bench.add("h.example/a", &pin("a", 1)), Err(Error::Config(_))));
        assert_eq!(bench.text(), "version = 1\nscop = 1\n");
        let inline = "version = 1\nscope = [{ images = [\"h.example/a\"] }]\n";
        let bench = Bench::new(inline);
        for pattern in ["h.example/a", "h.example/b"] {
            assert!(matches!(bench.add(pattern, &pin("a", 1)), Err(Error::Shape { .. })));
        }
        assert_eq!(bench.text(), inline);
        // Two scopes for the same images would still tie after the edit.
        let twice = "version = 1\n[[scope]]\nimages = [\"h.example/a\"]\n[[scope]]\nimages = [\"h.example/a\"]\n";
        let bench = Bench::new(twice);
        assert!(matches!(bench.add("h.example/a", &pin("a", 1)), Err(Error::Shape { .. })));
        assert_eq!(bench.text(), twice);
    }

    #[test]
    fn a_version_that_toml_cannot_hold_is_not_written_smaller() {
        let bench = Bench::new("version = 1\n");
        let huge = RootKeys::new(pin("a", 1).keys().clone(), 1, Version::new(u64::MAX).unwrap()).unwrap();
        assert!(bench.add("h.example/a", &huge).is_err());
        assert_eq!(bench.text(), "version = 1\n");
    }

    #[cfg(unix)]
    #[test]
    fn a_linked_file_is_edited_where_it_lies_and_keeps_its_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let bench = Bench::new("version = 1\n");
        fs::set_permissions(bench.path(), fs::Permissions::from_mode(0o600)).unwrap();
        let link = bench.0.path().join("link.toml");
        std::os::unix::fs::symlink(bench.path(), &link).unwrap();
        add(&link, &images("h.example/a"), &pin("a", 1), OtherRoot::Refuse).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(bench.text().contains("h.example/a"));
        assert_eq!(fs::metadata(bench.path()).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn additions_at_once_lose_nothing() {
        let bench = Bench::new("version = 1\n");
        std::thread::scope(|scope| {
            for at in 0..8 {
                let bench = &bench;
                scope.spawn(move || bench.add(&format!("h.example/app{at}"), &pin("a", 1)).unwrap());
            }
        });
        assert_eq!(list(&bench.policy()).len(), 8);
    }

    #[test]
    fn the_list_has_every_scope_with_its_file() {
        let policy = Bench::new(COMMENTED).policy();
        let listed = list(&policy);
        assert_eq!((listed.len(), listed[0].scope.line), (1, 6));
        assert!(listed[0].file.ends_with("policy.toml"));
    }
}
