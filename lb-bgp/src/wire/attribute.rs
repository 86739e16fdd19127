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
    /// RFC 1997.
    pub const COMMUNITIES: u8 = 8;
    /// RFC 4760.
    pub const MP_REACH_NLRI: u8 = 14;
    /// RFC 4760.
    pub const MP_UNREACH_NLRI: u8 = 15;
    /// RFC 6793.
    pub const AS4_PATH: u8 = 17;
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

/// What is fixed about an attribute.
struct Descriptor {
    code: u8,
    /// The two upper flags, optional and transitive.
    flags: u8,
    /// Whether a value can be right (RFC 7606 section 7).
    value_is_valid: fn(&[u8]) -> bool,
}

const DESCRIPTORS: [Descriptor; 9] = [
    Descriptor {
        code: code::ORIGIN,
        flags: WELL_KNOWN,
        value_is_valid: |v| matches!(v, [0..=2]),
    },
    // Segments depend on whether AS numbers have two or four octets; routes aren't kept, so not read.
    Descriptor {
        code: code::AS_PATH,
        flags: WELL_KNOWN,
        value_is_valid: |v| v.len() != 1,
    },
    Descriptor {
        code: code::NEXT_HOP,
        flags: WELL_KNOWN,
        value_is_valid: |v| v.len() == 4,
    },
    Descriptor {
        code: code::MULTI_EXIT_DISC,
        flags: OPTIONAL_NON_TRANSITIVE,
        value_is_valid: |v| v.len() == 4,
    },
    Descriptor {
        code: code::LOCAL_PREF,
        flags: WELL_KNOWN,
        value_is_valid: |v| v.len() == 4,
    },
    Descriptor {
        code: code::COMMUNITIES,
        flags: OPTIONAL_TRANSITIVE,
        value_is_valid: |v| !v.is_empty() && v.len().is_multiple_of(4),
    },
    // These two carry prefixes and are parsed where they are counted.
    Descriptor {
        code: code::MP_REACH_NLRI,
        flags: OPTIONAL_NON_TRANSITIVE,
        value_is_valid: |_| true,
    },
    Descriptor {
        code: code::MP_UNREACH_NLRI,
        flags: OPTIONAL_NON_TRANSITIVE,
        value_is_valid: |_| true,
    },
    Descriptor {
        code: code::AS4_PATH,
        flags: OPTIONAL_TRANSITIVE,
        value_is_valid: |v| v.len() >= 6 && v.len().is_multiple_of(2),
    },
];

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
    pub(crate) fn is_valid(&self) -> bool {
        match descriptor(self.code) {
            Some(known) => {
                self.flags & OPTIONAL_TRANSITIVE == known.flags
                    && (known.value_is_valid)(self.value)
            }
            None => self.flags & FLAG_OPTIONAL != 0,
        }
    }
}

fn descriptor(code: u8) -> Option<&'static Descriptor> {
    DESCRIPTORS.iter().find(|known| known.code == code)
}
