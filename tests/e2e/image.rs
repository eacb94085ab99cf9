//! Small images made of bytes alone: no network, no engine, the same bytes for the same input.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::servers::Registry;

/// Whose media types an image speaks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Oci,
    Docker,
}

impl Dialect {
    fn manifest(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.manifest.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.v2+json",
        }
    }

    fn index(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.index.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.list.v2+json",
        }
    }

    fn config(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.config.v1+json",
            Self::Docker => "application/vnd.docker.container.image.v1+json",
        }
    }

    fn layer(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Docker => "application/vnd.docker.image.rootfs.diff.tar.gzip",
        }
    }
}

/// An image, or an index with its images.
#[derive(Clone)]
pub(crate) struct Image {
    media_type: &'static str,
    manifest: Vec<u8>,
    blobs: BTreeMap<String, Vec<u8>>,
    children: Vec<Image>,
}

impl Image {
    /// An OCI image for amd64 with one file, which holds `text`.
    pub(crate) fn with_text(text: &str) -> Self {
        Self::single(Dialect::Oci, "amd64", text)
    }

    /// The same in docker's media types (schema 2).
    pub(crate) fn docker(text: &str) -> Self {
        Self::single(Dialect::Docker, "amd64", text)
    }

    /// An index over one image for each architecture.
    pub(crate) fn index(dialect: Dialect, architectures: &[&str], text: &str) -> Self {
        let children: Vec<_> = architectures
            .iter()
            .map(|architecture| Self::single(dialect, architecture, &format!("{text} for {architecture}")))
            .collect();
        let manifests: Vec<Value> = children
            .iter()
            .zip(architectures)
            .map(|(child, architecture)| {
                let mut entry = child.descriptor();
                entry["platform"] = json!({ "architecture": architecture, "os": "linux" });
                entry
            })
            .collect();
        let manifest = json!({ "schemaVersion": 2, "mediaType": dialect.index(), "manifests": manifests });
        Self {
            media_type: dialect.index(),
            manifest: manifest.to_string().into_bytes(),
            blobs: BTreeMap::new(),
            children,
        }
    }

    fn single(dialect: Dialect, architecture: &str, text: &str) -> Self {
        let tar = tar_of("hello.txt", text.as_bytes());
        let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
        gzip.write_all(&tar).expect("memory takes bytes");
        let layer = gzip.finish().expect("memory takes bytes");
        let config = json!({
            "created": "2026-01-01T00:00:00Z", "architecture": architecture, "os": "linux",
            "config": { "Cmd": ["/hello.txt"] },
            "rootfs": { "type": "layers", "diff_ids": [digest(&tar)] },
        })
        .to_string()
        .into_bytes();
        let describe = |media_type: &str, bytes: &[u8]| json!({ "mediaType": media_type, "size": bytes.len(), "digest": digest(bytes) });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": dialect.manifest(),
            "config": describe(dialect.config(), &config), "layers": [describe(dialect.layer(), &layer)],
        });
        let blobs = [config, layer].into_iter().map(|bytes| (digest(&bytes), bytes)).collect();
        Self {
            media_type: dialect.manifest(),
            manifest: manifest.to_string().into_bytes(),
            blobs,
            children: Vec::new(),
        }
    }

    /// The digest of the manifest: what is signed, and what must come out of every pull.
    pub(crate) fn digest(&self) -> String {
        digest(&self.manifest)
    }

    /// The images of an index.
    pub(crate) fn children(&self) -> &[Image] {
        &self.children
    }

    /// The media type of the manifest.
    pub(crate) fn media_type(&self) -> &'static str {
        self.media_type
    }

    fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "size": self.manifest.len(), "digest": self.digest() })
    }

    /// Uploads to a registry, byte for byte, and moves the tag there.
    pub(crate) fn push(&self, registry: &Registry, repository: &str, tag: &str) {
        for child in &self.children {
            child.push(registry, repository, &child.digest());
        }
        for (digest, bytes) in &self.blobs {
            let begun = registry.request("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], b"");
            assert_eq!(begun.status, 202, "{}", begun.text());
            let location = begun.header("location").expect("an upload has a location");
            let path = location.find("/v2/").map_or(location, |at| &location[at..]);
            let joint = if path.contains('?') { '&' } else { '?' };
            let octets = [("Content-Type", "application/octet-stream")];
            let put = registry.request("PUT", &format!("{path}{joint}digest={digest}"), &octets, bytes);
            assert_eq!(put.status, 201, "{}", put.text());
        }
        put_manifest(registry, repository, tag, self.media_type, &self.manifest);
    }

    /// Writes an OCI image layout in which the image has the tag.
    pub(crate) fn write_layout(&self, folder: &Path, tag: &str) {
        fs::create_dir_all(folder.join("blobs/sha256")).expect("a folder in our folder is made");
        let write = |path: &Path, bytes: &[u8]| fs::write(path, bytes).expect("a file in our folder is written");
        write(&folder.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#);
        let mut entry = self.descriptor();
        entry["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        let mut manifests: Vec<Value> = fs::read(folder.join("index.json"))
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok())
            .and_then(|index| index["manifests"].as_array().cloned())
            .unwrap_or_default();
        manifests.retain(|known| known["annotations"]["org.opencontainers.image.ref.name"] != tag);
        manifests.push(entry);
        write(&folder.join("index.json"), json!({ "schemaVersion": 2, "manifests": manifests }).to_string().as_bytes());
        self.write_blobs(&folder.join("blobs/sha256"));
    }

    fn write_blobs(&self, folder: &Path) {
        for child in &self.children {
            child.write_blobs(folder);
        }
        for (digest, bytes) in self.blobs.iter().chain([(&self.digest(), &self.manifest)]) {
            let hex = digest.strip_prefix("sha256:").expect("every digest is SHA-256");
            fs::write(folder.join(hex), bytes).expect("a file in our folder is written");
        }
    }
}

/// Puts any bytes under a tag of a registry.
pub(crate) fn put_manifest(registry: &Registry, repository: &str, tag: &str, media_type: &str, bytes: &[u8]) {
    let put =
        registry.request("PUT", &format!("/v2/{repository}/manifests/{tag}"), &[("Content-Type", media_type)], bytes);
    assert_eq!(put.status, 201, "{}", put.text());
}

/// The digest that a registry has under a tag now.
pub(crate) fn tag_digest(registry: &Registry, repository: &str, tag: &str) -> Option<String> {
    let accept = [Dialect::Oci, Dialect::Docker].map(|dialect| format!("{}, {}", dialect.manifest(), dialect.index()));
    let headers = [("Accept", accept[0].as_str()), ("Accept", accept[1].as_str())];
    let head = registry.request("HEAD", &format!("/v2/{repository}/manifests/{tag}"), &headers, b"");
    (head.status == 200).then(|| head.header("docker-content-digest").expect("a registry names the digest").to_owned())
}

/// `sha256:` and the hash in hex.
pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// A tar archive (ustar) with one file.
fn tar_of(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000755\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut tar = header.to_vec();
    tar.extend_from_slice(content);
    tar.resize(tar.len().div_ceil(512) * 512 + 1024, 0);
    tar
}
