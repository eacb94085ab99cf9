//! `ROLE=DURATION`: how long a role's signatures count.

use std::str::FromStr;

use jiff::SignedDuration;

use crate::trust::RoleKind;
use crate::trust::policy::duration::parse_duration;

/// Why an argument gives no life.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpiryArgError {
    /// There is no `=`, or no such role before it.
    #[error("expected ROLE=DURATION with root, targets, snapshot or timestamp as ROLE")]
    Role,
    /// What follows is no duration, or one out of bounds.
    #[error("{0}")]
    Duration(String),
}

/// How long a role's signatures count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpiryArg {
    /// The role.
    pub role: RoleKind,
    /// How long.
    pub life: SignedDuration,
}

impl FromStr for ExpiryArg {
    type Err = ExpiryArgError;

    fn from_str(text: &str) -> Result<Self, ExpiryArgError> {
        let (role, life) = text.split_once('=').ok_or(ExpiryArgError::Role)?;
        let role = role.parse().map_err(|()| ExpiryArgError::Role)?;
        let life = parse_duration(life).map_err(ExpiryArgError::Duration)?;
        Ok(Self { role, life })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_a_number_with_a_unit() {
        let table = [("timestamp=36h", 36), ("snapshot=30d", 720), ("root=365d", 8760)];
        for (given, hours) in table {
            assert_eq!(given.parse::<ExpiryArg>().unwrap().life, SignedDuration::from_hours(hours), "{given}");
        }
    }

    #[test]
    fn other_roles_and_lives_out_of_bounds_are_refused() {
        for text in ["root", "tags=1d", "root=", "root=d", "root=0d", "root=-1d", "root=9999d"] {
            assert!(text.parse::<ExpiryArg>().is_err(), "{text}");
        }
    }
}
