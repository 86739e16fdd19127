//! Measurements that may no longer hold: those whose code has changed since the commit they name. They
//! are listed, never a failure; measuring again is a person's decision.

use std::fs;
use std::process::{Command, Stdio};

use crate::workspace;

const DIR: &str = "docs/measurements";
/// What measurements are of.
const CODE: [&str; 6] = [
    "lb-common",
    "lb-ebpf",
    "lb-core",
    "lb-bgp",
    "lb-datapath",
    "lb-agent",
];

/// Prints the pages of `docs/measurements` that are older than the code.
pub(super) fn list_stale() -> anyhow::Result<()> {
    let Ok(pages) = fs::read_dir(workspace::root().join(DIR)) else {
        return Ok(());
    };
    for page in pages {
        let path = page?.path();
        // Pictures belong to a page.
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match commit_of(&text).map(changes_since) {
            Some(Some(0)) => {}
            Some(Some(changes)) => {
                println!("tidy: {DIR}/{name} is {changes} commits old (not a failure)")
            }
            Some(None) => {
                println!("tidy: {DIR}/{name} names a commit that is not here (not a failure)")
            }
            None => println!("tidy: {DIR}/{name} names no commit (not a failure)"),
        }
    }
    Ok(())
}

/// The hash in the line `commit: HASH`.
fn commit_of(text: &str) -> Option<&str> {
    text.lines()
        .find_map(|line| line.trim().strip_prefix("commit:"))
        .map(str::trim)
}

/// Commits to the measured code since `commit`; none if git does not know it.
fn changes_since(commit: &str) -> Option<usize> {
    let mut git = Command::new("git");
    git.current_dir(workspace::root()).args([
        "rev-list",
        "--count",
        &format!("{commit}..HEAD"),
        "--",
    ]);
    let output = git.args(CODE).stderr(Stdio::null()).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests;
