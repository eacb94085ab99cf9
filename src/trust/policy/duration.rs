//! Spans of time as people write them in settings: `30d`, `12h`, `90m`.

use jiff::SignedDuration;

/// Longest span accepted, in hours: ten years. More is a slip, and sums of it could overflow a date.
const MAX_HOURS: i64 = 10 * 366 * 24;

/// Reads a positive whole number with one unit: `d` for 24 hours, `h` or `m`. Nothing else: no sign, no space, no sum.
///
/// # Errors
/// What was expected, for a message that names the field.
pub fn parse_duration(text: &str) -> Result<SignedDuration, String> {
    let malformed = || format!("`{}` is no span of time: expected such as `30d`, `12h` or `90m`", text.escape_debug());
    let unit = text.chars().last().ok_or_else(malformed)?;
    let digits = &text[..text.len() - unit.len_utf8()];
    let plain = !digits.is_empty() && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    let count: i64 = plain.then(|| digits.parse().ok()).flatten().ok_or_else(malformed)?;
    let minutes = match unit {
        'd' => count.checked_mul(24 * 60),
        'h' => count.checked_mul(60),
        'm' => Some(count),
        _ => return Err(malformed()),
    };
    match minutes {
        Some(minutes) if minutes <= MAX_HOURS * 60 => Ok(SignedDuration::from_mins(minutes)),
        _ => Err(format!("`{text}` is longer than ten years")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_one_number_and_one_unit() {
        for (text, minutes) in [("30d", 43200), ("12h", 720), ("90m", 90), ("1m", 1), ("3660d", 5_270_400)] {
            assert_eq!(parse_duration(text), Ok(SignedDuration::from_mins(minutes)), "{text}");
        }
        for wrong in [
            "",
            "d",
            "30",
            "30 d",
            " 30d",
            "30d ",
            "-1d",
            "+1d",
            "0d",
            "030d",
            "1.5h",
            "1d12h",
            "30D",
            "30s",
            "3661d",
            "99999999999999999999d",
            "9223372036854775807d",
            "３d",
            "1µ",
        ] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
