//! Boltseal against real registries, engines and clients, all on loopback and all started by the test that needs them.
//!
//! - Every test owns its servers, folders and ports; nothing is shared, so tests run in any order and side by side.
//! - A program that is missing fails the test that needs it: nothing is skipped.
//! - `BOLTSEAL_BIN` names another binary to test than the one built with this crate.

mod clients;
mod http;
mod image;
mod machine;
mod process;
#[path = "servers/proxy.rs"]
mod proxy;
mod scene;
mod servers;
mod tls;
mod yard;

mod access;
mod attacks;
mod bad_input;
mod concurrency;
mod copy;
mod crash;
mod export;
mod gc;
mod guides;
mod harness;
mod keys;
mod layouts;
mod main_job;
#[cfg(feature = "hsm")]
mod pkcs11;
mod platforms;
mod pull;
mod signers;
mod time;
mod watch;
