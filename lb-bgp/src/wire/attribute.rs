//! Path attributes (RFC 4271 section 4.3): one table says what each may look like, used both ways.
//!
//! Writing takes its flags from the table; received attributes are checked against it. A further attribute
//! is one more row, one more `write` call, and nothing else.

use super::reader::Reader;

/// Attribute type codes (IANA, BGP Path Attributes).
pub mod code {
    /// RFC 4271.
    pub const ORIGIN: u8 = 1;
    /// RFC 4271.
    pub const AS_PATH: u8 = 2;
    /// RFC 4271.
    pub const NEXT_HOP: u8 = 3;
    /// RFC 4271.
    pub const MULTI_EXIT_DISC: u8 = 4;
    /// RFC 4271.
    pub const LOCAL_PREF: u8 = 5;
    /// RFC 4271.
    pub const ATOMIC_AGGREGATE: u8 = 6;
    /// RFC 4271.
    pub const AGGREGATOR: u8 = 7;
    /// RFC 1997.
    pub const COMMUNITIES: u8 = 8;
    /// RFC 4456.
    pub const ORIGINATOR_ID: u8 = 9;
    /// RFC 4456.
    pub const CLUSTER_LIST: u8 = 10;
    /// RFC 4760.
    pub const MP_REACH_NLRI: u8 = 14;
    /// RFC 4760.
    pub const MP_UNREACH_NLRI: u8 = 15;
    /// RFC 4360.
    pub const EXTENDED_COMMUNITIES: u8 = 16;
    /// RFC 6793.
    pub const AS4_PATH: u8 = 17;
    /// RFC 6793.
    pub const AS4_AGGREGATOR: u8 = 18;
    /// RFC 8092.
    pub const LARGE_COMMUNITIES: u8 = 32;
}

const FLAG_OPTIONAL: u8 = 0x80;
const FLAG_TRANSITIVE: u8 = 0x40;
const FLAG_EXTENDED_LENGTH: u8 = 0x10;

/// Flags of a well-known attribute.
const WELL_KNOWN: u8 = FLAG_TRANSITIVE;
/// Flags of an optional attribute that speakers pass on even if they don't know it.
const OPTIONAL_TRANSITIVE: u8 = FLAG_OPTIONAL | FLAG_TRANSITIVE;
/// Flags of an optional attribute for the neighbour only.
const OPTIONAL_NON_TRANSITIVE: u8 = FLAG_OPTIONAL;

/// What a session knows that attributes depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadContext {
    /// Whether AS numbers have four octets.
    pub four_octet_asn: bool,
    /// Whether the peer is in our AS.
    pub internal: bool,
}

/// What RFC 7606 asks for where an attribute is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// The routes of the message count as withdrawn.
    TreatAsWithdraw,
    /// The routes stay, without the attribute.
    AttributeDiscard,
    /// From a peer of another AS as [`Reaction::AttributeDiscard`], else as [`Reaction::TreatAsWithdraw`].
    DiscardFromExternal,
}

/// What is fixed about an attribute.
struct Descriptor {
    code: u8,
    /// The two upper flags, optional and transitive.
    flags: u8,
    /// Whether a value can be right (RFC 7606 section 7).
    value_is_valid: fn(&[u8], ReadContext) -> bool,
    /// What becomes of the routes if it is not (RFC 7606 section 7).
    reaction: Reaction,
}

const DESCRIPTORS: [Descriptor; 16] = [
    Descriptor {
        code: code::ORIGIN,
        flags: WELL_KNOWN,
        value_is_valid: |v, _| matches!(v, [0..=2]),
        reaction: Reaction::TreatAsWithdraw,
    },
    Descriptor {
        code: code::AS_PATH,
        flags: WELL_KNOWN,
        value_is_valid: as_path_is_valid,
        reaction: Reaction::TreatAsWithdraw,
    },
    Descriptor {
        code: code::NEXT_HOP,
        flags: WELL_KNOWN,
        value_is_valid: |v, _| v.len() == 4,
        reaction: Reaction::TreatAsWithdraw,
    },
    Descriptor {
        code: code::MULTI_EXIT_DISC,
        flags: OPTIONAL_NON_TRANSITIVE,
        value_is_valid: |v, _| v.len() == 4,
        reaction: Reaction::TreatAsWithdraw,
    },
    Descriptor {
        code: code::LOCAL_PREF,
        flags: WELL_KNOWN,
        value_is_valid: |v, _| v.len() == 4,
        reaction: Reaction::DiscardFromExternal,
    },
    Descriptor {
        code: code::ATOMIC_AGGREGATE,
        flags: WELL_KNOWN,
        value_is_valid: |v, _| v.is_empty(),
        reaction: Reaction::AttributeDiscard,
    },
    Descriptor {
        code: code::AGGREGATOR,
        flags: OPTIONAL_TRANSITIVE,
        value_is_valid: |v, context| v.len() == if context.four_octet_asn { 8 } else { 6 },
        reaction: Reaction::AttributeDiscard,
    },
    Descriptor {
        code: code::COMMUNITIES,
        flags: OPTIONAL_TRANSITIVE,
        value_is_valid: |v, _| is_list_of(4, v),
        reaction: Reaction::TreatAsWithdraw,
    },
    Descriptor {
        code: code::ORIGINATOR_ID,
        flags: OPTIONAL_NON_TRANSITIVE,
        value_is_valid: |v, _| v.len() == 4,
        reaction: Reaction::DiscardFromExternal,
    },
    Descriptor {
        code: code::CLUSTER_LIST,
        flags: OPTIONAL_NON_TRANSITIVE,
        value_is_valid: |v, _| is_list_of(4, v),
        reaction: Reaction::DiscardFromExternal,
    },
    // These two carry prefixes and are parsed where they are counted.
    Descriptor {
        code: code::MP_REACH_NLRI,
        flags: OPTIONAL_NON_TRANSITIVE,
        value_is_valid: |_, _| true,
        reaction: Reaction::TreatAsWithdraw,
    },
    Descriptor {
        code: code::MP_UNREACH_NLRI,
        flags: OPTIONAL_NON_TRANSITIVE,
        value_is_valid: |_, _| true,
        reaction: Reaction::TreatAsWithdraw,
    },
    Descriptor {
        code: code::EXTENDED_COMMUNITIES,
        flags: OPTIONAL_TRANSITIVE,
        value_is_valid: |v, _| is_list_of(8, v),
        reaction: Reaction::TreatAsWithdraw,
    },
    // RFC 6793 section 6.
    Descriptor {
        code: code::AS4_PATH,
        flags: OPTIONAL_TRANSITIVE,
        value_is_valid: |v, _| segments_are_valid(v, 4),
        reaction: Reaction::AttributeDiscard,
    },
    Descriptor {
        code: code::AS4_AGGREGATOR,
        flags: OPTIONAL_TRANSITIVE,
        value_is_valid: |v, _| v.len() == 8,
        reaction: Reaction::AttributeDiscard,
    },
    // RFC 8092 section 6.
    Descriptor {
        code: code::LARGE_COMMUNITIES,
        flags: OPTIONAL_TRANSITIVE,
        value_is_valid: |v, _| is_list_of(12, v),
        reaction: Reaction::TreatAsWithdraw,
    },
];

/// One number or more, each of `len` octets.
fn is_list_of(len: usize, value: &[u8]) -> bool {
    !value.is_empty() && value.len().is_multiple_of(len)
}

fn as_path_is_valid(value: &[u8], context: ReadContext) -> bool {
    segments_are_valid(value, if context.four_octet_asn { 4 } else { 2 })
}

/// Segments of AS_PATH (RFC 7606 section 7.2): a known type, at least one AS number, nothing left over.
fn segments_are_valid(value: &[u8], asn_len: usize) -> bool {
    let mut reader = Reader::new(value);
    while !reader.is_empty() {
        let Some([1..=4, count @ 1..=255]) = reader.array() else {
            return false;
        };
        if reader.take(usize::from(count) * asn_len).is_none() {
            return false;
        }
    }
    true
}

/// Appends one attribute of the table; the extended length is used only where it must be.
pub(crate) fn write(out: &mut Vec<u8>, code: u8, value: &[u8]) {
    let flags = descriptor(code).map_or(OPTIONAL_TRANSITIVE, |known| known.flags);
    match u8::try_from(value.len()) {
        Ok(length) => out.extend([flags, code, length]),
        Err(_) => {
            out.extend([flags | FLAG_EXTENDED_LENGTH, code]);
            out.extend((value.len() as u16).to_be_bytes());
        }
    }
    out.extend(value);
}

/// A received attribute.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attribute<'a> {
    pub(crate) code: u8,
    flags: u8,
    pub(crate) value: &'a [u8],
    /// Header and value together, for the data of a NOTIFICATION.
    pub(crate) octets: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// Reads the next attribute; `None` if it runs over the end.
    pub(crate) fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let whole = reader.rest();
        let flags = reader.u8()?;
        let code = reader.u8()?;
        let length = if flags & FLAG_EXTENDED_LENGTH == 0 {
            usize::from(reader.u8()?)
        } else {
            usize::from(reader.u16()?)
        };
        let value = reader.take(length)?;
        let octets = &whole[..whole.len() - reader.rest().len()];
        Some(Self {
            code,
            flags,
            value,
            octets,
        })
    }

    /// Whether flags and value are as the table says. An unknown attribute is fine if it is optional.
    pub(crate) fn is_valid(&self, context: ReadContext) -> bool {
        match descriptor(self.code) {
            Some(known) => {
                self.flags & OPTIONAL_TRANSITIVE == known.flags
                    && (known.value_is_valid)(self.value, context)
            }
            None => self.flags & FLAG_OPTIONAL != 0,
        }
    }
}

fn descriptor(code: u8) -> Option<&'static Descriptor> {
    DESCRIPTORS.iter().find(|known| known.code == code)
}

/// What becomes of the routes beside a malformed attribute.
pub(crate) fn reaction(code: u8, context: ReadContext) -> Reaction {
    let known = descriptor(code).map_or(Reaction::TreatAsWithdraw, |known| known.reaction);
    match known {
        Reaction::DiscardFromExternal if context.internal => Reaction::TreatAsWithdraw,
        Reaction::DiscardFromExternal => Reaction::AttributeDiscard,
        known => known,
    }
}
