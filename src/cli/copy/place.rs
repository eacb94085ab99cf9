//! What SRC and DST mean on the command line.

use std::path::PathBuf;
use std::str::FromStr;

use crate::cli::image::{ImageArgError, LayoutArg};
use crate::image::{Reference, ReferenceError, Tag};

/// What a bundle begins with.
const BUNDLE: &str = "bundle:";

/// SRC: `name[:tag]`, `oci:FOLDER[:TAG]` or `bundle:FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceArg {
    /// In a registry; without a digest.
    Registry(Reference),
    /// In an OCI image layout.
    Layout(LayoutArg),
    /// In a bundle.
    Bundle(PathBuf),
}

impl SourceArg {
    /// The tag that it names.
    pub fn tag(&self) -> Option<&Tag> {
        match self {
            Self::Registry(reference) => reference.tag.as_ref(),
            Self::Layout(layout) => layout.tag.as_ref(),
            Self::Bundle(_) => None,
        }
    }
}

impl FromStr for SourceArg {
    type Err = ImageArgError;

    fn from_str(text: &str) -> Result<Self, ImageArgError> {
        match text.strip_prefix(BUNDLE) {
            Some("") => Err(ImageArgError::Layout { expected: "bundle:FILE" }),
            Some(file) => Ok(Self::Bundle(file.into())),
            None if text.starts_with("oci:") => Ok(Self::Layout(text.parse()?)),
            None => Ok(Self::Registry(without_digest(text)?)),
        }
    }
}

/// DST: `name` or `oci:FOLDER`; a tag only repeats the one of SRC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DestinationArg {
    /// In a registry; without a digest.
    Registry(Reference),
    /// In an OCI image layout.
    Layout(LayoutArg),
}

impl DestinationArg {
    /// The tag that it names.
    pub fn tag(&self) -> Option<&Tag> {
        match self {
            Self::Registry(reference) => reference.tag.as_ref(),
            Self::Layout(layout) => layout.tag.as_ref(),
        }
    }
}

impl FromStr for DestinationArg {
    type Err = ImageArgError;

    fn from_str(text: &str) -> Result<Self, ImageArgError> {
        if text.starts_with("oci:") {
            return Ok(Self::Layout(text.parse()?));
        }
        Ok(Self::Registry(without_digest(text)?))
    }
}

/// Trust data are about tags; an image without one has nothing to be signed under at the destination.
fn without_digest(text: &str) -> Result<Reference, ImageArgError> {
    let reference: Reference = text.parse()?;
    if reference.digest.is_some() {
        return Err(ReferenceError::NotBare(text.to_owned()).into());
    }
    Ok(reference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_name_a_layout_or_a_bundle() {
        let tag = |text: &str| text.parse::<SourceArg>().map(|source| source.tag().map(ToString::to_string));
        assert_eq!(tag("h.x/app:1"), Ok(Some("1".to_owned())));
        assert_eq!(tag("h.x/app"), Ok(None));
        assert_eq!(tag("oci:a/b:1"), Ok(Some("1".to_owned())));
        assert_eq!("bundle:a:b.tar".parse(), Ok(SourceArg::Bundle("a:b.tar".into())));
        let digest = format!("h.x/app@sha256:{}", "a".repeat(64));
        for text in ["bundle:", "oci:", &digest] {
            assert!(text.parse::<SourceArg>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_destination_is_a_name_or_a_layout() {
        assert!(matches!("h.x/app".parse(), Ok(DestinationArg::Registry(_))));
        assert!(matches!("oci:/x".parse(), Ok(DestinationArg::Layout(_))));
        // A name like any other, and no bundle: one tag short of being understood.
        assert!("bundle:/a.tar".parse::<DestinationArg>().is_err());
    }
}
