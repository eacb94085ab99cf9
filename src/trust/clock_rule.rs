//! The clock rule: a machine whose clock goes back cannot judge expiry.

use jiff::{SignedDuration, Timestamp};

use super::Error;

/// How far a clock may stand behind the latest time it has shown: enough for drift and a wrong time zone's worth of
/// repair, too little to replay what has expired.
const MAX_STEP_BACK: SignedDuration = SignedDuration::from_hours(24);

/// Refuses a clock that stands more than 24 hours behind the latest time seen, by which it could be shown what has expired.
///
/// # Errors
/// [`Error::ClockWentBack`].
pub fn check_clock(now: Timestamp, seen: Option<Timestamp>) -> Result<(), Error> {
    match seen {
        Some(seen) if seen.duration_since(now) > MAX_STEP_BACK => Err(Error::ClockWentBack { now, seen }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_may_go_back_a_day_and_no_more() {
        let seen: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let check = |now: &str| check_clock(now.parse().unwrap(), Some(seen));
        assert_eq!(check("2030-01-01T00:00:00Z"), Ok(()));
        assert_eq!(check("2026-11-20T12:00:00Z"), Ok(()));
        let now: Timestamp = "2026-11-20T11:59:59Z".parse().unwrap();
        assert_eq!(check_clock(now, Some(seen)), Err(Error::ClockWentBack { now, seen }));
        assert_eq!(check_clock(now, None), Ok(()));
        assert!(check_clock(Timestamp::MIN, Some(Timestamp::MAX)).is_err());
        assert_eq!(check_clock(Timestamp::MAX, Some(Timestamp::MIN)), Ok(()));
    }
}
