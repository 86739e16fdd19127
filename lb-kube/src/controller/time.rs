//! Times as objects have them, and as `lb-core` counts them.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use lb_core::allocate::UnixTime;

pub(super) fn now() -> UnixTime {
    of(Timestamp::now())
}

pub(super) fn of(time: Timestamp) -> UnixTime {
    UnixTime(u64::try_from(time.as_second()).unwrap_or_default())
}

pub(super) fn of_metadata(time: Option<&Time>) -> Option<UnixTime> {
    time.map(|time| of(time.0))
}

/// As RFC 3339 writes it.
pub(super) fn text(time: UnixTime) -> String {
    let seconds = i64::try_from(time.0).unwrap_or(i64::MAX);
    let time = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
    time.to_string()
}

pub(super) fn parse(text: &str) -> Option<UnixTime> {
    text.parse().ok().map(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_as_they_were_written() {
        let time = UnixTime(86_400);
        assert_eq!(text(time), "1970-01-02T00:00:00Z");
        assert_eq!(parse(&text(time)), Some(time));
        assert_eq!(parse("yesterday"), None);
    }
}
