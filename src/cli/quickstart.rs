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
        let mut text = String::new();
        if let Some(title) = act.title {
            self.number += 1;
            text += &format!("\n{} {}\n", format!("{}.", self.number).bold(), title.bold());
        }
        if let Some(command) = &act.command {
            text += &format!("   {} {}\n", "$".dimmed(), command.cyan());
        }
        for line in act.answer.iter().flatten() {
            text += &format!("     {}\n", self.short(line));
        }
        if let Some(failure) = failure {
            let verdict = format!("refused, exit {}:", failure.exit.code());
            text += &format!("     {} {}\n", verdict.red().bold(), self.short(&failure.message));
        }
        self.write(&text);
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
        let mut text = format!("\n{}\n", "All as it has to be. Now with an image of yours:".green().bold());
        let next = [
            ("boltseal init REGISTRY/NAME", "keys, once for each image name"),
            ("boltseal sign REGISTRY/NAME:TAG", "after each push"),
            ("boltseal pull REGISTRY/NAME:TAG", "instead of `docker pull`; on other machines after `trust add`"),
        ];
        for (command, why) in next {
            text += &format!("   {} {}  {}\n", "$".dimmed(), format!("{command:<33}").cyan(), why.dimmed());
        }
        if stage.place == Place::Registry {
            text += &format!("{}\n", format!("The repository {} is left in the registry.", stage.name).dimmed());
        }
        self.write(&text);
    }

    /// A line short enough to be read: digests by their beginning, paths without the temporary folder.
    fn short(&self, line: &str) -> String {
        let line = shown(line).replace(&format!("{}/", self.folder), "");
        let mut parts = line.split("sha256:");
        let mut short = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let digits = part.bytes().take_while(u8::is_ascii_hexdigit).count();
            let kept = if digits == 64 { format!("{}…", &part[..12]) } else { part[..digits].to_owned() };
            short += &format!("sha256:{kept}{}", &part[digits..]);
        }
        short
    }

    fn write(&self, text: &str) {
        if !self.session.console.output.is_json() {
            self.session.console.talk.styled(text);
        }
    }
}
