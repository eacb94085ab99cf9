//! The integration tests: one binary, so that one link serves them all.

// The helpers of tests are as free to stop at the first surprise as the tests are.
#![allow(clippy::unwrap_used)]
// Private modules of a test binary: `pub` there says "for other tests".
#![allow(unreachable_pub)]

mod attack_keys;
mod attack_metadata;
mod attack_transport;
mod copy;
mod docs;
mod history;
mod http;
mod layers;
mod manners;
mod messages;
mod policy;
mod publish;
mod signers;
mod spine;
mod store;
mod support;
mod watch;
