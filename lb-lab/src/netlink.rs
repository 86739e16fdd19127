//! A blocking rtnetlink client for the namespace of the calling thread, with just the requests that a topology needs.
//! Each request waits for the kernel's answer, so that the next one finds what the last one made. It never waits for
//! events and keeps no state but the sequence number.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteNextHop, RouteProtocol,
    RouteScope, RouteType,
};
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader,
    NetlinkMessage, NetlinkPayload,
};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// An address with the length of its network's prefix in bits.
pub type Prefix = (IpAddr, u8);

/// A route of the main table, as far as labs look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destination.
    pub destination: Prefix,
    /// The gateways: several for a multipath route, none for an on-link one.
    pub gateways: Vec<IpAddr>,
    /// Who made it, as in `RTPROT_*` (BIRD is 12).
    pub protocol: u8,
}

/// An open rtnetlink socket; it belongs to the namespace it was opened in.
pub struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// Opens a socket in the namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Makes a veth pair: `name` here, `peer_name` in the namespace `peer`. The far end is born there under its final
    /// name; a link that is moved later would need a unique name first (kernels up to 6.1 refuse a taken one).
    pub fn add_veth(
        &mut self,
        name: &str,
        mac: Mac,
        peer: BorrowedFd<'_>,
        peer_name: &str,
        peer_mac: Mac,
    ) -> io::Result<()> {
        let mut far = LinkMessage::default();
        far.attributes = vec![
            LinkAttribute::IfName(peer_name.to_owned()),
            LinkAttribute::Address(peer_mac.to_vec()),
            LinkAttribute::NetNsFd(peer.as_raw_fd()),
        ];
        let mut near = LinkMessage::default();
        near.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Address(mac.to_vec()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(far))),
            ]),
        ];
        self.create(RouteNetlinkMessage::NewLink(near))
    }

    /// Makes a bridge, without spanning tree.
    pub fn add_bridge(&mut self, name: &str) -> io::Result<()> {
        let mut link = LinkMessage::default();
        link.attributes = vec![
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
        ];
        self.create(RouteNetlinkMessage::NewLink(link))
    }

    /// Makes `port` a port of `bridge`.
    pub fn set_bridge(&mut self, port: &str, bridge: &str) -> io::Result<()> {
        let bridge = self.index(bridge)?;
        self.change_link(port, LinkAttribute::Controller(bridge))
    }

    /// Sets the MTU of a link, in bytes of network packet.
    pub fn set_mtu(&mut self, link: &str, mtu: u32) -> io::Result<()> {
        self.change_link(link, LinkAttribute::Mtu(mtu))
    }

    /// Sets a link up or down.
    pub fn set_up(&mut self, link: &str, up: bool) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = self.index(link)?;
        message.header.flags = if up {
            LinkFlags::Up
        } else {
            LinkFlags::empty()
        };
        message.header.change_mask = LinkFlags::Up;
        self.request(RouteNetlinkMessage::SetLink(message), 0)
            .map(drop)
    }

    /// Adds an address; an IPv6 one is usable at once (no duplicate address detection).
    pub fn add_address(&mut self, link: &str, (address, prefix_len): Prefix) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = family(address);
        message.header.prefix_len = prefix_len;
        message.header.index = self.index(link)?;
        message.attributes = vec![
            AddressAttribute::Local(address),
            AddressAttribute::Address(address),
        ];
        if address.is_ipv6() {
            message
                .attributes
                .push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        self.create(RouteNetlinkMessage::NewAddress(message))
    }

    /// Adds or replaces a route through one gateway.
    pub fn add_route(&mut self, destination: Prefix, gateway: IpAddr) -> io::Result<()> {
        let mut message = route(destination, RouteScope::Universe);
        message
            .attributes
            .push(RouteAttribute::Gateway(route_address(gateway)));
        self.replace(RouteNetlinkMessage::NewRoute(message))
    }

    /// Adds or replaces an IPv6 or IPv4 route through a gateway that is reached by `link`, as link-local ones must be.
    pub fn add_route_by(
        &mut self,
        destination: Prefix,
        gateway: IpAddr,
        link: &str,
    ) -> io::Result<()> {
        let mut message = route(destination, RouteScope::Universe);
        message
            .attributes
            .push(RouteAttribute::Gateway(route_address(gateway)));
        message
            .attributes
            .push(RouteAttribute::Oif(self.index(link)?));
        self.replace(RouteNetlinkMessage::NewRoute(message))
    }

    /// Adds or replaces a route to what is directly on `link`.
    pub fn add_link_route(&mut self, destination: Prefix, link: &str) -> io::Result<()> {
        let mut message = route(destination, RouteScope::Link);
        message
            .attributes
            .push(RouteAttribute::Oif(self.index(link)?));
        self.replace(RouteNetlinkMessage::NewRoute(message))
    }

    /// Adds or replaces a route over several gateways of equal weight.
    pub fn add_multipath_route(
        &mut self,
        destination: Prefix,
        gateways: &[IpAddr],
    ) -> io::Result<()> {
        let next_hop = |gateway: &IpAddr| {
            let mut hop = RouteNextHop::default();
            hop.attributes = vec![RouteAttribute::Gateway(route_address(*gateway))];
            hop
        };
        let mut message = route(destination, RouteScope::Universe);
        let hops = gateways.iter().map(next_hop).collect();
        message.attributes.push(RouteAttribute::MultiPath(hops));
        self.replace(RouteNetlinkMessage::NewRoute(message))
    }

    /// Removes a route, whatever its gateways.
    pub fn delete_route(&mut self, destination: Prefix) -> io::Result<()> {
        let mut message = route(destination, RouteScope::NoWhere);
        message.header.protocol = RouteProtocol::Unspec;
        message.header.kind = RouteType::Unspec;
        self.request(RouteNetlinkMessage::DelRoute(message), 0)
            .map(drop)
    }

    /// Adds or replaces a permanent neighbour.
    pub fn add_neighbour(&mut self, link: &str, address: IpAddr, mac: Mac) -> io::Result<()> {
        let mut message = NeighbourMessage::default();
        message.header.family = family(address);
        message.header.ifindex = self.index(link)?;
        message.header.state = NeighbourState::Permanent;
        let destination = match address {
            IpAddr::V4(address) => NeighbourAddress::Inet(address),
            IpAddr::V6(address) => NeighbourAddress::Inet6(address),
        };
        message.attributes = vec![
            NeighbourAttribute::Destination(destination),
            NeighbourAttribute::LinkLayerAddress(mac.to_vec()),
        ];
        self.replace(RouteNetlinkMessage::NewNeighbour(message))
    }

    /// All unicast routes of the main table, both families.
    pub fn routes(&mut self) -> io::Result<Vec<Route>> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            for answer in self.request(RouteNetlinkMessage::GetRoute(message), NLM_F_DUMP)? {
                if let RouteNetlinkMessage::NewRoute(found) = answer {
                    routes.extend(describe_route(&found));
                }
            }
        }
        Ok(merge_paths(routes))
    }

    /// The index of a link.
    pub fn index(&mut self, link: &str) -> io::Result<u32> {
        let mut message = LinkMessage::default();
        message.attributes = vec![LinkAttribute::IfName(link.to_owned())];
        let answers = self
            .request(RouteNetlinkMessage::GetLink(message), 0)
            .map_err(|error| io::Error::new(error.kind(), format!("link {link}: {error}")))?;
        let index = answers.iter().find_map(|answer| match answer {
            RouteNetlinkMessage::NewLink(found) => Some(found.header.index),
            _ => None,
        });
        index.ok_or_else(|| io::Error::other(format!("no answer about link {link}")))
    }

    fn change_link(&mut self, link: &str, change: LinkAttribute) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = self.index(link)?;
        message.attributes = vec![change];
        self.request(RouteNetlinkMessage::SetLink(message), 0)
            .map(drop)
    }

    fn create(&mut self, message: RouteNetlinkMessage) -> io::Result<()> {
        self.request(message, NLM_F_CREATE | NLM_F_EXCL).map(drop)
    }

    fn replace(&mut self, message: RouteNetlinkMessage) -> io::Result<()> {
        self.request(message, NLM_F_CREATE | NLM_F_REPLACE)
            .map(drop)
    }

    fn request(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.sequence_number = self.sequence;
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        self.answers()
    }

    fn answers(&mut self) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut answers = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            let mut rest = &datagram[..];
            while !rest.is_empty() {
                let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                    .map_err(io::Error::other)?;
                let length = usize::try_from(message.header.length).map_err(io::Error::other)?;
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => answers.push(inner),
                    NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::Error(error) if error.raw_code() == 0 => return Ok(answers),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    _ => {}
                }
                // Messages start at multiples of 4 bytes (NLMSG_ALIGNTO).
                rest = &rest[length.next_multiple_of(4).min(rest.len())..];
            }
        }
    }
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn route_address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    }
}

fn route((destination, prefix_len): Prefix, scope: RouteScope) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(destination);
    message.header.destination_prefix_length = prefix_len;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = scope;
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![RouteAttribute::Destination(route_address(destination))];
    message
}

fn describe_route(message: &RouteMessage) -> Option<Route> {
    let header = &message.header;
    if header.table != RouteHeader::RT_TABLE_MAIN || header.kind != RouteType::Unicast {
        return None;
    }
    let unspecified = match header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        _ => IpAddr::from([0; 16]),
    };
    let destination = message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Destination(address) => ip_address(address),
            _ => None,
        });
    let mut gateways = gateways(&message.attributes);
    for attribute in &message.attributes {
        if let RouteAttribute::MultiPath(hops) = attribute {
            gateways.extend(hops.iter().flat_map(|hop| self::gateways(&hop.attributes)));
        }
    }
    Some(Route {
        destination: (
            destination.unwrap_or(unspecified),
            header.destination_prefix_length,
        ),
        gateways,
        protocol: header.protocol.into(),
    })
}

fn gateways(attributes: &[RouteAttribute]) -> Vec<IpAddr> {
    let gateway = |attribute: &RouteAttribute| match attribute {
        RouteAttribute::Gateway(address) => ip_address(address),
        RouteAttribute::Via(via) => match via {
            netlink_packet_route::route::RouteVia::Inet(address) => Some((*address).into()),
            netlink_packet_route::route::RouteVia::Inet6(address) => Some((*address).into()),
            _ => None,
        },
        _ => None,
    };
    attributes.iter().filter_map(gateway).collect()
}

fn ip_address(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

/// IPv6 dumps may list the paths of one route as routes of their own; together they are one.
fn merge_paths(routes: Vec<Route>) -> Vec<Route> {
    let mut merged: Vec<Route> = Vec::new();
    for route in routes {
        let same = |known: &&mut Route| {
            known.destination == route.destination && known.protocol == route.protocol
        };
        match merged.iter_mut().find(same) {
            Some(known) => known.gateways.extend(route.gateways),
            None => merged.push(route),
        }
    }
    merged
}
