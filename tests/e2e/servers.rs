//! The servers that tests run: a registry in three set-ups, and two container engines.

mod containerd;
mod dockerd;
mod registry;
mod token;

pub(crate) use containerd::Containerd;
pub(crate) use dockerd::Dockerd;
pub(crate) use registry::{PASSWORD, Registry, USER};
