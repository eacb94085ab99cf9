//! `boltseal quickstart`: the whole story in seconds.

use owo_colors::OwoColorize;
use serde_json::{Value, json};

use super::output::shown;
use super::ports::Ports;
use super::report::{Failure, Outcome};
use super::session::Session;
use crate::ops::quickstart::{self as ops, Act, Place, Stage};

/// The image name of the story without a registry. The domain is nobody's, by RFC 2606.
const NAME: &str = "example.com/app";

/// How many characters of an answer stand in a line.
const WIDTH: usize = 80;

/// Arguments of `quickstart`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal quickstart
  boltseal quickstart --registry localhost:5000")]
pub struct Args {
    /// Use a registry instead of an image layout on disk
    #[arg(long, value_name = "HOST")]
    pub registry: Option<String>,
}

/// Makes an image, signs and verifies it, moves its tag and shows the refusal.
///
/// # Errors
/// What the use case refuses, as an exit code with a sentence.
pub async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let folder = tempfile::Builder::new()
        .prefix("boltseal-quickstart-")
        .tempdir()
        .map_err(|e| Failure::failed(format!("no temporary folder can be made: {e}")))?;
    let (name, place) = match &args.registry {
        Some(host) => (ops::fresh_name(host)?, Place::Registry),
        None => (NAME.parse().map_err(|e| Failure::failed(format!("{e}")))?, Place::Layout),
    };
    let ports = Ports::new(session);
    let stage = Stage { name, folder: folder.path(), place, registries: &ports, clock: &*session.clock };
    let mut teller = Teller { session, folder: folder.path().display().to_string(), number: 0, acts: Vec::new() };
    teller.begin(&stage);
    let told = ops::run(&stage, &mut |act| teller.tell(&act)).await;
    teller.end(&stage, &told);
    told.map(|()| Outcome::Done).map_err(|ended| match ended {
        ops::Ended::Failed(error) => {
            // The use case's own exit codes are about images; here something went wrong with the story.
            let failure = Failure::from(error);
            failure.hints.into_iter().fold(Failure::failed(failure.message), Failure::hint)
        }
        surprise @ ops::Ended::Surprise { .. } => Failure::failed(surprise.to_string()),
    })
}

/// Writes the story: to standard output as JSON, else to standard error, as it is nobody's data.
struct Teller<'a> {
    session: &'a Session,
    folder: String,
    number: u32,
    acts: Vec<Value>,
}

impl Teller<'_> {
    fn begin(&self, stage: &Stage<'_>) {
        let place = match stage.place {
            Place::Layout => "in an image layout on disk, without any server".to_owned(),
            Place::Registry => format!("in the registry at {}", stage.name.host()),
        };
        self.write(&format!("{}\n", format!("Boltseal signs what a tag is. Here is how, {place}.").bold()));
        self.write(&format!(
            "{}\n",
            format!("Keys, policy and memory lie in {} and are removed at the end.", self.folder).dimmed()
        ));
    }

    fn tell(&mut self, act: &Act) {
        let failure = act.answer.as_ref().err().map(|error| Failure::from(&**error));
        if self.session.console.output.is_json() {
            let lines = act.answer.as_ref().ok();
            self.acts.push(json!({"title": act.title, "command": act.command, "answer": lines, "refused": failure}));
            return;
        }
        if let Some(title) = act.title {
            self.number += 1;
            self.write(&format!("\n{} {}\n", format!("{}.", self.number).bold(), title.bold()));
        }
        if let Some(command) = &act.command {
            self.write(&format!("   {} {}\n", "$".dimmed(), command.cyan()));
        }
        for line in act.answer.iter().flatten() {
            self.write(&indented(&self.short(line)));
        }
        if let Some(failure) = failure {
            let verdict = format!("refused, exit {}:", failure.exit.code());
            let text = indented(&format!("{verdict} {}", self.short(&failure.message)));
            self.write(&text.replacen(&verdict, &verdict.red().bold().to_string(), 1));
        }
    }

    fn end(&mut self, stage: &Stage<'_>, told: &Result<(), ops::Ended>) {
        if self.session.console.output.is_json() {
            if told.is_ok() {
                let body = json!({"name": stage.name.to_string(), "acts": self.acts});
                self.session.console.output.document("quickstart", &body);
            }
            return;
        }
        if told.is_err() {
            return;
        }
        self.write(&format!("\n{}\n", "Everything came out as it should. Now with an image of yours:".green().bold()));
        let next = [
            ("boltseal init REGISTRY/NAME", "once for each image name: keys and trust data"),
            ("boltseal sign REGISTRY/NAME:TAG", "after each push"),
            ("boltseal pull REGISTRY/NAME:TAG", "instead of `docker pull`"),
        ];
        for (command, why) in next {
            self.write(&format!("   {} {}  {}\n", "$".dimmed(), format!("{command:<31}").cyan(), why.dimmed()));
        }
        if stage.place == Place::Registry {
            let left = format!("The repository {} stays in the registry; remove it there.", stage.name);
            self.write(&format!("{}\n", left.dimmed()));
        }
    }

    /// A line short enough to be read: digests by their beginning, paths without the temporary folder.
    fn short(&self, line: &str) -> String {
        let line = shown(line).replace(&format!("{}/", self.folder), "");
        let mut parts = line.split("sha256:");
        let mut short = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let digits = part.bytes().take_while(u8::is_ascii_hexdigit).count();
            let (digest, rest) = part.split_at(digits);
            let (kept, more) = if digits == 64 { (&digest[..12], "…") } else { (digest, "") };
            short.extend(["sha256:", kept, more, rest]);
        }
        short
    }

    fn write(&self, text: &str) {
        if !self.session.console.output.is_json() {
            self.session.console.talk.styled(text);
        }
    }
}

/// Lines of at most [`WIDTH`] characters, broken between words and indented as answers are.
fn indented(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let length = lines.last().map_or(0, |line| line.chars().count());
        match lines.last_mut() {
            Some(line) if length == 0 => line.push_str(word),
            Some(line) if length + 1 + word.chars().count() <= WIDTH => line.extend([" ", word]),
            _ => lines.push(word.to_owned()),
        }
    }
    lines.iter().flat_map(|line| ["     ", line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_broken_between_words() {
        let word = "w".repeat(WIDTH / 2);
        assert_eq!(indented(&format!("{word} x {word}")), format!("     {word} x\n     {word}\n"));
        let long = "l".repeat(WIDTH + 1);
        assert_eq!(indented(&format!("a {long} b")), format!("     a\n     {long}\n     b\n"));
        assert_eq!(indented(""), "     \n");
    }
}
