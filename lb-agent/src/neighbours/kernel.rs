//! The kernel's routes and neighbour entries: one request each, no memory. Our entries bear the protocol
//! number [`MARK`] (NDA_PROTOCOL), so that nobody else's is ever taken away.

use std::{collections::BTreeSet, net::IpAddr};

use futures_util::{StreamExt, TryStreamExt};
use lb_core::model::Mac;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage,
        NeighbourState,
    },
    route::{RouteAttribute, RouteMessage, RouteProtocol},
};
use rtnetlink::{
    Handle,
    packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload},
};

use super::route::Route;
use crate::{
    hostnet::MARK,
    links::{
        Error,
        request::{Intent, acknowledged},
    },
};

/// A neighbour: who, and on which interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NextHop {
    pub(super) ifindex: u32,
    pub(super) address: IpAddr,
}

/// The kernel's route to an address; `None` if there is none.
pub(super) async fn route_to(handle: &Handle, address: IpAddr) -> Option<Route> {
    let mut message = RouteMessage::default();
    let (family, prefix_bits) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, 32),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128),
    };
    message.header.address_family = family;
    message.header.destination_prefix_length = prefix_bits;
    message
        .attributes
        .push(RouteAttribute::Destination(address.into()));
    let mut routes = Box::pin(handle.route().get(message).execute());
    // The error says that there is no route (ENETUNREACH, EHOSTUNREACH).
    let route = routes.next().await?.ok()?;
    Route::from_message(&route)
}

/// The MAC of a neighbour; `None` while it is not resolved.
pub(super) async fn mac_of(handle: &Handle, next_hop: NextHop) -> Option<Mac> {
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetNeighbour(message_of(next_hop)));
    request.header.flags = NLM_F_REQUEST;
    let mut answers = handle.clone().request(request).ok()?;
    match answers.next().await?.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(entry)) => mac(&entry),
        // There is no such entry.
        _ => None,
    }
}

/// Makes the kernel resolve a neighbour and keep it so. An entry that is there keeps its MAC and its state.
pub(super) async fn keep(handle: &Handle, next_hop: NextHop) {
    let mut message = message_of(next_hop);
    // A kernel below 5.16 overlooks the extended flag, and probes once because of the other.
    message.header.flags = NeighbourFlags::Use;
    message.attributes.extend([
        NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed),
        NeighbourAttribute::Protocol(RouteProtocol::from(MARK)),
    ]);
    let request = RouteNetlinkMessage::NewNeighbour(message);
    if let Err(refusal) = acknowledged(handle, request, Intent::Put).await {
        let (NextHop { ifindex, address }, error) = (next_hop, refusal.message);
        tracing::warn!(%address, ifindex, error, "the kernel does not keep the neighbour resolved");
    }
}

/// Takes an entry of ours away.
pub(super) async fn release(handle: &Handle, next_hop: NextHop) {
    let request = RouteNetlinkMessage::DelNeighbour(message_of(next_hop));
    // It may have gone with its interface.
    if let Err(refusal) = acknowledged(handle, request, Intent::Remove).await {
        tracing::debug!(address = %next_hop.address, error = refusal.message, "the neighbour entry was gone already");
    }
}

/// Entries that bear our mark, from whatever agent.
pub(super) async fn marked(handle: &Handle) -> Result<BTreeSet<NextHop>, Error> {
    let entries = handle.neighbours().get().execute();
    let entries: Vec<_> = entries
        .try_collect()
        .await
        .map_err(|source| Error::Request {
            what: "neighbours",
            source,
        })?;
    Ok(entries
        .iter()
        .filter(|entry| is_marked(entry))
        .filter_map(next_hop_of)
        .collect())
}

/// Who an entry is about.
pub(super) fn next_hop_of(entry: &NeighbourMessage) -> Option<NextHop> {
    let address = entry
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => {
                Some(IpAddr::V4(*address))
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => {
                Some(IpAddr::V6(*address))
            }
            _ => None,
        });
    Some(NextHop {
        ifindex: entry.header.ifindex,
        address: address?,
    })
}

fn message_of(next_hop: NextHop) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    let (family, destination) = match next_hop.address {
        IpAddr::V4(address) => (AddressFamily::Inet, NeighbourAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, NeighbourAddress::Inet6(address)),
    };
    message.header.family = family;
    message.header.ifindex = next_hop.ifindex;
    message
        .attributes
        .push(NeighbourAttribute::Destination(destination));
    message
}

fn is_marked(entry: &NeighbourMessage) -> bool {
    let mark = RouteProtocol::from(MARK);
    entry.attributes.iter().any(
        |attribute| matches!(attribute, NeighbourAttribute::Protocol(protocol) if *protocol == mark),
    )
}

/// The MAC of an entry in one of the states that the kernel sends by (NUD_VALID, include/net/neighbour.h).
fn mac(entry: &NeighbourMessage) -> Option<Mac> {
    use NeighbourState::{Delay, Noarp, Permanent, Probe, Reachable, Stale};
    if !matches!(
        entry.header.state,
        Delay | Noarp | Permanent | Probe | Reachable | Stale
    ) {
        return None;
    }
    entry
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                bytes.as_slice().try_into().ok().map(Mac)
            }
            _ => None,
        })
}
