//! A packet's look-ups on the host, one load at a time, so that a test can let any number of stores happen
//! between two loads. Follows the walk of the data path: filter, head, entry, value, cold line, row, endpoint.

use std::net::IpAddr;

use lb_common::{
    abi::MapId,
    config::Config,
    endpoint::{ENDPOINTS_PER_LINE, Endpoint},
    filter,
    image::Image,
    row::{LINES_PER_UNIT, Shape},
    service::{ServiceCold, ServiceKey, ServiceValue, ServicesHead},
};

use super::super::{encode, placement::Entry};
use crate::model::ServicePort;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Answer {
    NotOurs,
    NoSuchPort,
    NoEndpoint,
    /// Address, port (network byte order), node.
    Endpoint([u32; 4], u16, u16),
    /// A row named a slot that holds nothing.
    UnusedSlot,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Reader {
    pub(super) port: ServicePort,
    pub(super) flow_hash: u64,
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
    Slot(u32),
}

impl Reader {
    pub(super) fn new(port: ServicePort, flow_hash: u64) -> Self {
        Self {
            port,
            flow_hash,
            stage: Stage::Start,
            key: ServiceKey(0),
            entry: Entry::Port(port),
        }
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
            Stage::Slot(slot) => {
                let endpoint: Endpoint = image.element(MapId::Endpoints, slot as usize);
                Some(match endpoint.flags & Endpoint::IN_USE {
                    0 => Answer::UnusedSlot,
                    _ => Answer::Endpoint(endpoint.address, endpoint.port, endpoint.node),
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
        if value.has(ServiceValue::EMPTY) {
            return Some(Answer::NoEndpoint);
        }
        let shape = value.shape();
        let slot = if shape == Shape::Single {
            0
        } else {
            slot(image, value, self.flow_hash)
        };
        self.stage = Stage::Slot(value.endpoint_line() * ENDPOINTS_PER_LINE + slot);
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

fn slot(image: &Image, value: ServiceValue, flow_hash: u64) -> u32 {
    let bytes: &[u8] = bytemuck::cast_slice(image.words(MapId::Rows));
    let table = (value.row_unit() * LINES_PER_UNIT * 64) as usize;
    let at = table + value.shape().offset(flow_hash) as usize;
    match value.shape() {
        Shape::Single | Shape::Narrow => bytes[at].into(),
        Shape::Wide | Shape::Large => u16::from_le_bytes([bytes[at], bytes[at + 1]]).into(),
    }
}
