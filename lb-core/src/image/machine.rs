//! What the data path must know of this node and of the ways to the others: `config`, `interfaces`, `nodes` and
//! the tables that recognise nodes. The neighbours' MACs are joined here, and only here.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use lb_common::{
    abi::{ABI_VERSION, MapId},
    config::Config,
    filter, flow,
    fragment::HOMES_PER_WORD,
    gue,
    interface::Interface,
    limits::{INTERFACES_MAX, NODES_MAX},
    node::{self, Node},
};

use super::{NoRoom, Unplaced, draft, draft::Draft, encode, tags::Tags};
use crate::{
    desired::ClusterPlan,
    model,
    snapshot::{Link, Neighbour, Neighbours},
};

/// IPv4 and TCP headers without options: what an MSS leaves out (RFC 6691).
const IPV4_TCP_BYTES: u16 = 20 + 20;
/// IPv6 and TCP headers without options.
const IPV6_TCP_BYTES: u16 = 40 + 20;
/// The word of a node's row that holds its flags.
const FLAGS_WORD: usize = 1;

/// Whether what is there was written by this version under these keys.
pub(super) fn speaks_the_same(config: &Config, cluster: &ClusterPlan) -> bool {
    config.abi_version == ABI_VERSION && config.seed == cluster.keys.seed
}

pub(super) struct Machine {
    config: Config,
    nodes: BTreeMap<u16, Node>,
    interfaces: BTreeMap<usize, Interface>,
    macs: Tags,
    addresses: Tags,
    homes: Vec<u64>,
}

impl Machine {
    pub(super) fn new(cluster: &ClusterPlan, neighbours: &Neighbours) -> Self {
        let seed = cluster.keys.seed[0];
        let nodes = cluster.nodes.iter().map(|(&index, node)| {
            let way = neighbours.get(&node.name);
            (index, node_row(seed, node, way, &cluster.links))
        });
        let others = || {
            let others = cluster.nodes.iter();
            others.filter(|(index, _)| Some(**index) != cluster.view.own_index)
        };
        let on_link = others().filter_map(|(&index, node)| {
            let (mac, _) = on_link_mac(neighbours.get(&node.name)?)?;
            Some((node::mac_tag(mac), index))
        });
        let outer = others().flat_map(|(&index, node)| {
            let tag = move |&address| node::address_tag(seed, &encode::address(address));
            node.addresses
                .iter()
                .map(move |address| (tag(address), index))
        });
        Self {
            config: config(cluster, neighbours),
            nodes: nodes.collect(),
            interfaces: interfaces(cluster, neighbours),
            macs: Tags::new(MapId::NodeMacs, on_link),
            addresses: Tags::new(MapId::NodeAddresses, outer),
            homes: homes(&cluster.homes),
        }
    }

    /// Writes what is new; of what is no more, nothing goes yet.
    pub(super) fn raise(&self, draft: &mut Draft<'_>, unplaced: &mut BTreeMap<Unplaced, NoRoom>) {
        draft.store_element(MapId::Config, 0, &self.config);
        for (&slot, wanted) in &self.interfaces {
            let now: Interface = draft.element(MapId::Interfaces, slot);
            let both = Interface {
                node_mac_filter: std::array::from_fn(|word| {
                    now.node_mac_filter[word] | wanted.node_mac_filter[word]
                }),
                ..*wanted
            };
            draft.store_element(MapId::Interfaces, slot, &both);
        }
        for tags in [&self.macs, &self.addresses] {
            let homeless = tags.raise(draft).into_iter();
            unplaced.extend(homeless.map(|index| (Unplaced::Node(index), NoRoom::Tags)));
        }
        for (&index, row) in &self.nodes {
            write_node(draft, index, row);
        }
        draft.store(MapId::Homes, 0, &self.homes);
    }

    /// Whether [`Machine::lower`] takes node rows away, which endpoints may have named.
    pub(super) fn gives_back(&self, draft: &Draft<'_>) -> bool {
        self.gone(draft).next().is_some()
    }

    /// Takes away what is no more.
    pub(super) fn lower(&self, draft: &mut Draft<'_>) {
        let gone: Vec<_> = self.gone(draft).collect();
        for index in gone {
            let at = usize::from(index) * node_words();
            draft.store(MapId::Nodes, at + FLAGS_WORD, &[0]);
            draft.store_element(MapId::Nodes, index.into(), &Node::default());
        }
        self.macs.lower(draft);
        self.addresses.lower(draft);
        for slot in 0..INTERFACES_MAX as usize {
            let wanted = self.interfaces.get(&slot).copied().unwrap_or_default();
            draft.store_element(MapId::Interfaces, slot, &wanted);
        }
    }

    fn gone(&self, draft: &Draft<'_>) -> impl Iterator<Item = u16> {
        let is_empty = |index: u16| {
            let at = usize::from(index) * node_words();
            (at..at + node_words()).all(|at| draft.word(MapId::Nodes, at) == 0)
        };
        let absent = (0..NODES_MAX as u16).filter(|index| !self.nodes.contains_key(index));
        absent.filter(move |&index| !is_empty(index))
    }
}

fn node_words() -> usize {
    MapId::Nodes.element_bytes() / 8
}

fn config(cluster: &ClusterPlan, neighbours: &Neighbours) -> Config {
    let seed = cluster.keys.seed;
    let capacity = cluster.datapath.capacity;
    let own = cluster.own();
    let inner_mtu_bytes = inner_mtu_bytes(cluster, neighbours);
    let outer_v6 = own.and_then(|node| node.ipv6()).map(IpAddr::V6);
    let own_id = own.map_or(0, |node| id(seed[0], node));
    Config {
        seed,
        gue_key: cluster.keys.gue_key,
        abi_version: ABI_VERSION,
        own_node: cluster.view.own_index.unwrap_or(u16::MAX),
        gue_port: gue::PORT.to_be(),
        outer_v4: own.and_then(|node| node.ipv4()).map_or(0, encode::v4),
        tick_shift: cluster.datapath.tick_shift,
        outer_v6: outer_v6.map_or([0; 4], encode::address),
        embryonic_mask: capacity.embryonic_flows / flow::FLOWS_PER_LINE - 1,
        established_mask: capacity.established_flows / flow::FLOWS_PER_LINE - 1,
        reverse_mask: capacity.reverse_lines() - 1,
        services: capacity.services,
        timeout_ticks: cluster.datapath.timeout_ticks,
        own_id,
        mss_v4_bytes: inner_mtu_bytes.map_or(0, |mtu| mtu.saturating_sub(IPV4_TCP_BYTES)),
        mss_v6_bytes: inner_mtu_bytes.map_or(0, |mtu| mtu.saturating_sub(IPV6_TCP_BYTES)),
        first_tag_term: gue::tag_term(&cluster.keys.gue_key, 0, 0, own_id),
        answers_per_second: cluster.dataplane.answers_per_second,
        flags: flags(&cluster.dataplane),
        affinity_mask: capacity.affinity_lines() - 1,
        new_flows_per_prefix: cluster
            .dataplane
            .new_flows_per_source_prefix_per_second
            .map_or(0, |limit| cluster.datapath.per_tick(limit)),
        rarely_reserved: [0; 6],
    }
}

fn flags(dataplane: &model::Dataplane) -> u32 {
    let flag = |is_set, flag| if is_set { flag } else { 0 };
    flag(!dataplane.answers_echo, Config::SILENT_ON_ECHO)
        | flag(
            !dataplane.refuses_closed_ports,
            Config::SILENT_ON_CLOSED_PORTS,
        )
}

/// The largest packet that reaches every other node whatever encapsulation it gets; `None` with one node alone.
/// It bounds what clients may send, since any flow may come by GUE later, whatever way its SYN took.
fn inner_mtu_bytes(cluster: &ClusterPlan, neighbours: &Neighbours) -> Option<u16> {
    if cluster.nodes.len() < 2 {
        return None;
    }
    let ways = cluster
        .nodes
        .values()
        .filter_map(|node| neighbours.get(&node.name));
    let links = cluster.links.iter().map(|link| link.mtu_bytes);
    let smallest = ways.map(|way| way.mtu_bytes).chain(links).min()?;
    Some(smallest.saturating_sub(gue::OVERHEAD_V6_BYTES as u16))
}

/// Four indices a word, the first in the lowest bits.
fn homes(indices: &[u16]) -> Vec<u64> {
    let word = |four: &[u16]| {
        let bits = four.iter().rev();
        bits.fold(0, |word, &index| word << 16 | u64::from(index))
    };
    indices.chunks(HOMES_PER_WORD as usize).map(word).collect()
}

/// What GUE calls a node: the same on every node, so of the address that its configuration names first, IPv4
/// before IPv6.
pub(crate) fn id(seed: u64, node: &model::Node) -> u32 {
    let v4 = node.ipv4().map(IpAddr::V4);
    let address = v4.or(node.ipv6().map(IpAddr::V6));
    address.map_or(0, |address| node::node_id(seed, &encode::address(address)))
}

fn node_row(seed: u64, node: &Arc<model::Node>, way: Option<&Neighbour>, links: &[Link]) -> Node {
    let known = Node {
        flags: Node::PRESENT,
        id: id(seed, node),
        ..Node::default()
    };
    let resolved = way.and_then(|way| {
        let link = links.iter().find(|link| link.slot == way.uplink)?;
        let is_one_family = way.outer_source.is_ipv4() == way.outer_destination.is_ipv4();
        let mac = way.mac.filter(|_| is_one_family)?;
        Some((way, link, mac))
    });
    let Some((way, link, mac)) = resolved else {
        return known;
    };
    let outer_source = encode::address(way.outer_source);
    let outer_destination = encode::address(way.outer_destination);
    let is_v4 = way.outer_source.is_ipv4();
    Node {
        macs: macs(mac, link.mac),
        flags: Node::PRESENT
            | Node::RESOLVED
            | if way.on_link { Node::DIRECT } else { 0 }
            | if is_v4 { 0 } else { Node::OUTER_V6 },
        mtu_bytes: way.mtu_bytes,
        egress_ifindex: link.ifindex,
        outer_sum: match is_v4 {
            true => gue::outer_v4_sum(outer_source[0], outer_destination[0]),
            false => gue::outer_v6_sum(&outer_source, &outer_destination),
        },
        outer: Node::outer(!is_v4, &outer_source, &outer_destination),
        ..known
    }
}

fn macs(destination: model::Mac, source: model::Mac) -> [u16; 6] {
    let ([a, b, c, d, e, f], [g, h, i, j, k, l]) = (destination.0, source.0);
    [[a, b], [c, d], [e, f], [g, h], [i, j], [k, l]].map(u16::from_ne_bytes)
}

/// MAC and uplink of a node that is on a link of ours.
fn on_link_mac(way: &Neighbour) -> Option<(u64, u8)> {
    let mac = way.mac.filter(|_| way.on_link)?;
    Some((mac.word(), way.uplink))
}

fn interfaces(cluster: &ClusterPlan, neighbours: &Neighbours) -> BTreeMap<usize, Interface> {
    let others = cluster
        .nodes
        .iter()
        .filter(|(index, _)| Some(**index) != cluster.view.own_index);
    let macs: Vec<_> = others
        .filter_map(|(_, node)| on_link_mac(neighbours.get(&node.name)?))
        .collect();
    let faces_nodes = cluster.nodes.len() > 1;
    let links = cluster
        .links
        .iter()
        .filter(|link| u32::from(link.slot) < INTERFACES_MAX);
    links
        .map(|link| {
            let here = macs.iter().filter(|(_, uplink)| *uplink == link.slot);
            let interface = Interface {
                mac: link.mac.word(),
                node_mac_filter: here.fold([0; filter::MAC_FILTER_WORDS], |mut words, (mac, _)| {
                    let (word, bit) = filter::mac_bit(*mac);
                    words[word] |= bit;
                    words
                }),
                ifindex: link.ifindex,
                // A node behind a router may come in by any uplink.
                flags: if faces_nodes {
                    Interface::FACES_NODES
                } else {
                    0
                },
                reserved: [0; 2],
            };
            (usize::from(link.slot), interface)
        })
        .collect()
}

/// A row has eight words. If more than one changes, it first counts as unresolved, so that no packet gets an
/// old MAC with a new address.
fn write_node(draft: &mut Draft<'_>, index: u16, row: &Node) {
    let at = usize::from(index) * node_words();
    let words = draft::words_of(row);
    let changed =
        (0..words.len()).filter(|&word| draft.word(MapId::Nodes, at + word) != words[word]);
    if changed.count() > 1 {
        let mut now: Node = draft.element(MapId::Nodes, index.into());
        now.flags &= !Node::RESOLVED;
        draft.store_element(MapId::Nodes, index.into(), &now);
    }
    draft.store(MapId::Nodes, at, &words[..FLAGS_WORD]);
    draft.store(MapId::Nodes, at + FLAGS_WORD + 1, &words[FLAGS_WORD + 1..]);
    draft.store(
        MapId::Nodes,
        at + FLAGS_WORD,
        &words[FLAGS_WORD..=FLAGS_WORD],
    );
}
