//! Communities as people write them: `65000:100`, the names of the well-known ones, `65000:1:2` for large ones (also with
//! `large:` in front), `rt:` and `soo:` for extended ones (RFC 1997, 8092, 4360, 5668).

use std::net::Ipv4Addr;

/// Well-known communities (IANA, BGP Well-known Communities).
const WELL_KNOWN: [(&str, u32); 7] = [
    ("graceful-shutdown", 0xffff_0000),
    ("accept-own", 0xffff_0001),
    ("no-llgr", 0xffff_0007),
    ("blackhole", 0xffff_029a),
    ("no-export", 0xffff_ff01),
    ("no-advertise", 0xffff_ff02),
    ("no-export-subconfed", 0xffff_ff03),
];

/// A community of one of the three kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Community {
    /// RFC 1997.
    Standard(u32),
    /// RFC 8092.
    Large([u32; 3]),
    /// RFC 4360, as its octets.
    Extended([u8; 8]),
}

impl Community {
    /// Reads any kind.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let standard = Self::standard(text).map(Self::Standard);
        let large = || {
            let numbers = text.strip_prefix("large:").unwrap_or(text);
            Self::large(numbers).map(Self::Large)
        };
        let extended = || Self::extended(text).map(Self::Extended);
        standard.or_else(large).or_else(extended)
    }

    /// Two numbers of 16 bits, or a name.
    #[must_use]
    pub fn standard(text: &str) -> Option<u32> {
        if let Some((_, value)) = WELL_KNOWN.iter().find(|(name, _)| *name == text) {
            return Some(*value);
        }
        let (asn, value) = text.split_once(':')?;
        let (asn, value): (u16, u16) = (asn.parse().ok()?, value.parse().ok()?);
        Some(u32::from(asn) << 16 | u32::from(value))
    }

    /// Three numbers of 32 bits.
    #[must_use]
    pub fn large(text: &str) -> Option<[u32; 3]> {
        let numbers: Option<Vec<u32>> = text.split(':').map(|part| part.parse().ok()).collect();
        numbers?.try_into().ok()
    }

    /// Route targets and origins with an AS number of two or four octets, or an address, in front.
    #[must_use]
    pub fn extended(text: &str) -> Option<[u8; 8]> {
        let (kind, rest) = text.split_once(':')?;
        let subtype = match kind {
            "rt" => 2,
            "soo" => 3,
            _ => return None,
        };
        let (front, value) = rest.rsplit_once(':')?;
        if let Ok(asn) = front.parse::<u16>() {
            let ([a, b], [c, d, e, f]) =
                (asn.to_be_bytes(), value.parse::<u32>().ok()?.to_be_bytes());
            return Some([0, subtype, a, b, c, d, e, f]);
        }
        let [e, f] = value.parse::<u16>().ok()?.to_be_bytes();
        let (kind, [a, b, c, d]) = match front.parse::<Ipv4Addr>() {
            Ok(address) => (1, address.octets()),
            Err(_) => (2, front.parse::<u32>().ok()?.to_be_bytes()),
        };
        Some([kind, subtype, a, b, c, d, e, f])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_known_by_its_form() {
        let cases = [
            ("65000:100", Some(Community::Standard(65_000 << 16 | 100))),
            ("no-export", Some(Community::Standard(0xffff_ff01))),
            ("65000:1:2", Some(Community::Large([65_000, 1, 2]))),
            (
                "large:4200000000:1:2",
                Some(Community::Large([4_200_000_000, 1, 2])),
            ),
            (
                "rt:65000:100",
                Some(Community::Extended([0, 2, 0xfd, 0xe8, 0, 0, 0, 100])),
            ),
            ("65536:1", None),
            ("internet-of-things", None),
            ("", None),
        ];
        for (text, community) in cases {
            assert_eq!(Community::parse(text), community, "{text}");
        }
    }
}
