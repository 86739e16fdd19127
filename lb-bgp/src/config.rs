//! What a session is configured with. Checked once, when the peer is made.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::family::{Family, PerFamily};
use crate::wire::capability::{
    self, AddPath, Capability, LongLived, RESTART_TIME_SECS_MAX, STALE_TIME_SECS_MAX,
};
use crate::wire::open::AS_TRANS;
use crate::wire::path::NextHop;

/// Hold time that RFC 4271 section 10 suggests.
pub const HOLD_TIME_SECS_DEFAULT: u16 = 90;

/// Longest time between attempts to dial: the ConnectRetry time that RFC 4271 section 10 suggests.
pub const CONNECT_RETRY_DEFAULT: Duration = Duration::from_secs(120);

/// Everything one session needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerConfig {
    /// Our AS number.
    pub local_asn: u32,
    /// The peer's AS number; equal to ours means an internal session.
    pub peer_asn: u32,
    /// Our BGP identifier, not 0.0.0.0 (RFC 6286).
    pub router_id: Ipv4Addr,
    /// Proposed hold time in seconds: 0 (no keepalives) or at least 3.
    pub hold_time_secs: u16,
    /// Never dial, only accept.
    pub passive: bool,
    /// Families offered to the peer.
    pub families: PerFamily<bool>,
    /// Families without which a session is no use: a peer that lacks one is refused (RFC 5492 section 3).
    pub families_required: PerFamily<bool>,
    /// Whether peers that take several paths to a prefix get them (RFC 7911).
    pub add_path: bool,
    /// Whether peers that take IPv6 next hops of IPv4 routes get them where there is no other (RFC 8950).
    pub extended_next_hop: bool,
    /// Next hop of IPv4 routes to this node.
    pub next_hop_v4: Option<Ipv4Addr>,
    /// Next hop of IPv6 routes to this node: a global address. Without it that is the link-local one that the
    /// session runs over, if it does.
    pub next_hop_v6: Option<Ipv6Addr>,
    /// Longest time between attempts to dial.
    pub connect_retry: Duration,
    /// How many routes the peer may announce in a session; beyond, it ends (RFC 4486). What it withdraws is taken
    /// off, what it announces again counts again: nothing is stored.
    pub received_routes_max: Option<u64>,
    /// How our restart is made invisible (RFC 4724); `None`: the peer forgets our routes with the connection.
    pub graceful_restart: Option<GracefulRestart>,
    /// Seed of the jitter of timers; each peer of each node should have its own.
    pub jitter_seed: u64,
}

/// What a peer is told about our restarts (RFC 4724 as restarting speaker, RFC 8538).
///
/// Once a session was up, this process has been there for all that followed: then its families are always
/// said to be forwarded, and the last two fields no longer count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GracefulRestart {
    /// How long the peer shall keep our routes once the connection is gone, in seconds; at most 4095.
    pub restart_time_secs: u16,
    /// Keep them after a NOTIFICATION and an expired hold timer, too: the N bit (RFC 8538). Without something
    /// faster than the hold timer that tells a dead speaker from a restarting one, a dead one's routes stay.
    pub over_notifications: bool,
    /// This process takes over from one that may have had a session: the R bit until the first session is up.
    pub restarted: bool,
    /// Families that were forwarded without a gap since then, proven: the F bit. A peer drops the routes of any
    /// other family at once.
    pub forwarding_preserved: PerFamily<bool>,
    /// How long peers may keep routes, as a last resort, beyond the restart time (RFC 9494), in seconds; zero:
    /// this is not offered.
    pub stale_time_secs: u32,
}

/// A configuration that no session could work with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// AS 0 (RFC 7607), AS_TRANS (RFC 6793) or the last AS number (RFC 7300).
    #[error("AS number {0} is reserved and cannot be used")]
    ReservedAsn(u32),
    /// Zero identifies nobody (RFC 6286).
    #[error("router id 0.0.0.0 is not allowed; use an address of this node")]
    ZeroRouterId,
    /// RFC 4271 section 4.2.
    #[error("hold time {0} s is not allowed; use 0 (never expire) or at least 3")]
    HoldTime(u16),
    /// The field has 12 bits (RFC 4724 section 3).
    #[error("restart time {0} s is not allowed; use at most {RESTART_TIME_SECS_MAX}")]
    RestartTime(u16),
    /// The field has 24 bits (RFC 9494 section 3).
    #[error("long-lived stale time {0} s is not allowed; use at most {STALE_TIME_SECS_MAX}")]
    StaleTime(u32),
    /// A session that could never come up.
    #[error("{0} is required but not enabled")]
    RequiredFamily(Family),
    /// A session without families could not announce anything.
    #[error("no address family is enabled; enable IPv4 unicast or IPv6 unicast")]
    NoFamily,
}

impl PeerConfig {
    /// A session with the usual timers, both families, dialling, and no next hop yet.
    pub fn new(local_asn: u32, peer_asn: u32, router_id: Ipv4Addr) -> Self {
        Self {
            local_asn,
            peer_asn,
            router_id,
            hold_time_secs: HOLD_TIME_SECS_DEFAULT,
            passive: false,
            families: PerFamily::from_fn(|_| true),
            families_required: PerFamily::default(),
            add_path: false,
            extended_next_hop: false,
            next_hop_v4: None,
            next_hop_v6: None,
            connect_retry: CONNECT_RETRY_DEFAULT,
            received_routes_max: None,
            graceful_restart: None,
            jitter_seed: 0,
        }
    }

    /// Whether both ends are in one AS.
    pub fn is_internal(&self) -> bool {
        self.local_asn == self.peer_asn
    }

    /// The next hop of a family's routes to this node, in a session that runs over `local`. IPv4 routes in a session
    /// over link-local addresses have the IPv6 one: only that is surely on the link.
    pub(crate) fn own_next_hop(
        &self,
        family: Family,
        local: IpAddr,
        extended_next_hop: bool,
    ) -> Option<NextHop> {
        let link_local = match local {
            IpAddr::V6(v6) => Some(v6).filter(Ipv6Addr::is_unicast_link_local),
            IpAddr::V4(_) => None,
        };
        let v6 = match (self.next_hop_v6, link_local) {
            (Some(global), link_local) => Some(NextHop::V6 { global, link_local }),
            (None, Some(link_local)) => Some(IpAddr::V6(link_local).into()),
            (None, None) => None,
        };
        let v4 = self.next_hop_v4.map(NextHop::V4);
        match family {
            Family::Ipv6Unicast => v6,
            Family::Ipv4Unicast if !extended_next_hop => v4,
            Family::Ipv4Unicast if link_local.is_some() => v6,
            Family::Ipv4Unicast => v4.or(v6),
        }
    }

    /// The capabilities of our OPEN, by whether a session of this process was up before.
    pub(crate) fn capabilities(&self, was_up: bool) -> Vec<Capability> {
        let families = self.families.enabled();
        let mut capabilities: Vec<_> = families.map(Capability::Multiprotocol).collect();
        capabilities.push(Capability::RouteRefresh);
        if self.extended_next_hop && self.families[Family::Ipv4Unicast] {
            capabilities.push(Capability::ExtendedNextHop);
        }
        capabilities.push(Capability::ExtendedMessage);
        let restart = self
            .graceful_restart
            .map(|config| (config, self.forwards(config, was_up)));
        if let Some((config, forwards)) = restart {
            let value = capability::GracefulRestart {
                restarted: config.restarted && !was_up,
                notification: config.over_notifications,
                restart_time_secs: config.restart_time_secs,
                families: forwards,
            };
            capabilities.push(Capability::GracefulRestart(value));
        }
        capabilities.push(Capability::FourOctetAsn(self.local_asn));
        if self.add_path {
            let sends = |family| self.families[family].then_some(AddPath::Send);
            capabilities.push(Capability::AddPath(PerFamily::from_fn(sends)));
        }
        capabilities.push(Capability::EnhancedRouteRefresh);
        if let Some((config, forwards)) = restart.filter(|(gr, _)| gr.stale_time_secs > 0) {
            let of = |forwarding_preserved| LongLived {
                forwarding_preserved,
                stale_time_secs: config.stale_time_secs,
            };
            let value = PerFamily::from_fn(|family| forwards[family].map(of));
            capabilities.push(Capability::LongLivedGracefulRestart(value));
        }
        capabilities
    }

    /// Whether a session is of use in which nobody offers anything: it carries IPv4 routes and no others.
    pub(crate) fn does_without_capabilities(&self) -> bool {
        self.families[Family::Ipv4Unicast] && !self.families_required[Family::Ipv6Unicast]
    }

    /// The F bit of each family.
    fn forwards(&self, config: GracefulRestart, was_up: bool) -> PerFamily<Option<bool>> {
        let preserved = config.forwarding_preserved;
        let forwards = |family| was_up || config.restarted && preserved[family];
        PerFamily::from_fn(|family| self.families[family].then(|| forwards(family)))
    }

    /// Whether both work in one session: what differs is written into UPDATEs, or once into the first OPEN, or is
    /// about dialling or counting.
    pub(crate) fn shares_session_with(&self, other: &Self) -> bool {
        let asked = |config: &Self| {
            let restart = config.graceful_restart;
            restart.map(|gr| {
                (
                    gr.restart_time_secs,
                    gr.over_notifications,
                    gr.stale_time_secs,
                )
            })
        };
        let alike = Self {
            next_hop_v4: self.next_hop_v4,
            next_hop_v6: self.next_hop_v6,
            graceful_restart: self.graceful_restart,
            passive: self.passive,
            connect_retry: self.connect_retry,
            received_routes_max: self.received_routes_max,
            ..other.clone()
        };
        *self == alike && asked(self) == asked(other)
    }

    pub(crate) fn hold_time(&self) -> Duration {
        Duration::from_secs(self.hold_time_secs.into())
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let reserved = [0, u32::from(AS_TRANS), u32::MAX];
        if let Some(asn) = [self.local_asn, self.peer_asn]
            .into_iter()
            .find(|a| reserved.contains(a))
        {
            return Err(ConfigError::ReservedAsn(asn));
        }
        if self.router_id.is_unspecified() {
            return Err(ConfigError::ZeroRouterId);
        }
        if matches!(self.hold_time_secs, 1 | 2) {
            return Err(ConfigError::HoldTime(self.hold_time_secs));
        }
        if let Some(too_long) = self
            .graceful_restart
            .map(|config| config.restart_time_secs)
            .filter(|secs| *secs > RESTART_TIME_SECS_MAX)
        {
            return Err(ConfigError::RestartTime(too_long));
        }
        if let Some(too_long) = self
            .graceful_restart
            .map(|config| config.stale_time_secs)
            .filter(|secs| *secs > STALE_TIME_SECS_MAX)
        {
            return Err(ConfigError::StaleTime(too_long));
        }
        if let Some(family) = self
            .families_required
            .enabled()
            .find(|family| !self.families[*family])
        {
            return Err(ConfigError::RequiredFamily(family));
        }
        if self.families.enabled().next().is_none() {
            return Err(ConfigError::NoFamily);
        }
        Ok(())
    }
}
