//! The gateways that replies leave by which go back through this node (`return: ingress`). The program sends them on by
//! the kernel's routes without the stack, so nothing else would keep the gateways' MACs known. Reads the kernel's
//! default routes, and remembers nothing; which of their next hops count is pure.

use std::{collections::BTreeSet, net::IpAddr};

use futures_util::TryStreamExt;
use netlink_packet_route::{
    AddressFamily,
    route::{RouteAttribute, RouteMessage, RouteType},
};
use rtnetlink::Handle;

use super::{
    kernel::NextHop,
    route::{Route, ip_address},
};
use crate::links::Error;

/// The next hops of all default routes, over whatever interface.
///
/// # Errors
/// If the kernel does not tell its routes.
pub(super) async fn read(handle: &Handle) -> Result<BTreeSet<NextHop>, Error> {
    let mut gateways = BTreeSet::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RouteMessage::default();
        request.header.address_family = family;
        let routes = handle.route().get(request).execute();
        let routes: Vec<_> = routes
            .try_collect()
            .await
            .map_err(|source| Error::Request {
                what: "routes",
                source,
            })?;
        gateways.extend(routes.iter().flat_map(of_default_route));
    }
    Ok(gateways)
}

/// The gateways of a route, if it is a default route.
pub(super) fn of_default_route(message: &RouteMessage) -> Vec<NextHop> {
    let header = &message.header;
    if header.destination_prefix_length != 0 || header.kind != RouteType::Unicast {
        return Vec::new();
    }
    let one = Route::from_message(message)
        .and_then(|route| next_hop(route.egress_ifindex, route.gateway));
    let several = message.attributes.iter().flat_map(|attribute| {
        let RouteAttribute::MultiPath(hops) = attribute else {
            return Vec::new();
        };
        let of = hops.iter().filter_map(|hop| {
            let gateway = hop.attributes.iter().find_map(gateway);
            next_hop(hop.interface_index, gateway)
        });
        of.collect()
    });
    one.into_iter().chain(several).collect()
}

fn next_hop(ifindex: u32, gateway: Option<IpAddr>) -> Option<NextHop> {
    let address = gateway?;
    Some(NextHop { ifindex, address })
}

fn gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(address) => ip_address(address),
        RouteAttribute::Via(via) => super::route::via(via),
        _ => None,
    }
}
