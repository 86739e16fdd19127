//! A Service as the agent needs it: whose it is, its addresses as the status has them, and how it is to be served.
//! Node ports, `internalTrafficPolicy`, `appProtocol` and `externalIPs` are not looked at: the first three are not
//! ours, and an external IP may be claimed by anybody who can write a Service (CVE-2020-8554).

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use kube::ResourceExt;
use lb_core::model::{Prefix, Protocol};
use serde::{Deserialize, Serialize};

use crate::crd::{Announcement, Protocol as PoolProtocol};

use super::{
    claim::{Claim, ClassRules, claim},
    names::Names,
};

/// Ranges of who may connect, where the field is empty (the annotation of Kubernetes before 1.9).
pub const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
/// How an address is announced that is in no pool any more; the controller writes it.
pub const ANNOUNCEMENT: &str = "fairlead.io/announcement";
/// How long a client keeps its endpoint unless the Service says otherwise (API default), in seconds.
const AFFINITY_SECONDS_DEFAULT: u32 = 10_800;

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// Tells a Service from one of the same name before it.
    pub uid: Arc<str>,
    /// Whose it is.
    pub claim: Claim,
    /// How it is served; `None`: it is of another type.
    pub balanced: Option<Box<Balanced>>,
}

/// How a Service of type `LoadBalancer` is served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balanced {
    /// Its addresses, by `status.loadBalancer.ingress`; whether `ipMode` is `VIP` or `Proxy` is between kube-proxy
    /// and the pods.
    pub vips: Vec<IpAddr>,
    /// Ports that another Service has on one of these: the entry's `ports` has an error for them.
    pub taken: Vec<(IpAddr, PortKey)>,
    /// Its ports, but for those of protocols that are not supported.
    pub ports: Vec<PortRecord>,
    /// `externalTrafficPolicy` is `Local`.
    pub local: bool,
    /// `sessionAffinity: ClientIP`: how long a client keeps its endpoint after its last packet, in seconds.
    pub affinity_seconds: Option<u32>,
    /// Who may connect: addresses with their prefix lengths; empty: everybody.
    pub source_ranges: Vec<(IpAddr, u8)>,
    /// How an address is announced that has left its pool, as the controller recorded it.
    pub recorded: Option<Box<Recorded>>,
    /// What of it is not honoured, a sentence each.
    pub problems: Vec<String>,
}

/// What the annotation [`ANNOUNCEMENT`] says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// The pool's protocol.
    pub protocol: Option<PoolProtocol>,
    /// The pool's settings.
    pub announcement: Option<Announcement>,
}

/// Protocol and number of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortKey {
    /// Transport protocol.
    #[serde(with = "ProtocolDef")]
    pub protocol: Protocol,
    /// Number that clients dial.
    pub port: u16,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRecord {
    /// Its name; empty if the Service has only this one.
    pub name: Arc<str>,
    /// Transport protocol.
    #[serde(with = "ProtocolDef")]
    pub protocol: Protocol,
    /// Number that clients dial.
    pub port: u16,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Protocol")]
pub(super) enum ProtocolDef {
    Tcp,
    Udp,
}

/// Reads a Service.
#[must_use]
pub fn service(object: &Service, rules: &ClassRules, names: &mut Names) -> ServiceRecord {
    let claim = claim(object, rules);
    let spec = object.spec.as_ref();
    let spec = spec.filter(|_| claim != Claim::NotLoadBalancer);
    ServiceRecord {
        uid: object.uid().unwrap_or_default().into(),
        claim,
        balanced: spec.map(|spec| Box::new(balanced(object, spec, names))),
    }
}

/// The protocol by its name in the API, where TCP is the default.
pub(super) fn protocol(name: Option<&str>) -> Option<Protocol> {
    match name {
        None | Some("TCP") => Some(Protocol::Tcp),
        Some("UDP") => Some(Protocol::Udp),
        Some(_) => None,
    }
}

fn balanced(object: &Service, spec: &ServiceSpec, names: &mut Names) -> Balanced {
    let mut problems = Vec::new();
    let (vips, taken) = ingress(object);
    Balanced {
        vips,
        taken,
        ports: ports(spec, names, &mut problems),
        local: spec.external_traffic_policy.as_deref() == Some("Local"),
        affinity_seconds: affinity(spec),
        source_ranges: source_ranges(object, spec, &mut problems),
        recorded: recorded(object),
        problems,
    }
}

/// An entry without an address is a name, which is nobody's VIP. A Service that is being deleted has none: its
/// routes are withdrawn before its finalizers go.
fn ingress(object: &Service) -> (Vec<IpAddr>, Vec<(IpAddr, PortKey)>) {
    let balancer = object
        .status
        .as_ref()
        .and_then(|s| s.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_ref());
    let is_there = object.metadata.deletion_timestamp.is_none();
    let (mut vips, mut taken) = (Vec::new(), Vec::new());
    for entry in ingress.into_iter().flatten().filter(|_| is_there) {
        let address: Option<IpAddr> = entry.ip.as_deref().and_then(|text| text.parse().ok());
        let Some(address) = address.filter(|address| !vips.contains(address)) else {
            continue;
        };
        vips.push(address);
        let ports = entry
            .ports
            .iter()
            .flatten()
            .filter(|port| port.error.is_some());
        let keys = ports.filter_map(|port| {
            Some(PortKey {
                protocol: protocol(Some(&port.protocol))?,
                port: u16::try_from(port.port).ok()?,
            })
        });
        taken.extend(keys.map(|key| (address, key)));
    }
    (vips, taken)
}

fn ports(spec: &ServiceSpec, names: &mut Names, problems: &mut Vec<String>) -> Vec<PortRecord> {
    let mut made = Vec::new();
    for port in spec.ports.iter().flatten() {
        let Ok(number) = u16::try_from(port.port) else {
            continue;
        };
        let Some(protocol) = protocol(port.protocol.as_deref()) else {
            let name = port.protocol.as_deref().unwrap_or_default();
            problems.push(format!(
                "port {number}/{name} is not served: only TCP and UDP are"
            ));
            continue;
        };
        made.push(PortRecord {
            name: names.get(port.name.as_deref().unwrap_or_default()),
            protocol,
            port: number,
        });
    }
    made
}

fn affinity(spec: &ServiceSpec) -> Option<u32> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let config = spec.session_affinity_config.as_ref();
    let client_ip = config.and_then(|config| config.client_ip.as_ref());
    let seconds = client_ip.and_then(|client_ip| client_ip.timeout_seconds);
    let seconds = seconds.and_then(|seconds| u32::try_from(seconds).ok());
    Some(
        seconds
            .filter(|&seconds| seconds > 0)
            .unwrap_or(AFFINITY_SECONDS_DEFAULT),
    )
}

fn recorded(object: &Service) -> Option<Box<Recorded>> {
    let text = object.annotations().get(ANNOUNCEMENT)?;
    serde_json::from_str(text).ok().map(Box::new)
}

/// A range that cannot be understood lets nobody in: who wrote it meant to restrict.
fn source_ranges(
    object: &Service,
    spec: &ServiceSpec,
    problems: &mut Vec<String>,
) -> Vec<(IpAddr, u8)> {
    let field = spec.load_balancer_source_ranges.iter().flatten();
    let mut texts: Vec<&str> = field.map(|text| text.trim()).collect();
    let mut place = "spec.loadBalancerSourceRanges";
    if texts.is_empty()
        && let Some(legacy) = object.annotations().get(SOURCE_RANGES)
    {
        place = SOURCE_RANGES;
        let parts = legacy.split(',').map(str::trim);
        texts = parts.filter(|_| !legacy.trim().is_empty()).collect();
    }
    let mut made = BTreeSet::new();
    for text in &texts {
        match range(text) {
            Some(prefix) => _ = made.insert((prefix.address(), prefix.bits())),
            None => problems.push(format!(
                "{place}: \"{text}\" is no range like 192.0.2.0/24 or 2001:db8::/32; nobody is let in by it"
            )),
        }
    }
    if made.is_empty() && !texts.is_empty() {
        return NOBODY.to_vec();
    }
    made.into_iter().collect()
}

/// The unspecified addresses: nobody sends from them.
const NOBODY: [(IpAddr, u8); 2] = [
    (IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 32),
    (IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED), 128),
];

/// Bits beyond the length are dropped, as kube-proxy does.
fn range(text: &str) -> Option<Prefix> {
    let (address, bits) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.parse().ok().filter(|&bits: &u8| bits <= most)?;
    Some(Prefix::containing(address, bits))
}
