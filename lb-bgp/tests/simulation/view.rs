//! What a router would have learned from the octets of one connection, by an independent decoder.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use lb_bgp::{
    Community, Family, LargeCommunity, NextHops, PeerConfig, PerFamily, Prefix, Route,
    RouteAttributes, RouteSet,
};
use rustbgpd_wire::{
    Afi, AsPathSegment, Message, NlriEntry, ParsedUpdate, PathAttribute, RouteRefreshMessage,
    RouteRefreshSubtype, Safi,
};

/// A learned path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Learned {
    attributes: RouteAttributes,
    next_hop: IpAddr,
}

/// Paths and marks of one direction of one connection.
#[derive(Debug, Default)]
pub(crate) struct View {
    pending: Vec<u8>,
    /// By prefix and identifier; zero: there is none.
    paths: BTreeMap<(Prefix, u32), Learned>,
    /// Between the marks of a refresh: what has not been told again (RFC 7313 section 4).
    stale: PerFamily<BTreeSet<(Prefix, u32)>>,
    pub(crate) refreshes: u64,
    pub(crate) end_of_rib: PerFamily<u32>,
}

impl View {
    /// What a router would have.
    pub(crate) fn learned(&self) -> BTreeSet<(Prefix, Learned)> {
        let paths = self.paths.iter();
        paths
            .map(|((prefix, _), learned)| (*prefix, learned.clone()))
            .collect()
    }

    /// Takes octets as they arrive. Anything but a well-formed message of `sender` is a failure.
    pub(crate) fn receive(&mut self, octets: &[u8], sender: &PeerConfig, add_path: bool) {
        self.pending.extend(octets);
        while let Some(length) = message_len(&self.pending) {
            let message: Vec<u8> = self.pending.drain(..length).collect();
            let decoded = rustbgpd_wire::decode_message(&mut message.into(), u16::MAX);
            match decoded.expect("a message that others can read") {
                Message::Update(update) => {
                    let v6 = [(Afi::Ipv6, Safi::Unicast)];
                    let v6 = if add_path { &v6[..] } else { &[] };
                    let parsed = update.parse(true, add_path, v6);
                    self.apply(parsed.expect("an UPDATE that others can read"), sender);
                }
                Message::RouteRefresh(mark) => self.mark(&mark),
                _ => {}
            }
        }
    }

    fn mark(&mut self, mark: &RouteRefreshMessage) {
        let family = match mark.afi() {
            Some(Afi::Ipv4) => Family::Ipv4Unicast,
            _ => Family::Ipv6Unicast,
        };
        match mark.subtype() {
            RouteRefreshSubtype::BoRR => {
                assert_eq!(self.end_of_rib[family], 1, "End-of-RIB comes first");
                let of_family = self.paths.keys().filter(|(p, _)| p.family() == family);
                self.stale[family] = of_family.copied().collect();
            }
            RouteRefreshSubtype::EoRR => {
                self.refreshes += 1;
                for lost in std::mem::take(&mut self.stale[family]) {
                    self.paths.remove(&lost);
                }
            }
            _ => {}
        }
    }

    fn apply(&mut self, update: ParsedUpdate, sender: &PeerConfig) {
        if update.attributes.is_empty()
            && update.withdrawn.is_empty()
            && update.announced.is_empty()
        {
            self.end_of_rib[Family::Ipv4Unicast] += 1;
            return;
        }
        for entry in &update.withdrawn {
            self.withdraw((v4(entry.prefix), entry.path_id));
        }
        let mut next_hop = None;
        let mut attributes = RouteAttributes::default();
        let announced = update.announced.iter();
        let mut announced: Vec<_> = announced.map(|e| (v4(e.prefix), e.path_id)).collect();
        for attribute in update.attributes {
            match attribute {
                PathAttribute::MpUnreachNlri(unreach) if unreach.withdrawn.is_empty() => {
                    self.end_of_rib[Family::Ipv6Unicast] += 1;
                }
                PathAttribute::MpUnreachNlri(unreach) => {
                    let withdrawn = unreach.withdrawn.iter();
                    withdrawn.for_each(|entry| self.withdraw(any(entry)));
                }
                PathAttribute::MpReachNlri(reach) => {
                    next_hop = Some(reach.next_hop);
                    announced.extend(reach.announced.iter().map(any));
                }
                PathAttribute::NextHop(address) => next_hop = Some(address.into()),
                other => attributes = read(attributes, other, sender),
            }
        }
        let next_hop = next_hop.filter(|_| !announced.is_empty());
        for path in announced {
            let next_hop = next_hop.expect("a next hop beside announced prefixes");
            self.stale[path.0.family()].remove(&path);
            let attributes = attributes.clone();
            let learned = Learned {
                attributes,
                next_hop,
            };
            self.paths.insert(path, learned);
        }
    }

    fn withdraw(&mut self, path: (Prefix, u32)) {
        self.stale[path.0.family()].remove(&path);
        assert!(
            self.paths.remove(&path).is_some(),
            "withdrawal of {path:?}, never announced"
        );
    }
}

/// Adds what one attribute says.
fn read(
    attributes: RouteAttributes,
    attribute: PathAttribute,
    sender: &PeerConfig,
) -> RouteAttributes {
    match attribute {
        PathAttribute::Med(med) => attributes.with_med(med),
        PathAttribute::Communities(values) => {
            let values = values.into_iter().map(Community).collect();
            attributes.with_communities(values).unwrap()
        }
        PathAttribute::LargeCommunities(values) => {
            let number = |c: rustbgpd_wire::LargeCommunity| {
                LargeCommunity([c.global_admin, c.local_data1, c.local_data2])
            };
            let values = values.into_iter().map(number).collect();
            attributes.with_large_communities(values).unwrap()
        }
        PathAttribute::AsPath(path) => attributes.with_prepend(prepended(&path.segments, sender)),
        PathAttribute::LocalPref(value) => {
            assert!(sender.is_internal());
            attributes.with_local_pref(value)
        }
        PathAttribute::Origin(_) => attributes,
        other => panic!("unexpected attribute {other:?}"),
    }
}

/// How often more than once the sender is in the path.
fn prepended(segments: &[AsPathSegment], sender: &PeerConfig) -> u8 {
    if sender.is_internal() {
        assert!(segments.is_empty());
        return 0;
    }
    let [AsPathSegment::AsSequence(asns)] = segments else {
        panic!("{segments:?} is no path of one AS")
    };
    assert!(asns.iter().all(|asn| *asn == sender.local_asn));
    asns.len() as u8 - 1
}

/// What a peer with `config` should have told about `routes`.
pub(crate) fn expected(
    config: &PeerConfig,
    families: PerFamily<bool>,
    add_path: bool,
    routes: &RouteSet,
) -> BTreeSet<(Prefix, Learned)> {
    let learned = |(prefix, route): (&Prefix, &Route)| {
        let family = prefix.family();
        let own = match family {
            Family::Ipv4Unicast => config.next_hop_v4.map(IpAddr::V4),
            Family::Ipv6Unicast => config.next_hop_v6.map(IpAddr::V6),
        };
        let mut next_hops: Vec<IpAddr> = match &route.next_hops {
            NextHops::Own => own.into_iter().collect(),
            NextHops::Listed(list) => {
                let of_family = |address: &&IpAddr| Family::of(**address) == family;
                list.iter().filter(of_family).copied().collect()
            }
        };
        if !add_path {
            next_hops.truncate(1);
        }
        next_hops.retain(|_| families[family]);
        let attributes = as_seen(&route.attributes, config.is_internal());
        let learned = move |next_hop| Learned {
            attributes: attributes.clone(),
            next_hop,
        };
        let prefix = *prefix;
        next_hops
            .into_iter()
            .map(move |next_hop| (prefix, learned(next_hop)))
    };
    routes.iter().flat_map(learned).collect()
}

/// What of the attributes reaches a peer.
fn as_seen(attributes: &RouteAttributes, internal: bool) -> RouteAttributes {
    let seen = RouteAttributes::default()
        .with_communities(attributes.communities().to_vec())
        .unwrap()
        .with_large_communities(attributes.large_communities().to_vec())
        .unwrap();
    let seen = attributes
        .med()
        .into_iter()
        .fold(seen, RouteAttributes::with_med);
    match internal {
        true => seen.with_local_pref(attributes.local_pref().unwrap_or(100)),
        false => seen.with_prepend(attributes.prepend()),
    }
}

fn message_len(octets: &[u8]) -> Option<usize> {
    let length = usize::from(u16::from_be_bytes([*octets.get(16)?, *octets.get(17)?]));
    (octets.len() >= length).then_some(length)
}

fn v4(prefix: rustbgpd_wire::Ipv4Prefix) -> Prefix {
    Prefix::new(prefix.addr.into(), prefix.len).unwrap()
}

fn any(entry: &NlriEntry) -> (Prefix, u32) {
    let prefix = match entry.prefix {
        rustbgpd_wire::Prefix::V4(prefix) => v4(prefix),
        rustbgpd_wire::Prefix::V6(prefix) => Prefix::new(prefix.addr.into(), prefix.len).unwrap(),
    };
    (prefix, entry.path_id)
}
