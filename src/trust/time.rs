//! Instants in metadata: `YYYY-MM-DDTHH:MM:SSZ` and nothing else (TUF 4.1).

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

/// The length of the one form, in bytes.
const LENGTH: usize = 20;

/// Reads an instant strictly: no offset, no fraction, no lower case.
///
/// # Errors
/// A reason with the text.
pub fn parse(text: &str) -> Result<Timestamp, String> {
    let shape = text.len() == LENGTH
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            10 => byte == b'T',
            13 | 16 => byte == b':',
            19 => byte == b'Z',
            _ => byte.is_ascii_digit(),
        });
    let malformed = || format!("`{}` is no instant of the form `YYYY-MM-DDTHH:MM:SSZ`", text.escape_debug());
    if !shape {
        return Err(malformed());
    }
    text.parse().map_err(|_| malformed())
}

/// Writes an instant in the one form; fractions of a second are cut off.
pub fn format(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    parse(&std::borrow::Cow::<'de, str>::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_form_is_read() {
        assert_eq!(format(parse("2027-02-28T23:59:59Z").unwrap()), "2027-02-28T23:59:59Z");
        for text in [
            "2027-02-28T23:59:59+00:00",
            "2027-02-28T23:59:59.5Z",
            "2027-02-28t23:59:59z",
            "2027-02-30T00:00:00Z",
            "2027-02-28 23:59:59Z",
            "",
            "99999-01-01T00:00:00",
            "-027-02-28T23:59:59Z",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn fractions_are_cut_when_writing() {
        assert_eq!(format("2027-01-01T00:00:00.999Z".parse().unwrap()), "2027-01-01T00:00:00Z");
    }
}
