//! Received UPDATE messages: checked as RFC 7606 asks, counted, and dropped.
//!
//! We never use a peer's routes, so nothing is stored however many there are. A session is reset only where
//! the RFC leaves no choice: the prefixes cannot be located. Any lesser error would make the routes
//! withdrawn or an attribute ignored; as all are dropped anyway, it is only reported.

use super::attribute::{self, Attribute, code};
pub use super::attribute::{Reaction, ReadContext};
use super::nlri;
use super::notification::{Notification, update_error};
use super::reader::Reader;
use crate::family::Family;

/// What was in one UPDATE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReceivedUpdate {
    /// Prefixes announced to us.
    pub announced: u64,
    /// Prefixes withdrawn.
    pub withdrawn: u64,
    /// The first error that does not need a reset, if any, and what RFC 7606 makes of the routes.
    pub fault: Option<(UpdateFault, Reaction)>,
}

impl ReceivedUpdate {
    /// The worst counts: a discarded attribute says nothing beside routes that count as withdrawn.
    fn note(&mut self, fault: UpdateFault, reaction: Reaction) {
        let is_worse = self.fault.is_none_or(|(_, known)| {
            known == Reaction::AttributeDiscard && reaction == Reaction::TreatAsWithdraw
        });
        if is_worse {
            self.fault = Some((fault, reaction));
        }
    }
}

/// An error that RFC 7606 answers by treat-as-withdraw or attribute discard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UpdateFault {
    /// An attribute runs over the end of the attributes (section 4).
    #[error("a path attribute is cut short")]
    AttributeOverrun,
    /// An attribute has wrong flags, a wrong length or a wrong value (sections 3 and 7).
    #[error("path attribute {0} is malformed")]
    MalformedAttribute(u8),
    /// An attribute is there more than once (section 3 g).
    #[error("path attribute {0} is duplicated")]
    DuplicateAttribute(u8),
    /// A mandatory attribute is missing beside announced prefixes (section 3 d).
    #[error("path attribute {0} is missing")]
    MissingAttribute(u8),
}

/// Checks and counts the body of an UPDATE.
pub fn inspect(body: &[u8], context: ReadContext) -> Result<ReceivedUpdate, Notification> {
    let sections = Sections::split(body)
        .ok_or_else(|| Notification::new(update_error::MALFORMED_ATTRIBUTES, &[]))?;
    let mut update = ReceivedUpdate {
        announced: count_ipv4(sections.nlri)?,
        withdrawn: count_ipv4(sections.withdrawn)?,
        fault: None,
    };
    let seen = inspect_attributes(sections.attributes, context, &mut update)?;
    let next_hop = (!sections.nlri.is_empty()).then_some(code::NEXT_HOP);
    if update.announced > 0 {
        let mandatory = [Some(code::ORIGIN), Some(code::AS_PATH), next_hop];
        let missing = mandatory
            .into_iter()
            .flatten()
            .find(|code| !seen.contains(*code));
        if let Some(missing) = missing {
            let fault = UpdateFault::MissingAttribute(missing);
            update.note(fault, Reaction::TreatAsWithdraw);
        }
    }
    Ok(update)
}

/// The three parts of an UPDATE.
struct Sections<'a> {
    withdrawn: &'a [u8],
    attributes: &'a [u8],
    nlri: &'a [u8],
}

impl<'a> Sections<'a> {
    fn split(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let withdrawn_len = reader.u16()?;
        let withdrawn = reader.take(usize::from(withdrawn_len))?;
        let attributes_len = reader.u16()?;
        let attributes = reader.take(usize::from(attributes_len))?;
        Some(Self {
            withdrawn,
            attributes,
            nlri: reader.rest(),
        })
    }
}

fn count_ipv4(octets: &[u8]) -> Result<u64, Notification> {
    nlri::count(Family::Ipv4Unicast, octets)
        .ok_or_else(|| Notification::new(update_error::INVALID_NETWORK, &[]))
}

/// Attribute codes met so far: one bit each.
#[derive(Default)]
struct Seen([u64; 4]);

impl Seen {
    fn contains(&self, code: u8) -> bool {
        self.0[usize::from(code / 64)] & (1 << (code % 64)) != 0
    }

    /// Returns whether the code is new.
    fn insert(&mut self, code: u8) -> bool {
        let new = !self.contains(code);
        self.0[usize::from(code / 64)] |= 1 << (code % 64);
        new
    }
}

fn inspect_attributes(
    octets: &[u8],
    context: ReadContext,
    update: &mut ReceivedUpdate,
) -> Result<Seen, Notification> {
    let mut seen = Seen::default();
    let mut reader = Reader::new(octets);
    while !reader.is_empty() {
        let Some(attribute) = Attribute::read(&mut reader) else {
            update.note(UpdateFault::AttributeOverrun, Reaction::TreatAsWithdraw);
            break;
        };
        let code = attribute.code;
        let new = seen.insert(code);
        match code {
            code::MP_REACH_NLRI | code::MP_UNREACH_NLRI if !new => {
                return Err(Notification::new(update_error::MALFORMED_ATTRIBUTES, &[]));
            }
            code::MP_REACH_NLRI => update.announced += count_reach(&attribute)?,
            code::MP_UNREACH_NLRI => update.withdrawn += count_unreach(&attribute)?,
            // All but the first are discarded (section 3 g).
            _ if !new => update.note(
                UpdateFault::DuplicateAttribute(code),
                Reaction::AttributeDiscard,
            ),
            _ => {}
        }
        if new && !attribute.is_valid(context) {
            let reaction = attribute::reaction(code, context);
            update.note(UpdateFault::MalformedAttribute(code), reaction);
        }
    }
    Ok(seen)
}

/// Prefixes of an MP_REACH_NLRI; none for families we don't speak, which are not looked into.
fn count_reach(attribute: &Attribute<'_>) -> Result<u64, Notification> {
    let malformed = || Notification::new(update_error::OPTIONAL_ATTRIBUTE, attribute.octets);
    let mut reader = Reader::new(attribute.value);
    let family = read_family(&mut reader).ok_or_else(malformed)?;
    let next_hop_len = reader.u8().ok_or_else(malformed)?;
    reader
        .take(usize::from(next_hop_len))
        .ok_or_else(malformed)?;
    let _reserved = reader.u8().ok_or_else(malformed)?;
    let Some(family) = family else { return Ok(0) };
    if !next_hop_len_is_valid(family, next_hop_len) {
        return Err(malformed());
    }
    nlri::count(family, reader.rest()).ok_or_else(malformed)
}

/// Prefixes of an MP_UNREACH_NLRI; none for families we don't speak.
fn count_unreach(attribute: &Attribute<'_>) -> Result<u64, Notification> {
    let malformed = || Notification::new(update_error::OPTIONAL_ATTRIBUTE, attribute.octets);
    let mut reader = Reader::new(attribute.value);
    let Some(family) = read_family(&mut reader).ok_or_else(malformed)? else {
        return Ok(0);
    };
    nlri::count(family, reader.rest()).ok_or_else(malformed)
}

/// `None` if cut short, `Some(None)` for a family we don't speak.
fn read_family(reader: &mut Reader<'_>) -> Option<Option<Family>> {
    Some(Family::from_wire(reader.u16()?, reader.u8()?))
}

/// RFC 4760 and RFC 2545: an address of the family, for IPv6 with a link-local one behind it if need be. The latter
/// is read for IPv4 as well, agreed on (RFC 8950) or not: GoBGP writes it in any session over IPv6, the prefixes can
/// be found, and no route is used.
fn next_hop_len_is_valid(family: Family, length: u8) -> bool {
    match length {
        4 => family == Family::Ipv4Unicast,
        16 | 32 => true,
        _ => false,
    }
}
