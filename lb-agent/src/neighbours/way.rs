//! Which of a node's addresses is the way to it. Pure. The first address with a resolved next hop is taken;
//! all else being equal, an address that is on-link comes before one behind a gateway. IPv4 or IPv6 is no
//! matter: the outer header need not be of the inner one's family.

use std::net::IpAddr;

use lb_core::{
    model::Mac,
    snapshot::{Link, Neighbour},
};

use super::route::Route;
use crate::links::interface::Interface;

/// An uplink, and the interface that routes over it lead to: itself, or the bridge or bond that it is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Uplink {
    pub(super) slot: u8,
    pub(super) routed_ifindex: u32,
    pub(super) mtu_bytes: u16,
}

/// One address of a node, with the kernel's way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) destination: IpAddr,
    pub(super) route: Route,
    /// The next hop's, if it is resolved.
    pub(super) mac: Option<Mac>,
}

pub(super) fn uplinks(links: &[Link], interfaces: &[Interface]) -> Vec<Uplink> {
    let routed = |link: &Link| {
        let port = interfaces
            .iter()
            .find(|interface| interface.ifindex == link.ifindex);
        port.map_or(link.ifindex, Interface::routed_ifindex)
    };
    links
        .iter()
        .map(|link| Uplink {
            slot: link.slot,
            routed_ifindex: routed(link),
            mtu_bytes: link.mtu_bytes,
        })
        .collect()
}

/// The uplink that a route leads over.
pub(super) fn uplink_of<'a>(route: &Route, uplinks: &'a [Uplink]) -> Option<&'a Uplink> {
    uplinks
        .iter()
        .find(|uplink| uplink.routed_ifindex == route.egress_ifindex)
}

/// Whether routes over an uplink lead to this interface.
pub(super) fn is_uplink(ifindex: u32, uplinks: &[Uplink]) -> bool {
    uplinks
        .iter()
        .any(|uplink| uplink.routed_ifindex == ifindex)
}

/// The way to a node, given its addresses in its order of preference. `own_addresses` are what other nodes know
/// this one by; GUE from any other source would be dropped there. `None`: no address can be reached.
pub(super) fn choose(
    candidates: &[Candidate],
    own_addresses: &[IpAddr],
    uplinks: &[Uplink],
) -> Option<Neighbour> {
    let ways = candidates
        .iter()
        .filter_map(|candidate| neighbour(candidate, own_addresses, uplinks));
    // `max_by_key` keeps the last of equals, so the order of preference is turned around.
    let ways: Vec<_> = ways.collect();
    ways.into_iter()
        .rev()
        .max_by_key(|way| (way.mac.is_some(), way.on_link))
}

fn neighbour(
    candidate: &Candidate,
    own_addresses: &[IpAddr],
    uplinks: &[Uplink],
) -> Option<Neighbour> {
    let Candidate {
        destination,
        route,
        mac,
    } = *candidate;
    let uplink = uplink_of(&route, uplinks)?;
    let of_family = |address: &&IpAddr| address.is_ipv4() == destination.is_ipv4();
    let kernels_choice = route.source.filter(|source| own_addresses.contains(source));
    let outer_source = kernels_choice.or_else(|| own_addresses.iter().find(of_family).copied())?;
    let route_mtu_bytes = route.mtu_bytes.unwrap_or(u32::MAX);
    Some(Neighbour {
        mac,
        uplink: uplink.slot,
        on_link: route.gateway.is_none(),
        outer_source,
        outer_destination: destination,
        mtu_bytes: u16::try_from(route_mtu_bytes)
            .unwrap_or(u16::MAX)
            .min(uplink.mtu_bytes),
    })
}
