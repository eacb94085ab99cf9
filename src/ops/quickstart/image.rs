//! An image as small as one can be: one file in one layer, and real enough for any engine.

use bytes::Bytes;
use serde_json::json;

use crate::image::manifest::{OCI_CONFIG, OCI_MANIFEST};
use crate::image::{Digest, Tag};

/// Tar works in blocks of this size.
const BLOCK: usize = 512;

/// An image with one file.
pub(super) struct TinyImage {
    manifest: Bytes,
    blobs: [Bytes; 2],
}

impl TinyImage {
    /// An image whose file says `text`.
    pub(super) fn new(text: &str) -> Self {
        let layer = tar("hello.txt", text.as_bytes());
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/hello.txt"]},
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer)]},
        });
        let config = Bytes::from(config.to_string());
        let describe = |media_type: &str, bytes: &Bytes| json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()});
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": describe(OCI_CONFIG, &config),
            "layers": [describe("application/vnd.oci.image.layer.v1.tar", &layer)],
        });
        Self { manifest: manifest.to_string().into(), blobs: [config, layer] }
    }

    pub(super) fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    pub(super) fn manifest(&self) -> &Bytes {
        &self.manifest
    }

    pub(super) fn blobs(&self) -> &[Bytes] {
        &self.blobs
    }
}

/// A tag that is written down in the program.
pub(super) fn tag(text: &str) -> Tag {
    text.parse().expect("the program's own tags are tags")
}

/// A tar archive (POSIX ustar) of one file that everybody may read.
fn tar(name: &str, content: &[u8]) -> Bytes {
    let mut header = [0_u8; BLOCK];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    // The checksum counts its own field as blanks.
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\0");
    put(263, "00");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = header.to_vec();
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    archive.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Manifest;

    #[test]
    fn the_image_is_one() {
        let image = TinyImage::new("hello");
        let manifest = Manifest::parse(OCI_MANIFEST, image.manifest().clone()).unwrap();
        assert_eq!(manifest.digest, image.digest());
        assert_ne!(image.digest(), TinyImage::new("another").digest());
    }

    #[test]
    fn the_layer_is_a_tar_archive_that_tar_reads() {
        use std::io::Write;
        use std::process::{Command, Stdio};
        let tar = Command::new("tar").args(["-xOf", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut tar = tar.unwrap();
        tar.stdin.take().unwrap().write_all(&TinyImage::new("hello, tar").blobs()[1]).unwrap();
        let output = tar.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!(output.stdout, b"hello, tar");
    }
}
