//! How much, how often and how long a registry may keep us busy.

use std::time::Duration;

use tokio::time::Instant;

/// Every bound on what a registry may make this client do; tests shorten them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Time for one connection, TLS included. Stops addresses that swallow packets.
    pub connect: Duration,
    /// Longest silence inside an answer. Stops answers that begin and then hang.
    pub idle: Duration,
    /// Time for one metadata request with its retries, sign-in and redirects. Stops one-byte drips.
    pub total: Duration,
    /// Fewest bytes a second that a blob may average, on top of `total`. Stops drips of large blobs.
    pub min_rate: u64,
    /// Redirects in a row. Stops redirect loops.
    pub redirects: u32,
    /// Repetitions after a busy, failing or broken answer.
    pub retries: u32,
    /// The first pause before a repetition; each next one is twice as long.
    pub back_off: Duration,
    /// Repetitions of a tag's GET after a 5xx: a registry may fail for an instant while the tag is being moved.
    pub unsettled_retries: u32,
    /// Time over which those repetitions are spread.
    pub unsettled_within: Duration,
    /// Bytes of an error answer that are read for its message.
    pub error_bytes: u64,
    /// Bytes of a token endpoint's answer.
    pub token_bytes: u64,
    /// Bytes of all pages of a list of tags or referrers.
    pub list_bytes: u64,
    /// Entries of such a list.
    pub list_entries: usize,
    /// Pages of such a list. Stops lists of empty pages without end.
    pub list_pages: u32,
    /// Time for one credential helper, which is then killed.
    pub helper: Duration,
    /// Bytes that a credential helper may print.
    pub helper_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            idle: Duration::from_secs(15),
            total: Duration::from_secs(30),
            min_rate: 16 * 1024,
            redirects: 5,
            retries: 3,
            back_off: Duration::from_millis(250),
            unsettled_retries: 5,
            unsettled_within: Duration::from_secs(1),
            error_bytes: 64 * 1024,
            token_bytes: 1024 * 1024,
            list_bytes: 16 * 1024 * 1024,
            list_entries: 200_000,
            list_pages: 2_000,
            helper: Duration::from_secs(10),
            helper_bytes: 1024 * 1024,
        }
    }
}

impl Limits {
    /// The deadline of a metadata request that begins now.
    pub(super) fn deadline(&self) -> Deadline {
        Deadline { at: Instant::now() + self.total, allowed: self.total, idle: self.idle }
    }

    /// The deadline of a transfer of `length` bytes that begins now.
    pub(super) fn transfer_deadline(&self, length: u64) -> Deadline {
        // An absurd length means no deadline worth the name; the idle limit holds all the same.
        let seconds = (length / self.min_rate.max(1)).min(30 * 24 * 3600);
        let allowed = self.total + Duration::from_secs(seconds);
        Deadline { at: Instant::now() + allowed, allowed, idle: self.idle }
    }
}

/// Until when something must be over, and how long it may be silent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    at: Instant,
    allowed: Duration,
    idle: Duration,
}

/// Which of the two bounds ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Late {
    /// Nothing came for so long.
    Idle(Duration),
    /// The whole took so long.
    Total(Duration),
}

impl Deadline {
    /// The same deadline, but silence counts only against the whole: for waiting until an answer begins.
    pub(super) fn patient(self) -> Self {
        Self { idle: self.allowed, ..self }
    }

    /// Whether a pause of that length still fits.
    pub(super) fn allows(&self, pause: Duration) -> bool {
        Instant::now() + pause < self.at
    }

    /// Waits for one step, bounded by the idle limit and by the whole.
    pub(super) async fn step<T>(&self, step: impl Future<Output = T>) -> Result<T, Late> {
        let quiet = Instant::now() + self.idle;
        let (until, late) =
            if quiet < self.at { (quiet, Late::Idle(self.idle)) } else { (self.at, Late::Total(self.allowed)) };
        tokio::time::timeout_at(until, step).await.map_err(|_| late)
    }
}

/// A byte count as the messages show it.
pub(super) fn shown_bytes(bytes: u64) -> String {
    const MIB: u64 = 1024 * 1024;
    match bytes {
        b if b >= MIB && b.is_multiple_of(MIB) => format!("{} MiB", b / MIB),
        b if b >= 1024 && b.is_multiple_of(1024) => format!("{} KiB", b / 1024),
        b => format!("{b} bytes"),
    }
}

/// A time span as the messages show it.
pub(super) fn shown_time(time: Duration) -> String {
    if time.subsec_millis() == 0 && time.as_secs() > 0 {
        format!("{} s", time.as_secs())
    } else {
        format!("{} ms", time.as_millis())
    }
}
