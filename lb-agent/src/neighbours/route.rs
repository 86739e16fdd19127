//! What the kernel answers to "which way to this address" (RTM_GETROUTE), in our words. Pure.

use std::net::IpAddr;

use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia,
};

/// The kernel's route to one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// Interface that packets leave by.
    pub(super) egress_ifindex: u32,
    /// Who gets them; `None`: the address itself is on that link.
    pub(super) gateway: Option<IpAddr>,
    /// Source that the kernel would take.
    pub(super) source: Option<IpAddr>,
    /// Path MTU in bytes, if it is below the interface's: from the route or learned from ICMP.
    pub(super) mtu_bytes: Option<u32>,
}

impl Route {
    /// `None` unless packets leave this host by it.
    pub(super) fn from_message(message: &RouteMessage) -> Option<Self> {
        if message.header.kind != RouteType::Unicast {
            return None;
        }
        let mut egress_ifindex = None;
        let (mut gateway, mut source, mut mtu_bytes) = (None, None, None);
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Oif(ifindex) => egress_ifindex = Some(*ifindex),
                RouteAttribute::Gateway(address) => gateway = ip_address(address),
                RouteAttribute::Via(address) => gateway = via(address),
                RouteAttribute::PrefSource(address) => source = ip_address(address),
                RouteAttribute::Metrics(metrics) => mtu_bytes = mtu(metrics),
                _ => {}
            }
        }
        Some(Self {
            egress_ifindex: egress_ifindex?,
            gateway,
            source,
            mtu_bytes,
        })
    }
}

/// The next hop of another family than the route's (RTA_VIA).
pub(super) fn via(address: &RouteVia) -> Option<IpAddr> {
    match address {
        RouteVia::Inet(address) => Some((*address).into()),
        RouteVia::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

pub(super) fn ip_address(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

fn mtu(metrics: &[RouteMetric]) -> Option<u32> {
    metrics.iter().find_map(|metric| match metric {
        RouteMetric::Mtu(bytes) if *bytes > 0 => Some(*bytes),
        _ => None,
    })
}
