//! Path attributes that a route is configured with: MED, local preference, prepending, and communities of the
//! three kinds. What follows from the session (ORIGIN, AS_PATH, next hop) is not here. Values that would not
//! leave room for prefixes in a message cannot be built, so encoding never fails (RFC 1997, 4360, 8092).

/// Path attributes of one route, beyond those that follow from the session.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RouteAttributes {
    prepend: u8,
    med: Option<u32>,
    local_pref: Option<u32>,
    communities: Vec<Community>,
    extended_communities: Vec<ExtendedCommunity>,
    large_communities: Vec<LargeCommunity>,
}

/// A standard community (RFC 1997): AS number in the upper 16 bits, its meaning in the lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Community(pub u32);

impl Community {
    /// The route is about to go away: prefer any other (RFC 8326).
    pub const GRACEFUL_SHUTDOWN: Self = Self(0xffff_0000);
    /// Not to be kept over a long-lived restart (RFC 9494 section 4.4).
    pub const NO_LLGR: Self = Self(0xffff_0007);
}

/// An extended community as its eight octets (RFC 4360).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtendedCommunity(pub [u8; 8]);

impl ExtendedCommunity {
    /// Link bandwidth (draft-ietf-idr-link-bandwidth, non-transitive, type 0x4004): an AS number, AS_TRANS if two
    /// octets cannot hold it, and octets a second.
    #[must_use]
    pub fn link_bandwidth(asn: u32, octets_per_second: f32) -> Self {
        let asn = u16::try_from(asn).unwrap_or(crate::wire::open::AS_TRANS);
        let [a, b] = asn.to_be_bytes();
        let [c, d, e, f] = octets_per_second.to_be_bytes();
        Self([0x40, 0x04, a, b, c, d, e, f])
    }
}

/// A large community (RFC 8092): the AS that defines it, and two numbers of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LargeCommunity(pub [u32; 3]);

impl RouteAttributes {
    /// Most communities of one kind: together they leave room for prefixes in a message of 4096 octets.
    pub const COMMUNITIES_MAX: usize = 110;
    /// Most times that our AS number can be prepended.
    pub const PREPEND_MAX: u8 = 16;

    /// Sets MULTI_EXIT_DISC (RFC 4271 section 5.1.4): among routes from one AS, the lowest wins.
    #[must_use]
    pub fn with_med(self, med: u32) -> Self {
        Self {
            med: Some(med),
            ..self
        }
    }

    /// Sets LOCAL_PREF, which only peers of our own AS get (RFC 4271 section 5.1.5): the highest wins.
    #[must_use]
    pub fn with_local_pref(self, local_pref: u32) -> Self {
        Self {
            local_pref: Some(local_pref),
            ..self
        }
    }

    /// Prepends our AS number so many times more, [`Self::PREPEND_MAX`] at most; only peers of another AS see it.
    #[must_use]
    pub fn with_prepend(self, times: u8) -> Self {
        Self {
            prepend: times.min(Self::PREPEND_MAX),
            ..self
        }
    }

    /// Sets the standard communities; order and duplicates are dropped.
    pub fn with_communities(self, communities: Vec<Community>) -> Result<Self, TooManyCommunities> {
        Ok(Self {
            communities: as_set(communities)?,
            ..self
        })
    }

    /// Sets the extended communities; order and duplicates are dropped.
    pub fn with_extended_communities(
        self,
        communities: Vec<ExtendedCommunity>,
    ) -> Result<Self, TooManyCommunities> {
        Ok(Self {
            extended_communities: as_set(communities)?,
            ..self
        })
    }

    /// Sets the large communities; order and duplicates are dropped (RFC 8092 section 6).
    pub fn with_large_communities(
        self,
        communities: Vec<LargeCommunity>,
    ) -> Result<Self, TooManyCommunities> {
        Ok(Self {
            large_communities: as_set(communities)?,
            ..self
        })
    }

    /// MULTI_EXIT_DISC, if it is to be sent.
    pub fn med(&self) -> Option<u32> {
        self.med
    }

    /// LOCAL_PREF, if it is not the usual one.
    pub fn local_pref(&self) -> Option<u32> {
        self.local_pref
    }

    /// How many times more than once our AS number is in AS_PATH.
    pub fn prepend(&self) -> u8 {
        self.prepend
    }

    /// Standard communities in ascending order, each once.
    pub fn communities(&self) -> &[Community] {
        &self.communities
    }

    /// Extended communities in ascending order, each once.
    pub fn extended_communities(&self) -> &[ExtendedCommunity] {
        &self.extended_communities
    }

    /// Large communities in ascending order, each once.
    pub fn large_communities(&self) -> &[LargeCommunity] {
        &self.large_communities
    }
}

/// More communities of one kind than a route can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{count} communities of one kind on one route; at most {} fit beside the others in a message",
    RouteAttributes::COMMUNITIES_MAX
)]
pub struct TooManyCommunities {
    count: usize,
}

fn as_set<T: Ord>(mut communities: Vec<T>) -> Result<Vec<T>, TooManyCommunities> {
    communities.sort_unstable();
    communities.dedup();
    let count = communities.len();
    if count > RouteAttributes::COMMUNITIES_MAX {
        return Err(TooManyCommunities { count });
    }
    Ok(communities)
}
