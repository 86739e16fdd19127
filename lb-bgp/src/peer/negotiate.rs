//! What follows from the two OPENs: whether the peer may speak with us, and how.
//!
//! Pure: configuration and the peer's OPEN in, an agreement or the NOTIFICATION that refuses it out. A
//! capability that the peer lacks never refuses a session (RFC 5492 section 3).

use std::net::Ipv4Addr;
use std::time::Duration;

use super::timers::KEEPALIVES_PER_HOLD_TIME;
use crate::config::PeerConfig;
use crate::family::PerFamily;
use crate::wire::notification::{Notification, open_error};
use crate::wire::open::AS_TRANS;
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
    /// Whether the peer may ask for all routes again, as it says in its OPEN.
    pub route_refresh: bool,
    /// Whether AS numbers have four octets.
    pub four_octet_asn: bool,
    /// For how long the peer keeps our routes once the connection is gone (RFC 4724); zero: not at all.
    pub restart_time: Duration,
    /// Whether a NOTIFICATION doesn't make the peer forget them, but for Hard Reset (RFC 8538).
    pub hard_reset: bool,
    /// Capabilities of our OPEN.
    pub capabilities_sent: Vec<Capability>,
    /// Capabilities of the peer's OPEN, as sent.
    pub capabilities_received: Vec<Capability>,
}

impl Negotiated {
    /// How attributes are written in this session.
    pub(crate) fn session_attributes(&self, config: &PeerConfig) -> SessionAttributes {
        SessionAttributes {
            local_asn: config.local_asn,
            internal: config.is_internal(),
            four_octet_asn: self.four_octet_asn,
        }
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
    was_up: bool,
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
    let theirs = offered_families(open);
    let restart_time_secs = config.graceful_restart.map(|gr| gr.restart_time_secs);
    let over_notifications = config
        .graceful_restart
        .is_some_and(|gr| gr.over_notifications);
    let helper = open
        .graceful_restart()
        .filter(|_| restart_time_secs.is_some());
    Ok(Negotiated {
        peer_identifier: open.identifier,
        hold_time,
        keepalive: hold_time / KEEPALIVES_PER_HOLD_TIME,
        families: PerFamily::from_fn(|family| config.families[family] && theirs[family]),
        route_refresh: open.capabilities.contains(&Capability::RouteRefresh),
        four_octet_asn: open.four_octet_asn().is_some(),
        restart_time: helper
            .and(restart_time_secs)
            .map_or(Duration::ZERO, |secs| Duration::from_secs(secs.into())),
        hard_reset: over_notifications && helper.is_some_and(|gr| gr.notification),
        capabilities_sent: config.capabilities(was_up),
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

/// The families of the peer's capabilities; IPv4 unicast if it names none (RFC 4760 section 8).
fn offered_families(open: &Open) -> PerFamily<bool> {
    let names_any = open.capabilities.iter().any(|c| {
        matches!(
            c,
            Capability::Multiprotocol(_) | Capability::MultiprotocolOther(..)
        )
    });
    PerFamily::from_fn(|family| {
        let implied = !names_any && family == crate::Family::Ipv4Unicast;
        implied
            || open
                .capabilities
                .contains(&Capability::Multiprotocol(family))
    })
}

fn refused(notification: Notification, detail: String) -> OpenRefused {
    OpenRefused {
        notification,
        detail,
    }
}
