//! `tidy-allow.txt`: what may be longer than the limits, each with its reason. Short by design, and an
//! entry that no longer applies is a finding itself.

use std::fs;

use anyhow::Context;

use crate::tidy::Finding;
use crate::tidy::sizes::TooLong;
use crate::workspace;

const FILE: &str = "tidy-allow.txt";
const ENTRIES_MAX: usize = 10;

/// The text of the list.
pub(super) fn load() -> anyhow::Result<String> {
    fs::read_to_string(workspace::root().join(FILE)).with_context(|| format!("cannot read {FILE}"))
}

/// What is too long and not on the list, and what is wrong with the list.
pub(super) fn apply(list: &str, too_long: Vec<TooLong>) -> Vec<Finding> {
    let entries: Vec<(usize, &str)> = list
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .collect();
    let allowed: Vec<&str> = entries
        .iter()
        .map(|(_, line)| name_and_reason(line).0)
        .collect();

    let mut findings = Vec::new();
    if entries.len() > ENTRIES_MAX {
        findings.push(Finding::new(
            FILE,
            0,
            format!("{} entries, more than {ENTRIES_MAX}", entries.len()),
        ));
    }
    for (line, entry) in &entries {
        let (name, reason) = name_and_reason(entry);
        if reason.is_empty() {
            findings.push(Finding::new(FILE, *line, format!("`{name}` has no reason")));
        }
        if !too_long.iter().any(|found| found.name == name) {
            findings.push(Finding::new(
                FILE,
                *line,
                format!("`{name}` is within the limits: remove the entry"),
            ));
        }
    }
    let refused = too_long
        .into_iter()
        .filter(|found| !allowed.contains(&found.name.as_str()));
    findings.extend(refused.map(|found| found.finding));
    findings
}

/// `NAME: REASON`; the name may hold `::`.
fn name_and_reason(entry: &str) -> (&str, &str) {
    entry
        .split_once(": ")
        .map_or((entry.trim_end_matches(':'), ""), |(name, reason)| {
            (name, reason.trim())
        })
}

#[cfg(test)]
mod tests;
