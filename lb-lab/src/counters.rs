//! What a namespace's own TCP has counted (`/proc/net/snmp`, RFC 4022's names): the judge of loss that no client's time-out
//! can fool. A lost segment of TCP shows up as one sent again, by whoever sent it.

use std::fs;

use anyhow::{Context, Result};

use crate::namespace::Namespace;

/// TCP counters of one namespace, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpCounters {
    /// Segments sent again.
    pub retransmitted: u64,
    /// Established connections that were reset.
    pub resets: u64,
    /// Segments dropped for a wrong checksum.
    pub wrong_checksums: u64,
}

impl TcpCounters {
    /// Reads the counters of a namespace.
    pub fn of(namespace: &Namespace) -> Result<Self> {
        let text = namespace.run(|| Ok(fs::read_to_string("/proc/thread-self/net/snmp")?))?;
        parse(&text).context("reading TCP's counters")
    }

    /// The sum over several namespaces.
    pub fn sum<'a>(namespaces: impl IntoIterator<Item = &'a Namespace>) -> Result<Self> {
        namespaces
            .into_iter()
            .try_fold(Self::default(), |sum, namespace| {
                let own = Self::of(namespace)?;
                Ok(Self {
                    retransmitted: sum.retransmitted + own.retransmitted,
                    resets: sum.resets + own.resets,
                    wrong_checksums: sum.wrong_checksums + own.wrong_checksums,
                })
            })
    }

    /// What was counted since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            retransmitted: self.retransmitted - earlier.retransmitted,
            resets: self.resets - earlier.resets,
            wrong_checksums: self.wrong_checksums - earlier.wrong_checksums,
        }
    }
}

/// Two lines start with `Tcp:`: the names, then the values in the same order.
fn parse(text: &str) -> Option<TcpCounters> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let value = |wanted: &str| {
        let mut pairs = names.split_whitespace().zip(values.split_whitespace());
        pairs.find(|(name, _)| *name == wanted)?.1.parse().ok()
    };
    Some(TcpCounters {
        retransmitted: value("RetransSegs")?,
        resets: value("EstabResets")?,
        wrong_checksums: value("InCsumErrors")?,
    })
}

#[cfg(test)]
mod tests;
