//! Values of capabilities that say something of each family: graceful restart (RFC 4724, RFC 8538), its long-lived
//! sequel (RFC 9494), and ADD-PATH (RFC 7911). Families we don't speak are skipped when reading. A value that is
//! cut short says nothing, and harms nobody: the session is as without it.

use std::fmt;

use super::super::reader::Reader;
use crate::family::{Family, PerFamily};

/// Largest restart time in seconds: its field has 12 bits (RFC 4724 section 3).
pub const RESTART_TIME_SECS_MAX: u16 = 0x0fff;
/// Largest long-lived stale time in seconds: its field has 24 bits (RFC 9494 section 3).
pub const STALE_TIME_SECS_MAX: u32 = 0x00ff_ffff;

/// The R bit: the sender has restarted (RFC 4724 section 3).
const RESTARTED: u16 = 0x8000;
/// The N bit: a NOTIFICATION doesn't end graceful restart (RFC 8538 section 2).
const NOTIFICATION: u16 = 0x4000;
/// The F bit of a family: its forwarding state was preserved (RFC 4724 section 3, RFC 9494 section 3).
const FORWARDING: u8 = 0x80;

/// What may be sent of a family whose prefixes have several paths (RFC 7911 section 4), from the sender's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddPath {
    /// It reads several paths.
    Receive = 1,
    /// It sends several paths.
    Send = 2,
    /// Both.
    Both = 3,
}

impl AddPath {
    /// Whether the sender of the capability reads several paths.
    pub fn receives(self) -> bool {
        matches!(self, Self::Receive | Self::Both)
    }
}

/// The value of capability 69.
pub type AddPaths = PerFamily<Option<AddPath>>;

/// What capability 71 says of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LongLived {
    /// The F bit: forwarding was preserved over the restart.
    pub forwarding_preserved: bool,
    /// How long its routes may be kept once graceful restart is over; at most [`STALE_TIME_SECS_MAX`].
    pub stale_time_secs: u32,
}

/// The value of capability 71.
pub type LongLivedRestart = PerFamily<Option<LongLived>>;

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

impl GracefulRestart {
    pub(super) fn encode(self) -> Vec<u8> {
        let flag = |is_set: bool, bit: u16| if is_set { bit } else { 0 };
        let first = flag(self.restarted, RESTARTED)
            | flag(self.notification, NOTIFICATION)
            | self.restart_time_secs.min(RESTART_TIME_SECS_MAX);
        let mut out = first.to_be_bytes().to_vec();
        for (family, preserved) in named(self.families) {
            out.extend(family_octets(family));
            out.push(if preserved { FORWARDING } else { 0 });
        }
        out
    }

    /// `None` if the length is wrong.
    pub(super) fn decode(mut value: Reader<'_>) -> Option<Self> {
        let first = value.u16()?;
        let mut families = PerFamily::default();
        while !value.is_empty() {
            let family = family(&mut value)?;
            let flags = value.u8()?;
            if let Some(family) = family {
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

pub(super) fn encode_add_path(value: AddPaths) -> Vec<u8> {
    let octets = named(value).flat_map(|(family, mode)| {
        let [a, b, c] = family_octets(family);
        [a, b, c, mode as u8]
    });
    octets.collect()
}

pub(super) fn decode_add_path(mut value: Reader<'_>) -> Option<AddPaths> {
    let mut families = AddPaths::default();
    while !value.is_empty() {
        let (family, mode) = (family(&mut value)?, value.u8()?);
        // Any other number is to be ignored (section 4).
        let mode = [AddPath::Receive, AddPath::Send, AddPath::Both]
            .into_iter()
            .find(|known| *known as u8 == mode);
        if let Some(family) = family {
            families[family] = mode;
        }
    }
    Some(families)
}

pub(super) fn encode_long_lived(value: LongLivedRestart) -> Vec<u8> {
    let octets = named(value).flat_map(|(family, of)| {
        let [a, b, c] = family_octets(family);
        let flags = if of.forwarding_preserved {
            FORWARDING
        } else {
            0
        };
        let [_, x, y, z] = of.stale_time_secs.min(STALE_TIME_SECS_MAX).to_be_bytes();
        [a, b, c, flags, x, y, z]
    });
    octets.collect()
}

pub(super) fn decode_long_lived(mut value: Reader<'_>) -> Option<LongLivedRestart> {
    let mut families = LongLivedRestart::default();
    while !value.is_empty() {
        let family = family(&mut value)?;
        let [flags, x, y, z] = value.array()?;
        if let Some(family) = family {
            families[family] = Some(LongLived {
                forwarding_preserved: flags & FORWARDING != 0,
                stale_time_secs: u32::from_be_bytes([0, x, y, z]),
            });
        }
    }
    Some(families)
}

/// Appends " (family: value, ...)".
pub(super) fn list<T>(
    f: &mut fmt::Formatter<'_>,
    values: PerFamily<Option<T>>,
    word: impl Fn(T) -> String,
) -> fmt::Result
where
    T: Copy,
{
    let words = named(values).map(|(family, value)| format!("{family}: {}", word(value)));
    write!(f, " ({})", words.collect::<Vec<_>>().join(", "))
}

fn named<T: Copy>(values: PerFamily<Option<T>>) -> impl Iterator<Item = (Family, T)> {
    Family::ALL
        .into_iter()
        .filter_map(move |family| Some((family, values[family]?)))
}

fn family_octets(family: Family) -> [u8; 3] {
    let [high, low] = family.afi().to_be_bytes();
    [high, low, family.safi()]
}

/// `None` if cut short, `Some(None)` for a family we don't speak.
fn family(value: &mut Reader<'_>) -> Option<Option<Family>> {
    let [high, low, safi] = value.array()?;
    Some(Family::from_wire(u16::from_be_bytes([high, low]), safi))
}
