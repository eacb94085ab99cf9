//! `WWW-Authenticate` (RFC 9110, 11.6.1): how a registry wants to be spoken to.

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// Longest header value that is parsed. Stops headers made to cost time.
const MAX_LENGTH: usize = 8 * 1024;

/// One way to sign in that a registry offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password with each request.
    Basic,
    /// A token from `realm`.
    Bearer {
        /// URL of the token endpoint.
        realm: String,
        /// The name by which the endpoint knows the registry.
        service: Option<String>,
    },
}

/// The challenge to answer among those offered: a token before a password.
pub(super) fn choose(headers: &HeaderMap) -> Option<Challenge> {
    let mut basic = None;
    for value in headers.get_all(WWW_AUTHENTICATE) {
        let Ok(text) = value.to_str() else { continue };
        for (scheme, parameters) in parse(text) {
            let find =
                |name: &str| parameters.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.clone());
            if scheme.eq_ignore_ascii_case("bearer") {
                if let Some(realm) = find("realm") {
                    return Some(Challenge::Bearer { realm, service: find("service") });
                }
            } else if scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Challenge::Basic);
            }
        }
    }
    basic
}

/// Every scheme with its parameters. Stops at the first thing that it does not understand.
fn parse(text: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = if text.len() > MAX_LENGTH { "" } else { text };
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find(|c: char| !is_token(c)).unwrap_or(rest.len());
        if end == 0 {
            return found;
        }
        let word = rest[..end].to_owned();
        rest = &rest[end..];
        let Some(value) = rest.trim_start_matches([' ', '\t']).strip_prefix('=') else {
            found.push((word, Vec::new()));
            continue;
        };
        let Some((value, after)) = take_value(value.trim_start_matches([' ', '\t'])) else { return found };
        let Some((_, parameters)) = found.last_mut() else { return found };
        parameters.push((word, value));
        rest = after;
    }
}

fn take_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            c => value.push(c),
        }
    }
    None
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(values: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
        }
        choose(&headers)
    }

    fn bearer(realm: &str, service: &str) -> Challenge {
        let service = (!service.is_empty()).then(|| service.to_owned());
        Challenge::Bearer { realm: realm.to_owned(), service }
    }

    #[test]
    fn challenges_are_read_in_all_their_spellings() {
        let docker = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        assert_eq!(chosen(&[docker]), Some(bearer("https://auth.docker.io/token", "registry.docker.io")));
        assert_eq!(chosen(&[r#"Basic realm="x, Bearer y""#]), Some(Challenge::Basic));
        assert_eq!(chosen(&["Basic"]), Some(Challenge::Basic));
        assert_eq!(
            chosen(&[r#"basic realm="x", BEARER Realm = "https://a/" , error=invalid"#]),
            Some(bearer("https://a/", ""))
        );
        assert_eq!(chosen(&["Basic realm=x", "Bearer realm=https://a/t"]), Some(bearer("https://a/t", "")));
        assert_eq!(chosen(&[r#"Bearer realm="a\"b""#]), Some(bearer("a\"b", "")));
    }

    #[test]
    fn malformed_challenges_are_no_challenge() {
        for text in
            ["", ",,,", "Negotiate", r#"Bearer service="x""#, r#"Bearer realm="x"#, "=", "realm=\"x\"", "Digest a=b"]
        {
            assert_eq!(chosen(&[text]), None, "{text}");
        }
        assert_eq!(chosen(&[&format!("Basic realm=\"{}\"", "x".repeat(9000))]), None);
    }
}
