//! One run of a program: a request on its standard input, an answer on its standard output, and an end.

use std::ffi::OsString;
use std::fmt;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::env::Environment;

/// Largest answer, in bytes: a program gone wild must not fill memory.
pub(super) const MAX_ANSWER: usize = 256 << 10;
/// How much of what it writes to standard error goes to the log, in bytes.
const MAX_LOGGED: usize = 4 << 10;
/// Pause between two looks at whether the program has ended, once it has closed its standard output.
const PAUSE: Duration = Duration::from_millis(2);
/// The variables that every program sees, where they are set.
const PASSED: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TMPDIR", "TZ"];

/// A program and how it is run. `Debug` shows no variable's value: they may hold credentials.
pub struct Program {
    path: PathBuf,
    arguments: Vec<String>,
    variables: Vec<(String, OsString)>,
    deadline: Duration,
}

/// How a run ended.
pub(super) struct Ran {
    pub(super) output: Vec<u8>,
    pub(super) status: ExitStatus,
}

impl Program {
    /// The program at an absolute path. It sees a few usual variables, those in `more`, and nothing else of
    /// `environment`: passphrases and tokens of this process are none of its business.
    pub fn new(
        path: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = String>,
        environment: &dyn Environment,
        more: &[String],
        deadline: Duration,
    ) -> Self {
        let names = PASSED.into_iter().chain(more.iter().map(String::as_str));
        let variables = names.filter_map(|name| Some((name.to_owned(), environment.variable(name)?))).collect();
        Self { path: path.into(), arguments: arguments.into_iter().collect(), variables, deadline }
    }

    /// Runs it once. `name` is for the log.
    ///
    /// # Errors
    /// A reason where it cannot be started, says too much or does not end in time.
    pub(super) fn run(&self, name: &str, request: &[u8]) -> Result<Ran, String> {
        let end = Instant::now() + self.deadline;
        let late = || format!("it did not answer within {} s", self.deadline.as_secs());
        let mut child = self.start()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let errors = child.stderr.take();
        let group = Group { child: Some(child) };
        // None of these threads is waited for: a pipe that somebody else holds open must not hold us.
        let request = request.to_vec();
        thread::spawn(move || {
            // A program that knows what to answer may close its input unread.
            input.map(|mut input| input.write_all(&request))
        });
        let logged = errors.map(|errors| in_background(errors, MAX_LOGGED, Rest::Drained));
        let output = output.map(|output| in_background(output, MAX_ANSWER + 1, Rest::Left));

        let output = output.and_then(|output| output.recv_timeout(self.deadline).ok()).ok_or_else(late)?;
        if output.len() > MAX_ANSWER {
            return Err(format!("it answered more than {} kB", MAX_ANSWER >> 10));
        }
        let status = group.end_by(end).ok_or_else(late)?;
        if let Some(said) = logged.and_then(|logged| logged.recv_timeout(PAUSE * 10).ok()) {
            for line in String::from_utf8_lossy(&said).lines() {
                tracing::debug!(signer = name, "{}", line.escape_debug());
            }
        }
        Ok(Ran { output, status })
    }

    #[cfg(test)]
    pub(super) fn set_deadline(&mut self, deadline: Duration) {
        self.deadline = deadline;
    }

    fn start(&self) -> Result<Child, String> {
        Command::new(&self.path)
            .args(&self.arguments)
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("`{}` cannot be started: {error}", self.path.display()))
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What is done with what exceeds a cap.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// It stays in the pipe, and the program stops there.
    Left,
    /// It is read and thrown away, so that the program goes on.
    Drained,
}

/// Reads at most `max` bytes on a thread of its own.
fn in_background(from: impl Read + Send + 'static, max: usize, rest: Rest) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let mut from = from;
        // What came before a failure is what there is.
        let _ = from.by_ref().take(max as u64).read_to_end(&mut bytes);
        if rest == Rest::Drained {
            let _ = std::io::copy(&mut from, &mut std::io::sink());
        }
        // Nobody listens once the deadline is over.
        let _ = sender.send(bytes);
    });
    receiver
}

/// A child with all it started: killed when this is dropped.
struct Group {
    child: Option<Child>,
}

impl Group {
    /// How the child ended, if it did by `end`. What it started is killed with it.
    fn end_by(mut self, end: Instant) -> Option<ExitStatus> {
        loop {
            // Left in the process table until the group is killed, so that its number names nobody else.
            if self.child.as_ref().and_then(pid).is_none_or(has_ended) {
                return self.kill();
            }
            if Instant::now() >= end {
                return None;
            }
            thread::sleep(PAUSE);
        }
    }

    fn kill(&mut self) -> Option<ExitStatus> {
        let mut child = self.child.take()?;
        if let Some(pid) = pid(&child) {
            // Gone already, as it should be.
            let _ = kill_process_group(pid, Signal::KILL);
        }
        child.wait().ok()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

fn pid(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()).ok()?)
}

fn has_ended(pid: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::Pid(pid), options), Ok(None))
}

/// How a run that was no success ended, in words; none where it was one.
pub(super) fn misfortune(status: ExitStatus) -> Option<String> {
    match (status.code(), status.signal()) {
        (Some(0), _) => None,
        (Some(code), _) => Some(format!("it failed with exit code {code}")),
        (None, signal) => Some(format!("signal {} ended it", signal.unwrap_or_default())),
    }
}
