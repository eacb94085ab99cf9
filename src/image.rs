//! Images as the registry knows them: names, tags, digests and manifests. Pure.

pub mod reference;

pub use reference::{Digest, ImageName, Reference, ReferenceError, Tag};
