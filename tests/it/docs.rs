//! The documentation tells the truth: its commands run, its JSON is what the program writes, its files verify.

mod architecture;
mod book;
mod cli;
mod format;
mod guides;
mod scene;
mod schema;
