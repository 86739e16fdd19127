//! A Service and its EndpointSlices, put together as the model has them. Slices are united by address; an address
//! that is in two of them, as while slices are rearranged, is one endpoint, in the better of both conditions.
//! Slices made for another Service of the same name, which was deleted, do not count.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use lb_core::model::{
    Announce, Endpoint, Port, Prefix, Service, ServiceBgp, ServicePort, TrafficPolicy,
};

use super::{
    hints::{Here, Meant},
    service::{Balanced, PortKey, PortRecord, ServiceRecord},
    slice::{EndpointRecord, SliceRecord},
};

/// How a Service is announced, by the pool of its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// By whom.
    pub announce: Announce,
    /// How, if by BGP.
    pub bgp: Arc<ServiceBgp>,
}

/// The Service as the model has it.
///
/// `vips` are those of its addresses that are served; `here` is given if topology hints count.
#[must_use]
pub fn service<'a>(
    name: &Arc<str>,
    record: &ServiceRecord,
    vips: Vec<IpAddr>,
    announcement: &Announcement,
    slices: impl Iterator<Item = &'a SliceRecord>,
    here: Option<&Here>,
) -> Option<Service> {
    let balanced = record.balanced.as_deref()?;
    let slices = slices.filter(|slice| {
        slice
            .owner_uid
            .as_ref()
            .is_none_or(|uid| *uid == record.uid)
    });
    let ranges = balanced.source_ranges.iter();
    Some(Service {
        name: Arc::clone(name),
        vips,
        announce: announcement.announce,
        traffic_policy: match balanced.local {
            true => TrafficPolicy::Local,
            false => TrafficPolicy::Cluster,
        },
        affinity: balanced
            .affinity_seconds
            .map(|seconds| Duration::from_secs(seconds.into())),
        new_flows_per_second: None,
        returns_by_ingress: false,
        source_ranges: ranges
            .map(|&(address, bits)| Prefix::containing(address, bits))
            .collect(),
        bgp: Arc::clone(&announcement.bgp),
        ports: balanced.ports.iter().map(port).collect(),
        taken: balanced.taken.iter().map(taken).collect(),
        health_check: None,
        endpoints: endpoints(balanced, slices, here),
    })
}

fn port(record: &PortRecord) -> Port {
    Port {
        name: Arc::clone(&record.name),
        protocol: record.protocol,
        port: record.port,
    }
}

fn taken(&(vip, key): &(IpAddr, PortKey)) -> ServicePort {
    ServicePort {
        vip,
        protocol: key.protocol,
        port: key.port,
    }
}

type Ports = BTreeMap<Arc<str>, u16>;

fn endpoints<'a>(
    balanced: &Balanced,
    slices: impl Iterator<Item = &'a SliceRecord>,
    here: Option<&Here>,
) -> Vec<Endpoint> {
    let slices: Vec<_> = slices.collect();
    let all = slices.iter().flat_map(|slice| slice.endpoints.iter());
    let meant = match here.filter(|_| !balanced.local) {
        Some(here) => Meant::of(all, here),
        None => Meant::All,
    };
    let mut united: BTreeMap<IpAddr, Endpoint> = BTreeMap::new();
    for slice in slices {
        let ports = Arc::new(ports_of(balanced, slice));
        for record in &slice.endpoints {
            let new = endpoint(record, &ports, &meant);
            match united.entry(record.address) {
                Entry::Vacant(place) => _ = place.insert(new),
                Entry::Occupied(mut known) => unite(known.get_mut(), new),
            }
        }
    }
    united.into_values().collect()
}

/// The ports of a slice that the Service has, by name. The number is the slice's: a named target port may be another
/// one in each.
fn ports_of(balanced: &Balanced, slice: &SliceRecord) -> Ports {
    let number = |port: &PortRecord| {
        let mut ports = slice.ports.iter();
        let same = ports.find(|of| of.name == port.name && of.protocol == port.protocol)?;
        Some((Arc::clone(&port.name), same.port.unwrap_or(port.port)))
    };
    balanced.ports.iter().filter_map(number).collect()
}

fn endpoint(record: &EndpointRecord, ports: &Arc<Ports>, meant: &Meant<'_>) -> Endpoint {
    Endpoint {
        address: record.address,
        node: record.node.clone(),
        ports: Arc::clone(ports),
        ready: record.ready,
        serving: record.serving,
        terminating: record.terminating,
        elsewhere: !meant.includes(record),
        weight: 1,
    }
}

/// Two words about one endpoint: the better conditions, and all ports.
fn unite(known: &mut Endpoint, other: Endpoint) {
    let rank = |endpoint: &Endpoint| (endpoint.ready, endpoint.serving, !endpoint.terminating);
    let (better, worse) = match rank(&other) > rank(known) {
        true => (other, known.clone()),
        false => (known.clone(), other),
    };
    let mut ports = Ports::clone(&better.ports);
    for (name, number) in worse.ports.iter() {
        ports.entry(Arc::clone(name)).or_insert(*number);
    }
    *known = Endpoint {
        ports: match ports == *better.ports {
            true => Arc::clone(&better.ports),
            false => Arc::new(ports),
        },
        node: better.node.clone().or(worse.node),
        ..better
    };
}
