//! What an UPDATE says of one path: its prefix, its identifier if the peer takes several paths (RFC 7911), and
//! its next hop, for IPv4 prefixes one of IPv6 if the peer takes that (RFC 8950).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::nlri;
use crate::route::Prefix;

/// A path as it is announced and withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// The prefix.
    pub prefix: Prefix,
    /// Tells paths to one prefix apart, never zero; `None` where the family has one path a prefix.
    pub id: Option<u32>,
}

impl Path {
    /// Appends identifier and prefix.
    pub fn encode(self, out: &mut Vec<u8>) {
        if let Some(id) = self.id {
            out.extend(id.to_be_bytes());
        }
        nlri::encode(self.prefix, out);
    }

    /// Octets that [`Path::encode`] appends.
    pub fn encoded_len(self) -> usize {
        self.id.map_or(0, |_| size_of::<u32>()) + nlri::encoded_len(self.prefix)
    }
}

impl From<Prefix> for Path {
    fn from(prefix: Prefix) -> Self {
        Self { prefix, id: None }
    }
}

/// The next hop of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NextHop {
    /// For IPv4 prefixes.
    V4(Ipv4Addr),
    /// For IPv6 prefixes, and for IPv4 ones by RFC 8950.
    V6 {
        /// The global address; the link-local one if there is none.
        global: Ipv6Addr,
        /// The link-local address on the link that is shared with the peer (RFC 2545 section 3).
        link_local: Option<Ipv6Addr>,
    },
}

impl NextHop {
    /// Its first address.
    pub fn address(self) -> IpAddr {
        match self {
            Self::V4(v4) => v4.into(),
            Self::V6 { global, .. } => global.into(),
        }
    }

    /// The value of the next hop field of MP_REACH_NLRI: 4, 16 or 32 octets.
    pub(crate) fn octets(self) -> Vec<u8> {
        match self {
            Self::V4(v4) => v4.octets().to_vec(),
            Self::V6 { global, link_local } => {
                let addresses = [Some(global), link_local];
                let octets = addresses.into_iter().flatten().map(|a| a.octets());
                octets.flatten().collect()
            }
        }
    }
}

impl From<IpAddr> for NextHop {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::V4(v4),
            IpAddr::V6(global) => Self::V6 {
                global,
                link_local: None,
            },
        }
    }
}
