//! `boltseal pull`: verifies, then pulls by the verified digest.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::console::Console;
use super::image::{ImageArg, LayoutArg};
use super::ports::{Ports, subject};
use super::report::{Failure, Outcome};
use super::session::Session;
use super::verdict::{Asked, VerdictForm};
use crate::config::Engine;
use crate::env::{self, Environment};
use crate::image::ImageName;
use crate::ops::engine::{Connection, Engine as _, Program, Volume, advice, choose};
use crate::ops::error::Error;
use crate::ops::pull::{self as ops, Decision, Pulled};
use crate::ops::transfer;
use crate::ops::world::World;
use crate::registry::http;
use crate::trust::policy::Mode;

/// Arguments of `pull`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  boltseal pull registry.example.com/acme/app:1.0
  boltseal pull app:1.0 --with podman
  boltseal pull app:1.0 --to oci:./images

The engine is `--with`, else `BOLTSEAL_ENGINE`, else the first of docker, podman, nerdctl and ctr
that answers. The tag is set as `docker pull` sets it. `DOCKER_CONTENT_TRUST=0` turns verification
off where the policy allows that.")]
pub struct Args {
    /// The image
    #[arg(value_name = "IMAGE")]
    pub image: ImageArg,

    /// The engine that pulls
    #[arg(long = "with", value_enum, value_name = "ENGINE", conflicts_with = "to")]
    pub engine: Option<EngineArg>,

    /// Write into an image layout instead: `oci:FOLDER[:TAG]`
    #[arg(long, value_name = "LAYOUT")]
    pub to: Option<LayoutArg>,

    /// The name that the images of a layout are expected to have
    #[arg(long, value_name = "NAME")]
    pub name: Option<ImageName>,
}

/// Programs that pull images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineArg {
    /// Docker's client, for dockerd
    Docker,
    /// Podman
    Podman,
    /// nerdctl, for containerd
    Nerdctl,
    /// ctr, containerd's own client
    Ctr,
}

impl From<EngineArg> for Engine {
    fn from(arg: EngineArg) -> Self {
        match arg {
            EngineArg::Docker => Self::Docker,
            EngineArg::Podman => Self::Podman,
            EngineArg::Nerdctl => Self::Nerdctl,
            EngineArg::Ctr => Self::Ctr,
        }
    }
}

/// Verifies the image, has it pulled by its digest and sets the tag.
///
/// # Errors
/// What the use case refuses, as an exit code with a sentence.
pub async fn run(args: Args, session: &Session) -> Result<Outcome, Failure> {
    let ports = Ports::new(session);
    let mut world = ports.world()?;
    let switched_off = content_trust(&*session.environment) == Some(Switch::Off);
    if switched_off {
        world.overrides.mode = Some(Mode::Off);
    }
    let subject = subject(&args.image, args.name.as_ref(), &world.policy).await?;
    let wanted = session.engine(args.engine.map(Into::into))?;
    if args.to.is_none() {
        // Before anything is fetched: an engine can never pull from a layout.
        ops::source(&world, &subject)?;
    }
    let decision = ops::judge(&world, &subject).await;
    ports.save_checkpoint(decision.verdict.as_slice())?;
    let mut form = PullForm { verdict: verdict_form(&decision), engine: None, pulled: None, tagged: None };
    if !decision.allow() {
        return Ok(write(&session.console, &form));
    }
    warn(&session.console, &decision, switched_off);
    let pulled = if let Some(layout) = &args.to {
        into_layout(session, &world, &decision, layout).await?
    } else {
        let from = ops::source(&world, &subject)?;
        let connection = connection(session, &from)?;
        let engine = engine(session, wanted).await?;
        form.engine = Some(engine.kind().as_str());
        let say = |line: String| session.console.talk.info(line);
        let pulled = ops::by_engine(&world, &decision, &engine, &connection, &say).await;
        pulled.map_err(|e| match e {
            Error::Program { .. } => {
                advice(engine.kind(), &connection).into_iter().fold(Failure::from(e), Failure::hint)
            }
            e => failure(e),
        })?
    };
    form.verdict.digest = pulled.digest.map(|digest| digest.to_string());
    form.pulled = Some(pulled.from);
    form.tagged = pulled.tagged;
    Ok(write(&session.console, &form))
}

/// What `DOCKER_CONTENT_TRUST` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Switch {
    On,
    Off,
}

/// Reads the switch as docker does: what is no boolean is on, so that a slip of the pen never turns it off.
fn content_trust(environment: &dyn Environment) -> Option<Switch> {
    let value = environment.value(env::DOCKER_CONTENT_TRUST)?;
    let off = ["0", "f", "F", "FALSE", "false", "False"].iter().any(|no| value == *no);
    Some(if off { Switch::Off } else { Switch::On })
}

/// How the engine has to reach the registry that the image comes from, as far as Boltseal was told more than it.
fn connection(session: &Session, from: &ImageName) -> Result<Connection, Failure> {
    let options = session.http(from.host());
    let usual = http::Options::default().certs_d;
    let told = options.certs_d.iter().find(|folder| !usual.contains(folder) && folder.join(from.host()).is_dir());
    Ok(Connection {
        host: from.host().to_owned(),
        unchecked: options.certificates == http::Certificates::UnsafeIgnore,
        ca: options.ca.clone(),
        certs_d: told.cloned(),
        plain: http::Client::new(options).repository(from.host(), from.repository())?.is_plain(),
    })
}

/// The engine that was asked for, else the first that answers.
async fn engine(session: &Session, wanted: Option<Engine>) -> Result<Program, Failure> {
    let volume = if session.options.speech.quiet { Volume::Quiet } else { Volume::Normal };
    if let Some(engine) = wanted {
        let program = Program::new(engine, volume);
        let path = session.environment.value(env::PATH).unwrap_or_default();
        if program.is_on(&path) {
            return Ok(program);
        }
        return Err(Failure::failed(format!("{} is not installed, or not on the `PATH`", engine.as_str()))
            .hint("name another engine with `--with`; `--to oci:FOLDER` needs none"));
    }
    let engines = Engine::ALL.map(|engine| Program::new(engine, volume));
    match choose(&engines).await {
        Ok((engine, before)) => {
            let because = if before.is_empty() { String::new() } else { format!(": {}", before.join(", ")) };
            session.console.talk.info(format_args!("using {}{because}", engine.kind().as_str()));
            Ok(engine.clone())
        }
        Err(before) => Err(Failure::failed(format!("there is no engine to pull with: {}", before.join(", ")))
            .hint("name one with `--with`, to see what is wrong with it")
            .hint("`--to oci:FOLDER` pulls into an image layout without any engine")),
    }
}

async fn into_layout(
    session: &Session,
    world: &World<'_>,
    decision: &Decision,
    layout: &LayoutArg,
) -> Result<Pulled, Failure> {
    let progress: Arc<dyn transfer::Progress> =
        Arc::new(session.console.bars.bar(&decision.subject.reference.to_string()));
    let (pulled, done) =
        ops::into_layout(world, decision, &layout.folder, layout.tag.as_ref(), &progress).await.map_err(failure)?;
    let talk = &session.console.talk;
    let written = pulled.tagged.as_deref().unwrap_or_default();
    talk.info(format_args!("written to {written}: {} copied, {} there already", size(done.sent), size(done.present)));
    if !done.foreign.is_empty() {
        talk.warn(format_args!("{} layers that may not be passed on were left out", done.foreign.len()));
    }
    Ok(pulled)
}

/// A failure to get what was verified: the signed digest itself is what is missing, so there is no other to pull.
fn failure(error: Error) -> Failure {
    let lost = matches!(error, Error::WrongBytes { .. });
    let failure = Failure::from(error);
    if !lost {
        return failure;
    }
    Failure { hints: Vec::new(), ..failure }
        .hint("nothing else was pulled in its place: push and sign the image again, or ask who runs the registry")
}

fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// Says loudly what is pulled without being verified, and why.
fn warn(console: &Console, decision: &Decision, switched_off: bool) {
    let image = decision.subject.shown();
    match &decision.verdict {
        None if switched_off => {
            let switch = env::DOCKER_CONTENT_TRUST;
            console.talk.warn(format_args!("{image}: nothing was verified, as `{switch}` is off"));
        }
        None => console.talk.warn(format_args!("{image}: nothing was verified, as the policy says `off`")),
        Some(verdict) => {
            verdict.notices.iter().for_each(|notice| console.talk.warn(notice));
            match &verdict.outcome {
                Err(error) => {
                    console.talk.warn(error);
                    console.talk.warn(format_args!("{image}: pulled all the same, as the policy says `audit`"));
                }
                Ok(endorsement) => {
                    if let Some(since) = endorsement.superseded {
                        console
                            .talk
                            .warn(format_args!("{image}: superseded since {since}, the tag holds another digest"));
                    }
                }
            }
        }
    }
}

/// The verdict with what followed from it, in the form of `boltseal.pull/v1`.
#[derive(Debug, serde::Serialize)]
struct PullForm {
    #[serde(flatten)]
    verdict: VerdictForm,
    /// The engine that pulled; none for a layout.
    engine: Option<&'static str>,
    /// What was pulled, with its location.
    pulled: Option<String>,
    /// The name that was given to it.
    tagged: Option<String>,
}

fn verdict_form(decision: &Decision) -> VerdictForm {
    match &decision.verdict {
        Some(verdict) => VerdictForm::of(verdict, Asked::Passage),
        None => VerdictForm::unasked(&decision.subject.reference),
    }
}

/// Writes `name@digest` of what was pulled; the tag's name where no digest is known.
fn write(console: &Console, form: &PullForm) -> Outcome {
    if console.output.is_json() {
        console.output.document("pull", &BTreeMap::from([("results", [form])]));
    }
    let verdict = &form.verdict;
    match (&verdict.reason, &form.pulled) {
        (Some(reason), None) => {
            verdict.notices.iter().for_each(|notice| console.talk.warn(notice));
            console.talk.failure(reason);
            return Outcome::Reported(reason.exit);
        }
        (_, Some(_)) if !console.output.is_json() => match (&verdict.digest, &verdict.tag) {
            (Some(digest), _) => console.output.line(format_args!("{}@{digest}", verdict.name)),
            (None, Some(tag)) => console.output.line(format_args!("{}:{tag}", verdict.name)),
            (None, None) => console.output.line(&verdict.name),
        },
        _ => {}
    }
    Outcome::Done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_trust_is_read_as_docker_reads_it() {
        let read = |value: &'static str| {
            content_trust(&move |name: &str| (name == env::DOCKER_CONTENT_TRUST).then(|| value.into()))
        };
        for on in ["1", "t", "T", "TRUE", "true", "True", "yes", "on", "no", "off", "FaLsE", " 0", "00"] {
            assert_eq!(read(on), Some(Switch::On), "{on}");
        }
        for off in ["0", "f", "F", "FALSE", "false", "False"] {
            assert_eq!(read(off), Some(Switch::Off), "{off}");
        }
        assert_eq!(read(""), None);
        assert_eq!(content_trust(&|_: &str| None), None);
    }
}
