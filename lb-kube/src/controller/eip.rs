//! An Eip as the controller needs it: a pool in `lb-core`'s words, and the object's status made from such a pool's again.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use kube::ResourceExt;
use lb_core::allocate::{
    AddressRange, Audience, Claim, ClaimState, Condition, LabelExpression, LabelOperator,
    LabelSelector, Pool, PoolProtocol, PoolStatus, PortKey, Usage,
};

use super::{service::FINALIZER, status, time};
use crate::{
    crd::{self, Eip, EipSpec, EipStatus, Protocol},
    project::bgp,
    speakers::CNI,
};

/// Annotation of the pool for Services that no other pool is made for.
const DEFAULT: &str = "eip.openelb.kubesphere.io/is-default-eip";

/// An Eip.
#[derive(Clone, Debug)]
pub(super) struct EipRecord {
    pub(super) pool: Arc<Pool>,
    /// What a write of the status must repeat.
    pub(super) spec: EipSpec,
    pub(super) status: EipStatus,
    pub(super) finalizers: Vec<String>,
}

pub(super) fn record(object: &Eip) -> EipRecord {
    let spec = &object.spec;
    let status = object.status.clone().unwrap_or_default();
    let (ranges, invalid) = ranges(object);
    let pool = Pool {
        name: object.name_any().into(),
        created: time::of_metadata(object.metadata.creation_timestamp.as_ref()).unwrap_or_default(),
        ranges,
        invalid,
        protocol: match spec.protocol {
            None | Some(Protocol::Bgp) => PoolProtocol::Bgp,
            Some(Protocol::Layer2) => PoolProtocol::Layer2,
            Some(Protocol::Vip) => PoolProtocol::Vip,
        },
        ignored: ignored(spec),
        is_disabled: spec.disable == Some(true),
        is_deleting: object.metadata.deletion_timestamp.is_some(),
        is_default: object.annotations().get(DEFAULT).map(String::as_str) == Some("true"),
        auto_assign: spec.auto_assign,
        avoids_buggy: spec.avoid_buggy_ips == Some(true),
        priority: spec.priority.unwrap_or_default(),
        audience: audience(spec),
        is_fenced: spec.fence == Some(true),
        announcing_peers: of_announcement(spec, |announcement| {
            announcement
                .peers
                .iter()
                .map(|name| name.as_str().into())
                .collect()
        }),
        announcing_nodes: of_announcement(spec, |announcement| {
            announcement.node_selectors.iter().map(selector).collect()
        }),
        announcement: announcement(spec),
        has_finalizer: object.finalizers().iter().any(|name| name == FINALIZER),
        status: pool_status(&status),
    };
    EipRecord {
        pool: Arc::new(pool),
        spec: spec.clone(),
        status,
        finalizers: object.finalizers().to_vec(),
    }
}

/// The ranges, and what is wrong with them.
fn ranges(object: &Eip) -> (Vec<AddressRange>, Option<String>) {
    let mut ranges = Vec::new();
    let mut errors = Vec::new();
    for text in std::iter::once(&object.spec.address).chain(&object.spec.addresses) {
        match text.trim().parse::<AddressRange>() {
            Ok(range) => ranges.push(range),
            Err(error) => errors.push(error.to_string()),
        }
    }
    if let Some(cni) = object.labels().get(CNI) {
        errors.push(format!(
            "its label {CNI} hands it to {cni}: remove the label"
        ));
    }
    let of_nodes = object.spec.announcement.iter();
    let of_nodes = of_nodes.flat_map(|announcement| &announcement.node_selectors);
    let selectors = object.spec.namespace_selectors.iter();
    let selectors = selectors.chain(&object.spec.service_selectors);
    for selector in selectors.chain(of_nodes) {
        if let Some(word) = selector.unknown_operator() {
            errors.push(format!(
                "a selector has the operator {word}: use In, NotIn, Exists or DoesNotExist"
            ));
        }
    }
    (ranges, (!errors.is_empty()).then(|| errors.join("; ")))
}

/// What of it has no effect, with what to do instead.
fn ignored(spec: &EipSpec) -> Vec<String> {
    let is_bgp = matches!(spec.protocol, None | Some(Protocol::Bgp));
    let is_for_all = audience(spec).is_empty();
    let given = [
        (
            spec.using_known_ips.is_some(),
            "usingKnownIPs: all addresses are used, as in OpenELB since v0.4; see avoidBuggyIPs",
        ),
        (
            spec.interface.is_some() && is_bgp,
            "interface: it is of layer 2; with protocol bgp, routes say where the addresses are",
        ),
        (
            spec.interface.is_some() && !is_bgp,
            "interface: this version does no layer 2",
        ),
        (
            spec.fence == Some(true) && is_for_all,
            "fence: nobody is kept out, because neither namespaces nor selectors say who may come in",
        ),
        (
            spec.announcement.is_some() && !is_bgp,
            "announcement: it is of BGP, and protocol is not bgp",
        ),
    ];
    let given = given.into_iter().filter(|(is_given, _)| *is_given);
    let mut ignored: Vec<String> = given.map(|(_, text)| text.to_owned()).collect();
    // Whether its peers exist is another question, and changes.
    let (_, findings) = bgp::announcement(spec.announcement.as_ref(), &BTreeMap::new());
    let findings = findings.0.iter();
    let findings = findings.filter(|finding| finding.field != "announcement.peers");
    ignored.extend(findings.map(|finding| format!("{}: {}", finding.field, finding.message)));
    ignored
}

fn of_announcement<T: Default>(spec: &EipSpec, of: impl Fn(&crd::Announcement) -> T) -> T {
    spec.announcement.as_ref().map(of).unwrap_or_default()
}

fn audience(spec: &EipSpec) -> Audience {
    let by_labels = (!spec.namespace_selector.is_empty()).then(|| LabelSelector {
        labels: spec.namespace_selector.clone(),
        expressions: Vec::new(),
    });
    let selectors = spec.namespace_selectors.iter().map(selector);
    Audience {
        namespaces: spec.namespaces.iter().cloned().collect(),
        namespace_selectors: by_labels.into_iter().chain(selectors).collect(),
        service_selectors: spec.service_selectors.iter().map(selector).collect(),
    }
}

fn selector(selector: &crd::LabelSelector) -> LabelSelector {
    let expressions = selector.match_expressions.iter().map(|item| {
        let values = || item.values.iter().cloned().collect();
        LabelExpression {
            key: item.key.clone(),
            operator: match item.operator.as_str() {
                "In" => LabelOperator::In(values()),
                "NotIn" => LabelOperator::NotIn(values()),
                "DoesNotExist" => LabelOperator::DoesNotExist,
                // What is none of these makes the pool invalid.
                _ => LabelOperator::Exists,
            },
        }
    });
    LabelSelector {
        labels: selector.match_labels.clone(),
        expressions: expressions.collect(),
    }
}

/// What agents need to go on announcing an address that has left the pool.
fn announcement(spec: &EipSpec) -> Arc<str> {
    let settings = serde_json::json!({
        "protocol": spec.protocol.unwrap_or(Protocol::Bgp),
        "announcement": spec.announcement,
    });
    settings.to_string().into()
}

fn pool_status(status: &EipStatus) -> PoolStatus {
    let claims = status.claims.iter().filter_map(claim);
    let conditions = status.conditions.iter().filter_map(|object| {
        Some(Condition {
            kind: status::pool_kind(&object.type_)?,
            status: status::parse(&object.status),
            reason: object.reason.clone(),
            message: object.message.clone(),
        })
    });
    let used = status.used.iter().filter_map(|(address, services)| {
        let services = services.split(';').filter(|name| !name.is_empty());
        Some((address.parse().ok()?, services.map(Arc::from).collect()))
    });
    let unsigned = |number: Option<i64>| u64::try_from(number.unwrap_or_default()).unwrap_or(0);
    let end = |text: &Option<String>| text.as_ref()?.parse::<IpAddr>().ok();
    PoolStatus {
        claims: claims.collect(),
        epoch: status.epoch.and_then(|epoch| u64::try_from(epoch).ok()),
        usage: Usage {
            used: used.collect(),
            usage: unsigned(status.usage),
            pool_size: unsigned(status.pool_size),
            is_occupied: status.occupied == Some(true),
            ends: end(&status.first_ip).zip(end(&status.last_ip)),
            is_ready: status.ready == Some(true),
        },
        conditions: conditions.collect(),
    }
}

fn claim(claim: &crd::Claim) -> Option<Claim> {
    let time = |text: &Option<String>| text.as_deref().and_then(time::parse);
    let ports = claim.ports.iter();
    Some(Claim {
        address: claim.address.parse().ok()?,
        service: claim.service.as_str().into(),
        ports: ports
            .filter_map(|text| text.parse::<PortKey>().ok())
            .collect(),
        state: match (time(&claim.freed_at), time(&claim.unused_since)) {
            (Some(since), _) => ClaimState::Resting { since },
            (None, Some(since)) => ClaimState::Unused { since },
            (None, None) => ClaimState::Held,
        },
    })
}

/// The status that says the same.
pub(super) fn status(before: &EipStatus, pool: &PoolStatus) -> EipStatus {
    let usage = &pool.usage;
    let used: BTreeMap<_, _> = usage
        .used
        .iter()
        .map(|(address, services)| (address.to_string(), services.join(";")))
        .collect();
    let signed = |number: u64| Some(i64::try_from(number).unwrap_or(i64::MAX));
    let (first, last) = usage.ends.unzip();
    EipStatus {
        occupied: Some(usage.is_occupied),
        usage: signed(usage.usage),
        pool_size: signed(usage.pool_size),
        used,
        claims: pool.claims.iter().map(claim_object).collect(),
        epoch: pool.epoch.and_then(signed),
        first_ip: first.map(|address| address.to_string()),
        last_ip: last.map(|address| address.to_string()),
        v4: first.filter(IpAddr::is_ipv4).map(|_| true),
        ready: Some(usage.is_ready),
        ports_usage: before.ports_usage.clone(),
        conditions: status::of_pool(&before.conditions, &pool.conditions),
    }
}

fn claim_object(claim: &Claim) -> crd::Claim {
    let (unused_since, freed_at) = match claim.state {
        ClaimState::Held => (None, None),
        ClaimState::Unused { since } => (Some(time::text(since)), None),
        ClaimState::Resting { since } => (None, Some(time::text(since))),
    };
    crd::Claim {
        address: claim.address.to_string(),
        service: claim.service.to_string(),
        ports: claim.ports.iter().map(ToString::to_string).collect(),
        unused_since,
        freed_at,
    }
}

#[cfg(test)]
mod tests;
