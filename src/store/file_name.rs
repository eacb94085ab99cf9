//! Names of metadata files in a memory, and of the folders that keep them. Nothing else ever becomes a path.

use sha2::{Digest as _, Sha256};

use super::Error;
use crate::image::ImageName;

/// Longest file or folder name used as it is, in bytes; most file systems allow 255. A longer one is kept under a hash.
const MAX_PLAIN: usize = 200;
/// How much of a long folder name stays readable, in bytes.
const KEPT_OF_LONG: usize = 100;
/// Longest metadata file name accepted: three bytes for each byte of the longest role name, and the rest.
const MAX_NAME: usize = 700;
/// Marks a name that a hash shortens; it is no character of any plain name.
const HASHED: char = '~';

/// A checked metadata file name: `<name>.json`, or `roles/<name>.json`.
///
/// The role names in it come from a registry, so a name that could leave its folder (path traversal), hide (a leading
/// dot) or meet one of our own files is refused, whoever asks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileName<'a> {
    name: &'a str,
    /// The part below `roles/`, where that is where it lies.
    leaf: &'a str,
    in_roles: bool,
}

impl<'a> FileName<'a> {
    /// Checks a name.
    pub(super) fn new(name: &'a str) -> Result<Self, Error> {
        let (leaf, in_roles) = name.strip_prefix("roles/").map_or((name, false), |leaf| (leaf, true));
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'%' | b'_' | b'.' | b'-');
        let stem = leaf.strip_suffix(".json").unwrap_or_default();
        if stem.is_empty() || stem.starts_with('.') || name.len() > MAX_NAME || !leaf.bytes().all(plain) {
            return Err(Error::Damaged {
                path: name.escape_debug().to_string(),
                message: "it is no name of a metadata file".to_owned(),
            });
        }
        Ok(Self { name, leaf, in_roles })
    }

    /// The name as asked for.
    pub(super) fn as_str(&self) -> &'a str {
        self.name
    }

    /// Whether the file lies in the folder `roles`.
    pub(super) fn in_roles(&self) -> bool {
        self.in_roles
    }

    /// The name on disk, without a folder.
    pub(super) fn on_disk(&self) -> String {
        if self.leaf.len() > MAX_PLAIN { format!("{HASHED}{}.json", hash(self.leaf)) } else { self.leaf.to_owned() }
    }

    /// Whether the name on disk is a hash, from which the name cannot be read back.
    pub(super) fn is_hashed(&self) -> bool {
        self.leaf.len() > MAX_PLAIN
    }
}

/// The folder of a collection: every byte outside `[a-z0-9._-]` percent-encoded, so that no two names share a folder,
/// also where the file system ignores case. A leading dot is encoded too, and a long name ends in its hash.
pub(super) fn folder_name(collection: &ImageName) -> String {
    use std::fmt::Write as _;
    let name = collection.to_string();
    let mut folder = String::with_capacity(name.len() + 8);
    for (at, byte) in name.bytes().enumerate() {
        let kept = byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
        if kept || (byte == b'.' && at > 0) {
            folder.push(char::from(byte));
        } else {
            write!(folder, "%{byte:02X}").expect("writing to a string does not fail");
        }
    }
    if folder.len() > MAX_PLAIN {
        folder.truncate(KEPT_OF_LONG);
        folder.push(HASHED);
        folder.push_str(&hash(&name));
    }
    folder
}

fn hash(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_folder_or_hide_are_refused() {
        for name in [
            "",
            ".json",
            "..json",
            "roles/.json",
            "../root.json",
            "roles/../root.json",
            "roles/a/b.json",
            "/etc/passwd.json",
            "C:\\x.json",
            "a\0.json",
            "targets",
            "targets.json/",
            "~x.json",
            "é.json",
            "roles/",
        ] {
            assert!(matches!(FileName::new(name), Err(Error::Damaged { .. })), "{name:?}");
        }
        assert!(FileName::new(&format!("{}.json", "x".repeat(700))).is_err());
        for name in ["1.root.json", "timestamp.json", "roles/%2E%2E%2Fx.json", "roles/A_b-c.json"] {
            assert_eq!(FileName::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn long_role_names_are_kept_under_a_hash() {
        let long = format!("roles/{}.json", "%C3%A9".repeat(100));
        let name = FileName::new(&long).unwrap();
        assert!(name.is_hashed() && name.in_roles());
        assert_eq!(name.on_disk().len(), 1 + 64 + 5);
        assert!(!FileName::new("roles/short.json").unwrap().is_hashed());
    }

    #[test]
    fn folders_are_injective_and_harmless() {
        let folder = |name: &str| folder_name(&name.parse().unwrap());
        assert_eq!(folder("registry.example.com/acme/app"), "registry.example.com%2Facme%2Fapp");
        assert_eq!(folder("127.0.0.1:5000/app"), "127.0.0.1%3A5000%2Fapp");
        assert_eq!(folder("[::1]:5000/app"), "%5B%3A%3A1%5D%3A5000%2Fapp");
        assert_ne!(folder("h.example/a/b"), folder("h.example/a-b"));
        let long = |last: &str| folder(&format!("h.example/{}/{last}", "a".repeat(220)));
        assert_ne!(long("x"), long("y"));
        assert!(long("x").len() < 200);
    }
}
