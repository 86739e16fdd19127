//! A Service as the controller needs it: what allocation looks at, in `lb-core`'s words, and what a write must repeat,
//! because a merge patch replaces whole lists.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use k8s_openapi::{
    api::core::v1::{LoadBalancerIngress, Service, ServiceSpec},
    apimachinery::pkg::apis::meta::v1::Condition as ConditionObject,
};
use kube::ResourceExt;
use lb_core::allocate::{
    Condition, Family, Ingress, PoolProtocol, PortKey, PortProtocol, PortState, Request, Sharing,
};

use super::{status, time};
use crate::{
    project::{
        claim::{Claim, ClaimedBy, ClassRules, claim},
        request::{self, AskedBy},
    },
    speakers::OPENELB_FINALIZERS,
};

/// Our finalizer on Services and Eips.
pub const FINALIZER: &str = "fairlead.io/addresses";
/// The finalizer that all load balancers set, and tools look for (KEP-980). It comes and goes with ours.
pub(super) const CLEANUP_FINALIZER: &str = "service.kubernetes.io/load-balancer-cleanup";
/// Annotation: addresses that a Service is to leave, a comma between them.
pub const REASSIGN: &str = "fairlead.io/reassign";
/// Annotation, written by us: how an address that is in no Eip any more is announced.
pub(super) const ANNOUNCEMENT: &str = "fairlead.io/announcement";
/// Annotation: with whom addresses are shared.
const SHARING: &str = "fairlead.io/sharing";
/// Annotation: the key of those that share.
const SHARING_KEY: &str = "fairlead.io/sharing-key";

/// A Service.
#[derive(Clone, Debug)]
pub(super) struct ServiceRecord {
    pub(super) model: Arc<lb_core::allocate::Service>,
    pub(super) finalizers: Vec<String>,
    /// All conditions, others' too.
    pub(super) conditions: Vec<ConditionObject>,
    pub(super) cluster_ips: Vec<IpAddr>,
}

/// Whether a finalizer of a Service or an Eip is ours to take off, OpenELB's included.
#[must_use]
pub fn is_our_finalizer(name: &str) -> bool {
    name == FINALIZER || name == CLEANUP_FINALIZER || OPENELB_FINALIZERS.contains(&name)
}

pub(super) fn record(object: &Service, rules: &ClassRules) -> ServiceRecord {
    let spec = object.spec.clone().unwrap_or_default();
    let status = object.status.clone().unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let ingress = status.load_balancer.and_then(|balancer| balancer.ingress);
    let ingress = ingress.unwrap_or_default();
    let addresses = |texts: &Option<Vec<String>>| -> Vec<IpAddr> {
        let texts = texts.iter().flatten();
        texts.filter_map(|text| text.parse().ok()).collect()
    };
    let claimed = claim(object, rules);
    let asked = request::Request::of(object);
    let shown: Vec<Ingress> = ingress.iter().filter_map(shown).collect();
    let (request, ignored) = request_of(&spec, &asked, &shown);
    let model = lb_core::allocate::Service {
        name: key(object),
        created: time::of_metadata(object.metadata.creation_timestamp.as_ref()).unwrap_or_default(),
        labels: object.labels().clone(),
        is_wanted: claimed.is_ours(),
        deleted: time::of_metadata(object.metadata.deletion_timestamp.as_ref()),
        request,
        ignored,
        families: families(&spec),
        requires_all_families: spec.ip_family_policy.as_deref() == Some("RequireDualStack"),
        ports: ports(&spec),
        is_local: spec.external_traffic_policy.as_deref() == Some("Local"),
        sharing: sharing(object, claimed, &asked),
        leave: leave(object),
        ingress: shown,
        has_hostnames: ingress.iter().any(|entry| entry.hostname.is_some()),
        has_finalizer: object.finalizers().iter().any(|name| name == FINALIZER),
        has_openelb_marks: has_openelb_marks(object),
        announcement: annotation(object, ANNOUNCEMENT).map(Arc::from),
        conditions: conditions.iter().filter_map(condition).collect(),
    };
    ServiceRecord {
        model: Arc::new(model),
        finalizers: object.finalizers().to_vec(),
        conditions,
        cluster_ips: addresses(&spec.cluster_ips),
    }
}

fn key(object: &Service) -> Arc<str> {
    let namespace = object.namespace().unwrap_or_default();
    format!("{namespace}/{}", object.name_any()).into()
}

fn annotation<'a>(object: &'a Service, name: &str) -> Option<&'a str> {
    object.annotations().get(name).map(String::as_str)
}

/// What it asks for, and what of that has no effect. Both of OpenELB's ways to name an address had precedence once: the
/// one that names what the Service has already is right.
fn request_of(
    spec: &ServiceSpec,
    asked: &request::Request,
    shown: &[Ingress],
) -> (Result<Request, String>, Vec<String>) {
    if let Some(why) = &asked.unusable {
        return (Err(why.clone()), Vec::new());
    }
    let mut addresses = asked.addresses.clone();
    let field = spec.load_balancer_ip.as_ref();
    let field = field.and_then(|text| text.trim().parse::<IpAddr>().ok());
    let has = |address: &IpAddr| shown.iter().any(|entry| entry.address == *address);
    if let Some(field) = field.filter(has)
        && asked.asked_by == Some(AskedBy::OpenElb)
        && !addresses.iter().any(has)
    {
        addresses = vec![field];
    }
    for family in [Family::Ipv4, Family::Ipv6] {
        let of_family = addresses
            .iter()
            .filter(|address| Family::of(**address) == family);
        if of_family.count() > 1 {
            let why = format!("it asks for more than one {family} address: leave one of them");
            return (Err(why), Vec::new());
        }
    }
    let protocol = asked.protocol.as_deref().map(|word| match word {
        "layer2" => PoolProtocol::Layer2,
        "vip" => PoolProtocol::Vip,
        _ => PoolProtocol::Bgp,
    });
    let request = Request {
        addresses,
        pool: asked.pool.as_deref().map(Arc::from),
        protocol,
    };
    (Ok(request), asked.problems.clone())
}

fn families(spec: &ServiceSpec) -> Vec<Family> {
    let names = spec.ip_families.iter().flatten();
    let families: Vec<Family> = names
        .filter_map(|name| match name.as_str() {
            "IPv4" => Some(Family::Ipv4),
            "IPv6" => Some(Family::Ipv6),
            _ => None,
        })
        .collect();
    if families.is_empty() {
        vec![Family::Ipv4]
    } else {
        families
    }
}

fn ports(spec: &ServiceSpec) -> BTreeSet<PortKey> {
    let ports = spec.ports.iter().flatten();
    ports
        .filter_map(|port| port_key(port.protocol.as_deref(), port.port))
        .collect()
}

fn port_key(protocol: Option<&str>, port: i32) -> Option<PortKey> {
    let protocol = match protocol.unwrap_or("TCP") {
        "TCP" => PortProtocol::Tcp,
        "UDP" => PortProtocol::Udp,
        "SCTP" => PortProtocol::Sctp,
        _ => return None,
    };
    let port = u16::try_from(port).ok()?;
    Some(PortKey { protocol, port })
}

/// OpenELB gave an address that was asked for to whoever asked; that is kept for those that claim us in its way.
fn sharing(object: &Service, claimed: Claim, asked: &request::Request) -> Sharing {
    let own_key = annotation(object, SHARING_KEY).map(str::to_owned);
    if let Some(key) = own_key.or_else(|| asked.sharing_key.clone()) {
        return Sharing::Key(key);
    }
    let is_openelbs =
        claimed == Claim::Ours(ClaimedBy::Annotation) || asked.asked_by == Some(AskedBy::OpenElb);
    match annotation(object, SHARING) {
        Some("always") => Sharing::Always,
        Some("sameNamespace") => Sharing::SameNamespace,
        None if is_openelbs => Sharing::Always,
        _ => Sharing::Exclusive,
    }
}

fn leave(object: &Service) -> BTreeSet<IpAddr> {
    let text = annotation(object, REASSIGN).unwrap_or_default();
    let parts = text.split(',').map(str::trim);
    parts.filter_map(|part| part.parse().ok()).collect()
}

fn has_openelb_marks(object: &Service) -> bool {
    let finalizers = object.finalizers();
    let has_finalizer = finalizers
        .iter()
        .any(|name| OPENELB_FINALIZERS.contains(&name.as_str()));
    let labels = object.labels();
    has_finalizer || request::POOL.iter().any(|name| labels.contains_key(*name))
}

fn shown(entry: &LoadBalancerIngress) -> Option<Ingress> {
    let address = entry.ip.as_ref()?.parse().ok()?;
    let ports = entry.ports.iter().flatten();
    let ports = ports.filter_map(|port| {
        let state = match port.error {
            Some(_) => PortState::Conflict,
            None => PortState::Served,
        };
        Some((port_key(Some(&port.protocol), port.port)?, state))
    });
    Some(Ingress {
        address,
        ports: ports.collect(),
    })
}

/// One of ours.
fn condition(object: &ConditionObject) -> Option<Condition> {
    let kind = status::service_kind(&object.type_)?;
    Some(Condition {
        kind,
        status: status::parse(&object.status),
        reason: object.reason.clone(),
        message: object.message.clone(),
    })
}

#[cfg(test)]
mod tests;
