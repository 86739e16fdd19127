//! `cargo xtask tidy`: what a reviewer should not have to look for. Every rule is a pure function from the
//! text of the sources, or from `cargo metadata`, to findings; nothing is compiled and nothing is
//! changed. Sizes are smoke alarms: `tidy-allow.txt` lists the exceptions, each with its reason.

mod allow;
mod comments;
mod dependencies;
mod licences;
mod links;
mod measurements;
mod metadata;
mod names;
mod places;
mod sizes;
mod source;

use std::fmt;

use anyhow::bail;

use crate::tidy::metadata::Metadata;

/// Applies every rule to the tree and fails if one finds something.
pub(crate) fn run() -> anyhow::Result<()> {
    let sources = source::all()?;
    let metadata = Metadata::load()?;
    let mut findings = Vec::new();
    for source in &sources {
        findings.extend(names::check(source));
        findings.extend(comments::check(source));
        findings.extend(places::check(source));
        findings.extend(links::check(source));
    }
    findings.extend(allow::apply(
        &allow::load()?,
        sources.iter().flat_map(sizes::check).collect(),
    ));
    findings.extend(dependencies::check(&metadata));
    findings.extend(licences::check(&metadata));
    measurements::list_stale()?;

    findings
        .iter()
        .for_each(|finding| println!("tidy: {finding}"));
    if findings.is_empty() {
        return Ok(());
    }
    bail!("tidy objects to {} places, see above", findings.len());
}

/// Something that a rule objects to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    /// The file, or the package, that is at fault.
    place: String,
    /// The line in it; zero for the whole.
    line: usize,
    text: String,
}

impl Finding {
    fn new(place: impl Into<String>, line: usize, text: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            line,
            text: text.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(out, "{}: {}", self.place, self.text),
            line => write!(out, "{}:{line}: {}", self.place, self.text),
        }
    }
}
