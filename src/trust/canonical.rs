//! Canonical JSON: the bytes that are signed (TUF 4.2.2, the OLPC dialect as securesystemslib writes it).
//!
//! - No white space; members in the order of their names' code points, which is the order of their UTF-8 bytes.
//! - In strings only `"` and `\` are escaped; every other character stands as it is, a line feed too. So the canonical
//!   form of a PEM key is not itself valid JSON.
//! - Integers only. This is not RFC 8785, which sorts by UTF-16 and escapes control characters.

use serde_json::Value;

/// The canonical form of a value.
///
/// A value with a number that is no integer has none: the reader of outside bytes refuses those, and we make none.
pub fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => {
            debug_assert!(!number.is_f64(), "canonical JSON has integers only");
            out.extend_from_slice(number.to_string().as_bytes());
        }
        Value::String(text) => write_text(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        Value::Object(members) => {
            out.push(b'{');
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_unstable_by_key(|(name, _)| *name);
            for (at, (name, member)) in sorted.into_iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_text(name, out);
                out.push(b':');
                write(member, out);
            }
            out.push(b'}');
        }
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}
