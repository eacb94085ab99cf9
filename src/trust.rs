//! The trust core: what is signed, by whom, how long it counts, and what follows from it. Pure: no I/O, no async,
//! no clock; `now` is passed in.

pub mod canonical;
pub mod clock_rule;
pub mod delegation;
pub mod draft;
pub mod entry;
pub mod envelope;
pub mod error;
pub mod hashes;
pub mod intent;
pub mod json;
pub mod key;
pub mod limits;
pub mod pin;
pub mod plan;
pub mod policy;
pub mod role;
pub mod root;
pub mod signer;
#[cfg(test)]
pub(crate) mod simulator;
pub mod snapshot;
pub mod targets;
pub mod threshold;
pub mod time;
pub mod update;
pub mod verdict;

pub use error::Error;
pub use key::{Key, KeyId};
pub use role::{RoleKind, RoleName, Version};
