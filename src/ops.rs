//! The use cases: load, let the core decide, store.

pub mod key;
