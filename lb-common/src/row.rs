//! Rows: the hash of a flow picks a row, the row names a slot of the service's endpoints. How many bytes a
//! row has, and how many rows there are, is the service's [`Shape`]. Tables are made elsewhere; here is only
//! where a row lies.

use bytemuck::{Pod, Zeroable};

/// Lines of one unit, the grain in which rows are handed out: 4,096 bytes.
pub const LINES_PER_UNIT: u32 = 64;
/// Bytes of one unit.
pub const UNIT_BYTES: usize = LINES_PER_UNIT as usize * 64;

/// The element of map `rows`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct RowLine {
    /// Slots of one byte, or pairs that make slots of two bytes (little endian).
    pub slots: [u8; 64],
}

/// How a service's rows are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Shape {
    /// One endpoint or none: no rows, slot 0.
    Single = 0,
    /// 4,096 rows of one byte: 2 to 255 endpoints.
    Narrow = 1,
    /// 4,096 rows of two bytes: up to 1,023 endpoints.
    Wide = 2,
    /// 16,384 rows of two bytes: more.
    Large = 3,
}

impl Shape {
    /// The shape of a service with this many endpoints (design-dataplane section 3).
    #[must_use]
    pub const fn for_endpoints(count: usize) -> Self {
        match count {
            0 | 1 => Self::Single,
            2..=255 => Self::Narrow,
            256..=1023 => Self::Wide,
            _ => Self::Large,
        }
    }

    /// The shape with this number; only the two low bits count.
    #[inline(always)]
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        match bits & 3 {
            0 => Self::Single,
            1 => Self::Narrow,
            2 => Self::Wide,
            _ => Self::Large,
        }
    }

    /// Rows of the table; 0 for [`Shape::Single`].
    #[inline(always)]
    #[must_use]
    pub const fn rows(self) -> u32 {
        match self {
            Self::Single => 0,
            Self::Narrow | Self::Wide => 4096,
            Self::Large => 16_384,
        }
    }

    /// Bytes of one row.
    #[inline(always)]
    #[must_use]
    pub const fn row_bytes(self) -> u32 {
        match self {
            Self::Single => 0,
            Self::Narrow => 1,
            Self::Wide | Self::Large => 2,
        }
    }

    /// Units that the table takes.
    #[must_use]
    pub const fn units(self) -> u32 {
        self.rows() * self.row_bytes() / UNIT_BYTES as u32
    }

    /// Byte offset of the flow's row from the start of the table.
    #[inline(always)]
    #[must_use]
    pub const fn offset(self, flow_hash: u64) -> u32 {
        match self {
            Self::Single => 0,
            Self::Narrow => flow_hash as u32 & 4095,
            Self::Wide => (flow_hash as u32 & 4095) << 1,
            Self::Large => (flow_hash as u32 & 16_383) << 1,
        }
    }
}

const _: () =
    assert!(Shape::Narrow.units() == 1 && Shape::Wide.units() == 2 && Shape::Large.units() == 8);
