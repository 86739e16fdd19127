//! Our routes, rules and groups as rtnetlink has them: what there is, one more, one less. No memory.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use futures_util::TryStreamExt;
use lb_core::model::Prefix;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{
        AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol,
    },
    route::{RouteAttribute, RouteMessage, RouteProtocol, RouteType},
    rule::{RuleAction, RuleAttribute, RuleMessage},
};
use rtnetlink::{Handle, IpVersion};

use super::{Entry, MARK};
use crate::links::{
    Error,
    request::{Intent, Refusal, acknowledged},
};

/// After the rules that CNIs set (Cilium moves `local` to 100, the AWS one goes up to 1536), before `main` at 32766.
const PRIORITY: u32 = 30_000;
/// A header has eight bits for a table; a larger number stands in an attribute (RT_TABLE_COMPAT, linux/rtnetlink.h).
const TABLE_IN_ATTRIBUTE: u8 = 252;
/// `EADDRINUSE`: the group was joined already, by an address that went with its interface.
const JOINED_ALREADY: i32 = 98;

/// Everything that bears our mark.
pub(super) async fn ours(handle: &Handle) -> Result<BTreeSet<Entry>, Error> {
    let mut entries = BTreeSet::new();
    for is_v4 in [true, false] {
        entries.extend(routes(handle, is_v4).await?.iter().filter_map(route_of));
        entries.extend(rules(handle, is_v4).await?.iter().filter_map(rule_of));
    }
    let addresses = handle.address().get().execute();
    let addresses: Vec<_> = addresses.try_collect().await.map_err(failed("addresses"))?;
    entries.extend(addresses.iter().filter_map(group_of));
    Ok(entries)
}

pub(super) async fn add(handle: &Handle, entry: &Entry) -> Result<(), String> {
    let request = match entry {
        Entry::Route { table, prefix } => RouteNetlinkMessage::NewRoute(route(*table, *prefix)),
        Entry::Rule {
            is_v4,
            interface,
            table,
        } => RouteNetlinkMessage::NewRule(rule(*is_v4, interface, *table)),
        Entry::Group { ifindex, group } => {
            RouteNetlinkMessage::NewAddress(address(*ifindex, (*group).into()))
        }
    };
    match acknowledged(handle, request, Intent::Make).await {
        Err(Refusal {
            errno: Some(JOINED_ALREADY),
            ..
        }) if matches!(entry, Entry::Group { .. }) => Ok(()),
        other => other.map_err(|refusal| refusal.message),
    }
}

pub(super) async fn remove(handle: &Handle, entry: &Entry) -> Result<(), String> {
    let request = match entry {
        Entry::Route { table, prefix } => RouteNetlinkMessage::DelRoute(route(*table, *prefix)),
        Entry::Rule {
            is_v4,
            interface,
            table,
        } => RouteNetlinkMessage::DelRule(rule(*is_v4, interface, *table)),
        Entry::Group { ifindex, group } => {
            RouteNetlinkMessage::DelAddress(address(*ifindex, (*group).into()))
        }
    };
    let removed = acknowledged(handle, request, Intent::Remove).await;
    removed.map_err(|refusal| refusal.message)
}

const fn family(is_v4: bool) -> AddressFamily {
    if is_v4 {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    }
}

async fn routes(handle: &Handle, is_v4: bool) -> Result<Vec<RouteMessage>, Error> {
    let mut request = RouteMessage::default();
    request.header.address_family = family(is_v4);
    request.header.protocol = RouteProtocol::from(MARK);
    let routes = handle.route().get(request).execute();
    routes.try_collect().await.map_err(failed("routes"))
}

async fn rules(handle: &Handle, is_v4: bool) -> Result<Vec<RuleMessage>, Error> {
    let version = if is_v4 { IpVersion::V4 } else { IpVersion::V6 };
    let rules = handle.rule().get(version).execute();
    rules.try_collect().await.map_err(failed("rules"))
}

fn failed(what: &'static str) -> impl Fn(rtnetlink::Error) -> Error {
    move |source| Error::Request { what, source }
}

fn route(table: u32, prefix: Prefix) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(prefix.address().is_ipv4());
    message.header.destination_prefix_length = prefix.bits();
    message.header.protocol = RouteProtocol::from(MARK);
    message.header.kind = RouteType::Unreachable;
    message.header.table = u8::try_from(table).unwrap_or(TABLE_IN_ATTRIBUTE);
    message.attributes.extend([
        RouteAttribute::Destination(prefix.address().into()),
        RouteAttribute::Table(table),
    ]);
    message
}

fn route_of(message: &RouteMessage) -> Option<Entry> {
    let header = &message.header;
    let is_ours =
        header.protocol == RouteProtocol::from(MARK) && header.kind == RouteType::Unreachable;
    let mut table = u32::from(header.table);
    let mut destination = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Destination(address) => destination = ip(address),
            _ => {}
        }
    }
    let prefix = Prefix::new(destination?, header.destination_prefix_length)?;
    is_ours.then_some(Entry::Route { table, prefix })
}

fn ip(address: &netlink_packet_route::route::RouteAddress) -> Option<IpAddr> {
    use netlink_packet_route::route::RouteAddress::{Inet, Inet6};
    match address {
        Inet(v4) => Some(IpAddr::V4(*v4)),
        Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

fn rule(is_v4: bool, interface: &Arc<str>, table: u32) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family(is_v4);
    message.header.action = RuleAction::ToTable;
    message.header.table = u8::try_from(table).unwrap_or(TABLE_IN_ATTRIBUTE);
    message.attributes.extend([
        RuleAttribute::Iifname(interface.to_string()),
        RuleAttribute::Table(table),
        RuleAttribute::Priority(PRIORITY),
        RuleAttribute::Protocol(RouteProtocol::from(MARK)),
    ]);
    message
}

fn rule_of(message: &RuleMessage) -> Option<Entry> {
    let mut table = u32::from(message.header.table);
    let (mut interface, mut is_ours) = (None, false);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Table(number) => table = *number,
            RuleAttribute::Iifname(name) => interface = Some(Arc::from(name.as_str())),
            RuleAttribute::Protocol(protocol) => is_ours = *protocol == RouteProtocol::from(MARK),
            _ => {}
        }
    }
    let interface = interface.filter(|_| is_ours)?;
    Some(Entry::Rule {
        is_v4: message.header.family == AddressFamily::Inet,
        interface,
        table,
    })
}

/// An address that is a group: the kernel joins it, and leaves it when the address goes (IFA_F_MCAUTOJOIN, 4.1).
fn address(ifindex: u32, group: IpAddr) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.header.prefix_len = 128;
    message.header.index = ifindex;
    message.header.flags = AddressHeaderFlags::Nodad;
    message.attributes.extend([
        AddressAttribute::Local(group),
        AddressAttribute::Flags(
            AddressFlags::Mcautojoin | AddressFlags::Nodad | AddressFlags::Noprefixroute,
        ),
        AddressAttribute::Protocol(AddressProtocol::from(MARK)),
    ]);
    message
}

/// Kernels below 5.18 forget the mark: there, a solicited-node group that an address joins counts as ours, for nobody
/// else does that.
fn group_of(message: &AddressMessage) -> Option<Entry> {
    let (mut group, mut joins, mut is_ours) = (None, false, true);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(IpAddr::V6(address)) => group = Some(*address),
            AddressAttribute::Flags(flags) => joins = flags.contains(AddressFlags::Mcautojoin),
            AddressAttribute::Protocol(protocol) => {
                is_ours = *protocol == AddressProtocol::from(MARK);
            }
            _ => {}
        }
    }
    let group = group.filter(|group| is_ours && joins && is_solicited_node(group))?;
    Some(Entry::Group {
        ifindex: message.header.index,
        group,
    })
}

fn is_solicited_node(group: &std::net::Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, _] = group.segments();
    [a, b, c, d, e, f, g & 0xff00] == [0xff02, 0, 0, 0, 0, 1, 0xff00]
}
