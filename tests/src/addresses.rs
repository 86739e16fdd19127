//! Who is who in the fixtures' cluster ([`crate::world::CLUSTER`]): VIPs, pods, and the port that says to which node
//! a packet must go.

use std::net::IpAddr;

/// The VIP of most services, in IPv4 and in IPv6.
#[must_use]
pub fn vips() -> [IpAddr; 2] {
    [
        "10.99.0.1".parse().expect("an address"),
        "fd99::1".parse().expect("an address"),
    ]
}

/// The VIP of another service with the same pod behind it.
#[must_use]
pub fn second_vip(like: IpAddr) -> IpAddr {
    if like.is_ipv4() {
        "10.99.0.2"
    } else {
        "fd99::2"
    }
    .parse()
    .expect("an address")
}

/// Address of a pod: host 2 or 3 of node 1 to 5.
#[must_use]
pub fn pod(like: IpAddr, node: u8, host: u8) -> IpAddr {
    let text = if like.is_ipv4() {
        format!("10.1.{node}.{host}")
    } else {
        format!("fd01:{node}::{host}")
    };
    text.parse().expect("an address")
}

/// Every combination of family and protocol: the VIP, and whether UDP.
pub fn kinds() -> impl Iterator<Item = (IpAddr, bool)> {
    vips()
        .into_iter()
        .flat_map(|vip| [(vip, false), (vip, true)])
}

/// The service port that leads to the endpoint on this node.
#[must_use]
pub fn port_of(node: u8, udp: bool) -> u16 {
    u16::from(node) + if udp { 60 } else { 80 }
}

/// The port that every pod listens on.
#[must_use]
pub fn pod_port(udp: bool) -> u16 {
    if udp { 5353 } else { 8080 }
}

/// An address that lies beside the VIPs and is none.
#[must_use]
pub fn no_vip(like: IpAddr) -> IpAddr {
    if like.is_ipv4() {
        "10.99.0.3"
    } else {
        "fd99::3"
    }
    .parse()
    .expect("an address")
}

/// The VIP of services whose endpoint is not simply that of the flow's row.
#[must_use]
pub fn ninth_vip(like: IpAddr) -> IpAddr {
    if like.is_ipv4() {
        "10.99.0.9"
    } else {
        "fd99::9"
    }
    .parse()
    .expect("an address")
}
