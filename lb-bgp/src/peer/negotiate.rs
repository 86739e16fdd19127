//! What follows from the two OPENs: whether the peer may speak with us, and how.
//!
//! Pure: configuration, what our OPEN offered, and the peer's OPEN in, an agreement or the NOTIFICATION that refuses it out. A
//! capability that the peer lacks never refuses a session (RFC 5492 section 3).

use std::net::Ipv4Addr;
use std::time::Duration;

use super::timers::{KEEPALIVES_PER_HOLD_TIME, SEND_HOLD_TIME_MIN};
use crate::config::PeerConfig;
use crate::family::PerFamily;
use crate::rib_out::Agreed;
use crate::wire::header::{EXTENDED_MESSAGE_LEN_MAX, MESSAGE_LEN_MAX};
use crate::wire::notification::{Notification, open_error};
use crate::wire::open::AS_TRANS;
use crate::wire::received::ReadContext;
use crate::wire::update::SessionAttributes;
use crate::wire::{Capability, Open};

/// What both ends of a session have agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// The peer's BGP identifier.
    pub peer_identifier: Ipv4Addr,
    /// The lower of both proposals; zero: the session never expires.
    pub hold_time: Duration,
    /// Time between our keepalives before jitter; zero: none are sent.
    pub keepalive: Duration,
    /// Families that both ends speak.
    pub families: PerFamily<bool>,
    /// Whether the peer may ask for all routes again.
    pub route_refresh: bool,
    /// Whether routes that are sent again are marked (RFC 7313).
    pub enhanced_refresh: bool,
    /// Families whose prefixes may have several paths (RFC 7911).
    pub add_path: PerFamily<bool>,
    /// Whether IPv4 routes may have IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
    /// Whether messages may be longer than 4096 octets (RFC 8654).
    pub extended_messages: bool,
    /// Whether AS numbers have four octets.
    pub four_octet_asn: bool,
    /// For how long the peer keeps our routes once the connection is gone (RFC 4724); zero: not at all.
    pub restart_time: Duration,
    /// For how much longer the peer may keep them as a last resort (RFC 9494); zero: not at all.
    pub stale_time: Duration,
    /// Whether a NOTIFICATION doesn't make the peer forget them, but for Hard Reset (RFC 8538).
    pub hard_reset: bool,
    /// Capabilities of our OPEN; none if the peer has refused one that had any.
    pub capabilities_sent: Vec<Capability>,
    /// Capabilities of the peer's OPEN, as sent.
    pub capabilities_received: Vec<Capability>,
}

impl Negotiated {
    /// How routes are written in this session.
    pub(crate) fn agreed(&self, config: &PeerConfig) -> Agreed {
        Agreed {
            session: SessionAttributes {
                local_asn: config.local_asn,
                internal: config.is_internal(),
                four_octet_asn: self.four_octet_asn,
                message_len_max: match self.extended_messages {
                    true => EXTENDED_MESSAGE_LEN_MAX,
                    false => MESSAGE_LEN_MAX,
                },
            },
            families: self.families,
            add_path: self.add_path,
            enhanced_refresh: self.enhanced_refresh,
            extended_next_hop: self.extended_next_hop,
        }
    }

    /// How the peer's UPDATEs are read.
    pub(crate) fn read_context(&self, config: &PeerConfig) -> ReadContext {
        ReadContext {
            four_octet_asn: self.four_octet_asn,
            internal: config.is_internal(),
        }
    }

    /// How long the peer may take nothing of what is sent (RFC 9687 section 3.1).
    pub(crate) fn send_hold_time(&self) -> Duration {
        SEND_HOLD_TIME_MIN.max(self.hold_time * 2)
    }
}

/// A peer's OPEN that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OpenRefused {
    pub(crate) notification: Notification,
    /// What the numbers were.
    pub(crate) detail: String,
}

/// Checks the peer's OPEN (RFC 4271 section 6.2) and agrees.
pub(crate) fn negotiate(
    config: &PeerConfig,
    offered: &[Capability],
    open: &Open,
) -> Result<Negotiated, OpenRefused> {
    check_asn(config, open)?;
    check_identifier(config, open)?;
    if matches!(open.hold_time_secs, 1 | 2) {
        let detail = format!("the peer proposes a hold time of {} s", open.hold_time_secs);
        return Err(refused(
            Notification::new(open_error::BAD_HOLD_TIME, &[]),
            detail,
        ));
    }
    let hold_time = config
        .hold_time()
        .min(Duration::from_secs(open.hold_time_secs.into()));
    let (ours, theirs) = (families_of(offered), families_of(&open.capabilities));
    check_families(config, theirs)?;
    let restart = config.graceful_restart.filter(|_| !offered.is_empty());
    let restart_time_secs = restart.map(|gr| gr.restart_time_secs);
    let over_notifications = restart.is_some_and(|gr| gr.over_notifications);
    let helper = open
        .graceful_restart()
        .filter(|_| restart_time_secs.is_some());
    let families = PerFamily::from_fn(|family| ours[family] && theirs[family]);
    let both_offer = |capability: Capability| {
        offered.contains(&capability) && open.capabilities.contains(&capability)
    };
    let reads_several = |family| open.add_paths()[family].is_some_and(|mode| mode.receives());
    let long_lived = restart.map(|gr| gr.stale_time_secs);
    let stale_time = helper.and(open.long_lived_restart()).and(long_lived);
    Ok(Negotiated {
        peer_identifier: open.identifier,
        hold_time,
        keepalive: hold_time / KEEPALIVES_PER_HOLD_TIME,
        families,
        route_refresh: both_offer(Capability::RouteRefresh),
        enhanced_refresh: both_offer(Capability::EnhancedRouteRefresh),
        add_path: PerFamily::from_fn(|family| {
            config.add_path && !offered.is_empty() && families[family] && reads_several(family)
        }),
        extended_next_hop: both_offer(Capability::ExtendedNextHop),
        extended_messages: both_offer(Capability::ExtendedMessage),
        four_octet_asn: !offered.is_empty() && open.four_octet_asn().is_some(),
        restart_time: helper
            .and(restart_time_secs)
            .map_or(Duration::ZERO, |secs| Duration::from_secs(secs.into())),
        stale_time: Duration::from_secs(stale_time.unwrap_or(0).into()),
        hard_reset: over_notifications && helper.is_some_and(|gr| gr.notification),
        capabilities_sent: offered.to_vec(),
        capabilities_received: open.capabilities.clone(),
    })
}

/// The peer's AS number is the configured one, which is never 0 or AS_TRANS (RFC 7607, RFC 6793).
fn check_asn(config: &PeerConfig, open: &Open) -> Result<(), OpenRefused> {
    if open.asn() == config.peer_asn {
        return Ok(());
    }
    let hint = if open.asn() == u32::from(AS_TRANS) {
        " (AS_TRANS)"
    } else {
        ""
    };
    let detail = format!(
        "the peer has AS {}{hint}, AS {} is configured",
        open.asn(),
        config.peer_asn
    );
    Err(refused(
        Notification::new(open_error::BAD_PEER_AS, &[]),
        detail,
    ))
}

/// RFC 6286 section 2.2: not zero, and unique within an AS.
fn check_identifier(config: &PeerConfig, open: &Open) -> Result<(), OpenRefused> {
    let detail = if open.identifier.is_unspecified() {
        "the peer's BGP identifier is 0.0.0.0".to_owned()
    } else if config.is_internal() && open.identifier == config.router_id {
        format!("the peer's BGP identifier {} is our own", open.identifier)
    } else {
        return Ok(());
    };
    Err(refused(
        Notification::new(open_error::BAD_IDENTIFIER, &[]),
        detail,
    ))
}

/// RFC 5492 section 3: the data is the capability that is missing.
fn check_families(config: &PeerConfig, theirs: PerFamily<bool>) -> Result<(), OpenRefused> {
    let mut required = config.families_required.enabled();
    let Some(missing) = required.find(|family| !theirs[*family]) else {
        return Ok(());
    };
    let mut data = Vec::new();
    Capability::Multiprotocol(missing).encode(&mut data);
    let detail = format!("the peer does not offer {missing}, which is required");
    Err(refused(
        Notification::new(open_error::UNSUPPORTED_CAPABILITY, &data),
        detail,
    ))
}

/// The families of an OPEN's capabilities; IPv4 unicast if it names none (RFC 4760 section 8).
fn families_of(capabilities: &[Capability]) -> PerFamily<bool> {
    let names_any = capabilities.iter().any(|c| {
        matches!(
            c,
            Capability::Multiprotocol(_) | Capability::MultiprotocolOther(..)
        )
    });
    PerFamily::from_fn(|family| {
        let implied = !names_any && family == crate::Family::Ipv4Unicast;
        implied || capabilities.contains(&Capability::Multiprotocol(family))
    })
}

fn refused(notification: Notification, detail: String) -> OpenRefused {
    OpenRefused {
        notification,
        detail,
    }
}
