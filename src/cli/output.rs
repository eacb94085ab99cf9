//! Standard output: the one writer to it. Data go here and nothing else.
//!
//! - A reader that goes away (a broken pipe) silences the rest and is no failure.
//! - Any other write error is kept and makes the run fail at its end, so that a full disk is never exit 0.
//! - Text from outside cannot steer a terminal: control and direction-changing characters are shown escaped.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, OnceLock, PoisonError};

use serde::Serialize;

use super::report::Failure;

/// How results are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people, and for simple scripts
    #[default]
    Text,
    /// One JSON document
    Json,
    /// As `docker trust inspect` prints; for `inspect` alone
    #[value(hide = true)]
    Docker,
}

/// The writer to standard output.
pub struct Output {
    format: OnceLock<Format>,
    sink: Mutex<Sink>,
}

struct Sink {
    writer: Box<dyn Write + Send>,
    failed: Option<io::Error>,
}

impl Output {
    /// The process's standard output, with the form that a flag asks for.
    pub fn stdout(format: Option<Format>) -> Self {
        Self::new(format, Box::new(io::stdout()))
    }

    /// Any writer, in tests.
    pub fn new(format: Option<Format>, writer: Box<dyn Write + Send>) -> Self {
        Self {
            format: format.map_or_else(OnceLock::new, OnceLock::from),
            sink: Mutex::new(Sink { writer, failed: None }),
        }
    }

    /// How results are to be written.
    pub fn format(&self) -> Format {
        self.format.get().copied().unwrap_or_default()
    }

    /// Takes the form that the settings ask for, unless a flag asked for one.
    pub fn prefer(&self, format: Format) {
        // The first to say it counts.
        let _ = self.format.set(format);
    }

    /// Whether one JSON document is to be written.
    pub fn is_json(&self) -> bool {
        self.format() == Format::Json
    }

    /// Writes a line of data.
    pub fn line(&self, line: impl fmt::Display) {
        self.bytes(format!("{}\n", shown(&line.to_string())).as_bytes());
    }

    /// Writes a table: columns aligned, no rules, a header in capitals. Nothing for no rows.
    pub fn table<R>(&self, header: &[&str], rows: impl IntoIterator<Item = R>)
    where
        R: IntoIterator<Item = String>,
    {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_header(header.iter().map(|title| title.to_uppercase()));
        table.add_rows(rows.into_iter().map(|row| row.into_iter().map(|cell| shown(&cell)).collect::<Vec<_>>()));
        if table.is_empty() {
            return;
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        self.bytes(format!("{}\n", table.trim_fmt()).as_bytes());
    }

    /// Writes a JSON document: an object whose first member is `"schema": "boltseal.<schema>/v1"`, followed by the
    /// members of `body`, which must be a struct or map.
    pub fn document(&self, schema: &str, body: &impl Serialize) {
        #[derive(Serialize)]
        struct Document<'a, B> {
            schema: String,
            #[serde(flatten)]
            body: &'a B,
        }
        let document = Document { schema: format!("boltseal.{schema}/v1"), body };
        let mut text = serde_json::to_string(&document).expect("results have text keys and finite numbers");
        text.push('\n');
        self.bytes(text.as_bytes());
    }

    /// Writes a JSON value in a form that is not ours, without a schema's name.
    pub fn json(&self, value: &serde_json::Value) {
        self.bytes(format!("{value:#}\n").as_bytes());
    }

    /// Writes bytes as they are: completions, manual pages, exported files.
    pub fn bytes(&self, bytes: &[u8]) {
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        if sink.failed.is_some() {
            return;
        }
        if let Err(error) = sink.writer.write_all(bytes).and_then(|()| sink.writer.flush()) {
            sink.failed = Some(error);
        }
    }

    /// Says at the end of a run whether everything was written that anybody wanted to read.
    ///
    /// # Errors
    /// Exit 1 where a write failed for another reason than a reader that went away.
    pub fn finish(&self) -> Result<(), Failure> {
        match &self.sink.lock().unwrap_or_else(PoisonError::into_inner).failed {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::failed(format!("cannot write to standard output: {error}")))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("format", &self.format()).finish_non_exhaustive()
    }
}

/// Whether standard output is a terminal.
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Text as a terminal may see it: control characters and those that change the direction of writing are escaped.
pub fn shown(text: &str) -> String {
    let harmless = |c: char| {
        !c.is_control() && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.chars().all(harmless) {
        return text.to_owned();
    }
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        if harmless(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_default());
        }
        shown
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A writer that fails with a kind of error, or keeps what it gets.
    #[derive(Clone, Default)]
    struct Page {
        written: Arc<Mutex<Vec<u8>>>,
        fails: Option<io::ErrorKind>,
    }

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.fails {
                Some(kind) => Err(kind.into()),
                None => self.written.lock().unwrap().write(bytes),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(write: impl FnOnce(&Output)) -> String {
        let page = Page::default();
        write(&Output::new(Some(Format::Text), Box::new(page.clone())));
        String::from_utf8(page.written.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_reader_that_goes_away_is_no_failure_and_a_full_disk_is() {
        for (kind, fails) in [(io::ErrorKind::BrokenPipe, false), (io::ErrorKind::StorageFull, true)] {
            let output = Output::new(Some(Format::Text), Box::new(Page { fails: Some(kind), ..Page::default() }));
            output.line("data");
            output.line("more");
            assert_eq!(output.finish().is_err(), fails, "{kind}");
        }
    }

    #[test]
    fn a_flag_beats_the_settings() {
        for (flag, settled) in [(Some(Format::Text), Format::Text), (None, Format::Json)] {
            let output = Output::new(flag, Box::new(Page::default()));
            output.prefer(Format::Json);
            assert_eq!(output.format(), settled);
        }
    }

    #[test]
    fn data_cannot_steer_the_terminal() {
        assert_eq!(written(|output| output.line("a\x1b[2Jb\nc\u{202e}d é")), "a\\u{1b}[2Jb\\nc\\u{202e}d é\n");
        assert!(!written(|output| output.table(&["x"], [["\x1b[2J".to_owned()]])).contains('\x1b'));
    }

    #[test]
    fn a_document_names_its_schema_first() {
        let body = std::collections::BTreeMap::from([("results", [1])]);
        assert_eq!(
            written(|output| output.document("verify", &body)),
            "{\"schema\":\"boltseal.verify/v1\",\"results\":[1]}\n"
        );
    }

    #[test]
    fn tables_are_aligned_columns_and_nothing_else() {
        let rows = [["1.0", "sha256:aa"], ["latest", "sha256:bb"]].map(|row| row.map(str::to_owned));
        assert_eq!(
            written(|output| output.table(&["tag", "digest"], rows)),
            "TAG     DIGEST\n1.0     sha256:aa\nlatest  sha256:bb\n"
        );
        assert_eq!(written(|output| output.table(&["tag"], Vec::<[String; 1]>::new())), "");
    }
}
