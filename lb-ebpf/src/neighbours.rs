//! The rooms of ARP and Neighbour Discovery: who asks for a VIP that this node answers for, on this uplink, gets this
//! uplink's MAC. Everything else passes into the stack untouched, claims of our VIPs by others as well. Nothing is
//! learned from what comes. An agent that has been silent for too long is taken for dead, and so is this node.

use lb_common::{
    Address,
    arp::{self, ETHERTYPE_ARP},
    counter::Beat,
    interface::Interface,
    ndp,
    packet::Packet as _,
    service::{ServiceCold, ServiceValue},
    verdict::Verdict,
    walk::{Room, Walk},
};

use crate::{
    count,
    ethernet::{self, Tags},
    hook::{self, Context},
    lookup, maps,
    ptr::{self, Frame},
    reply, rooms, tokens,
};

/// The room of a frame that is for a group of stations, or ARP for this one; `None`: it has none.
#[inline(always)]
pub(crate) fn room(frame: Frame) -> Option<Room> {
    if frame.load_u16(12) == ETHERTYPE_ARP {
        Some(Room::Arp)
    } else {
        ndp::may_concern(&frame).then_some(Room::Ndp)
    }
}

/// The program of the room of ARP.
#[inline(always)]
pub(crate) fn arp(ctx: &Context) -> u32 {
    untagged(ctx, try_arp).unwrap_or(hook::PASS)
}

/// The program of the room of Neighbour Discovery.
#[inline(always)]
pub(crate) fn ndp(ctx: &Context) -> u32 {
    untagged(ctx, try_ndp).unwrap_or(hook::PASS)
}

/// Tags are out of the way meanwhile, and in front of the answer afterwards.
#[inline(always)]
fn untagged(ctx: &Context, answer: impl Fn(&Context, &Tags) -> Option<u32>) -> Option<u32> {
    let tags = ethernet::without_tags(ctx, rooms::walk()?)?;
    let answered = answer(ctx, &tags);
    tags.put_back(ctx)?;
    answered
}

/// `None`: not for us to answer.
#[inline(always)]
fn try_arp(ctx: &Context, tags: &Tags) -> Option<u32> {
    let here = Here::new()?;
    let mut frame = tags.view(ctx);
    let said = arp::message(&frame)?;
    if said.sender != 0 && here.owns::<false>(&[said.sender, 0, 0, 0]) {
        return Some(count::pass(Verdict::VipClaimed));
    }
    if !said.can_be_answered() || !here.owns::<false>(&[said.target, 0, 0, 0]) {
        return None;
    }
    if !here.may_answer() {
        return None;
    }
    arp::answer(&mut frame, here.interface, &said);
    count::verdict(Verdict::NeighbourAnswered);
    Some(hook::send_back(here.interface))
}

#[inline(always)]
fn try_ndp(ctx: &Context, tags: &Tags) -> Option<u32> {
    let here = Here::new()?;
    let frame = tags.view(ctx);
    if let Some(target) = ndp::advertised(&frame) {
        return here
            .owns::<true>(&target)
            .then(|| count::pass(Verdict::VipClaimed));
    }
    let mut asked = ndp::solicitation(&frame)?;
    // What is different about frames with and without options ends here, for the verifier too.
    asked.source_mac = ptr::opaque(asked.source_mac);
    if !asked.is_probe() && here.owns::<true>(&asked.source) {
        return Some(count::pass(Verdict::VipClaimed));
    }
    if !here.owns::<true>(&asked.target) || !here.may_answer() {
        return None;
    }
    let is_short = ptr::opaque(tags.view(ctx).len()) < ndp::FRAME_BYTES as u64;
    if is_short && !hook::grow(ctx, ndp::OPTION_BYTES) {
        return None;
    }
    reply::trim(ctx, tags.view(ctx), ndp::FRAME_BYTES)?;
    let mut frame = tags.view(ctx);
    if !frame.has(ndp::FRAME_BYTES) {
        return None;
    }
    ndp::answer(&mut frame, here.interface, &asked);
    count::verdict(Verdict::NeighbourAnswered);
    Some(hook::send_back(here.interface))
}

/// Uplinks on which this node answers for an IPv4 address, a bit each. Global, so that the verifier walks it once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn owned_on_v4(address: u64) -> u64 {
    owned_on::<false>(&[address as u32, 0, 0, 0]).unwrap_or(0)
}

/// The same of an IPv6 address, whose first two words come before the last two.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn owned_on_v6(first: u64, last: u64) -> u64 {
    let words = [first, first >> 32, last, last >> 32].map(|word| word as u32);
    owned_on::<true>(&words).unwrap_or(0)
}

#[inline(always)]
fn owned_on<const V6: bool>(address: &Address) -> Option<u64> {
    if !lookup::may_be_vip::<V6>(maps::globals()?, address) {
        return None;
    }
    let value = lookup::vip::<V6>(address);
    if !value.has(ServiceValue::VIP) {
        return None;
    }
    let cold: &ServiceCold = ptr::by_ref(maps::SERVICE_COLD.get_ptr(value.id().into())?);
    Some(cold.owned_on)
}

/// The uplink that the frame came in on.
struct Here {
    interface: &'static Interface,
    slot: u8,
}

impl Here {
    #[inline(always)]
    fn new() -> Option<Self> {
        let walk: &Walk = rooms::walk()?;
        let slot = walk.slot;
        Some(Self {
            interface: maps::interface(slot)?,
            slot,
        })
    }

    /// Whether an address is a VIP that this node answers for here.
    #[inline(always)]
    fn owns<const V6: bool>(&self, address: &Address) -> bool {
        let [a, b, c, d] = address.map(u64::from);
        let owned_on = if V6 {
            owned_on_v6(a | b << 32, c | d << 32)
        } else {
            owned_on_v4(a)
        };
        owned_on >> (self.slot & 63) & 1 != 0
    }

    /// Whether there is a living agent, and a token.
    #[inline(always)]
    fn may_answer(&self) -> bool {
        let Some(beat) = maps::BEAT.get_ptr(0) else {
            return false;
        };
        let beat: &Beat = ptr::by_ref(beat);
        let silent_for = ptr::jiffies().wrapping_sub(beat.stamped_at);
        if beat.limit != 0 && silent_for > beat.limit {
            return false;
        }
        tokens::token_of_neighbour() != 0
    }
}
