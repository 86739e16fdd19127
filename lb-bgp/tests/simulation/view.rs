//! What a router would have learned from the octets of one connection, by an independent decoder.

use std::collections::BTreeMap;
use std::net::IpAddr;

use lb_bgp::{Community, Family, PeerConfig, PerFamily, Prefix, RouteAttributes, RouteSet};
use rustbgpd_wire::{AsPathSegment, Message, NlriEntry, ParsedUpdate, PathAttribute};

/// A learned route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Learned {
    attributes: RouteAttributes,
    next_hop: IpAddr,
}

/// Routes and End-of-RIB marks of one direction of one connection.
#[derive(Debug, Default)]
pub(crate) struct View {
    pending: Vec<u8>,
    pub(crate) routes: BTreeMap<Prefix, Learned>,
    pub(crate) end_of_rib: PerFamily<u32>,
}

impl View {
    /// Takes octets as they arrive. Anything but a well-formed message of `sender` is a failure.
    pub(crate) fn receive(&mut self, octets: &[u8], sender: &PeerConfig) {
        self.pending.extend(octets);
        while let Some(length) = message_len(&self.pending) {
            let message: Vec<u8> = self.pending.drain(..length).collect();
            let decoded = rustbgpd_wire::decode_message(&mut message.into(), 4096);
            if let Message::Update(update) = decoded.expect("a message that others can read") {
                let parsed = update
                    .parse(true, false, &[])
                    .expect("an UPDATE that others can read");
                self.apply(parsed, sender);
            }
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
            self.withdraw(v4(entry.prefix));
        }
        let mut next_hop = None;
        let mut attributes = RouteAttributes::default();
        let mut announced: Vec<Prefix> = update.announced.iter().map(|e| v4(e.prefix)).collect();
        for attribute in update.attributes {
            match attribute {
                PathAttribute::MpUnreachNlri(unreach) if unreach.withdrawn.is_empty() => {
                    self.end_of_rib[Family::Ipv6Unicast] += 1;
                }
                PathAttribute::MpUnreachNlri(unreach) => {
                    unreach
                        .withdrawn
                        .iter()
                        .for_each(|entry| self.withdraw(any(entry)));
                }
                PathAttribute::MpReachNlri(reach) => {
                    next_hop = Some(reach.next_hop);
                    announced.extend(reach.announced.iter().map(any));
                }
                PathAttribute::NextHop(address) => next_hop = Some(address.into()),
                PathAttribute::Med(med) => attributes = attributes.with_med(med),
                PathAttribute::Communities(values) => {
                    let values = values.into_iter().map(Community).collect();
                    attributes = attributes.with_communities(values).unwrap();
                }
                PathAttribute::AsPath(path) => assert_eq!(path.segments, expected_path(sender)),
                PathAttribute::LocalPref(value) => {
                    assert!(value == 100 && sender.is_internal());
                }
                PathAttribute::Origin(_) => {}
                other => panic!("unexpected attribute {other:?}"),
            }
        }
        for prefix in announced {
            let next_hop = next_hop.expect("a next hop beside announced prefixes");
            self.routes.insert(
                prefix,
                Learned {
                    attributes: attributes.clone(),
                    next_hop,
                },
            );
        }
    }

    fn withdraw(&mut self, prefix: Prefix) {
        assert!(
            self.routes.remove(&prefix).is_some(),
            "withdrawal of {prefix}, never announced"
        );
    }
}

/// What a peer with `config` should have told about `routes`.
pub(crate) fn expected(
    config: &PeerConfig,
    families: PerFamily<bool>,
    routes: &RouteSet,
) -> BTreeMap<Prefix, Learned> {
    let learned = |(prefix, attributes): (&Prefix, &RouteAttributes)| {
        let next_hop = config
            .next_hop(prefix.family())
            .filter(|_| families[prefix.family()])?;
        Some((
            *prefix,
            Learned {
                attributes: attributes.clone(),
                next_hop,
            },
        ))
    };
    routes.iter().filter_map(learned).collect()
}

fn expected_path(sender: &PeerConfig) -> Vec<AsPathSegment> {
    if sender.is_internal() {
        return vec![];
    }
    vec![AsPathSegment::AsSequence(vec![sender.local_asn])]
}

fn message_len(octets: &[u8]) -> Option<usize> {
    let length = usize::from(u16::from_be_bytes([*octets.get(16)?, *octets.get(17)?]));
    (octets.len() >= length).then_some(length)
}

fn v4(prefix: rustbgpd_wire::Ipv4Prefix) -> Prefix {
    Prefix::new(prefix.addr.into(), prefix.len).unwrap()
}

fn any(entry: &NlriEntry) -> Prefix {
    match entry.prefix {
        rustbgpd_wire::Prefix::V4(prefix) => v4(prefix),
        rustbgpd_wire::Prefix::V6(prefix) => Prefix::new(prefix.addr.into(), prefix.len).unwrap(),
    }
}
