//! A packet's look-ups on the host, one load at a time, so that a test can let any number of stores happen
//! between two loads. Follows the walk of the data path: filter, head, entry, value, cold line (ranges, local view), row,
//! node, endpoint.

use std::net::IpAddr;

use lb_common::{
    abi::MapId,
    config::Config,
    endpoint::{ENDPOINTS_PER_LINE, Endpoint, EndpointNodes, NODES_PER_WORD},
    filter,
    image::Image,
    row::{LINES_PER_UNIT, Shape},
    service::{LocalView, ServiceCold, ServiceKey, ServiceValue, ServicesHead},
    source::{self, Ranges, SourceLine},
};

use super::super::{encode, placement::Entry};
use crate::model::ServicePort;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Answer {
    NotOurs,
    NoSuchPort,
    Refused,
    NoEndpoint,
    ByKernel,
    /// Address, port (network byte order), node.
    Endpoint([u32; 4], u16, u16),
    /// A row named a slot that holds nothing.
    UnusedSlot,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Reader {
    pub(super) port: ServicePort,
    pub(super) flow_hash: u64,
    minds_ranges: bool,
    stage: Stage,
    key: ServiceKey,
    entry: Entry,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Start,
    Head(ServicesHead),
    /// Matched this key; its value is next.
    Matched(ServicesHead, usize),
    Value(ServiceValue),
    Ranges(ServiceValue, Ranges),
    Row(View),
    Slot(u32),
    /// The node is known.
    Node(u32, u16),
}

/// Rows and endpoints to choose from.
#[derive(Clone, Copy, Debug)]
struct View {
    row_unit: u32,
    endpoint_line: u32,
    shape: Shape,
}

/// A bit of a flow's hash that no row looks at: set in flows that are new.
pub(super) const NEW: u64 = 1 << 32;
/// Another: the flow is of [`stranger`], not of [`friend`].
pub(super) const STRANGER: u64 = 1 << 33;

/// Two clients of a family.
pub(super) fn client(flow_hash: u64, like: IpAddr) -> IpAddr {
    match (like, flow_hash & STRANGER != 0) {
        (IpAddr::V4(_), false) => IpAddr::from([198, 51, 100, 2]),
        (IpAddr::V4(_), true) => IpAddr::from([192, 0, 2, 1]),
        (IpAddr::V6(_), false) => IpAddr::from([0x2001, 0xdb8, 1, 0, 0, 0, 0, 2]),
        (IpAddr::V6(_), true) => IpAddr::from([0x2001, 0xdb8, 2, 0, 0, 0, 0, 1]),
    }
}

impl Reader {
    pub(super) fn new(port: ServicePort, flow_hash: u64) -> Self {
        Self {
            port,
            flow_hash,
            minds_ranges: true,
            stage: Stage::Start,
            key: ServiceKey(0),
            entry: Entry::Port(port),
        }
    }

    /// Where the flow would go if anybody might connect.
    pub(super) fn admitted(mut self) -> Self {
        self.minds_ranges = false;
        self
    }

    /// Runs to the end without anybody in between.
    pub(super) fn finish(mut self, image: &Image) -> Answer {
        loop {
            if let Some(answer) = self.step(image) {
                return answer;
            }
        }
    }

    /// One more load.
    pub(super) fn step(&mut self, image: &Image) -> Option<Answer> {
        match self.stage {
            Stage::Start => {
                if !may_be_vip(image, self.port.vip) {
                    return Some(Answer::NotOurs);
                }
                self.stage = Stage::Head(ServicesHead(image.words(MapId::ServicesHead)[0]));
                None
            }
            Stage::Head(head) => {
                self.key = encode::key(seed(image), &self.entry);
                match matched(image, head, self.key) {
                    Some(at) => self.stage = Stage::Matched(head, at),
                    None => return self.miss(head),
                }
                None
            }
            Stage::Matched(head, at) => {
                let value = ServiceValue(image.words(MapId::Services)[at + 1]);
                if value.0 == 0 {
                    return self.miss(head);
                }
                self.stage = Stage::Value(value);
                None
            }
            Stage::Value(value) => self.value(image, value),
            Stage::Ranges(value, ranges) => {
                if !self.admits(image, value, ranges) {
                    return Some(Answer::Refused);
                }
                self.choose(image, value)
            }
            Stage::Row(view) => {
                let slot = match view.shape {
                    Shape::Single => 0,
                    _ => slot(image, view, self.flow_hash),
                };
                self.stage = Stage::Slot(view.endpoint_line * ENDPOINTS_PER_LINE + slot);
                None
            }
            Stage::Slot(slot) => {
                let index = (slot / NODES_PER_WORD) as usize;
                let nodes: EndpointNodes = image.element(MapId::EndpointNodes, index);
                let Some(node) = nodes.node(slot) else {
                    return Some(Answer::UnusedSlot);
                };
                self.stage = Stage::Node(slot, node);
                None
            }
            Stage::Node(slot, node) => {
                let endpoint: Endpoint = image.element(MapId::Endpoints, slot as usize);
                Some(match endpoint.flags & Endpoint::IN_USE {
                    0 => Answer::UnusedSlot,
                    _ => Answer::Endpoint(endpoint.address, endpoint.port, node),
                })
            }
        }
    }

    fn value(&mut self, image: &Image, value: ServiceValue) -> Option<Answer> {
        if self.port.vip.is_ipv6() {
            let cold: ServiceCold = image.element(MapId::ServiceCold, value.id().into());
            assert_eq!(
                encode::entry(&cold),
                Some(self.entry),
                "a tag without its key"
            );
        }
        if value.has(ServiceValue::VIP) {
            return Some(Answer::NoSuchPort);
        }
        if self.minds_ranges && value.has(ServiceValue::RANGES) {
            let cold: ServiceCold = image.element(MapId::ServiceCold, value.id().into());
            self.stage = Stage::Ranges(value, Ranges(cold.ranges));
            return None;
        }
        self.choose(image, value)
    }

    fn admits(&self, image: &Image, value: ServiceValue, ranges: Ranges) -> bool {
        let client = encode::address(client(self.flow_hash, self.port.vip));
        let is_v6 = self.port.vip.is_ipv6();
        if ranges.in_trie() {
            let mut of_service = image
                .ranges()
                .iter()
                .filter(|range| range.service == value.id());
            return of_service.any(|range| match is_v6 {
                true => {
                    source::holds_v6(source::range_v6(&range.address, range.prefix_bits), &client)
                }
                false => source::holds_v4(
                    source::range_v4(range.address[0], range.prefix_bits),
                    client[0],
                ),
            });
        }
        (0..ranges.count() as usize).any(|place| {
            let at = if is_v6 { place * 4 } else { place };
            let line = ranges.line() as usize + at / 8;
            let line: SourceLine = image.element(MapId::SourceRanges, line);
            match is_v6 {
                true => source::holds_v6(
                    std::array::from_fn(|word| line.words[at % 8 + word]),
                    &client,
                ),
                false => source::holds_v4(line.words[at], client[0]),
            }
        })
    }

    fn choose(&mut self, image: &Image, value: ServiceValue) -> Option<Answer> {
        let view = if self.flow_hash & NEW != 0 && value.has(ServiceValue::LOCAL_VIEW) {
            let cold: ServiceCold = image.element(MapId::ServiceCold, value.id().into());
            let view = LocalView(cold.local_view);
            View {
                row_unit: view.row_unit(),
                endpoint_line: view.endpoint_line(),
                shape: view.shape(),
            }
        } else if value.has(ServiceValue::EMPTY) {
            return Some(match value.has(ServiceValue::KERNEL) {
                true => Answer::ByKernel,
                false => Answer::NoEndpoint,
            });
        } else {
            View {
                row_unit: value.row_unit(),
                endpoint_line: value.endpoint_line(),
                shape: value.shape(),
            }
        };
        self.stage = Stage::Row(view);
        None
    }

    /// No such service port: is it a VIP at all?
    fn miss(&mut self, head: ServicesHead) -> Option<Answer> {
        if let Entry::Vip(_) = self.entry {
            return Some(Answer::NotOurs);
        }
        self.entry = Entry::Vip(self.port.vip);
        self.stage = Stage::Head(head);
        None
    }
}

fn seed(image: &Image) -> u64 {
    image.element::<Config>(MapId::Config, 0).seed[0]
}

fn may_be_vip(image: &Image, vip: IpAddr) -> bool {
    let address = encode::address(vip);
    let bits = match vip {
        IpAddr::V4(_) => filter::vip_v4(seed(image), address[0]),
        IpAddr::V6(_) => filter::vip_v6(seed(image), &address),
    };
    image.words(MapId::VipFilter)[bits.word as usize] & bits.bits == bits.bits
}

fn matched(image: &Image, head: ServicesHead, key: ServiceKey) -> Option<usize> {
    let words = image.words(MapId::Services);
    let (first, second) = head.buckets(key);
    let places = |bucket: u32| (bucket as usize * 8..bucket as usize * 8 + 8).step_by(2);
    places(first)
        .chain(places(second))
        .find(|&at| words[at] == key.0)
}

fn slot(image: &Image, view: View, flow_hash: u64) -> u32 {
    let bytes: &[u8] = bytemuck::cast_slice(image.words(MapId::Rows));
    let table = (view.row_unit * LINES_PER_UNIT * 64) as usize;
    let at = table + view.shape.offset(flow_hash) as usize;
    match view.shape {
        Shape::Single | Shape::Narrow => bytes[at].into(),
        Shape::Wide | Shape::Large => u16::from_le_bytes([bytes[at], bytes[at + 1]]).into(),
    }
}
