//! Standard error: what the program says to people. Never data.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use anstream::ColorChoice;
use owo_colors::OwoColorize;

use super::output::shown;
use super::progress::Bars;
use super::report::Failure;

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volume {
    /// Warnings and errors.
    Quiet,
    /// Also what was done.
    Normal,
}

/// The writer to standard error. Failing to write there changes nothing.
pub struct Talk {
    volume: Volume,
    writer: Mutex<anstream::AutoStream<Box<dyn Write + Send>>>,
    bars: Arc<Bars>,
}

impl Talk {
    /// The process's standard error.
    pub fn stderr(volume: Volume, color: ColorChoice, bars: Arc<Bars>) -> Self {
        Self::new(volume, color, Box::new(io::stderr()), bars)
    }

    /// Any writer, in tests.
    pub fn new(volume: Volume, color: ColorChoice, writer: Box<dyn Write + Send>, bars: Arc<Bars>) -> Self {
        let writer = match color {
            ColorChoice::Never => anstream::AutoStream::never(writer),
            _ => anstream::AutoStream::always_ansi(writer),
        };
        Self { volume, writer: Mutex::new(writer), bars }
    }

    /// Says what was done or is about to be done; not in quiet mode.
    pub fn info(&self, message: impl fmt::Display) {
        if self.volume == Volume::Normal {
            self.write(&format!("{}\n", shown(&message.to_string())));
        }
    }

    /// Says what a person should know before trusting the result; also in quiet mode.
    pub fn warn(&self, message: impl fmt::Display) {
        self.write(&format!("{} {}\n", "warning:".yellow().bold(), shown(&message.to_string())));
    }

    /// Says why something failed, then what to do.
    pub fn failure(&self, failure: &Failure) {
        let hints = failure.hints.iter().map(|hint| format!("{} {}\n", "hint:".cyan().bold(), shown(hint)));
        let text: String =
            std::iter::once(format!("{} {}\n", "error:".red().bold(), shown(&failure.message))).chain(hints).collect();
        self.write(&text);
    }

    /// Writes text that brings its own styles and line ends: the argument parser's.
    pub fn styled(&self, text: &str) {
        self.write(text);
    }

    fn write(&self, text: &str) {
        self.bars.suspended(|| {
            let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            // Nobody is left to tell when standard error itself fails.
            let _ = writer.write_all(text.as_bytes()).and_then(|()| writer.flush());
        });
    }
}

impl fmt::Debug for Talk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Talk").field("volume", &self.volume).finish_non_exhaustive()
    }
}

/// Whether standard error is a terminal.
pub fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::report::Exit;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn said(volume: Volume, color: ColorChoice, say: impl FnOnce(&Talk)) -> String {
        let page = Page::default();
        say(&Talk::new(volume, color, Box::new(page.clone()), Arc::new(Bars::hidden())));
        String::from_utf8(page.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn an_error_is_one_sentence_and_then_the_hints() {
        let failure = Failure::new(Exit::Key, "key ab is not\nhere").hint("one").hint("two");
        assert_eq!(
            said(Volume::Quiet, ColorChoice::Never, |talk| talk.failure(&failure)),
            "error: key ab is not\\nhere\nhint: one\nhint: two\n"
        );
    }

    #[test]
    fn quiet_keeps_warnings_and_drops_the_rest() {
        let say = |talk: &Talk| {
            talk.info("signed");
            talk.warn("mind this");
        };
        assert_eq!(said(Volume::Quiet, ColorChoice::Never, say), "warning: mind this\n");
        assert_eq!(said(Volume::Normal, ColorChoice::Never, say), "signed\nwarning: mind this\n");
    }

    #[test]
    fn colour_comes_only_where_it_is_wanted() {
        let say = |talk: &Talk| talk.warn("x");
        assert!(said(Volume::Normal, ColorChoice::Always, say).contains("\x1b["));
        assert!(!said(Volume::Normal, ColorChoice::Never, say).contains('\x1b'));
    }
}
