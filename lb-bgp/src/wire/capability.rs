//! Capabilities of the OPEN message (RFC 5492).
//!
//! Those we act on are typed; any other is kept by its code, so that it can be shown. A capability that is
//! unknown never refuses a session.

use std::fmt;

use super::notification::{Notification, open_error};
use super::reader::Reader;
use crate::family::{Family, PerFamily};

const MULTIPROTOCOL: u8 = 1;
const ROUTE_REFRESH: u8 = 2;
const GRACEFUL_RESTART: u8 = 64;
const FOUR_OCTET_ASN: u8 = 65;

/// Largest restart time in seconds: its field has 12 bits (RFC 4724 section 3).
pub const RESTART_TIME_SECS_MAX: u16 = 0x0fff;

/// The R bit: the sender has restarted (RFC 4724 section 3).
const RESTARTED: u16 = 0x8000;
/// The N bit: a NOTIFICATION doesn't end graceful restart (RFC 8538 section 2).
const NOTIFICATION: u16 = 0x4000;
/// The F bit of a family: its forwarding state was preserved (RFC 4724 section 3).
const FORWARDING: u8 = 0x80;

/// One capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// Code 1, RFC 4760: a family we speak.
    Multiprotocol(Family),
    /// Code 1 for a family we don't speak: AFI and SAFI.
    MultiprotocolOther(u16, u8),
    /// Code 2, RFC 2918: answers ROUTE-REFRESH.
    RouteRefresh,
    /// Code 64, RFC 4724.
    GracefulRestart(GracefulRestart),
    /// Code 65, RFC 6793: AS numbers of four octets; this is the sender's.
    FourOctetAsn(u32),
    /// Any other code.
    Other(u8),
}

/// The value of capability 64 (RFC 4724 section 3, RFC 8538 section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GracefulRestart {
    /// The R bit: the sender has restarted and asks not to be waited for.
    pub restarted: bool,
    /// The N bit: a NOTIFICATION other than Hard Reset doesn't end graceful restart.
    pub notification: bool,
    /// How long the sender's routes are to be kept once its connection is gone; at most
    /// [`RESTART_TIME_SECS_MAX`].
    pub restart_time_secs: u16,
    /// Families whose routes the sender wants kept; the value is the F bit, whether it still forwards them.
    /// Families we don't speak are left out.
    pub families: PerFamily<Option<bool>>,
}

impl Capability {
    /// Appends code, length and value. [`Capability::Other`] is written without a value.
    pub fn encode(self, out: &mut Vec<u8>) {
        match self {
            Self::Multiprotocol(family) => encode_multiprotocol(out, family.afi(), family.safi()),
            Self::MultiprotocolOther(afi, safi) => encode_multiprotocol(out, afi, safi),
            Self::RouteRefresh => out.extend([ROUTE_REFRESH, 0]),
            Self::GracefulRestart(value) => value.encode(out),
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
            Self::GracefulRestart(_) => GRACEFUL_RESTART,
            Self::FourOctetAsn(_) => FOUR_OCTET_ASN,
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
            Self::Other(code) => write!(f, "{} ({code})", other_name(*code)),
        }
    }
}

impl GracefulRestart {
    fn encode(self, out: &mut Vec<u8>) {
        let families = Family::ALL
            .into_iter()
            .filter_map(|family| Some((family, self.families[family]?)));
        let families: Vec<_> = families.collect();
        let flag = |is_set: bool, bit: u16| if is_set { bit } else { 0 };
        let first = flag(self.restarted, RESTARTED)
            | flag(self.notification, NOTIFICATION)
            | self.restart_time_secs.min(RESTART_TIME_SECS_MAX);
        out.extend([GRACEFUL_RESTART, (2 + 4 * families.len()) as u8]);
        out.extend(first.to_be_bytes());
        for (family, preserved) in families {
            out.extend(family.afi().to_be_bytes());
            out.extend([family.safi(), if preserved { FORWARDING } else { 0 }]);
        }
    }

    /// `None` if the length is wrong.
    fn decode(mut value: Reader<'_>) -> Option<Self> {
        let first = value.u16()?;
        let mut families = PerFamily::default();
        while !value.is_empty() {
            let [afi_high, afi_low, safi, flags] = value.array()?;
            let afi = u16::from_be_bytes([afi_high, afi_low]);
            if let Some(family) = Family::from_wire(afi, safi) {
                families[family] = Some(flags & FORWARDING != 0);
            }
        }
        Some(Self {
            restarted: first & RESTARTED != 0,
            notification: first & NOTIFICATION != 0,
            restart_time_secs: first & RESTART_TIME_SECS_MAX,
            families,
        })
    }
}

fn encode_multiprotocol(out: &mut Vec<u8>, afi: u16, safi: u8) {
    out.extend([MULTIPROTOCOL, 4]);
    out.extend(afi.to_be_bytes());
    out.extend([0, safi]);
}

fn other_name(code: u8) -> &'static str {
    match code {
        5 => "extended next hop",
        6 => "extended message",
        9 => "role",
        64 => "graceful restart, malformed",
        69 => "ADD-PATH",
        70 => "enhanced route refresh",
        71 => "long-lived graceful restart",
        73 => "FQDN",
        128 => "route refresh before its RFC",
        _ => "capability",
    }
}
