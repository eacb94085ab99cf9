//! What several tests share.

pub mod registry;
