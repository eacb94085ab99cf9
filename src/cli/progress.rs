//! Progress bars on standard error, for anything that takes longer than a second, on a terminal only.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::shown;
use crate::progress::{Progress, Task};

/// Work that ends within this time shows no bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// The bars of one run. They are built when the first one is shown.
pub struct Bars {
    visible: bool,
    shown: OnceLock<MultiProgress>,
}

impl Bars {
    /// Bars on standard error.
    pub fn stderr() -> Self {
        Self { visible: true, shown: OnceLock::new() }
    }

    /// No bars.
    pub fn hidden() -> Self {
        Self { visible: false, shown: OnceLock::new() }
    }

    /// Writes something else to standard error without tearing the bars.
    pub fn suspended<T>(&self, write: impl FnOnce() -> T) -> T {
        match self.shown.get() {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }
}

impl Progress for Bars {
    fn begin(&self, what: &str, total: Option<u64>) -> Box<dyn Task> {
        if !self.visible {
            return Box::new(crate::progress::Silent);
        }
        let bars = self.shown.get_or_init(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
        Box::new(Bar::new(bars.clone(), what, total, PATIENCE))
    }
}

impl fmt::Debug for Bars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bars").field("visible", &self.visible).finish_non_exhaustive()
    }
}

/// One bar; drawn only when the work outlasts the patience.
struct Bar {
    bars: MultiProgress,
    what: String,
    total: Option<u64>,
    begun: Instant,
    patience: Duration,
    drawn: OnceLock<ProgressBar>,
    /// Bytes done before the bar was drawn.
    early: AtomicU64,
}

impl Bar {
    fn new(bars: MultiProgress, what: &str, total: Option<u64>, patience: Duration) -> Self {
        let (drawn, early) = (OnceLock::new(), AtomicU64::new(0));
        Self { bars, what: shown(what), total, begun: Instant::now(), patience, drawn, early }
    }

    fn draw(&self) -> ProgressBar {
        const KNOWN: &str = "{msg} {bar:30} {bytes}/{total_bytes} {eta}";
        const UNKNOWN: &str = "{msg} {spinner} {bytes}";
        let template = if self.total.is_some() { KNOWN } else { UNKNOWN };
        let style = ProgressStyle::with_template(template).expect("the templates are constants that parse");
        let bar = self.bars.add(ProgressBar::no_length());
        if let Some(total) = self.total {
            bar.set_length(total);
        }
        bar.with_style(style).with_message(self.what.clone())
    }
}

impl Task for Bar {
    fn advance(&self, bytes: u64) {
        if self.begun.elapsed() < self.patience {
            self.early.fetch_add(bytes, Relaxed);
            return;
        }
        self.drawn.get_or_init(|| self.draw()).inc(bytes + self.early.swap(0, Relaxed));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = self.drawn.get() {
            bar.finish_and_clear();
            self.bars.remove(bar);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(patience: Duration) -> Bar {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        Bar::new(bars, "layer", Some(2048), patience)
    }

    #[test]
    fn short_work_draws_no_bar() {
        let bar = bar(Duration::from_secs(3600));
        bar.advance(1024);
        assert!(bar.drawn.get().is_none());
    }

    #[test]
    fn long_work_draws_a_bar_that_counts_what_came_before_it_too() {
        let bar = bar(Duration::ZERO);
        bar.early.store(1000, Relaxed);
        bar.advance(24);
        let drawn = bar.drawn.get().unwrap();
        assert_eq!((drawn.position(), drawn.length()), (1024, Some(2048)));
        assert_eq!(drawn.message(), "layer");
    }
}
