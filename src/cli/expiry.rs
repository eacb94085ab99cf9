//! `ROLE=DURATION`: how long a role's signatures count.

use std::str::FromStr;

use jiff::SignedDuration;

use crate::trust::RoleKind;

/// Longest life that can be given, in hours: a decade. Beyond it lies a slip of the keyboard.
const LONGEST_HOURS: i64 = 10 * 365 * 24;

/// Why an argument gives no life.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpiryArgError {
    /// There is no `=`, or no such role before it.
    #[error("expected ROLE=DURATION with root, targets, snapshot or timestamp as ROLE")]
    Role,
    /// What follows is no duration, or one out of bounds.
    #[error("expected a duration from 1h to 10y, such as `36h`, `14d`, `8w` or `1y`")]
    Duration,
}

/// How long a role's signatures count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpiryArg {
    /// The role.
    pub role: RoleKind,
    /// How long; a year has 365 days.
    pub life: SignedDuration,
}

impl FromStr for ExpiryArg {
    type Err = ExpiryArgError;

    fn from_str(text: &str) -> Result<Self, ExpiryArgError> {
        let (role, life) = text.split_once('=').ok_or(ExpiryArgError::Role)?;
        let role = role.parse().map_err(|()| ExpiryArgError::Role)?;
        let life = parse_life(life).ok_or(ExpiryArgError::Duration)?;
        Ok(Self { role, life })
    }
}

fn parse_life(text: &str) -> Option<SignedDuration> {
    let unit = text.chars().next_back()?;
    let hours_each = match unit {
        'h' => 1,
        'd' => 24,
        'w' => 7 * 24,
        'y' => 365 * 24,
        _ => return None,
    };
    let count = text.strip_suffix(unit)?;
    // `parse` alone would take a sign.
    let digits = !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit());
    let hours = digits.then(|| count.parse::<i64>().ok()).flatten()?.checked_mul(hours_each)?;
    (1..=LONGEST_HOURS).contains(&hours).then(|| SignedDuration::from_hours(hours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_a_number_with_a_unit() {
        let table = [("timestamp=36h", 36), ("snapshot=30d", 720), ("targets=8w", 1344), ("root=1y", 8760)];
        for (given, hours) in table {
            assert_eq!(given.parse::<ExpiryArg>().unwrap().life, SignedDuration::from_hours(hours), "{given}");
        }
    }

    #[test]
    fn other_roles_and_lives_out_of_bounds_are_refused() {
        for text in
            ["root", "tags=1d", "root=", "root=d", "root=1", "root=0d", "root=+1d", "root=-1d", "root=11y", "root=1é"]
        {
            assert!(text.parse::<ExpiryArg>().is_err(), "{text}");
        }
        assert!("root=9223372036854775807y".parse::<ExpiryArg>().is_err());
    }
}
