//! What IMAGE and NAME mean on the command line: something in a registry, or in an OCI image layout on disk.
//!
//! - `oci:FOLDER:TAG` is a layout. The last `:` splits, so FOLDER may contain colons and ports; it is kept as typed.
//! - A layout has no name of its own; the name that is expected of it comes from `--name` or the policy.
//! - Everything else is `name[:tag][@digest]`, normalised as docker does.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::image::{Digest, ImageName, Reference, ReferenceError, Tag};

/// What a layout begins with.
const SCHEME: &str = "oci:";

/// Why an argument names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageArgError {
    /// It is no reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// It begins with `oci:` and goes on wrongly.
    #[error("expected `{expected}` (an image layout on disk)")]
    Layout {
        /// The form that is understood here.
        expected: &'static str,
    },
    /// A digest is given where a layout wants a tag.
    #[error("an image in a layout is named by its tag, not by a digest: expected `oci:FOLDER:TAG`")]
    LayoutDigest,
}

/// IMAGE: `name[:tag][@digest]` or `oci:FOLDER:TAG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageArg {
    /// In a registry.
    Registry(Reference),
    /// In an OCI image layout.
    Layout {
        /// The layout's folder, as typed.
        folder: PathBuf,
        /// The tag in it.
        tag: Tag,
    },
}

impl FromStr for ImageArg {
    type Err = ImageArgError;

    fn from_str(text: &str) -> Result<Self, ImageArgError> {
        match text.strip_prefix(SCHEME) {
            None => Ok(Self::Registry(text.parse()?)),
            Some(layout) => match split_layout(layout, "oci:FOLDER:TAG")? {
                (folder, Some(tag)) => Ok(Self::Layout { folder, tag }),
                (_, None) => Err(ImageArgError::Layout { expected: "oci:FOLDER:TAG" }),
            },
        }
    }
}

impl fmt::Display for ImageArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => reference.fmt(f),
            Self::Layout { folder, tag } => write!(f, "{SCHEME}{}:{tag}", folder.display()),
        }
    }
}

/// NAME: the collection of an image name, without tag or digest, or that of a layout: `oci:FOLDER`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameArg {
    /// In a registry.
    Registry(ImageName),
    /// In an OCI image layout.
    Layout {
        /// The layout's folder, as typed.
        folder: PathBuf,
    },
}

impl FromStr for NameArg {
    type Err = ImageArgError;

    fn from_str(text: &str) -> Result<Self, ImageArgError> {
        match text.strip_prefix(SCHEME) {
            None => Ok(Self::Registry(text.parse()?)),
            Some("") => Err(ImageArgError::Layout { expected: "oci:FOLDER" }),
            Some(folder) => Ok(Self::Layout { folder: folder.into() }),
        }
    }
}

impl fmt::Display for NameArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(name) => name.fmt(f),
            Self::Layout { folder } => write!(f, "{SCHEME}{}", folder.display()),
        }
    }
}

/// The layout that `pull --to` writes: `oci:FOLDER[:TAG]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutArg {
    /// The layout's folder, as typed.
    pub folder: PathBuf,
    /// The tag to set in it; the image's own where there is none.
    pub tag: Option<Tag>,
}

impl FromStr for LayoutArg {
    type Err = ImageArgError;

    fn from_str(text: &str) -> Result<Self, ImageArgError> {
        const EXPECTED: &str = "oci:FOLDER[:TAG]";
        let layout = text.strip_prefix(SCHEME).ok_or(ImageArgError::Layout { expected: EXPECTED })?;
        let (folder, tag) = split_layout(layout, EXPECTED)?;
        Ok(Self { folder, tag })
    }
}

/// Splits at the last `:` that no `/` follows: what comes after such a colon can only be meant as a tag.
fn split_layout(text: &str, expected: &'static str) -> Result<(PathBuf, Option<Tag>), ImageArgError> {
    let (folder, tag) = match text.rsplit_once(':') {
        Some((folder, tag)) if !tag.contains('/') => (folder, Some(tag)),
        _ => (text, None),
    };
    if folder.is_empty() {
        return Err(ImageArgError::Layout { expected });
    }
    let Some(tag) = tag else { return Ok((folder.into(), None)) };
    if folder.ends_with("@sha256") && Digest::from_hex(tag).is_ok() {
        return Err(ImageArgError::LayoutDigest);
    }
    Ok((folder.into(), Some(tag.parse()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_colon_splits_a_layout() {
        let table = [
            ("oci:/var/images:1.0", "/var/images", "1.0"),
            ("oci:images:1.0", "images", "1.0"),
            ("oci:./localhost:5000/app:v1", "./localhost:5000/app", "v1"),
            ("oci:a:b:c", "a:b", "c"),
            ("oci: spaced folder :x", " spaced folder ", "x"),
        ];
        for (given, folder, tag) in table {
            let expected = ImageArg::Layout { folder: folder.into(), tag: tag.parse().unwrap() };
            assert_eq!(given.parse(), Ok(expected), "{given}");
        }
    }

    #[test]
    fn a_layout_without_folder_or_tag_is_refused() {
        let digest = format!("oci:images@sha256:{}", "a".repeat(64));
        for text in
            ["oci:", "oci::", "oci:1.0", "oci::1.0", "oci:images:", "oci:host:5000/app", "oci:images:-x", &digest]
        {
            assert!(text.parse::<ImageArg>().is_err(), "{text}");
        }
        assert_eq!(digest.parse::<ImageArg>(), Err(ImageArgError::LayoutDigest));
    }

    #[test]
    fn everything_else_is_a_reference() {
        let arg: ImageArg = "alpine:3".parse().unwrap();
        assert_eq!(arg.to_string(), "docker.io/library/alpine:3");
        assert!(matches!("Not An Image".parse::<ImageArg>(), Err(ImageArgError::Reference(_))));
    }

    #[test]
    fn a_name_takes_no_tag_and_a_folder_may_hold_colons() {
        assert!("h.x/app:1".parse::<NameArg>().is_err());
        assert_eq!("oci:a:b".parse(), Ok(NameArg::Layout { folder: "a:b".into() }));
        assert!("oci:".parse::<NameArg>().is_err());
    }

    #[test]
    fn the_tag_of_a_written_layout_may_be_left_out() {
        let parse = |text: &str| text.parse::<LayoutArg>().map(|arg| (arg.folder, arg.tag.map(|tag| tag.to_string())));
        assert_eq!(parse("oci:/x"), Ok(("/x".into(), None)));
        assert_eq!(parse("oci:host:5000/x"), Ok(("host:5000/x".into(), None)));
        assert_eq!(parse("oci:/x:1"), Ok(("/x".into(), Some("1".to_owned()))));
        assert!(parse("/x").is_err());
    }
}
