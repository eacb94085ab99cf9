//! When to try again: bounded in count and in time, with jitter, and never earlier than the registry asks.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use super::failure::{Again, Failure};
use super::limits::{Deadline, Limits};
use crate::clock::{Clock as _, SystemClock};
use crate::registry::Error;

/// The pause before the single repetition after a refused connection.
const REFUSED_PAUSE: Duration = Duration::from_millis(50);

/// How 5xx answers are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// With a growing back-off.
    Steady,
    /// Quickly at first: the registry may be in the middle of moving the tag.
    Unsettled,
}

/// The repetitions of one request.
#[derive(Debug)]
pub(super) struct Retry<'a> {
    limits: &'a Limits,
    pace: Pace,
    deadline: Deadline,
    done: u32,
    unsettled: u32,
    refused: bool,
}

impl<'a> Retry<'a> {
    pub(super) fn new(limits: &'a Limits, pace: Pace, deadline: Deadline) -> Self {
        Self { limits, pace, deadline, done: 0, unsettled: 0, refused: false }
    }

    /// Waits until the next attempt is due, or hands the error back where there is none.
    pub(super) async fn pause(&mut self, failure: Failure) -> Result<(), Error> {
        match self.next_pause(failure.again) {
            Some(pause) if self.deadline.allows(pause) => {
                tracing::debug!(error = %failure.error, pause_ms = pause.as_millis(), "trying again");
                tokio::time::sleep(pause).await;
                Ok(())
            }
            _ => Err(failure.error),
        }
    }

    fn next_pause(&mut self, again: Again) -> Option<Duration> {
        match again {
            Again::Never => None,
            Again::Once => (!std::mem::replace(&mut self.refused, true)).then_some(REFUSED_PAUSE),
            Again::Failing(None) if self.pace == Pace::Unsettled => {
                self.unsettled += 1;
                let share = self.limits.unsettled_within / (self.limits.unsettled_retries + 1).max(1);
                (self.unsettled <= self.limits.unsettled_retries).then(|| jittered(share))
            }
            Again::Failing(wait) | Again::Later(wait) => {
                let step = self.limits.back_off.saturating_mul(1 << self.done.min(16));
                self.done += 1;
                // What the registry asks for is a minimum; the jitter comes on top.
                let pause = wait.map_or_else(|| jittered(step), |wait| wait + jittered(self.limits.back_off / 4));
                (self.done <= self.limits.retries).then_some(pause)
            }
        }
    }
}

/// Between three quarters of `pause` and the whole, at random.
fn jittered(pause: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(0);
    pause.mul_f64(0.75 + f64::from(random) / f64::from(u32::MAX) / 4.0)
}

/// The pause that `Retry-After` asks for, as seconds or as a date (RFC 9110, 10.2.3).
///
/// A date is taken against the answer's own `Date` where it has one, so that our clock does not matter.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let until = http_date(text)?;
    let now = headers.get(DATE).and_then(|d| http_date(d.to_str().ok()?)).unwrap_or_else(|| SystemClock.now());
    Some(Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO))
}

fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(&'static str, &'static str)]) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        retry_after(&headers)
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        assert_eq!(asked(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(asked(&[("retry-after", "Sun, 06 Nov 1994 08:49:47 GMT"), date]), Some(Duration::from_secs(10)));
        assert_eq!(asked(&[("retry-after", "Sun, 06 Nov 1994 08:49:30 GMT"), date]), Some(Duration::ZERO));
        assert_eq!(asked(&[("retry-after", "soon")]), None);
        assert_eq!(asked(&[]), None);
    }

    #[tokio::test]
    async fn repetitions_are_bounded_in_count_and_grow() {
        let limits = Limits::default();
        let mut retry = Retry::new(&limits, Pace::Steady, limits.deadline());
        let pauses: Vec<_> = std::iter::from_fn(|| retry.next_pause(Again::Later(None))).take(9).collect();
        assert_eq!(pauses.len(), 3);
        assert!(pauses[0] < pauses[1] && pauses[1] < pauses[2]);
        let mut retry = Retry::new(&limits, Pace::Unsettled, limits.deadline());
        let pauses: Vec<_> = std::iter::from_fn(|| retry.next_pause(Again::Failing(None))).take(9).collect();
        assert_eq!(pauses.len(), 5);
        assert!(pauses.iter().sum::<Duration>() < Duration::from_secs(1));
        assert!(retry.next_pause(Again::Once).is_some());
        assert!(retry.next_pause(Again::Once).is_none());
    }
}
