//! The strict reader of outside JSON: one pass that refuses what parsers disagree about.
//!
//! Refused are duplicate members (most parsers keep the last and say nothing), numbers that are no integers of 64
//! bits, `-0`, lone surrogates and nesting beyond the cap. On the way it learns whether the text already is in
//! canonical form; then the signed bytes are the bytes as they came.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};

use super::canonical;
use super::limits::MAX_DEPTH;

/// What the one pass learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The text is its own canonical form.
    Canonical,
    /// The text has to be parsed and encoded anew.
    Other,
}

/// Reads one JSON value and says whether its text is canonical.
///
/// # Errors
/// A reason with the byte offset where the text is no strict JSON.
pub fn check(text: &str) -> Result<Form, String> {
    let mut scanner = Scanner { bytes: text.as_bytes(), text, at: 0, canonical: true };
    scanner.space();
    scanner.value(0)?;
    scanner.space();
    if scanner.at != scanner.bytes.len() {
        return Err(scanner.error("there is more after the end"));
    }
    Ok(if scanner.canonical { Form::Canonical } else { Form::Other })
}

/// The canonical form of a strict JSON text, borrowed where the text already is canonical.
///
/// # Errors
/// As [`check`].
pub fn canonicalise(text: &str) -> Result<Cow<'_, [u8]>, String> {
    match check(text)? {
        Form::Canonical => Ok(Cow::Borrowed(text.as_bytes())),
        Form::Other => {
            let value: serde_json::Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
            Ok(Cow::Owned(canonical::encode(&value)))
        }
    }
}

/// Reads an optional member that is there: `null` is no way of leaving it out, on which parsers disagree.
pub(super) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

struct Scanner<'a> {
    bytes: &'a [u8],
    text: &'a str,
    at: usize,
    canonical: bool,
}

impl<'a> Scanner<'a> {
    fn error(&self, what: &str) -> String {
        format!("{what} at byte {}", self.at)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        let from = self.at;
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        self.canonical &= self.at == from;
    }

    fn value(&mut self, depth: usize) -> Result<(), String> {
        match self.peek() {
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.integer(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => Err(self.error("a value is missing")),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), String> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(self.error("a value is missing"));
        }
        self.at += word.len();
        Ok(())
    }

    fn integer(&mut self) -> Result<(), String> {
        let from = self.at;
        let negative = self.peek() == Some(b'-');
        self.at += usize::from(negative);
        let digits = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
            return Err(self.error("a number is no integer"));
        }
        let leading_zero = self.bytes.get(digits) == Some(&b'0') && (negative || self.at - digits > 1);
        let number = &self.text[from..self.at];
        if leading_zero || (number.parse::<i64>().is_err() && number.parse::<u64>().is_err()) {
            return Err(self.error("a number is no integer of 64 bits"));
        }
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<(), String> {
        self.open(depth)?;
        if self.close(b']') {
            return Ok(());
        }
        loop {
            self.space();
            self.value(depth)?;
            self.space();
            if self.close(b']') {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), String> {
        self.open(depth)?;
        if self.close(b'}') {
            return Ok(());
        }
        let mut names: Vec<Cow<'a, str>> = Vec::new();
        let mut ascending = true;
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(self.error("a member has no name"));
            }
            let name = self.string()?;
            ascending &= names.last().is_none_or(|last| *last < name);
            names.push(name);
            self.space();
            self.expect(b':')?;
            self.space();
            self.value(depth)?;
            self.space();
            if self.close(b'}') {
                break;
            }
            self.expect(b',')?;
        }
        if !ascending {
            self.canonical = false;
            names.sort_unstable();
            if names.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err(self.error("an object has a member twice, ending"));
            }
        }
        Ok(())
    }

    fn open(&mut self, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(self.error("nesting is too deep"));
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    fn close(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        if self.close(byte) { Ok(()) } else { Err(self.error(&format!("`{}` is missing", byte as char))) }
    }

    /// The string at hand, decoded.
    fn string(&mut self) -> Result<Cow<'a, str>, String> {
        let from = self.at;
        self.at += 1;
        let mut escaped = false;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.at += 2;
                }
                Some(0..=0x1F) => return Err(self.error("a control character stands in a string")),
                Some(_) => self.at += 1,
                None => return Err(self.error("a string does not end")),
            }
        }
        self.at += 1;
        let quoted = &self.text[from..self.at];
        if !escaped {
            return Ok(Cow::Borrowed(&quoted[1..quoted.len() - 1]));
        }
        let decoded: String = serde_json::from_str(quoted).map_err(|_| self.error("an escape is malformed"))?;
        self.canonical &= canonical::encode(&serde_json::Value::String(decoded.clone())) == quoted.as_bytes();
        Ok(Cow::Owned(decoded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_text_is_recognised() {
        for text in [
            r#"{"a":1,"b":[true,false,null,-7,18446744073709551615],"c":{"x":"\"\\é"}}"#,
            "[]",
            "{}",
            "\"a\"",
            "{\"\u{FF5E}\":1,\"\u{1F600}\":2}",
        ] {
            assert_eq!(check(text), Ok(Form::Canonical), "{text}");
            assert_eq!(canonicalise(text).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn other_spellings_are_encoded_anew() {
        let table = [
            (r#"{ "a":1}"#, r#"{"a":1}"#),
            (r#"{"b":1,"a":2}"#, r#"{"a":2,"b":1}"#),
            (r#""\u0041""#, r#""A""#),
            (r#""a\/b""#, r#""a/b""#),
            ("{\"\u{1F600}\":1,\"\u{FF5E}\":2}", "{\"\u{FF5E}\":2,\"\u{1F600}\":1}"),
            (" [1]", "[1]"),
        ];
        for (text, canonical) in table {
            assert_eq!(check(text), Ok(Form::Other), "{text}");
            assert_eq!(canonicalise(text).unwrap(), canonical.as_bytes());
        }
    }

    #[test]
    fn line_feeds_of_pem_keys_stand_raw_in_the_canonical_form() {
        assert_eq!(canonicalise(r#"{"k":"-----BEGIN\nX\n"}"#).unwrap(), b"{\"k\":\"-----BEGIN\nX\n\"}".as_slice());
        assert_eq!(canonicalise(r#""\u0000""#).unwrap(), b"\"\0\"".as_slice());
    }

    #[test]
    fn what_parsers_disagree_about_is_refused() {
        let deep = "[".repeat(MAX_DEPTH + 1) + &"]".repeat(MAX_DEPTH + 1);
        for text in [
            r#"{"a":1,"a":2}"#,
            r#"{"b":1,"a":1,"b":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            "1.0",
            "1e3",
            "1E3",
            "-0",
            "01",
            "-",
            "18446744073709551616",
            "-9223372036854775809",
            r#""\ud800""#,
            "\"\n\"",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "tru",
            "[",
            "\"",
            "\"\\",
            "",
            " ",
            "1 2",
            "nul",
            "NaN",
            "'a'",
            "[1 2]",
            "{\"a\" 1}",
            &deep,
        ] {
            assert!(check(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_serde_json_and_an_independent_encoder(value in any_value()) {
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            let ours = canonicalise(&pretty).unwrap().into_owned();
            let mut theirs = Vec::new();
            let mut serializer = serde_json::Serializer::with_formatter(&mut theirs, olpc_cjson::CanonicalFormatter::new());
            serde::Serialize::serialize(&value, &mut serializer).unwrap();
            proptest::prop_assert_eq!(String::from_utf8(ours).unwrap(), String::from_utf8(theirs).unwrap());
        }

        #[test]
        fn text_that_is_called_canonical_is_what_the_encoder_writes(text in "[\\[\\]{}:,\"\\\\0-9a-c\u{e9} \ntrufalsn-]{0,24}") {
            if check(&text) == Ok(Form::Canonical) {
                let value: serde_json::Value = serde_json::from_str(&text).unwrap();
                proptest::prop_assert_eq!(canonical::encode(&value), text.as_bytes());
            }
        }

        #[test]
        fn never_panics_and_never_accepts_what_serde_json_refuses(text in ".{0,60}") {
            if check(&text).is_ok() {
                proptest::prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
            }
        }
    }

    /// Values whose strings are in NFC, as the independent encoder would normalise others (and we must not).
    fn any_value() -> impl proptest::strategy::Strategy<Value = serde_json::Value> {
        use proptest::prelude::*;
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<u64>().prop_map(Into::into),
            "[ -~\\n\\t]{0,12}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                prop::collection::btree_map("[a-z\"\\\\~]{0,4}", inner, 0..5)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }
}
