//! From a destination to a service, from a flow to an endpoint: array look-ups only, no hash map.

use lb_common::{
    Address,
    config::{Config, Globals},
    endpoint::{ENDPOINTS_PER_LINE, NODES_PER_WORD},
    filter, hash,
    node::{self, NodeLine},
    packet::Header,
    row::{LINES_PER_UNIT, RowLine, Shape},
    service::{LocalView, ServiceBucket, ServiceCold, ServiceKey, ServiceValue, ServicesHead},
    verdict::Verdict,
};

use crate::{maps, ptr};

/// Whether the filter lets an address through: all VIPs, and few others.
#[inline(always)]
pub(crate) fn may_be_vip<const V6: bool>(globals: &Globals, address: &Address) -> bool {
    let seed = globals.config.seed[0];
    let wanted = if V6 {
        filter::vip_v6(seed, address)
    } else {
        filter::vip_v4(seed, address[0])
    };
    globals.vip_filter[wanted.word as usize] & wanted.bits == wanted.bits
}

/// Whether the filter knows an endpoint of this node with this protocol, or protocol and [`filter::SERVES`].
#[inline(always)]
pub(crate) fn may_be_endpoint<const V6: bool>(
    globals: &Globals,
    address: &Address,
    port: u16,
    protocol: u8,
) -> bool {
    let seed = globals.config.seed[0];
    let wanted = if V6 {
        filter::endpoint_v6(seed, address, port, protocol)
    } else {
        filter::endpoint_v4(seed, address[0], port, protocol)
    };
    globals.endpoint_filter[wanted.word as usize] & wanted.bits == wanted.bits
}

/// Whether the address is a VIP, exactly.
#[inline(always)]
pub(crate) fn is_vip<const V6: bool>(address: &Address) -> bool {
    vip::<V6>(address).has(ServiceValue::VIP)
}

/// The entry that marks a VIP; a zero value if the address is none.
#[inline(always)]
pub(crate) fn vip<const V6: bool>(address: &Address) -> ServiceValue {
    let [a, b, c, d] = address.map(u64::from);
    ServiceValue(if V6 {
        vip_v6(a | b << 32, c | d << 32)
    } else {
        vip_v4(a)
    })
}

/// [`vip`] of an IPv4 address. Global, so that the verifier walks the look-up once a program.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vip_v4(address: u64) -> u64 {
    let address = [address as u32, 0, 0, 0];
    maps::globals().map_or(0, |globals| find::<false>(globals, &address, 0, 0).0)
}

/// [`vip`] of an IPv6 address, whose first two words come before the last two; as [`vip_v4`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vip_v6(first: u64, last: u64) -> u64 {
    let address = [first, first >> 32, last, last >> 32].map(|word| word as u32);
    maps::globals().map_or(0, |globals| find::<true>(globals, &address, 0, 0).0)
}

/// The service port of a packet; a zero value if there is none.
#[inline(always)]
pub(crate) fn service<const V6: bool>(globals: &Globals, header: &Header) -> ServiceValue {
    find::<V6>(
        globals,
        &header.destination,
        header.destination_port(),
        header.protocol,
    )
}

#[inline(always)]
fn find<const V6: bool>(
    globals: &Globals,
    address: &Address,
    port: u16,
    protocol: u8,
) -> ServiceValue {
    let key = if V6 {
        ServiceKey::v6(globals.config.seed[0], address, port, protocol)
    } else {
        ServiceKey::v4(address[0], port, protocol)
    };
    // Once: the copies may change places meanwhile.
    let head = ServicesHead(ptr::load_word((&raw const globals.services_head).cast()));
    let (first, second) = head.buckets(key);
    let mut value = in_bucket(first, key);
    if value.0 == 0 {
        value = in_bucket(second, key);
    }
    if V6 && value.0 != 0 && !is_whole_key(value, address, port, protocol) {
        return ServiceValue(0);
    }
    value
}

#[inline(always)]
fn in_bucket(index: u32, key: ServiceKey) -> ServiceValue {
    let Some(bucket) = maps::SERVICES.get_ptr(index) else {
        return ServiceValue(0);
    };
    let bucket: &ServiceBucket = ptr::by_ref(bucket);
    let [a, b, c, d] = &bucket.entries;
    let entry = if a.key == key.0 {
        a
    } else if b.key == key.0 {
        b
    } else if c.key == key.0 {
        c
    } else if d.key == key.0 {
        d
    } else {
        return ServiceValue(0);
    };
    ServiceValue(ptr::load_word(&raw const entry.value))
}

/// An IPv6 entry is found by a tag; the cold line says whose it is.
#[inline(always)]
fn is_whole_key(value: ServiceValue, address: &Address, port: u16, protocol: u8) -> bool {
    let Some(cold) = maps::SERVICE_COLD.get_ptr(u32::from(value.id())) else {
        return false;
    };
    let cold: &ServiceCold = ptr::by_ref(cold);
    let vip = ptr::load_address(&raw const cold.vip);
    cold.port == port && cold.protocol == protocol && same_address::<true>(&vip, address)
}

/// The keyed hash of a flow.
#[inline(always)]
pub(crate) fn flow_hash<const V6: bool>(config: &Config, header: &Header) -> u64 {
    if V6 {
        hash::flow_v6(
            &config.seed,
            &header.source,
            &header.destination,
            header.ports,
            header.protocol,
        )
    } else {
        hash::flow_v4(
            &config.seed,
            header.source[0],
            header.destination[0],
            header.ports,
            header.protocol,
        )
    }
}

/// Index of the endpoint of the flow's row, and of the node it is on; `None` if the row names none.
#[inline(always)]
pub(crate) fn endpoint(service: ServiceValue, flow_hash: u64) -> Option<(u32, u16)> {
    let (unit, line) = (service.row_unit(), service.endpoint_line());
    named_by_row(unit, line, service.shape(), flow_hash)
}

/// As [`endpoint`], by a node-local view if there is one.
///
/// # Errors
/// `NoEndpoint` if the service has none, `TableInconsistent` if the row names none.
#[inline(always)]
pub(crate) fn endpoint_of(
    service: ServiceValue,
    view: Option<LocalView>,
    row_hash: u64,
) -> Result<(u32, u16), Verdict> {
    let (unit, line, shape) = match view {
        Some(view) => (view.row_unit(), view.endpoint_line(), view.shape()),
        None if service.has(ServiceValue::EMPTY) => return Err(Verdict::NoEndpoint),
        None => (service.row_unit(), service.endpoint_line(), service.shape()),
    };
    named_by_row(unit, line, shape, row_hash).ok_or(Verdict::TableInconsistent)
}

#[inline(always)]
fn named_by_row(unit: u32, line: u32, shape: Shape, row_hash: u64) -> Option<(u32, u16)> {
    let slot = match shape {
        Shape::Single => 0,
        shape => slot(unit, shape, row_hash)?,
    };
    let index = line * ENDPOINTS_PER_LINE + slot;
    let nodes = maps::ENDPOINT_NODES.get_ptr(index / NODES_PER_WORD)?;
    // Of one slot: its two bytes are loaded, not the word.
    let nodes: &[u16; NODES_PER_WORD as usize] = ptr::by_ref(nodes.cast());
    let named = nodes[(index % NODES_PER_WORD) as usize];
    (named != 0).then_some((index, named - 1))
}

#[inline(always)]
fn slot(unit: u32, shape: Shape, flow_hash: u64) -> Option<u32> {
    let offset = shape.offset(flow_hash);
    let line: &RowLine = ptr::by_ref(maps::ROWS.get_ptr(unit * LINES_PER_UNIT + (offset >> 6))?);
    let low = line.slots[(offset & 63) as usize];
    if matches!(shape, Shape::Narrow) {
        return Some(u32::from(low));
    }
    let high = line.slots[(offset & 62 | 1) as usize];
    Some(u32::from(high) << 8 | u32::from(low))
}

/// Whether a MAC is another node's.
#[inline(always)]
pub(crate) fn is_node_mac(mac: u64) -> bool {
    node_of_mac(node::mac_tag(mac)) != 0
}

/// Index of the node with this MAC.
#[inline(always)]
pub(crate) fn node_with_mac(mac: u64) -> Option<u16> {
    let index = node_of_mac(node::mac_tag(mac));
    index.checked_sub(1).map(|index| index as u16)
}

/// Index of the node with this outer address.
#[inline(always)]
pub(crate) fn node_of_address(config: &Config, address: &Address) -> Option<u16> {
    let index = node_of_address_tag(node::address_tag(config.seed[0], address));
    index.checked_sub(1).map(|index| index as u16)
}

/// Index of the node with this MAC plus one, or 0. Global, so that the verifier walks the scan once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn node_of_mac(tag: u64) -> u32 {
    let (first, second) = node::tag_lines(tag);
    match in_node_line(maps::NODE_MACS.get_ptr(first), tag) {
        0 => in_node_line(maps::NODE_MACS.get_ptr(second), tag),
        index => index,
    }
}

/// Index of the node with this address tag plus one, or 0; as [`node_of_mac`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn node_of_address_tag(tag: u64) -> u32 {
    let (first, second) = node::tag_lines(tag);
    match in_node_line(maps::NODE_ADDRESSES.get_ptr(first), tag) {
        0 => in_node_line(maps::NODE_ADDRESSES.get_ptr(second), tag),
        index => index,
    }
}

#[inline(always)]
fn in_node_line(line: Option<*const NodeLine>, tag: u64) -> u32 {
    let Some(line) = line else { return 0 };
    let line: &NodeLine = ptr::by_ref(line);
    let found = line.entries.iter().find(|&&entry| entry >> 16 == tag);
    found.map_or(0, |&entry| u32::from(entry as u16) + 1)
}

/// Compares addresses of one family.
#[inline(always)]
pub(crate) fn same_address<const V6: bool>(a: &Address, b: &Address) -> bool {
    if V6 {
        difference_v6(a, b) == 0
    } else {
        a[0] == b[0]
    }
}

/// The bits in which addresses of one family differ: several comparisons become one branch.
#[inline(always)]
pub(crate) fn difference<const V6: bool>(a: &Address, b: &Address) -> u32 {
    if !V6 {
        return a[0] ^ b[0];
    }
    let difference = difference_v6(a, b);
    (difference >> 32 | difference) as u32
}

#[inline(always)]
fn difference_v6(a: &Address, b: &Address) -> u64 {
    let half =
        |address: &Address, at: usize| u64::from(address[at]) | u64::from(address[at + 1]) << 32;
    (half(a, 0) ^ half(b, 0)) | (half(a, 2) ^ half(b, 2))
}
