//! Mirrors: where the bytes of an image name come from. A mirror never changes whose image it is.

use std::fmt;

use super::PolicyError;
use super::pattern::host_of;
use crate::image::ImageName;

/// Where bytes are fetched from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Location {
    /// A repository of a registry.
    Repository(ImageName),
    /// An OCI image layout on disk, by the absolute path of its folder.
    Layout(String),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository(name) => name.fmt(f),
            Self::Layout(folder) => write!(f, "oci:{folder}"),
        }
    }
}

/// One `[[mirror]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// Names below one prefix come from below another; both in their normal form.
    Prefix { of: String, location: String },
    /// One name comes from a folder.
    Layout { of: ImageName, folder: String },
}

impl Mirror {
    /// A mirror from its two fields.
    ///
    /// `of` and `location` are a host with or without the beginning of a path, and end at a component; where the
    /// location is `oci:/abs/folder`, `of` is one image name, since a layout holds one collection.
    ///
    /// # Errors
    /// What is wrong with which of them.
    pub fn new(location: &str, of: &str) -> Result<Self, String> {
        if let Some(folder) = location.strip_prefix("oci:") {
            let folder = normal_folder(folder).ok_or_else(|| {
                format!("`{}` is no location: expected `oci:/absolute/folder`", location.escape_debug())
            })?;
            let of = of.parse().map_err(|error| format!("{error}; a layout holds the image of one name"))?;
            return Ok(Self(Kind::Layout { of, folder }));
        }
        let normal = |text: &str| {
            prefix_of(text).ok_or_else(|| {
                format!("`{}` is no beginning of image names: expected `host[:port][/path]`", text.escape_debug())
            })
        };
        let (of, location) = (normal(of)?, normal(location)?);
        if of == location {
            return Err(format!("`{of}` mirrors itself"));
        }
        Ok(Self(Kind::Prefix { of, location }))
    }

    /// The names it is a mirror of, as a prefix in its normal form.
    pub fn of(&self) -> String {
        match &self.0 {
            Kind::Prefix { of, .. } => of.clone(),
            Kind::Layout { of, .. } => of.to_string(),
        }
    }

    /// Where the name's bytes lie by this mirror; none where it says nothing of the name.
    fn apply(&self, name: &ImageName) -> Option<Result<Location, PolicyError>> {
        match &self.0 {
            Kind::Layout { of, folder } => (of == name).then(|| Ok(Location::Layout(folder.clone()))),
            Kind::Prefix { of, location } => {
                let name_text = name.to_string();
                let rest = name_text.strip_prefix(of.as_str())?;
                // A prefix ends at a component: `acme` is none of `acme-evil`.
                if !rest.is_empty() && !rest.starts_with('/') {
                    return None;
                }
                let place = format!("{location}{rest}");
                // A host alone would be read as a name of the hub.
                let parsed = if place.contains('/') { place.parse().ok() } else { None };
                Some(parsed.map(Location::Repository).ok_or_else(|| PolicyError::Mirror {
                    name: name.to_string(),
                    reason: format!("`{place}` is no repository"),
                }))
            }
        }
    }
}

/// Where the bytes of a name come from: by the mirror with the longest `of`, once; of equals, by that of the last file.
pub(super) fn locate<'a>(mirrors: impl Iterator<Item = &'a Mirror>, name: &ImageName) -> Result<Location, PolicyError> {
    let told = mirrors.filter_map(|mirror| Some((mirror.of().len(), mirror.apply(name)?)));
    told.max_by_key(|(length, _)| *length).map_or_else(|| Ok(Location::Repository(name.clone())), |(_, place)| place)
}

/// The one name that some mirror says a layout is of.
pub(super) fn name_of_layout<'a>(
    mirrors: impl Iterator<Item = &'a Mirror>,
    folder: &str,
) -> Result<Option<ImageName>, PolicyError> {
    let Some(folder) = normal_folder(folder) else { return Ok(None) };
    let mut found: Option<&ImageName> = None;
    for mirror in mirrors {
        let Kind::Layout { of, folder: mirrored } = &mirror.0 else { continue };
        if *mirrored != folder {
            continue;
        }
        if let Some(other) = found.filter(|other| *other != of) {
            let reason = format!("`oci:{folder}` is said to be `{other}` too");
            return Err(PolicyError::Mirror { name: of.to_string(), reason });
        }
        found = Some(of);
    }
    Ok(found.cloned())
}

fn normal_folder(folder: &str) -> Option<String> {
    let plain = folder.starts_with('/') && !folder.split('/').any(|part| part == "..") && !folder.contains('\0');
    let parts: Vec<_> = folder.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    (plain && !parts.is_empty()).then(|| format!("/{}", parts.join("/")))
}

fn prefix_of(text: &str) -> Option<String> {
    let (host, path) = text.split_once('/').map_or((text, None), |(host, path)| (host, Some(path)));
    if !(host.contains(['.', ':']) || host == "localhost") {
        return None;
    }
    let host = host_of(host)?;
    let Some(path) = path else { return Some(host) };
    // Two components more, so that docker's `library/` rule does not touch the prefix.
    let below: ImageName = format!("{host}/{path}/x/y").parse().ok()?;
    let path = below.repository().strip_suffix("/x/y")?;
    Some(format!("{host}/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror(location: &str, of: &str) -> Mirror {
        Mirror::new(location, of).unwrap()
    }

    fn located(mirrors: &[Mirror], name: &str) -> String {
        locate(mirrors.iter(), &name.parse().unwrap()).unwrap().to_string()
    }

    #[test]
    fn a_name_without_a_mirror_is_its_own_location() {
        let mirrors = [mirror("mirror.internal/acme", "r.example/acme")];
        assert_eq!(located(&mirrors, "r.example/other/app"), "r.example/other/app");
        assert_eq!(located(&mirrors, "r.example/acme-evil/app"), "r.example/acme-evil/app");
        assert_eq!(located(&[], "alpine"), "docker.io/library/alpine");
    }

    #[test]
    fn the_longest_mirror_wins_and_chains_are_not_followed() {
        let mirrors = [
            mirror("deep.internal/x", "r.example/acme/team"),
            mirror("mirror.internal", "r.example"),
            mirror("mirror.internal/acme", "r.example/acme"),
            mirror("other.internal", "mirror.internal"),
            mirror("oci:/srv/one", "r.example/acme/team/one"),
        ];
        assert_eq!(located(&mirrors, "r.example/a"), "mirror.internal/a");
        assert_eq!(located(&mirrors, "r.example/acme/app"), "mirror.internal/acme/app");
        assert_eq!(located(&mirrors, "r.example/acme/team/app"), "deep.internal/x/app");
        assert_eq!(located(&mirrors, "r.example/acme/team/one"), "oci:/srv/one");
        assert_eq!(located(&mirrors, "r.example/acme/team/one/more"), "deep.internal/x/one/more");
    }

    #[test]
    fn a_later_file_overrides_the_same_mirror() {
        let mirrors = [mirror("one.internal", "r.example"), mirror("two.internal", "r.example")];
        assert_eq!(located(&mirrors, "r.example/app"), "two.internal/app");
    }

    #[test]
    fn the_whole_hub_can_be_mirrored() {
        let mirrors = [mirror("mirror.internal/hub", "docker.io")];
        assert_eq!(located(&mirrors, "alpine"), "mirror.internal/hub/library/alpine");
        let mirrors = [mirror("mirror.internal/hub", "index.docker.io/library")];
        assert_eq!(located(&mirrors, "alpine"), "mirror.internal/hub/alpine");
        assert_eq!(located(&mirrors, "acme/app"), "docker.io/acme/app");
    }

    #[test]
    fn a_place_that_is_no_repository_is_an_error() {
        let mirrors = [mirror("mirror.internal", "r.example/app")];
        let error = locate(mirrors.iter(), &"r.example/app".parse().unwrap()).unwrap_err();
        assert!(matches!(&error, PolicyError::Mirror { .. }), "{error}");
    }

    #[test]
    fn a_layout_has_the_name_that_a_mirror_gives_it() {
        let mirrors = [mirror("oci:/srv/app/", "r.example/app"), mirror("oci:/srv/two", "r.example/two")];
        let name = |folder: &str| name_of_layout(mirrors.iter(), folder).unwrap().map(|name| name.to_string());
        assert_eq!(name("/srv/app").as_deref(), Some("r.example/app"));
        assert_eq!(name("/srv//./two/").as_deref(), Some("r.example/two"));
        assert_eq!(name("/srv"), None);
        assert_eq!(name("srv/app"), None);
        let both = [mirror("oci:/srv/app", "r.example/app"), mirror("oci:/srv/app", "r.example/two")];
        assert!(name_of_layout(both.iter(), "/srv/app").is_err());
    }

    #[test]
    fn what_is_no_mirror_is_refused() {
        for (location, of) in [
            ("mirror.internal", "acme"),
            ("mirror", "r.example/acme"),
            ("mirror.internal/UP", "r.example"),
            ("mirror.internal/", "r.example"),
            ("mirror.internal", "r.example/*"),
            ("mirror.internal", "r.example/app:1"),
            ("r.example:443/acme", "r.example/acme"),
            ("oci:folder", "r.example/app"),
            ("oci:/", "r.example/app"),
            ("oci:/srv/../etc", "r.example/app"),
            ("oci:/srv/app", "r.example/app:1"),
            ("https://mirror.internal", "r.example"),
            ("", "r.example"),
        ] {
            assert!(Mirror::new(location, of).is_err(), "{location} {of}");
        }
    }
}
