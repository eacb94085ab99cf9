//! The client workflow against the simulated repository: one behaviour, one test.

mod corruption;
mod delegations;
mod pins;
mod property;
mod roots;
mod top;
