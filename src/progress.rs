//! The progress port: lets a long transfer say how far it is, without knowing whether anybody looks.

use std::fmt;

/// Shows how far pieces of work are.
pub trait Progress: Send + Sync + fmt::Debug {
    /// Begins a piece of work of `total` bytes, where that is known. It ends when the returned value is dropped.
    fn begin(&self, what: &str, total: Option<u64>) -> Box<dyn Task>;
}

/// One piece of work under way.
pub trait Task: Send + Sync {
    /// Counts further bytes as done.
    fn advance(&self, bytes: u64);
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _what: &str, _total: Option<u64>) -> Box<dyn Task> {
        Box::new(Self)
    }
}

impl Task for Silent {
    fn advance(&self, _bytes: u64) {}
}
