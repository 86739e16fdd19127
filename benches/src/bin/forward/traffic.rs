//! What is sent: datagrams as the router would hand them to node 1, of flows that have been seen before or of one flow each, in
//! bursts that no ring on the way is too small for.

use std::{net::Ipv4Addr, thread, time::Duration};

use anyhow::Result;
use lb_datapath::bench::{Driver, Orders};
use lb_lab::{Lab, Netlink, switch_port, topology};

use crate::{
    scene::Way,
    services::{self, PORT},
};

/// Which packets are sent, and where they end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// Of a thousand flows that have all been seen; node 1 sends them on to node 2.
    RemoteKnown,
    /// Of the same number of flows; they end in a pod of node 1.
    LocalKnown,
    /// Each of a flow of its own, sent on.
    RemoteNew,
    /// Each of a flow of its own, to a pod of node 1.
    LocalNew,
}

impl Course {
    /// All, in the order in which they may be measured in one scene.
    pub(crate) const ALL: [Self; 4] = [
        Self::RemoteKnown,
        Self::LocalKnown,
        Self::RemoteNew,
        Self::LocalNew,
    ];

    /// Whether they end on node 1.
    pub(crate) fn is_local(self) -> bool {
        matches!(self, Self::LocalKnown | Self::LocalNew)
    }
}

/// Flows that are known.
pub(crate) const KNOWN_FLOWS: u64 = 1024;
/// Beyond the numbers of all known flows.
const NEW_FLOWS_FROM: u64 = 1 << 20;
/// Three quarters of what a veth's ring holds (`VETH_RING_SIZE`, drivers/net/veth.c).
const BURST_PACKETS: u32 = 192;
/// Between two bursts: longer than all hosts on the slowest way take for one, so that no ring has two of them.
const KNOWN_INTERVAL: Duration = Duration::from_millis(3);
const NEW_INTERVAL: Duration = Duration::from_millis(10);

/// Sends packets of the known flows; the same ones each time.
pub(crate) fn send_known(
    lab: &Lab,
    driver: &mut Driver,
    way: Way,
    course: Course,
    packets: u32,
) -> Result<()> {
    send(lab, driver, way, course, packets, KNOWN_FLOWS)
}

/// Sends packets of a flow each, which are new once a lab.
pub(crate) fn send_new(
    lab: &Lab,
    driver: &mut Driver,
    way: Way,
    course: Course,
    packets: u32,
) -> Result<()> {
    send(lab, driver, way, course, packets, 0)
}

fn send(
    lab: &Lab,
    driver: &mut Driver,
    way: Way,
    course: Course,
    packets: u32,
    flows: u64,
) -> Result<()> {
    let frame = frame(target(way, course));
    let interval = if flows == 0 {
        NEW_INTERVAL
    } else {
        KNOWN_INTERVAL
    };
    lab.switch_namespace().run(|| {
        let index = Netlink::open()?.index(&switch_port(1))?;
        for sent in (0..packets).step_by(BURST_PACKETS as usize) {
            let orders = Orders {
                flows,
                destinations: 1,
                frame_bytes: frame.len() as u64,
                count: NEW_FLOWS_FROM + u64::from(sent),
                random: FIRST_RANDOM.wrapping_add(u64::from(sent) << 20),
                egress_ifindex: u64::from(index),
                ..Orders::default()
            };
            driver.send(orders, &frame, BURST_PACKETS)?;
            thread::sleep(interval);
        }
        Ok(())
    })
}

/// Any number but zero: the driver's random numbers start with it.
const FIRST_RANDOM: u64 = 0x9E37_79B9_7F4A_7C15;

/// Where packets are addressed to: a VIP, or a pod where there are none.
fn target(way: Way, course: Course) -> (Ipv4Addr, u16) {
    let node = if course.is_local() { 1 } else { 2 };
    match (way, course.is_local()) {
        (Way::Plain, _) => (topology::pod(node, 1).v4, topology::POD_PORT),
        (_, true) => (services::local_vip(), PORT),
        (_, false) => (services::remote_vip(), PORT),
    }
}

/// A datagram to the target as the router would hand it to node 1, without a UDP checksum.
fn frame((address, port): (Ipv4Addr, u16)) -> Vec<u8> {
    let mut frame = [topology::node_mac(1), topology::router_mac(0)].concat();
    frame.extend([8, 0]);
    let mut ip = [
        0x45, 0, 0, 64, 0, 0, 0x40, 0, 64, 17, 0, 0, 198, 51, 100, 2, 0, 0, 0, 0,
    ];
    ip[16..].copy_from_slice(&address.octets());
    let checksum = !lb_common::checksum::fold(lb_common::checksum::sum(&ip));
    ip[10..12].copy_from_slice(&checksum.to_ne_bytes());
    frame.extend(ip);
    frame.extend(40_000_u16.to_be_bytes());
    frame.extend(port.to_be_bytes());
    frame.extend(44_u16.to_be_bytes());
    frame.resize(78, 0);
    frame
}
