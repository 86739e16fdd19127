//! Waiting for a condition with a deadline, the only way in which labs wait.

use std::env;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Polls until `check` gives a value, at most for `limit`; the error says what was awaited and what was seen last. An
/// error of `check` counts as *not yet* and is what was seen; what makes waiting pointless is a value too (`Err` as `T`).
pub fn wait_until<T>(
    limit: Duration,
    what: &str,
    mut check: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let limit = limit * patience();
    let deadline = Instant::now() + limit;
    loop {
        let seen = match check() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => "not yet".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() >= deadline {
            bail!("{what}: not within {limit:?}; last seen: {seen}");
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// How many times as long everything may take, by the variable `FAIRLEAD_PATIENCE`: more than once on an emulated machine.
pub(crate) fn patience() -> u32 {
    static PATIENCE: OnceLock<u32> = OnceLock::new();
    *PATIENCE.get_or_init(|| {
        let given = env::var("FAIRLEAD_PATIENCE").ok();
        given.and_then(|text| text.parse().ok()).unwrap_or(1)
    })
}

const POLL_INTERVAL: Duration = Duration::from_millis(20);
