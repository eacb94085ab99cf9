//! PEM as it is met: text around the blocks, headers inside them, several blocks in one file.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// Most blocks in one file: a file of many is no key file.
const MAX_BLOCKS: usize = 16;
const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// One block between `BEGIN` and `END`.
pub(super) struct Block {
    /// What stands after `BEGIN`.
    pub(super) label: String,
    /// `name: value` lines before the body (RFC 1421, as Notary writes them).
    pub(super) headers: Vec<(String, String)>,
    /// The bytes.
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl Block {
    /// The value of a header; empty values count as none.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

/// Whether there is a PEM block in it at all.
pub(super) fn looks_like_pem(bytes: &[u8]) -> bool {
    bytes.windows(BEGIN.len()).any(|window| window == BEGIN.as_bytes())
}

/// The blocks, in their order. Text outside them is passed over.
pub(super) fn blocks(bytes: &[u8]) -> Result<Vec<Block>, String> {
    let mut blocks = Vec::new();
    let mut lines = bytes.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    while let Some(line) = lines.next() {
        let Some(label) = boundary(line, BEGIN) else { continue };
        if blocks.len() == MAX_BLOCKS {
            return Err(format!("it holds more than {MAX_BLOCKS} PEM blocks"));
        }
        blocks.push(read_block(label, &mut lines, bytes.len())?);
    }
    Ok(blocks)
}

fn read_block<'a>(label: &str, lines: &mut impl Iterator<Item = &'a [u8]>, most: usize) -> Result<Block, String> {
    let mut headers = Vec::new();
    // Sized once: a buffer that grows leaves copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(most));
    for line in lines {
        if let Some(end) = boundary(line, END) {
            if end != label {
                return Err("its PEM block begins and ends differently".to_owned());
            }
            let mut body = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
            let length =
                STANDARD.decode_slice(&*text, &mut body).map_err(|_| "its PEM block is no base64".to_owned())?;
            body.truncate(length);
            return Ok(Block { label: label.to_owned(), headers, body });
        }
        match line.iter().position(|&byte| byte == b':') {
            Some(at) if text.is_empty() => {
                let part = |bytes: &[u8]| String::from_utf8_lossy(bytes.trim_ascii()).into_owned();
                headers.push((part(&line[..at]), part(&line[at + 1..])));
            }
            _ => text.extend_from_slice(line),
        }
    }
    Err("its PEM block has no end".to_owned())
}

/// The label of a boundary line.
fn boundary<'a>(line: &'a [u8], kind: &str) -> Option<&'a str> {
    let label = line.strip_prefix(kind.as_bytes())?.strip_suffix(DASHES.as_bytes())?;
    std::str::from_utf8(label).ok().filter(|label| label.bytes().all(|b| b == b' ' || b.is_ascii_graphic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_around_blocks_and_headers_inside_them_are_understood() {
        let text = b"Bag Attributes\r\n-----BEGIN A-----\r\nrole: root\r\n\r\nAQID\r\n-----END A-----\r\n\
            more\n-----BEGIN B C-----\nBA==\n-----END B C-----";
        let blocks = blocks(text).unwrap();
        assert_eq!(blocks.len(), 2);
        assert_eq!(
            (blocks[0].label.as_str(), blocks[0].header("Role"), &**blocks[0].body),
            ("A", Some("root"), &[1, 2, 3][..])
        );
        assert_eq!((blocks[1].label.as_str(), blocks[1].header("role"), &**blocks[1].body), ("B C", None, &[4][..]));
    }

    #[test]
    fn broken_blocks_are_refused() {
        let many = "-----BEGIN A-----\nAQID\n-----END A-----\n".repeat(17);
        for text in [
            "-----BEGIN A-----\nAQID",
            "-----BEGIN A-----\nAQID\n-----END B-----",
            "-----BEGIN A-----\n!\n-----END A-----",
            &many,
        ] {
            assert!(blocks(text.as_bytes()).is_err(), "{text}");
        }
    }
}
