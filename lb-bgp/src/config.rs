//! What a session is configured with. Checked once, when the peer is made.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::family::{Family, PerFamily};
use crate::wire::capability::{self, Capability, RESTART_TIME_SECS_MAX};
use crate::wire::open::AS_TRANS;

/// Hold time that RFC 4271 section 10 suggests.
pub const HOLD_TIME_SECS_DEFAULT: u16 = 90;

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
    /// Next hop of IPv4 routes. Without it, none are sent.
    pub next_hop_v4: Option<Ipv4Addr>,
    /// Next hop of IPv6 routes: a global address. Without it, none are sent.
    pub next_hop_v6: Option<Ipv6Addr>,
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
            next_hop_v4: None,
            next_hop_v6: None,
            graceful_restart: None,
            jitter_seed: 0,
        }
    }

    /// Whether both ends are in one AS.
    pub fn is_internal(&self) -> bool {
        self.local_asn == self.peer_asn
    }

    /// The next hop of a family's routes.
    pub fn next_hop(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::Ipv4Unicast => self.next_hop_v4.map(IpAddr::V4),
            Family::Ipv6Unicast => self.next_hop_v6.map(IpAddr::V6),
        }
    }

    /// The capabilities of our OPEN, by whether a session of this process was up before.
    pub(crate) fn capabilities(&self, was_up: bool) -> Vec<Capability> {
        let mut capabilities: Vec<_> = self
            .families
            .enabled()
            .map(Capability::Multiprotocol)
            .collect();
        capabilities.extend([
            Capability::RouteRefresh,
            Capability::FourOctetAsn(self.local_asn),
        ]);
        let graceful_restart = self.graceful_restart.map(|config| {
            let restarted = config.restarted && !was_up;
            let preserved = config.forwarding_preserved;
            let forwards = |family| was_up || config.restarted && preserved[family];
            capability::GracefulRestart {
                restarted,
                notification: config.over_notifications,
                restart_time_secs: config.restart_time_secs,
                families: PerFamily::from_fn(|family| {
                    self.families[family].then(|| forwards(family))
                }),
            }
        });
        capabilities.extend(graceful_restart.map(Capability::GracefulRestart));
        capabilities
    }

    /// Whether both work in one session: only what is written into UPDATEs, or once into the first OPEN, differs.
    pub(crate) fn shares_session_with(&self, other: &Self) -> bool {
        let asked = |config: &Self| {
            let restart = config.graceful_restart;
            restart.map(|gr| (gr.restart_time_secs, gr.over_notifications))
        };
        let alike = Self {
            next_hop_v4: self.next_hop_v4,
            next_hop_v6: self.next_hop_v6,
            graceful_restart: self.graceful_restart,
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
        if self.families.enabled().next().is_none() {
            return Err(ConfigError::NoFamily);
        }
        Ok(())
    }
}
