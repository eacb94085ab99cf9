//! Boltseal: content trust for container images under The Update Framework (TUF).
//!
//! The crate is one library with one thin binary. Arrows point down only:
//!
//! - [`cli`] parses arguments into plain values and renders results; it decides nothing.
//! - [`ops`] holds the use cases: load, let the core decide, store.
//! - [`trust`] and [`image`] are the pure core: no I/O, no async, no clock.
//! - [`registry`], [`keystore`], [`store`] and [`clock`] are ports with their adapters.
//!
//! Secrets never appear in `Debug`, logs, arguments or, unencrypted, on disk.

pub mod cli;
pub mod clock;
pub mod config;
pub mod env;
pub mod image;
pub mod keystore;
pub mod ops;
pub mod registry;
pub mod store;
pub mod trust;
