//! The trust core: what is signed, by whom, how long it counts, and what follows from it. Pure: no I/O, no async,
//! no clock; `now` is passed in.

pub mod canonical;
pub mod clock_rule;
pub mod error;
pub mod key;
pub mod policy;
pub mod role;

pub use error::Error;
pub use key::{Key, KeyId};
pub use role::{RoleKind, RoleName, Version};
