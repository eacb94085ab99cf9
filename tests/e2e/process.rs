//! Child processes that cannot be left behind, and what a finished one said.
//!
//! - A [`Server`] runs in a process group of its own and dies with the thread that started it, however that ends.
//! - [`run`] gives every client a time limit, and the result answers questions in the form of assertions.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Longest that a client may take before it is ended and reported with exit code 124.
const CLIENT_LIMIT: &str = "180";
/// Longest that a server may take until it answers.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// Time between two looks at something awaited.
const POLL: Duration = Duration::from_millis(15);
/// Time that a server has to end by itself before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// Ports handed out lie below the kernel's ephemeral range, so that no outgoing connection takes one in between.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// A port on loopback that nothing listens on, and that no other call in this process was given.
pub(crate) fn free_port() -> u16 {
    let span = PORTS.end - PORTS.start;
    // Test runs side by side begin at different places.
    let start = u16::try_from(std::process::id() * 97 % u32::from(span)).expect("below the span");
    for _ in 0..span {
        let step = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + (start + step % span) % span;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port in {PORTS:?}");
}

/// A command whose process is killed when the thread that started it ends.
pub(crate) fn tethered(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

/// The same for a program that starts others: it gets process ids and mounts of its own, which all end with it.
pub(crate) fn contained(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = tethered("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]).arg(program);
    command
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts `command` with its output appended to `log`, and returns when `ready` says so.
    ///
    /// # Errors
    ///
    /// What the server logged, when it ends or stays silent instead.
    pub(crate) fn start(
        name: &'static str,
        command: &mut Command,
        log: &Path,
        ready: impl Fn() -> bool,
    ) -> Result<Self, String> {
        use std::os::unix::process::CommandExt;

        let out = File::options().create(true).append(true).open(log).expect("the log file opens");
        let err = out.try_clone().expect("a file handle doubles");
        let child =
            command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0).spawn().unwrap_or_else(|error| {
                panic!("{name} does not start: {error} (`./tests/run` installs what is needed)")
            });
        let mut server = Self { child, log: log.to_owned() };
        let begun = Instant::now();
        loop {
            if let Some(status) = server.child.try_wait().expect("a child can be waited for") {
                return Err(format!("{name} ended with {status}:\n{}", server.logged()));
            }
            if ready() {
                return Ok(server);
            }
            if begun.elapsed() > READY_LIMIT {
                return Err(format!("{name} did not answer within {READY_LIMIT:?}:\n{}", server.logged()));
            }
            thread::sleep(POLL);
        }
    }

    /// Everything the server has written.
    pub(crate) fn logged(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    fn signal(&self, signal: &str) {
        // The negative number means the whole group. A group that is gone already is no error here.
        let _ = Command::new("sh")
            .args(["-c", "kill -s \"$0\" -- \"-$1\" 2>/dev/null", signal])
            .arg(self.child.id().to_string())
            .status();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal("TERM");
        wait_until(STOP_LIMIT, || self.child.try_wait().is_ok_and(|status| status.is_some()));
        // Also after a clean end: a member of the group may have outlived its leader.
        self.signal("KILL");
        let _ = self.child.wait();
    }
}

/// Polls until `done` holds, and says whether it came to that within `limit`.
pub(crate) fn wait_until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    loop {
        if done() {
            return true;
        }
        if begun.elapsed() > limit {
            return false;
        }
        thread::sleep(POLL);
    }
}

/// What a finished program said. Its methods fail the test with the whole story.
#[derive(Clone)]
pub(crate) struct Ran {
    what: String,
    code: i32,
    stdout: String,
    stderr: String,
}

/// Runs a client to its end, or to the end of its time.
pub(crate) fn run(command: &Command) -> Ran {
    let program = command.get_program().to_string_lossy().into_owned();
    let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let what = format!("{program} {}", arguments.join(" "));

    let mut timed = Command::new("timeout");
    timed.args(["--kill-after=5", CLIENT_LIMIT]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => timed.env(name, value),
            None => timed.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        timed.current_dir(folder);
    }
    let output = timed.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{what}: {error}"));
    let ran = Ran {
        what,
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    assert!(ran.code != 127, "{ran}\n(`./tests/run` installs what is needed)");
    ran
}

impl Ran {
    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn code(self, expected: i32) -> Self {
        assert!(self.code == expected, "expected exit code {expected}: {self}");
        self
    }

    /// Asserts that the exit code is one of these, and returns it.
    #[track_caller]
    pub(crate) fn code_is(&self, expected: &[i32]) -> i32 {
        assert!(expected.contains(&self.code), "expected an exit code of {expected:?}: {self}");
        self.code
    }

    /// Asserts success.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.code(0)
    }

    /// Asserts failure, whatever the code.
    #[track_caller]
    pub(crate) fn fails(self) -> Self {
        assert!(self.code != 0, "expected a failure: {self}");
        self
    }

    /// Asserts that stdout contains `text`.
    #[track_caller]
    pub(crate) fn stdout_has(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "expected `{text}` on stdout: {self}");
        self
    }

    /// Asserts that stderr contains `text`.
    #[track_caller]
    pub(crate) fn stderr_has(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "expected `{text}` on stderr: {self}");
        self
    }

    /// Asserts that stdout and stderr together contain `text`, in any case of letters.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        let all = format!("{}\n{}", self.stdout, self.stderr).to_lowercase();
        assert!(all.contains(&text.to_lowercase()), "expected `{text}`: {self}");
        self
    }

    /// Stdout without the white space around it.
    pub(crate) fn stdout(&self) -> &str {
        self.stdout.trim()
    }

    /// Everything said, stdout first.
    pub(crate) fn all(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` ended with {}\n--- stdout\n{}\n--- stderr\n{}\n---",
            self.what, self.code, self.stdout, self.stderr
        )
    }
}
