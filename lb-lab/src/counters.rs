//! What a namespace's own TCP has counted (`/proc/net/snmp` and `netstat`), where a client sees only that it took longer.
//! Segments sent again are not loss by themselves: whoever had one already says so by a duplicate SACK (RFC 2883), as
//! when a path changes and packets overtake each other.

use std::fs;

use anyhow::{Context, Result};

use crate::namespace::Namespace;

/// TCP counters of one namespace, since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpCounters {
    /// Segments sent again.
    pub retransmitted: u64,
    /// Times that a sender heard nothing for so long that it began again: a stall, unlike a segment that was missed and
    /// asked for.
    pub timeouts: u64,
    /// Segments received that had been received before, as far as the connection was still open.
    pub received_twice: u64,
    /// Established connections that were reset.
    pub resets: u64,
    /// Segments dropped for a wrong checksum.
    pub wrong_checksums: u64,
}

impl TcpCounters {
    /// Reads the counters of a namespace.
    pub fn of(namespace: &Namespace) -> Result<Self> {
        let files = [
            "/proc/thread-self/net/snmp",
            "/proc/thread-self/net/netstat",
        ];
        let text = namespace.run(|| Ok(files.map(fs::read_to_string)))?;
        let [snmp, netstat] = text;
        parse(&(snmp? + &netstat?)).context("reading TCP's counters")
    }

    /// The sum over several namespaces.
    pub fn sum<'a>(namespaces: impl IntoIterator<Item = &'a Namespace>) -> Result<Self> {
        namespaces
            .into_iter()
            .try_fold(Self::default(), |sum, namespace| {
                let own = Self::of(namespace)?;
                Ok(Self {
                    retransmitted: sum.retransmitted + own.retransmitted,
                    timeouts: sum.timeouts + own.timeouts,
                    received_twice: sum.received_twice + own.received_twice,
                    resets: sum.resets + own.resets,
                    wrong_checksums: sum.wrong_checksums + own.wrong_checksums,
                })
            })
    }

    /// What was counted since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            retransmitted: self.retransmitted - earlier.retransmitted,
            timeouts: self.timeouts - earlier.timeouts,
            received_twice: self.received_twice - earlier.received_twice,
            resets: self.resets - earlier.resets,
            wrong_checksums: self.wrong_checksums - earlier.wrong_checksums,
        }
    }
}

fn parse(text: &str) -> Option<TcpCounters> {
    Some(TcpCounters {
        retransmitted: value(text, "Tcp:", "RetransSegs")?,
        timeouts: value(text, "TcpExt:", "TCPTimeouts")?,
        received_twice: value(text, "TcpExt:", "TCPDSACKOldSent")?
            + value(text, "TcpExt:", "TCPDSACKOfoSent")?,
        resets: value(text, "Tcp:", "EstabResets")?,
        wrong_checksums: value(text, "Tcp:", "InCsumErrors")?,
    })
}

/// A group has two lines of this head: the names, then the values in the same order.
fn value(text: &str, head: &str, wanted: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(head));
    let (names, values) = (lines.next()?, lines.next()?);
    let mut pairs = names.split_whitespace().zip(values.split_whitespace());
    pairs.find(|(name, _)| *name == wanted)?.1.parse().ok()
}

#[cfg(test)]
mod tests;
