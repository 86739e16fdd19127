//! An interface as rtnetlink messages describe it, and what makes an uplink of it. Pure. A port of a bridge or
//! a bond answers to its master's MAC and addresses, and the kernel's routes lead to the master: so an uplink
//! takes MAC and addresses from there.

use std::{net::IpAddr, sync::Arc};

use lb_core::{
    model::{Mac, Prefix},
    snapshot::Link,
};
use netlink_packet_route::{
    address::{AddressAttribute, AddressMessage},
    link::{InfoPortKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
};

/// An interface of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's index.
    pub ifindex: u32,
    /// Its name.
    pub name: Arc<str>,
    /// Its MAC; zero if it has none of six bytes.
    pub mac: Mac,
    /// Largest IP packet, in bytes.
    pub mtu_bytes: u32,
    /// Administratively up and with a carrier (IFF_UP and IFF_LOWER_UP).
    pub is_up: bool,
    /// Index of the bridge, bond or team that it is a port of.
    pub master_ifindex: Option<u32>,
    /// Its addresses, without link-local IPv6 ones and groups.
    pub addresses: Vec<IpAddr>,
    /// The networks of these addresses.
    pub subnets: Vec<Prefix>,
}

impl Interface {
    /// Index of the interface that routes lead to: its master's, or else its own.
    #[must_use]
    pub fn routed_ifindex(&self) -> u32 {
        self.master_ifindex.unwrap_or(self.ifindex)
    }
}

/// Joins a dump of links with a dump of addresses.
#[must_use]
pub fn from_messages(links: &[LinkMessage], addresses: &[AddressMessage]) -> Vec<Interface> {
    let interfaces = links.iter().filter_map(from_link);
    interfaces
        .map(|interface| {
            let own = addresses
                .iter()
                .filter(|address| address.header.index == interface.ifindex);
            Interface {
                addresses: own.clone().filter_map(local_address).collect(),
                subnets: own.filter_map(subnet).collect(),
                ..interface
            }
        })
        .collect()
}

/// The interfaces with these names as uplinks; the place of a name is its slot. Those that are not there are
/// left out.
#[must_use]
pub fn uplinks(names: &[Arc<str>], interfaces: &[Interface]) -> Vec<Link> {
    let slots = (0..=u8::MAX).zip(names);
    slots
        .filter_map(|(slot, name)| {
            let port = interfaces
                .iter()
                .find(|interface| interface.name == *name)?;
            let routed = interfaces
                .iter()
                .find(|interface| interface.ifindex == port.routed_ifindex())
                .unwrap_or(port);
            Some(Link {
                slot,
                name: Arc::clone(name),
                ifindex: port.ifindex,
                mac: routed.mac,
                mtu_bytes: u16::try_from(port.mtu_bytes).unwrap_or(u16::MAX),
                addresses: routed.addresses.clone(),
                subnets: routed.subnets.clone(),
            })
        })
        .collect()
}

fn from_link(message: &LinkMessage) -> Option<Interface> {
    let up = LinkFlags::Up | LinkFlags::LowerUp;
    let mut interface = Interface {
        ifindex: message.header.index,
        name: Arc::from(""),
        mac: Mac::default(),
        mtu_bytes: 0,
        is_up: message.header.flags.contains(up),
        master_ifindex: None,
        addresses: Vec::new(),
        subnets: Vec::new(),
    };
    let mut shares_master = false;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => interface.name = Arc::from(name.as_str()),
            LinkAttribute::Address(bytes) => {
                interface.mac = Mac(bytes.as_slice().try_into().unwrap_or_default());
            }
            LinkAttribute::Mtu(mtu_bytes) => interface.mtu_bytes = *mtu_bytes,
            LinkAttribute::Controller(ifindex) => interface.master_ifindex = Some(*ifindex),
            LinkAttribute::LinkInfo(infos) => shares_master = infos.iter().any(is_shared_port),
            _ => {}
        }
    }
    interface.master_ifindex = interface.master_ifindex.filter(|_| shares_master);
    (!interface.name.is_empty()).then_some(interface)
}

/// Whether a port has its master's MAC and addresses. The master of a VRF only groups.
fn is_shared_port(info: &LinkInfo) -> bool {
    use InfoPortKind::{Bond, Bridge, Team};
    matches!(info, LinkInfo::PortKind(Bond | Bridge | Team))
}

/// On a point-to-point link IFA_ADDRESS is the other end's and IFA_LOCAL is ours; IPv6 may have the former only.
fn local_address(message: &AddressMessage) -> Option<IpAddr> {
    let mut address = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(local) => {
                address = Some(*local);
                break;
            }
            AddressAttribute::Address(other) => address = Some(*other),
            _ => {}
        }
    }
    address.filter(|address| !is_link_local(address) && !address.is_multicast())
}

fn subnet(message: &AddressMessage) -> Option<Prefix> {
    let address = local_address(message)?;
    Some(Prefix::containing(address, message.header.prefix_len))
}

fn is_link_local(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}
