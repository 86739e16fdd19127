//! Durations as the file writes them: a whole number and a unit.

use std::time::Duration;

/// `50ms`, `9s`, `3m` or `2h`.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let milliseconds_of_unit = match &text[digits.len()..] {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse::<u64>().ok().filter(|_| is_number);
    number
        .zip(milliseconds_of_unit)
        .and_then(|(number, unit)| number.checked_mul(unit))
        .map(Duration::from_millis)
        .ok_or_else(|| {
            format!(
                "\"{text}\" is not a duration; write a whole number and a unit, like 50ms, 9s or 2m"
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units_are_durations_and_nothing_else_is() {
        assert_eq!(parse("50ms"), Ok(Duration::from_millis(50)));
        assert_eq!(parse("9s"), Ok(Duration::from_secs(9)));
        assert_eq!(parse("2h"), Ok(Duration::from_secs(7200)));
        for wrong in [
            "",
            "9",
            "s",
            "9 s",
            "-9s",
            "+9s",
            "1.5s",
            "9d",
            "99999999999999999999s",
            "18446744073709551615h",
            "９s",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
