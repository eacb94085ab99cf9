//! Progress bars on standard error, for anything that takes longer than a second, on a terminal only.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::shown;
use crate::ops::transfer::Progress;

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

    /// A bar for one transfer; it is drawn only when that takes longer than a second.
    pub fn bar(&self, what: &str) -> Bar {
        let bars = self
            .visible
            .then(|| self.shown.get_or_init(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr())).clone());
        Bar::new(bars, what, PATIENCE)
    }

    /// Writes something else to standard error without tearing the bars.
    pub fn suspended<T>(&self, write: impl FnOnce() -> T) -> T {
        match self.shown.get() {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }
}

impl fmt::Debug for Bars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bars").field("visible", &self.visible).finish_non_exhaustive()
    }
}

/// How far one transfer is.
#[derive(Debug)]
pub struct Bar {
    bars: Option<MultiProgress>,
    what: String,
    begun: Instant,
    patience: Duration,
    total: AtomicU64,
    done: AtomicU64,
    drawn: OnceLock<ProgressBar>,
}

impl Bar {
    fn new(bars: Option<MultiProgress>, what: &str, patience: Duration) -> Self {
        let (total, done) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { bars, what: shown(what), begun: Instant::now(), patience, total, done, drawn: OnceLock::new() }
    }

    /// The bar, where there is to be one by now.
    fn due(&self) -> Option<&ProgressBar> {
        let bars = self.bars.as_ref().filter(|_| self.begun.elapsed() >= self.patience)?;
        Some(self.drawn.get_or_init(|| {
            let style = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {eta}");
            let style = style.expect("the template is a constant that parses");
            bars.add(ProgressBar::no_length()).with_style(style).with_message(self.what.clone())
        }))
    }

    fn clear(&self) {
        if let (Some(bars), Some(bar)) = (&self.bars, self.drawn.get()) {
            bar.finish_and_clear();
            bars.remove(bar);
        }
    }
}

impl Progress for Bar {
    fn started(&self, total: u64) {
        self.total.store(total, Relaxed);
    }

    fn advanced(&self, bytes: u64) {
        self.done.fetch_add(bytes, Relaxed);
        if let Some(bar) = self.due() {
            bar.set_length(self.total.load(Relaxed));
            bar.set_position(self.done.load(Relaxed));
        }
    }

    fn finished(&self) {
        self.clear();
    }
}

/// A transfer that fails leaves no bar behind.
impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(patience: Duration) -> Bar {
        let bar = Bar::new(Some(MultiProgress::with_draw_target(ProgressDrawTarget::hidden())), "layer", patience);
        bar.started(2048);
        bar
    }

    #[test]
    fn short_work_draws_no_bar() {
        let bar = bar(Duration::from_secs(3600));
        bar.advanced(1024);
        assert!(bar.drawn.get().is_none());
    }

    #[test]
    fn long_work_draws_a_bar_that_counts_what_came_before_it_too() {
        let bar = bar(Duration::ZERO);
        bar.done.store(1000, Relaxed);
        bar.advanced(24);
        let drawn = bar.drawn.get().unwrap();
        assert_eq!((drawn.position(), drawn.length()), (1024, Some(2048)));
        bar.finished();
        assert!(drawn.is_finished());
    }

    #[test]
    fn nothing_is_drawn_where_nothing_is_to_be_seen() {
        let bar = Bars::hidden().bar("layer");
        bar.advanced(1);
        assert!(bar.drawn.get().is_none());
    }
}
