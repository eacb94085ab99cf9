//! What every run has before anything else: its ways to speak, and the environment it reads.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;

use anstream::ColorChoice;

use super::options::Speech;
use super::output::{self, Format, Output};
use super::progress::Bars;
use super::prompt::Prompt;
use super::report::{Exit, Failure, Outcome};
use super::talk::{self, Talk, Volume};
use crate::env::{self, Environment};

/// Results, talk, questions and progress of one run.
#[derive(Debug, Clone)]
pub struct Console {
    /// Standard output.
    pub output: Arc<Output>,
    /// Standard error.
    pub talk: Arc<Talk>,
    /// Progress bars on standard error.
    pub bars: Arc<Bars>,
    /// Questions.
    pub prompt: Prompt,
}

impl Console {
    /// The process's streams, as the options and the environment want them.
    pub fn new(speech: &Speech, environment: &dyn Environment) -> Self {
        let ci = environment.value(env::CI).is_some();
        let wanted = !speech.no_progress && (speech.progress || !(ci || speech.quiet));
        let bars = Arc::new(if wanted && talk::is_terminal() { Bars::stderr() } else { Bars::hidden() });
        let volume = if speech.quiet { Volume::Quiet } else { Volume::Normal };
        let color = color(environment, talk::is_terminal());
        Self {
            output: Arc::new(Output::stdout(speech.output)),
            talk: Arc::new(Talk::stderr(volume, color, Arc::clone(&bars))),
            bars,
            prompt: Prompt::new(ci),
        }
    }

    /// Reports how the run ended, and says what the process exits with.
    pub fn finish(&self, result: &Result<Outcome, Failure>) -> Exit {
        let exit = match result {
            Ok(outcome) => outcome.exit(),
            Err(failure) => {
                self.fail(failure);
                failure.exit
            }
        };
        match self.output.finish() {
            Err(failure) if exit == Exit::Done => {
                self.talk.failure(&failure);
                failure.exit
            }
            _ => exit,
        }
    }

    /// Reports a failure of the run as a whole: on standard error, and as a document where JSON is wanted.
    fn fail(&self, failure: &Failure) {
        if self.output.is_json() {
            let body = BTreeMap::from([("error", failure)]);
            self.output.document("error", &body);
        }
        self.talk.failure(failure);
    }

    /// Reports what the argument parser has to say: help and version are data, the rest is wrong usage.
    pub fn parser(error: &clap::Error, arguments: &[OsString], environment: &dyn Environment) -> Exit {
        let format = wants_json(arguments).then_some(Format::Json);
        let console = Self::new(&Speech { output: format, ..Speech::default() }, environment);
        let rendered = error.render();
        let text = |color| match color {
            ColorChoice::Never => rendered.to_string(),
            _ => rendered.ansi().to_string(),
        };
        if !error.use_stderr() {
            console.output.bytes(text(color(environment, output::is_terminal())).as_bytes());
            return console.finish(&Ok(Outcome::Done));
        }
        if console.output.is_json() {
            let sentence = rendered.to_string();
            let sentence = sentence.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            let failure = Failure::usage(sentence).hint("`boltseal help VERB` shows how it is used");
            console.output.document("error", &BTreeMap::from([("error", &failure)]));
        }
        console.talk.styled(&text(color(environment, talk::is_terminal())));
        console.finish(&Ok(Outcome::Reported(Exit::Usage)))
    }
}

/// Colour is for terminals, unless `NO_COLOR` is set or the terminal is a dumb one.
fn color(environment: &dyn Environment, terminal: bool) -> ColorChoice {
    let unwanted =
        environment.value(env::NO_COLOR).is_some() || environment.value(env::TERM).is_some_and(|t| t == "dumb");
    if terminal && !unwanted { ColorChoice::Always } else { ColorChoice::Never }
}

/// Whether a command line that cannot be parsed asks for JSON all the same.
fn wants_json(arguments: &[OsString]) -> bool {
    let before_end = || arguments.iter().take_while(|argument| *argument != "--");
    before_end().any(|argument| argument == "--output=json")
        || before_end().zip(before_end().skip(1)).any(|(option, value)| option == "--output" && value == "json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_needs_a_terminal_and_nobody_against_it() {
        let colored = |set: &'static str, to: &'static str, terminal| {
            let environment = move |name: &str| (name == set).then(|| to.into());
            color(&environment, terminal) == ColorChoice::Always
        };
        assert!(colored("TERM", "xterm", true));
        assert!(colored("NO_COLOR", "", true));
        assert!(!colored("NO_COLOR", "1", true));
        assert!(!colored("TERM", "dumb", true));
        assert!(!colored("TERM", "xterm", false));
    }

    #[test]
    fn json_is_noticed_in_a_command_line_that_cannot_be_parsed() {
        let wants = |text: &str| wants_json(&text.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert!(wants("verify --output json --nonsense"));
        assert!(wants("verify --output=json --nonsense"));
        assert!(!wants("verify --output text json"));
        assert!(!wants("verify -- --output json"));
    }
}
