//! Service ports: (VIP, protocol, port) to one 64-bit value that says everything the fast path needs. Keys
//! of both families share buckets of four; an IPv6 key is a keyed tag whose full form the cold line holds.
//! A VIP itself is an entry with port and protocol 0.

use bytemuck::{Pod, Zeroable};

use crate::{Address, endpoint::ENDPOINTS_PER_LINE, hash, row::Shape};

/// Entries in a bucket.
pub const ENTRIES_PER_BUCKET: usize = 4;

/// One word, loaded once a packet, that names the current copy of the services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct ServicesHead(pub u64);

impl ServicesHead {
    /// `base`: first bucket of the copy (24 bits); `mask`: its buckets minus one (24 bits); `seed` (16 bits).
    #[must_use]
    pub const fn new(base: u32, mask: u32, seed: u16) -> Self {
        Self(base as u64 & 0xff_ffff | (mask as u64 & 0xff_ffff) << 24 | (seed as u64) << 48)
    }

    /// First bucket of the current copy.
    #[inline(always)]
    #[must_use]
    pub const fn base(self) -> u32 {
        self.0 as u32 & 0xff_ffff
    }

    /// Buckets of a copy minus one.
    #[inline(always)]
    #[must_use]
    pub const fn mask(self) -> u32 {
        (self.0 >> 24) as u32 & 0xff_ffff
    }

    /// Seed of the bucket choice: a rebuild that does not fit takes another.
    #[inline(always)]
    #[must_use]
    pub const fn seed(self) -> u16 {
        (self.0 >> 48) as u16
    }

    /// The two buckets that may hold a key.
    #[inline(always)]
    #[must_use]
    pub const fn buckets(self, key: ServiceKey) -> (u32, u32) {
        let hash = hash::word(self.0 >> 48, key.0);
        (
            self.base() + ((hash >> 32) as u32 & self.mask()),
            self.base() + (hash as u32 & self.mask()),
        )
    }
}

/// What an entry is found by; 0 is a free entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
#[repr(transparent)]
pub struct ServiceKey(pub u64);

impl ServiceKey {
    const V4: u64 = 4;
    const V6: u64 = 6;

    /// Exact. `port` in network byte order; port and protocol 0 for the VIP itself.
    #[inline(always)]
    #[must_use]
    pub const fn v4(address: u32, port: u16, protocol: u8) -> Self {
        Self((address as u64) << 32 | (port as u64) << 16 | (protocol as u64) << 8 | Self::V4)
    }

    /// A 56-bit tag keyed by the cluster's seed.
    #[inline(always)]
    #[must_use]
    pub const fn v6(seed: u64, address: &Address, port: u16, protocol: u8) -> Self {
        let address_hash = hash::vip_v6(seed, address);
        let tag = hash::word(address_hash, (port as u64) << 8 | protocol as u64);
        Self(tag & !0xff | Self::V6)
    }
}

/// What an entry says, read and written whole; 0 while the entry is being made or taken away.
///
/// Bits from the low end: service id 16, first unit of rows 16, first line of endpoints 20, shape 2, flags 10.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct ServiceValue(pub u64);

impl ServiceValue {
    /// The value counts.
    pub const PRESENT: u16 = 1;
    /// The entry is a VIP, not a service port.
    pub const VIP: u16 = 2;
    /// No endpoint serves: nothing to choose from.
    pub const EMPTY: u16 = 4;
    /// Rows are chosen by the client's address alone, and its endpoint is kept ([`ServiceCold::affinity_ticks`]).
    pub const AFFINITY: u16 = 8;
    /// Only some clients may connect ([`ServiceCold::ranges`]).
    pub const RANGES: u16 = 16;
    /// Room kept for rows with alternates.
    pub const ALTERNATES: u16 = 32;
    /// This node has endpoints of its own, which new flows use ([`ServiceCold::local_view`]).
    pub const LOCAL_VIEW: u16 = 64;
    /// Room kept for a predecessor's flows that are still about.
    pub const LEGACY: u16 = 128;
    /// With [`ServiceValue::EMPTY`]: the kernel's own load balancing reaches endpoints that no node steers to.
    pub const KERNEL: u16 = 256;
    /// The flows that may begin are limited ([`ServiceCold::new_flows_per_tick`]).
    pub const LIMITED: u16 = 512;

    /// Flags of a service whose endpoint takes more than the flow's row to find, or has none.
    pub const CHOSEN_APART: u16 =
        Self::AFFINITY | Self::RANGES | Self::LOCAL_VIEW | Self::KERNEL | Self::EMPTY;

    /// Puts the fields together; each must fit (ids below 2^16, units below 2^16, lines below 2^20).
    #[must_use]
    pub const fn new(id: u16, row_unit: u16, endpoint_line: u32, shape: Shape, flags: u16) -> Self {
        Self(
            id as u64
                | (row_unit as u64) << 16
                | (endpoint_line as u64 & 0xf_ffff) << 32
                | (shape as u64) << 52
                | (flags as u64 & 0x3ff) << 54,
        )
    }

    /// Stable for the life of the service port.
    #[inline(always)]
    #[must_use]
    pub const fn id(self) -> u16 {
        self.0 as u16
    }

    /// First unit of the rows.
    #[inline(always)]
    #[must_use]
    pub const fn row_unit(self) -> u32 {
        (self.0 >> 16) as u16 as u32
    }

    /// First line of the endpoints.
    #[inline(always)]
    #[must_use]
    pub const fn endpoint_line(self) -> u32 {
        (self.0 >> 32) as u32 & 0xf_ffff
    }

    /// Shape of the rows.
    #[inline(always)]
    #[must_use]
    pub const fn shape(self) -> Shape {
        Shape::from_bits((self.0 >> 52) as u32)
    }

    /// The flag bits.
    #[inline(always)]
    #[must_use]
    pub const fn flags(self) -> u16 {
        (self.0 >> 54) as u16
    }

    /// Whether all of `flags` are set.
    #[inline(always)]
    #[must_use]
    pub const fn has(self, flags: u16) -> bool {
        self.flags() & flags == flags
    }

    /// Whether one of `flags` is set.
    #[inline(always)]
    #[must_use]
    pub const fn has_any(self, flags: u16) -> bool {
        self.flags() & flags != 0
    }
}

/// A node-local view: where its rows and endpoints are, in one word that is read and written whole. It shares
/// nothing with the service's other rows; 0 is none.
///
/// Bits from the low end: first unit of rows 16, first line of endpoints 20, lines of endpoints 16, shape 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct LocalView(pub u64);

impl LocalView {
    /// Puts the fields together; lines are below 2^20.
    #[must_use]
    pub const fn new(row_unit: u16, endpoint_line: u32, endpoint_lines: u16, shape: Shape) -> Self {
        Self(
            row_unit as u64
                | (endpoint_line as u64 & 0xf_ffff) << 16
                | (endpoint_lines as u64) << 36
                | (shape as u64) << 52,
        )
    }

    /// First unit of the rows.
    #[inline(always)]
    #[must_use]
    pub const fn row_unit(self) -> u32 {
        self.0 as u16 as u32
    }

    /// First line of the endpoints.
    #[inline(always)]
    #[must_use]
    pub const fn endpoint_line(self) -> u32 {
        (self.0 >> 16) as u32 & 0xf_ffff
    }

    /// Lines of endpoints that the extent holds; 0 if there is no view.
    #[inline(always)]
    #[must_use]
    pub const fn endpoint_lines(self) -> u32 {
        (self.0 >> 36) as u16 as u32
    }

    /// Shape of the rows.
    #[inline(always)]
    #[must_use]
    pub const fn shape(self) -> Shape {
        Shape::from_bits((self.0 >> 52) as u32)
    }

    /// Whether an index into `endpoints` lies in the view's extent.
    #[inline(always)]
    #[must_use]
    pub const fn holds(self, endpoint: u32) -> bool {
        let first = self.endpoint_line() * ENDPOINTS_PER_LINE;
        endpoint.wrapping_sub(first) < self.endpoint_lines() * ENDPOINTS_PER_LINE
    }
}

/// One entry of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct ServiceEntry {
    /// [`ServiceKey`].
    pub key: u64,
    /// [`ServiceValue`].
    pub value: u64,
}

/// The element of map `services`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct ServiceBucket {
    /// In no order.
    pub entries: [ServiceEntry; ENTRIES_PER_BUCKET],
}

/// The element of map `service_cold`, by service id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct ServiceCold {
    /// The VIP.
    pub vip: Address,
    /// Network byte order; 0 for a VIP entry.
    pub port: u16,
    /// IP protocol number; 0 for a VIP entry.
    pub protocol: u8,
    /// 4 or 6; 0 if the id is free.
    pub family: u8,
    /// Units of rows that the extent holds.
    pub row_units: u16,
    /// Lines of endpoints that the extent holds.
    pub endpoint_lines: u16,
    /// Cluster time of the last change of the endpoints, for the chain; zero until then.
    pub changed_at: u32,
    /// [`ServiceCold::RETURN_BY_INGRESS`].
    pub flags: u32,
    /// Ticks that a client keeps its endpoint after its last packet; zero without [`ServiceValue::AFFINITY`].
    pub affinity_ticks: u32,
    /// Flows that may begin in one tick on this node; 0: any number.
    pub new_flows_per_tick: u32,
    /// [`LocalView`]; zero without [`ServiceValue::LOCAL_VIEW`].
    pub local_view: u64,
    /// [`crate::source::Ranges`]; means something only with [`ServiceValue::RANGES`].
    pub ranges: u64,
    /// Of a VIP entry: slots of the uplinks on which this node answers for the VIP by ARP and Neighbour Discovery, a
    /// bit each; one word, so that one store changes it.
    pub owned_on: u64,
}

impl ServiceCold {
    /// Replies go back by way of the node that the flow came in by (`return: ingress`).
    pub const RETURN_BY_INGRESS: u32 = 1;
    /// Which of the line's eight words is [`ServiceCold::owned_on`].
    pub const OWNED_ON_WORD: usize = core::mem::offset_of!(Self, owned_on) / 8;
}

const _: () = assert!(size_of::<ServiceBucket>() == 64 && size_of::<ServiceCold>() == 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_keeps_its_fields_apart() {
        let value = ServiceValue::new(0xffff, 0, 0xf_ffff, Shape::Single, 0);
        assert_eq!(
            (
                value.id(),
                value.row_unit(),
                value.endpoint_line(),
                value.flags()
            ),
            (0xffff, 0, 0xf_ffff, 0)
        );
        let value = ServiceValue::new(0, 0xffff, 0, Shape::Large, 0x3ff);
        assert_eq!(
            (
                value.id(),
                value.row_unit(),
                value.endpoint_line(),
                value.flags()
            ),
            (0, 0xffff, 0, 0x3ff)
        );
        assert_eq!(value.shape(), Shape::Large);
    }

    #[test]
    fn the_local_view_keeps_its_fields_apart() {
        let view = LocalView::new(0xffff, 0, 0xffff, Shape::Single);
        assert_eq!(
            (view.row_unit(), view.endpoint_line(), view.endpoint_lines()),
            (0xffff, 0, 0xffff)
        );
        let view = LocalView::new(0, 0xf_ffff, 2, Shape::Large);
        assert_eq!(
            (view.row_unit(), view.endpoint_line(), view.shape()),
            (0, 0xf_ffff, Shape::Large)
        );
        let first = 0xf_ffff * ENDPOINTS_PER_LINE;
        assert!(view.holds(first) && view.holds(first + 3));
        assert!(!view.holds(first - 1) && !view.holds(first + 4));
        assert!(!LocalView::default().holds(0));
    }

    #[test]
    fn the_head_keeps_its_fields_apart() {
        let head = ServicesHead::new(0xff_ffff, 0, 0xffff);
        assert_eq!(
            (head.base(), head.mask(), head.seed()),
            (0xff_ffff, 0, 0xffff)
        );
        let head = ServicesHead::new(0, 0xff_ffff, 0);
        assert_eq!((head.base(), head.mask(), head.seed()), (0, 0xff_ffff, 0));
    }
}
