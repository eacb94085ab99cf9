//! The servers that tests run: a registry in three set-ups, and two container engines.
//!
//! The paths are written out because the benchmark loads this file from another folder.

#[path = "servers/containerd.rs"]
mod containerd;
#[path = "servers/dockerd.rs"]
mod dockerd;
#[path = "servers/registry.rs"]
mod registry;
#[path = "servers/token.rs"]
mod token;

pub(crate) use containerd::Containerd;
pub(crate) use dockerd::Dockerd;
pub(crate) use registry::{PASSWORD, Registry, USER};
