//! What a Service asks for: certain addresses, a pool, a way of announcing, to share. OpenELB's annotations of both
//! eras, MetalLB's under both prefixes, and `spec.loadBalancerIP` are understood. Where two say different things,
//! the annotations win over the field, OpenELB's over MetalLB's, and a sentence says so. Nothing is granted here.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;

/// A certain address (OpenELB, both eras).
pub const ADDRESS: [&str; 2] = [
    "eip.openelb.kubesphere.io/v1alpha1",
    "eip.porter.kubesphere.io/v1alpha1",
];
/// A pool by name (OpenELB, both eras). As a *label*, OpenELB's controller wrote it: the pool in use.
pub const POOL: [&str; 2] = [
    "eip.openelb.kubesphere.io/v1alpha2",
    "eip.porter.kubesphere.io/v1alpha2",
];
/// How to announce (OpenELB up to v0.5, both eras).
pub const PROTOCOL: [&str; 2] = [
    "protocol.openelb.kubesphere.io/v1alpha1",
    "protocol.porter.kubesphere.io/v1alpha1",
];
/// Certain addresses, a comma between them (MetalLB).
pub const METALLB_ADDRESSES: [&str; 2] = [
    "metallb.io/loadBalancerIPs",
    "metallb.universe.tf/loadBalancerIPs",
];
/// A pool by name (MetalLB).
pub const METALLB_POOL: [&str; 2] = [
    "metallb.io/address-pool",
    "metallb.universe.tf/address-pool",
];
/// Services with the same key may share an address (MetalLB).
pub const METALLB_SHARING: [&str; 2] = [
    "metallb.io/allow-shared-ip",
    "metallb.universe.tf/allow-shared-ip",
];

/// Proxy pods on nodes in place of an address (OpenELB), which nobody runs here.
pub const NODE_PROXY: &str = "node-proxy.openelb.kubesphere.io/type";

/// Where a request for addresses stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskedBy {
    /// OpenELB's annotation: an address in use is shared.
    OpenElb,
    /// MetalLB's annotation.
    MetalLb,
    /// `spec.loadBalancerIP`.
    Field,
}

/// What a Service asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Addresses, in the order named.
    pub addresses: Vec<IpAddr>,
    /// Where they are named; `None`: nowhere.
    pub asked_by: Option<AskedBy>,
    /// Name of a pool.
    pub pool: Option<String>,
    /// Protocol that the pool must have: `bgp`, `layer2` or `vip`.
    pub protocol: Option<String>,
    /// Key of those that it may share with.
    pub sharing_key: Option<String>,
    /// What of it cannot be honoured, a sentence each.
    pub problems: Vec<String>,
    /// An address that it asks for is none, which leaves nothing to be given.
    pub unusable: Option<String>,
}

impl Request {
    /// Reads the annotations and the field.
    #[must_use]
    pub fn of(service: &Service) -> Self {
        let mut problems = Vec::new();
        let openelb = annotation(service, &ADDRESS, &mut problems);
        let metallb = annotation(service, &METALLB_ADDRESSES, &mut problems);
        let field = service
            .spec
            .as_ref()
            .and_then(|spec| spec.load_balancer_ip.as_deref())
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(|text| ("spec.loadBalancerIP", text));
        let sources = [
            (AskedBy::OpenElb, openelb),
            (AskedBy::MetalLb, metallb),
            (AskedBy::Field, field),
        ];
        let mut unusable = None;
        let mut asked: Option<(AskedBy, &str, Vec<IpAddr>)> = None;
        for (by, source) in sources {
            let Some((name, text)) = source else {
                continue;
            };
            let addresses = addresses(name, text, &mut problems, &mut unusable);
            match &asked {
                None => asked = Some((by, name, addresses)),
                Some((_, winner, first)) if *first != addresses => problems.push(format!(
                    "{name} asks for {text}, and {winner} for another address: {winner} counts; remove one of them"
                )),
                Some(_) => {}
            }
        }
        let openelb_pool = annotation(service, &POOL, &mut problems);
        let metallb_pool = annotation(service, &METALLB_POOL, &mut problems);
        if let (Some((name, pool)), Some((other, other_pool))) = (openelb_pool, metallb_pool)
            && pool != other_pool
        {
            problems.push(format!(
                "{other} names the pool {other_pool}, and {name} {pool}: {name} counts; remove one of them"
            ));
        }
        let protocol = annotation(service, &PROTOCOL, &mut problems);
        let protocol = protocol.and_then(|(name, word)| known_protocol(name, word, &mut problems));
        let sharing = annotation(service, &METALLB_SHARING, &mut problems);
        if let Some(kind) = service.annotations().get(NODE_PROXY) {
            problems.push(format!(
                "{NODE_PROXY} asks for proxy pods ({kind}), which this version does not run: the Service gets an address \
                 like any other; remove the annotation"
            ));
        }
        let (asked_by, addresses) = asked.map_or((None, Vec::new()), |(by, _, addresses)| {
            (Some(by), addresses)
        });
        Self {
            addresses,
            asked_by,
            pool: openelb_pool
                .or(metallb_pool)
                .map(|(_, pool)| pool.to_owned()),
            protocol,
            sharing_key: sharing.map(|(_, key)| key.to_owned()),
            problems,
            unusable,
        }
    }
}

/// The first of the names that the Service has, with its value. Another spelling that says otherwise is a problem.
fn annotation<'a>(
    service: &'a Service,
    names: &[&'static str; 2],
    problems: &mut Vec<String>,
) -> Option<(&'static str, &'a str)> {
    let value = |name: &'static str| {
        let value = service.annotations().get(name)?.trim();
        (!value.is_empty()).then_some((name, value))
    };
    let (first, second) = (value(names[0]), value(names[1]));
    if let (Some((name, value)), Some((other, other_value))) = (first, second)
        && value != other_value
    {
        problems.push(format!(
            "{other} says {other_value}, and {name} {value}: {name} counts; remove one of them"
        ));
    }
    first.or(second)
}

fn addresses(
    name: &str,
    text: &str,
    problems: &mut Vec<String>,
    unusable: &mut Option<String>,
) -> Vec<IpAddr> {
    let mut made = Vec::new();
    for part in text.split(',').map(str::trim) {
        match part.parse() {
            Ok(address) if made.contains(&address) => {}
            Ok(address) => made.push(address),
            Err(_) => {
                let problem = format!("{name}: \"{part}\" is no IPv4 or IPv6 address");
                unusable.get_or_insert_with(|| problem.clone());
                problems.push(problem);
            }
        }
    }
    made
}

fn known_protocol(name: &str, word: &str, problems: &mut Vec<String>) -> Option<String> {
    if ["bgp", "layer2", "vip"].contains(&word) {
        return Some(word.to_owned());
    }
    problems.push(format!("{name}: \"{word}\" is none of bgp, layer2, vip"));
    None
}
