//! What a person asked to run, and which binaries and tests that is.

use std::fmt;

use crate::test::binary::{Share, TestBinary, Tier};

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// The checks of the source and every test.
    All,
    /// The tests of one tier.
    Tier(Tier),
    /// What takes too long for every day: all of it, or the tests whose name contains the word.
    Soak(Option<String>),
    /// The binaries of that name; if there is none, the tests whose name contains it.
    Name(String),
}

impl Selection {
    /// `word` as typed; `filter` after `soak` only.
    pub(crate) fn parse(word: Option<&str>, filter: Option<&str>) -> Self {
        match word {
            None => Self::All,
            Some("unit") => Self::Tier(Tier::Unit),
            Some("lab") => Self::Tier(Tier::Lab),
            Some("cluster") => Self::Tier(Tier::Cluster),
            Some("kernels") => Self::Tier(Tier::Kernels),
            Some("soak") => Self::Soak(filter.map(str::to_owned)),
            Some(name) => Self::Name(name.to_owned()),
        }
    }

    /// Which tests of the binaries run.
    pub(crate) fn share(&self) -> Share {
        match self {
            Self::Soak(_) => Share::Soak,
            Self::All | Self::Tier(_) | Self::Name(_) => Share::Usual,
        }
    }

    /// Whether guests may be booted, whose kernels must be there.
    pub(crate) fn needs_kernels(&self) -> bool {
        match self {
            Self::All | Self::Soak(_) => true,
            Self::Tier(tier) => *tier == Tier::Kernels,
            Self::Name(name) => name.contains("kernel") || name.contains("linux"),
        }
    }

    /// Whether an API server may be started, which must be built.
    pub(crate) fn needs_kubernetes(&self) -> bool {
        match self {
            Self::All | Self::Soak(_) => true,
            Self::Tier(tier) => *tier == Tier::Cluster,
            Self::Name(name) => name.contains("kube") || name.contains("cluster"),
        }
    }

    /// Whether the chart may be installed, which needs the image.
    pub(crate) fn needs_image(&self) -> bool {
        match self {
            Self::All | Self::Soak(_) => true,
            Self::Tier(tier) => *tier == Tier::Cluster,
            Self::Name(name) => name.contains("cluster") || name.contains("install"),
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
            Self::Soak(filter) => binaries
                .iter()
                .map(|binary| (binary, filter.as_deref()))
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
            Self::Soak(None) => out.write_str("soak"),
            Self::Soak(Some(filter)) => write!(out, "soak {filter}"),
            Self::Name(name) => out.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests;
