//! What a person asked to run, and which binaries and tests that is.

use std::fmt;

use crate::test::binary::{TestBinary, Tier};

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// The checks of the source and every test.
    All,
    /// The tests of one tier.
    Tier(Tier),
    /// The binaries of that name; if there is none, the tests whose name contains it.
    Name(String),
}

impl Selection {
    pub(crate) fn parse(word: Option<&str>) -> Self {
        match word {
            None => Self::All,
            Some("unit") => Self::Tier(Tier::Unit),
            Some("lab") => Self::Tier(Tier::Lab),
            Some(name) => Self::Name(name.to_owned()),
        }
    }

    /// The binaries to run, quick tiers first, each with the filter on its tests' names.
    pub(crate) fn choose<'a>(
        &'a self,
        binaries: &'a [TestBinary],
    ) -> Vec<(&'a TestBinary, Option<&'a str>)> {
        let mut chosen: Vec<_> = match self {
            Self::All => binaries.iter().map(|binary| (binary, None)).collect(),
            Self::Tier(tier) => binaries
                .iter()
                .filter(|binary| binary.tier == *tier)
                .map(|binary| (binary, None))
                .collect(),
            Self::Name(name) if binaries.iter().any(|binary| binary.is_named(name)) => binaries
                .iter()
                .filter(|binary| binary.is_named(name))
                .map(|binary| (binary, None))
                .collect(),
            Self::Name(part) => binaries
                .iter()
                .map(|binary| (binary, Some(part.as_str())))
                .collect(),
        };
        chosen.sort_by_key(|(binary, _)| binary.tier);
        chosen
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => out.write_str("all"),
            Self::Tier(tier) => write!(out, "{tier}"),
            Self::Name(name) => out.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests;
