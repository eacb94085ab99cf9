//! How long a collection is left alone between two refreshes.

use std::time::Duration;

use jiff::SignedDuration;

/// The first pause after a failure; it doubles with each one that follows.
const FIRST_RETRY: Duration = Duration::from_secs(30);
/// The shortest pause while all goes well, however soon something expires.
const SHORTEST: Duration = Duration::from_secs(30);
/// How much a pause varies, in percent of it either way.
const JITTER: u32 = 10;

/// The pauses of a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The usual pause.
    pub every: Duration,
}

impl Pace {
    /// The pause after a refresh that left `left` until the first role expires: the usual one, or a quarter of what is
    /// left where that is shorter, so that a short life is renewed in time at any pace. `chance` varies it.
    pub fn after_success(&self, left: SignedDuration, chance: u32) -> Duration {
        let left = Duration::try_from(left).unwrap_or_default();
        let pause = self.every.min((left / 4).max(SHORTEST));
        vary(pause, chance)
    }

    /// The pause after so many failures in a row, never longer than the usual one.
    pub fn after_failure(&self, failures: u32, chance: u32) -> Duration {
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        vary(FIRST_RETRY.saturating_mul(doubled).min(self.every), chance)
    }
}

/// Between nine and eleven tenths of the pause.
fn vary(pause: Duration, chance: u32) -> Duration {
    let part = f64::from(chance) / f64::from(u32::MAX);
    let span = f64::from(JITTER) / 100.0;
    pause.mul_f64(1.0 - span + 2.0 * span * part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOURLY: Pace = Pace { every: Duration::from_secs(3600) };
    const MIDDLE: u32 = u32::MAX / 2;

    fn seconds(pause: Duration) -> u64 {
        (pause + Duration::from_millis(500)).as_secs()
    }

    #[test]
    fn the_usual_pause_varies_by_a_tenth() {
        let week = SignedDuration::from_hours(7 * 24);
        let pauses = [0, MIDDLE, u32::MAX].map(|chance| seconds(HOURLY.after_success(week, chance)));
        assert_eq!(pauses, [3240, 3600, 3960]);
    }

    #[test]
    fn a_short_life_is_looked_after_more_often_and_not_without_pause() {
        let pause = |minutes| seconds(HOURLY.after_success(SignedDuration::from_mins(minutes), MIDDLE));
        assert_eq!([pause(120), pause(1), pause(-5)], [1800, 30, 30]);
    }

    #[test]
    fn failures_in_a_row_double_the_pause_up_to_the_usual_one() {
        let pauses = [1, 2, 3, 8, 40, u32::MAX].map(|failures| seconds(HOURLY.after_failure(failures, MIDDLE)));
        assert_eq!(pauses, [30, 60, 120, 3600, 3600, 3600]);
    }
}
