//! Which of two connections to one peer stays (RFC 4271 section 6.8, RFC 6286 section 2.3).
//!
//! Both ends apply the same rule to the same numbers, so they keep the same connection: the one that the end
//! with the higher BGP identifier has dialled, or the higher AS number if the identifiers are equal.

use std::net::Ipv4Addr;

/// Which end dialled a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// We did.
    Dialled,
    /// The peer did.
    Accepted,
}

/// What ends are compared by, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) identifier: Ipv4Addr,
    pub(crate) asn: u32,
}

/// The connection that stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Survivor {
    /// The one that was further on.
    Existing,
    /// The one whose OPEN has just come.
    New,
}

/// Decides between an existing connection in OpenConfirm and a new one whose OPEN has come.
pub(crate) fn survivor(local: Rank, remote: Rank, existing: Origin, new: Origin) -> Survivor {
    let winner = if local > remote {
        Origin::Dialled
    } else {
        Origin::Accepted
    };
    if new == winner && existing != winner {
        Survivor::New
    } else {
        Survivor::Existing
    }
}
