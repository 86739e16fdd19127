//! Capabilities of the OPEN message (RFC 5492).
//!
//! Those we act on are typed; any other is kept by its code, so that it can be shown. A capability that is
//! unknown never refuses a session.

use std::fmt;

use super::notification::{Notification, open_error};
use super::reader::Reader;
use crate::family::Family;

const MULTIPROTOCOL: u8 = 1;
const ROUTE_REFRESH: u8 = 2;
const FOUR_OCTET_ASN: u8 = 65;

/// One capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// Code 1, RFC 4760: a family we speak.
    Multiprotocol(Family),
    /// Code 1 for a family we don't speak: AFI and SAFI.
    MultiprotocolOther(u16, u8),
    /// Code 2, RFC 2918: answers ROUTE-REFRESH.
    RouteRefresh,
    /// Code 65, RFC 6793: AS numbers of four octets; this is the sender's.
    FourOctetAsn(u32),
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
            Self::FourOctetAsn(asn) => write!(f, "4-octet AS {asn}"),
            Self::Other(code) => write!(f, "{} ({code})", other_name(*code)),
        }
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
        64 => "graceful restart",
        69 => "ADD-PATH",
        70 => "enhanced route refresh",
        71 => "long-lived graceful restart",
        73 => "FQDN",
        128 => "route refresh before its RFC",
        _ => "capability",
    }
}
