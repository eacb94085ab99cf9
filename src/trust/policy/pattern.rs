//! Patterns of image names and of tags.
//!
//! - An image pattern is matched component by component, host first. `*` stands for any characters within one
//!   component, also none; `**` is a component of its own and stands for any number of components: in the last place at
//!   least one, so that `h.example/acme/**` is everything below `h.example/acme`, and not `h.example/acme` itself.
//! - A pattern without `*` is an image name, normalised as one (`alpine` is `docker.io/library/alpine`). One with `*`
//!   begins with a host, since `acme/*` could be meant of any.
//! - Of several patterns that match, the one with the longest part before its first `*` is the most specific; a whole
//!   name is more specific than any pattern.
//! - In a tag pattern `*` stands for any characters.

use std::fmt;
use std::str::FromStr;

use crate::image::{ImageName, Tag};

/// Longest pattern accepted, in bytes: a host, a repository and some stars.
const MAX_PATTERN: usize = 600;

/// A pattern of image names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePattern {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// Any number of components.
    Deep,
    /// One component, with `*` in it.
    One(String),
}

/// How specific a pattern is; more is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Specificity {
    literal_prefix: usize,
    whole_name: bool,
}

impl ImagePattern {
    /// The pattern of one name.
    pub fn of_name(name: &ImageName) -> Self {
        let text = name.to_string();
        let parts = text.split('/').map(|part| Part::One(part.to_owned())).collect();
        Self { text, parts }
    }

    /// Whether the name is one of this pattern.
    pub fn matches(&self, name: &ImageName) -> bool {
        let name = name.to_string();
        let components: Vec<&str> = name.split('/').collect();
        let is_deep = |part: &Part| *part == Part::Deep;
        let fits = |part: &Part, component: &&str| match part {
            Part::Deep => false,
            Part::One(glob) => glob_matches(glob, component),
        };
        wildcard(&self.parts, &components, is_deep, fits)
    }

    /// How specific it is among the patterns that match a name.
    pub fn specificity(&self) -> Specificity {
        let star = self.text.find('*');
        Specificity { literal_prefix: star.unwrap_or(self.text.len()), whole_name: star.is_none() }
    }

    /// The name that this pattern is, where it has no `*`.
    pub fn whole_name(&self) -> Option<ImageName> {
        if self.text.contains('*') { None } else { self.text.parse().ok() }
    }

    /// The pattern in its normal form.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for ImagePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains('*') {
            return text.parse().map(|name| Self::of_name(&name)).map_err(|error| error.to_string());
        }
        let refuse = |why: &str| Err(format!("`{}` is no pattern of images: {why}", text.escape_debug()));
        if text.len() > MAX_PATTERN {
            return Err(format!("a pattern of images has {} bytes, more than {MAX_PATTERN}", text.len()));
        }
        let mut components: Vec<String> = text.split('/').map(str::to_owned).collect();
        let first = &components[0];
        if !first.contains('*') {
            let is_host = first.contains(['.', ':']) || first == "localhost";
            let Some(host) = is_host.then(|| host_of(first)).flatten() else {
                return refuse("a pattern with `*` begins with a host, such as `docker.io/`");
            };
            components[0] = host;
        } else if !first.bytes().all(|b| is_name_byte(b) || matches!(b, b':' | b'[' | b']' | b'*')) {
            return refuse("its host has characters that no host has");
        }
        if components.len() == 1 && components[0] != "**" {
            return refuse("expected a host and a repository, or `**` for all images");
        }
        if components.len() == 2 && components[0] == "docker.io" && components[1] != "**" {
            // As docker does with names of one component there.
            components.insert(1, "library".to_owned());
        }
        for component in &components[1..] {
            if component.is_empty() || !component.bytes().all(|b| is_name_byte(b) || b == b'*') {
                return refuse("a component is empty or has characters that no repository has");
            }
        }
        if components.iter().any(|component| component.contains("**") && component != "**") {
            return refuse("`**` is a component of its own");
        }
        let mut parts: Vec<Part> = components
            .iter()
            .map(|component| if component == "**" { Part::Deep } else { Part::One(component.clone()) })
            .collect();
        if parts.last() == Some(&Part::Deep) {
            parts.insert(parts.len() - 1, Part::One("*".to_owned()));
        }
        Ok(Self { text: components.join("/"), parts })
    }
}

impl fmt::Display for ImagePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A pattern of tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagPattern(String);

impl TagPattern {
    /// Whether the tag is one of this pattern.
    pub fn matches(&self, tag: &Tag) -> bool {
        glob_matches(&self.0, tag.as_str())
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TagPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'*');
        let valid = !text.is_empty() && text.len() <= 128 && text.bytes().all(byte);
        let malformed = || format!("`{}` is no pattern of tags: expected a tag, with `*` in it", text.escape_debug());
        if valid { Ok(Self(text.to_owned())) } else { Err(malformed()) }
    }
}

impl fmt::Display for TagPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The normal form of a host, without a star in it.
pub(super) fn host_of(host: &str) -> Option<String> {
    let name: ImageName = format!("{host}/x/y").parse().ok()?;
    (name.repository() == "x/y").then(|| name.host().to_owned())
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-')
}

fn glob_matches(glob: &str, text: &str) -> bool {
    wildcard(glob.as_bytes(), text.as_bytes(), |&b| b == b'*', |a, b| a == b)
}

/// Matches with stars that stand for any number of items. Going back to the last star alone is enough, so the time is
/// at most the product of the lengths.
fn wildcard<P, T>(pattern: &[P], items: &[T], is_star: impl Fn(&P) -> bool, fits: impl Fn(&P, &T) -> bool) -> bool {
    let (mut at, mut item) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while item < items.len() {
        if at < pattern.len() && is_star(&pattern[at]) {
            star = Some((at, item));
            at += 1;
        } else if at < pattern.len() && fits(&pattern[at], &items[item]) {
            at += 1;
            item += 1;
        } else if let Some((star_at, taken)) = star {
            star = Some((star_at, taken + 1));
            at = star_at + 1;
            item = taken + 1;
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(is_star)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> ImagePattern {
        text.parse().unwrap()
    }

    fn matches(text: &str, name: &str) -> bool {
        pattern(text).matches(&name.parse().unwrap())
    }

    #[test]
    fn image_patterns_match_whole_components() {
        for (text, yes, no) in [
            (
                "r.example/acme/**",
                &["r.example/acme/app", "r.example/acme/team/app"][..],
                &["r.example/acme", "r.example/acme-evil/app", "r.example/x/acme/app", "evil.r.example/acme/app"][..],
            ),
            ("r.example/acme/*", &["r.example/acme/app"], &["r.example/acme", "r.example/acme/team/app"]),
            (
                "r.example/acme/app-*",
                &["r.example/acme/app-1", "r.example/acme/app-a-b"],
                &["r.example/acme/app", "r.example/acme/app-1/x"],
            ),
            ("r.example/acme/a*b*c", &["r.example/acme/abbc"], &["r.example/acme/abb", "r.example/acme/xabc"]),
            (
                "r.example/**/app",
                &["r.example/app", "r.example/a/app", "r.example/a/b/app"],
                &["r.example/app/x", "r.example/myapp", "r.example/a/bapp"],
            ),
            ("r.example/*/app", &["r.example/a/app"], &["r.example/app", "r.example/a/b/app"]),
            (
                "*.example.com/app",
                &["a.example.com/app", "a.b.example.com/app"],
                &["example.com/app", "a.example.com.evil/app"],
            ),
            ("127.0.0.1:*/app", &["127.0.0.1:5000/app"], &["127.0.0.1/app", "127.0.0.2:5000/app"]),
            ("**", &["alpine", "r.example/a/b/c"], &[]),
            ("**/app", &["r.example/app", "r.example/a/app"], &["r.example/app/b"]),
            (
                "r.example/acme/app",
                &["r.example/acme/app", "r.example:443/acme/app"],
                &["r.example/acme/app/x", "r.example/acme/ap"],
            ),
            ("alpine", &["alpine", "docker.io/library/alpine", "index.docker.io/alpine"], &["docker.io/acme/alpine"]),
            ("docker.io/alp*", &["alpine"], &["docker.io/acme/alpine"]),
            ("docker.io/**", &["alpine", "acme/app"], &["r.example/acme/app"]),
            ("index.docker.io/acme/*", &["acme/app"], &["r.example/acme/app"]),
            ("R.Example:443/acme/*", &["r.example/acme/app"], &["r.example:444/acme/app"]),
        ] {
            for name in yes {
                assert!(matches(text, name), "{text} should match {name}");
            }
            for name in no {
                assert!(!matches(text, name), "{text} should not match {name}");
            }
        }
    }

    #[test]
    fn what_is_no_image_pattern_is_refused() {
        let long = format!("r.example/{}*", "a".repeat(600));
        for wrong in [
            "",
            "*",
            "app*",
            "acme/*",
            "r.example/a**",
            "r.example/**b",
            "r.example/***",
            "r.example//*",
            "r.example/*/",
            "/r.example/*",
            "r.example/Acme/*",
            "r.example/a:*",
            "r.example/a*@x",
            "r.example/a b*",
            "r.example/[ab]*",
            "r.example/{a,b}*",
            "r.example/a?*",
            "-x.example/*",
            "r_x/é*",
            "r.example/app:1",
            "r.example/UP",
            "a..b/*",
            &long,
        ] {
            assert!(wrong.parse::<ImagePattern>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_longest_literal_prefix_is_the_most_specific() {
        let order = [
            "*.example/**",
            "r.example/**",
            "r.example/acme/**",
            "r.example/acme/a*",
            "r.example/acme/app*",
            "r.example/acme/app",
        ];
        for pair in order.windows(2) {
            assert!(pattern(pair[0]).specificity() < pattern(pair[1]).specificity(), "{pair:?}");
        }
        for (one, other) in [("r.example/acme/*", "r.example/acme/**"), ("**", "*.example/**")] {
            assert_eq!(pattern(one).specificity(), pattern(other).specificity());
        }
    }

    #[test]
    fn many_stars_take_bounded_time() {
        let text = format!("r.example/{}b", "*a".repeat(250));
        assert!(!matches(&text, &format!("r.example/{}", "a".repeat(250))));
    }

    #[test]
    fn tag_patterns_match_the_whole_tag() {
        let matches = |text: &str, tag: &str| text.parse::<TagPattern>().unwrap().matches(&tag.parse().unwrap());
        assert!(matches("release-*", "release-1.0"));
        assert!(matches("release-*", "release-"));
        assert!(!matches("release-*", "prerelease-1"));
        assert!(matches("1.*.0", "1.2.0"));
        assert!(!matches("1.*.0", "1.2.01"));
        assert!(!matches("1.0", "1x0"));
        assert!(!matches("latest", "Latest"));
        for wrong in ["", "a b", "a/b", "a:b", "é", "a?"] {
            assert!(wrong.parse::<TagPattern>().is_err(), "{wrong}");
        }
    }
}
