//! Images as the registry knows them: names, tags, digests and manifests. Pure.

pub mod manifest;
pub mod reference;

pub use manifest::{Manifest, ManifestError};
pub use reference::{Digest, ImageName, Reference, ReferenceError, Tag};
