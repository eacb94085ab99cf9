//! The use cases: load, let the core decide, store.

pub mod bundle;
pub mod client;
pub mod copy;
pub mod engine;
pub mod error;
pub mod export;
pub mod history;
pub mod init;
pub mod inspect;
pub mod intents;
pub mod key;
pub mod publish;
pub mod pull;
pub mod quickstart;
pub mod refresh;
pub mod revoke;
pub mod ring;
pub mod rotate;
pub mod sign;
pub mod signer;
pub mod transfer;
pub mod trust;
pub mod tuf_client;
pub mod verify;
pub mod watch;
pub mod world;
