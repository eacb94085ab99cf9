//! What several tests share.

pub mod forge;
pub mod machine;
pub mod program;
pub mod registry;
pub mod scene;
