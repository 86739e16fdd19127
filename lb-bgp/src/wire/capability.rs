//! Capabilities of the OPEN message (RFC 5492).
//!
//! Those we act on are typed; any other is kept by its code, so that it can be shown. A capability that is
//! unknown never refuses a session. Those that say something of each family have their values beside.

mod per_family;

use std::fmt;

use super::notification::{Notification, open_error};
use super::reader::Reader;
use crate::family::Family;

pub use per_family::{
    AddPath, AddPaths, GracefulRestart, LongLived, LongLivedRestart, RESTART_TIME_SECS_MAX,
    STALE_TIME_SECS_MAX,
};

const MULTIPROTOCOL: u8 = 1;
const ROUTE_REFRESH: u8 = 2;
const EXTENDED_NEXT_HOP: u8 = 5;
const EXTENDED_MESSAGE: u8 = 6;
const GRACEFUL_RESTART: u8 = 64;
const FOUR_OCTET_ASN: u8 = 65;
const ADD_PATH: u8 = 69;
const ENHANCED_ROUTE_REFRESH: u8 = 70;
const LONG_LIVED_GRACEFUL_RESTART: u8 = 71;

/// One capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// Code 1, RFC 4760: a family we speak.
    Multiprotocol(Family),
    /// Code 1 for a family we don't speak: AFI and SAFI.
    MultiprotocolOther(u16, u8),
    /// Code 2, RFC 2918: answers ROUTE-REFRESH.
    RouteRefresh,
    /// Code 5, RFC 8950: reads IPv6 next hops of IPv4 unicast routes. Other combinations are left out.
    ExtendedNextHop,
    /// Code 6, RFC 8654: reads messages of up to 65535 octets.
    ExtendedMessage,
    /// Code 64, RFC 4724.
    GracefulRestart(GracefulRestart),
    /// Code 65, RFC 6793: AS numbers of four octets; this is the sender's.
    FourOctetAsn(u32),
    /// Code 69, RFC 7911: families with several paths to a prefix.
    AddPath(AddPaths),
    /// Code 70, RFC 7313: marks where routes that are sent again begin and end.
    EnhancedRouteRefresh,
    /// Code 71, RFC 9494: how long routes may be kept beyond graceful restart.
    LongLivedGracefulRestart(LongLivedRestart),
    /// Any other code.
    Other(u8),
}

impl Capability {
    /// Appends code, length and value. [`Capability::Other`] is written without a value.
    pub fn encode(self, out: &mut Vec<u8>) {
        match self {
            Self::Multiprotocol(family) => encode_multiprotocol(out, family.afi(), family.safi()),
            Self::MultiprotocolOther(afi, safi) => encode_multiprotocol(out, afi, safi),
            Self::RouteRefresh => out.extend([ROUTE_REFRESH, 0]),
            Self::ExtendedNextHop => {
                out.extend([EXTENDED_NEXT_HOP, 6]);
                out.extend(IPV4_UNICAST_BY_IPV6);
            }
            Self::ExtendedMessage => out.extend([EXTENDED_MESSAGE, 0]),
            Self::GracefulRestart(value) => encode_value(out, GRACEFUL_RESTART, value.encode()),
            Self::AddPath(value) => encode_value(out, ADD_PATH, per_family::encode_add_path(value)),
            Self::EnhancedRouteRefresh => out.extend([ENHANCED_ROUTE_REFRESH, 0]),
            Self::LongLivedGracefulRestart(value) => {
                let value = per_family::encode_long_lived(value);
                encode_value(out, LONG_LIVED_GRACEFUL_RESTART, value);
            }
            Self::FourOctetAsn(asn) => {
                out.extend([FOUR_OCTET_ASN, 4]);
                out.extend(asn.to_be_bytes());
            }
            Self::Other(code) => out.extend([code, 0]),
        }
    }

    /// Reads all capabilities of one optional parameter.
    pub(crate) fn decode_all(parameter: &[u8], into: &mut Vec<Self>) -> Result<(), Notification> {
        let mut reader = Reader::new(parameter);
        while !reader.is_empty() {
            let capability = Self::decode(&mut reader)
                .ok_or_else(|| Notification::new(open_error::UNSPECIFIC, &[]))?;
            into.push(capability);
        }
        Ok(())
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let code = reader.u8()?;
        let length = reader.u8()?;
        let mut value = Reader::new(reader.take(usize::from(length))?);
        Some(match (code, length) {
            (MULTIPROTOCOL, 4) => {
                let [afi_high, afi_low, _reserved, safi] = value.array()?;
                let afi = u16::from_be_bytes([afi_high, afi_low]);
                match Family::from_wire(afi, safi) {
                    Some(family) => Self::Multiprotocol(family),
                    None => Self::MultiprotocolOther(afi, safi),
                }
            }
            (FOUR_OCTET_ASN, 4) => Self::FourOctetAsn(value.u32()?),
            // One of another length is of no use, but harms nobody: the session is as without it.
            (GRACEFUL_RESTART, _) => {
                GracefulRestart::decode(value).map_or(Self::Other(code), Self::GracefulRestart)
            }
            (ROUTE_REFRESH, 0) => Self::RouteRefresh,
            (EXTENDED_MESSAGE, 0) => Self::ExtendedMessage,
            (ENHANCED_ROUTE_REFRESH, 0) => Self::EnhancedRouteRefresh,
            (EXTENDED_NEXT_HOP, _) => {
                let mut tuples = value.rest().chunks(IPV4_UNICAST_BY_IPV6.len());
                match tuples.any(|tuple| tuple == IPV4_UNICAST_BY_IPV6) {
                    true => Self::ExtendedNextHop,
                    false => Self::Other(code),
                }
            }
            (ADD_PATH, _) => {
                per_family::decode_add_path(value).map_or(Self::Other(code), Self::AddPath)
            }
            (LONG_LIVED_GRACEFUL_RESTART, _) => per_family::decode_long_lived(value)
                .map_or(Self::Other(code), Self::LongLivedGracefulRestart),
            // A value of the wrong length says nothing we could rely on.
            (MULTIPROTOCOL | FOUR_OCTET_ASN | ROUTE_REFRESH, _) => return None,
            _ => Self::Other(code),
        })
    }

    /// The capability's code (IANA, Capability Codes).
    pub fn code(self) -> u8 {
        match self {
            Self::Multiprotocol(_) | Self::MultiprotocolOther(..) => MULTIPROTOCOL,
            Self::RouteRefresh => ROUTE_REFRESH,
            Self::ExtendedNextHop => EXTENDED_NEXT_HOP,
            Self::ExtendedMessage => EXTENDED_MESSAGE,
            Self::GracefulRestart(_) => GRACEFUL_RESTART,
            Self::FourOctetAsn(_) => FOUR_OCTET_ASN,
            Self::AddPath(_) => ADD_PATH,
            Self::EnhancedRouteRefresh => ENHANCED_ROUTE_REFRESH,
            Self::LongLivedGracefulRestart(_) => LONG_LIVED_GRACEFUL_RESTART,
            Self::Other(code) => code,
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Multiprotocol(family) => write!(f, "{family}"),
            Self::MultiprotocolOther(afi, safi) => write!(f, "AFI {afi} SAFI {safi}"),
            Self::RouteRefresh => f.write_str("route refresh"),
            Self::GracefulRestart(value) => {
                write!(f, "graceful restart in {} s", value.restart_time_secs)
            }
            Self::FourOctetAsn(asn) => write!(f, "4-octet AS {asn}"),
            Self::ExtendedNextHop => f.write_str("IPv6 next hops for IPv4"),
            Self::ExtendedMessage => f.write_str("extended messages"),
            Self::EnhancedRouteRefresh => f.write_str("enhanced route refresh"),
            Self::AddPath(value) => {
                f.write_str("ADD-PATH")?;
                per_family::list(f, *value, |mode| match mode {
                    AddPath::Receive => "receive".to_owned(),
                    AddPath::Send => "send".to_owned(),
                    AddPath::Both => "both".to_owned(),
                })
            }
            Self::LongLivedGracefulRestart(value) => {
                f.write_str("long-lived graceful restart")?;
                per_family::list(f, *value, |of| format!("{} s", of.stale_time_secs))
            }
            Self::Other(code) => write!(f, "{} ({code})", other_name(*code)),
        }
    }
}

/// AFI 1, SAFI 1, next hop AFI 2 (RFC 8950 section 4).
const IPV4_UNICAST_BY_IPV6: [u8; 6] = [0, 1, 0, 1, 0, 2];

fn encode_value(out: &mut Vec<u8>, code: u8, value: Vec<u8>) {
    out.extend([code, value.len() as u8]);
    out.extend(value);
}

fn encode_multiprotocol(out: &mut Vec<u8>, afi: u16, safi: u8) {
    out.extend([MULTIPROTOCOL, 4]);
    out.extend(afi.to_be_bytes());
    out.extend([0, safi]);
}

fn other_name(code: u8) -> &'static str {
    match code {
        5 => "extended next hop, not of IPv4 unicast",
        6 => "extended message, malformed",
        9 => "role",
        64 => "graceful restart, malformed",
        69 => "ADD-PATH, malformed",
        70 => "enhanced route refresh, malformed",
        71 => "long-lived graceful restart, malformed",
        73 => "FQDN",
        128 => "route refresh before its RFC",
        _ => "capability",
    }
}
