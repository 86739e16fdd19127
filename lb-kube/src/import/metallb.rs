//! MetalLB's pools, peers and advertisements as Eips, BgpPeers and a BgpConf. Its speakers announce only themselves, so
//! peers get `nextHop: self`; a pool with allocation rules refuses others even if they ask, so its Eip is fenced.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    Plan,
    convert::{items, seconds, text, texts, without_empty},
    legacy, name, namespace, of_kind, ours,
};
use crate::crd::LabelSelector;

/// Hops that a session over several may take, as MetalLB has it.
const MULTIHOP_TTL: u8 = 255;
/// Its Secrets have the password here.
const SECRET_KEY: &str = "password";
/// After every pool with a priority: MetalLB takes those without one last, and here a pool without one comes first.
const PRIORITY_LAST: i64 = 1_000_000;

/// Adds our objects to the plan, and what is different.
pub(super) fn convert(objects: &[Value], plan: &mut Plan) {
    let objects = in_todays_words(objects, plan);
    peers(&objects, plan);
    let communities = communities(&objects);
    let has_priority = of_kind(&objects, "IPAddressPool")
        .any(|pool| pool["spec"]["serviceAllocation"]["priority"].as_i64() > Some(0));
    for pool in of_kind(&objects, "IPAddressPool") {
        let eip = eip(pool, &objects, &communities, has_priority, plan);
        plan.objects.push(eip);
    }
    for profile in of_kind(&objects, "BFDProfile") {
        let name = name(profile);
        plan.differs.push(format!(
            "BFDProfile {name}: there is no BFD in this version; shorten the peers' holdTime instead"
        ));
    }
}

/// The older forms as the kinds of today.
fn in_todays_words(objects: &[Value], plan: &mut Plan) -> Vec<Value> {
    let mut made = objects.to_vec();
    for map in of_kind(objects, "ConfigMap") {
        // Any name: MetalLB's can be told it.
        if map["data"]["config"].is_null() {
            continue;
        }
        match legacy::of_config_map(map) {
            Ok(objects) => made.extend(objects),
            Err(why) => plan.differs.push(format!(
                "ConfigMap {}/{}: it is not understood: {why}",
                namespace(map),
                name(map)
            )),
        }
    }
    for pool in of_kind(objects, "AddressPool") {
        made.extend(legacy::of_address_pool(pool));
    }
    made
}

/// The speaker, whose number is the first peer's, and the peers.
fn peers(objects: &[Value], plan: &mut Plan) {
    let all: Vec<&Value> = of_kind(objects, "BGPPeer").collect();
    let Some(asn) = all.iter().find_map(|peer| peer["spec"]["myASN"].as_u64()) else {
        return;
    };
    let first = all.iter().find_map(|peer| text(&peer["spec"], "routerID"));
    let is_one = all
        .iter()
        .all(|peer| text(&peer["spec"], "routerID") == first);
    let router_id = first.filter(|_| is_one && all.len() > 1);
    if first.is_some() && router_id.is_none() {
        plan.differs.push(
            "BGPPeer routerID: a node has one identifier here, its first IPv4 address unless BgpConf routerId is set"
                .to_owned(),
        );
    }
    plan.objects.push(ours(
        "BgpConf",
        "default",
        without_empty(json!({"as": asn, "routerId": router_id})),
    ));
    for peer in all {
        let differs = |sentence| plan.differs.push(sentence);
        let made = bgp_peers(peer, asn, objects, differs);
        plan.objects.extend(made);
    }
}

/// One for each selector of nodes: MetalLB takes any of them, a BgpPeer has one.
fn bgp_peers(
    peer: &Value,
    asn: u64,
    objects: &[Value],
    mut differs: impl FnMut(String),
) -> Vec<Value> {
    let (name, spec) = (name(peer), &peer["spec"]);
    let mut made = peer_spec(spec, asn, objects);
    for (field, why) in [
        ("dynamicASN", "the AS number must be given: set conf.peerAs"),
        ("bfdProfile", "there is no BFD in this version"),
        ("disableMP", "families are chosen by afiSafis"),
        ("keepaliveTime", "it is a third of the hold time"),
    ] {
        if is_given(&spec[field]) {
            differs(format!("BGPPeer {name} {field}: {why}"));
        }
    }
    for (field, ours) in [("holdTime", "holdTime"), ("connectTime", "connectRetry")] {
        let Some(duration) = text(spec, field) else {
            continue;
        };
        match seconds(duration) {
            Some(seconds) => made["timers"]["config"][ours] = seconds.to_string().into(),
            None => differs(format!(
                "BGPPeer {name} {field}: {duration} is not in whole seconds; the default counts"
            )),
        }
    }
    if let Some(secret) = text(&spec["passwordSecret"], "name") {
        made["passwordSecret"] = json!({"name": secret, "key": SECRET_KEY});
        let from = text(&spec["passwordSecret"], "namespace").unwrap_or(namespace(peer));
        differs(format!(
            "BGPPeer {name} passwordSecret: copy Secret {from}/{secret} into the Namespace {}",
            super::NAMESPACE
        ));
    }
    let selectors: Vec<&Value> = items(spec, "nodeSelectors").collect();
    match selectors[..] {
        [] => vec![ours("BgpPeer", name, made)],
        [one] => {
            made["nodeSelector"] = one.clone();
            vec![ours("BgpPeer", name, made)]
        }
        _ => selectors
            .into_iter()
            .enumerate()
            .map(|(index, selector)| {
                let mut made = made.clone();
                made["nodeSelector"] = selector.clone();
                ours("BgpPeer", &format!("{name}-{}", index + 1), made)
            })
            .collect(),
    }
}

fn is_given(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false)) && value.as_str() != Some("")
}

fn peer_spec(spec: &Value, asn: u64, objects: &[Value]) -> Value {
    let own = spec["myASN"].as_u64().filter(|own| *own != asn);
    let is_multihop = spec["ebgpMultiHop"] == true;
    let families = match has_ipv6(objects) {
        true => vec![family("AFI_IP"), family("AFI_IP6")],
        false => Vec::new(),
    };
    let port = spec["peerPort"].as_u64().filter(|port| *port != 179);
    without_empty(json!({
        "conf": without_empty(json!({
            "neighborAddress": text(spec, "peerAddress"),
            "neighborInterface": text(spec, "interface"),
            "peerAs": spec["peerASN"].as_u64().filter(|asn| *asn > 0),
            "localAs": own,
            "authPassword": text(spec, "password"),
            "vrf": text(spec, "vrf"),
        })),
        "ebgpMultihop": is_multihop.then(|| json!({"enabled": true, "multihopTtl": MULTIHOP_TTL})),
        "transport": port.map(|port| json!({"remotePort": port})),
        "sourceAddress": text(spec, "sourceAddress"),
        "gracefulRestart": is_given(&spec["enableGracefulRestart"]).then(|| json!({"enabled": true})),
        "afiSafis": families,
        "nextHop": "self",
    }))
}

/// Sessions tell both families there.
fn has_ipv6(objects: &[Value]) -> bool {
    let pools = of_kind(objects, "IPAddressPool");
    let mut addresses = pools.flat_map(|pool| texts(&pool["spec"], "addresses"));
    addresses.any(|text| text.contains(':'))
}

fn family(afi: &str) -> Value {
    json!({"config": {"family": {"afi": afi, "safi": "SAFI_UNICAST"}, "enabled": true}})
}

fn communities(objects: &[Value]) -> BTreeMap<String, String> {
    let lists =
        of_kind(objects, "Community").flat_map(|object| items(&object["spec"], "communities"));
    let named = lists.filter_map(|one| {
        Some((
            text(one, "name")?.to_owned(),
            text(one, "value")?.to_owned(),
        ))
    });
    named.collect()
}

fn eip(
    pool: &Value,
    objects: &[Value],
    communities: &BTreeMap<String, String>,
    has_priority: bool,
    plan: &mut Plan,
) -> Value {
    let (name, spec) = (name(pool), &pool["spec"]);
    let mut ranges = texts(spec, "addresses").map(|text| text.replace(' ', ""));
    let first = ranges.next().unwrap_or_default();
    let allocation = &spec["serviceAllocation"];
    let priority = allocation["priority"]
        .as_i64()
        .filter(|priority| *priority > 0);
    let is_selective = ["namespaces", "namespaceSelectors", "serviceSelectors"]
        .iter()
        .any(|field| items(allocation, field).next().is_some());
    let bgp = advertising(pool, "BGPAdvertisement", objects);
    let layer2 = advertising(pool, "L2Advertisement", objects);
    let protocol = match (bgp.is_empty(), layer2.is_empty()) {
        (true, false) => Some("layer2"),
        (false, false) => {
            plan.differs.push(format!(
                "IPAddressPool {name}: an Eip is announced by one protocol; it is by BGP, and not on layer 2"
            ));
            None
        }
        (true, true) => {
            plan.differs.push(format!(
                "IPAddressPool {name}: no advertisement names it, so MetalLB announced it to nobody; its Eip is announced to \
                 all peers"
            ));
            None
        }
        (false, true) => None,
    };
    let announcement = match protocol {
        Some(_) => layer2_announcement(name, &layer2, plan),
        None => bgp_announcement(name, &bgp, objects, communities, plan),
    };
    let spec = without_empty(json!({
        "address": first,
        "addresses": ranges.collect::<Vec<_>>(),
        "protocol": protocol,
        "avoidBuggyIPs": spec["avoidBuggyIPs"].as_bool().filter(|avoid| *avoid),
        "autoAssign": spec["autoAssign"].as_bool().filter(|auto| !auto),
        "priority": priority.or((has_priority).then_some(PRIORITY_LAST)),
        "namespaces": allocation["namespaces"],
        "namespaceSelectors": allocation["namespaceSelectors"],
        "serviceSelectors": allocation["serviceSelectors"],
        "fence": is_selective.then_some(true),
        "announcement": announcement,
    }));
    ours("Eip", name, spec)
}

/// The advertisements of a kind that name a pool, by name or by label; one that names none is of all.
fn advertising<'a>(pool: &Value, kind: &'a str, objects: &'a [Value]) -> Vec<&'a Value> {
    let labels = serde_json::from_value(pool["metadata"]["labels"].clone());
    let labels: BTreeMap<String, String> = labels.unwrap_or_default();
    let names_it = |advertisement: &&Value| {
        let spec = &advertisement["spec"];
        let mut selectors = items(spec, "ipAddressPoolSelectors").peekable();
        let mut named = texts(spec, "ipAddressPools").peekable();
        if selectors.peek().is_none() && named.peek().is_none() {
            return true;
        }
        let selects = |selector: &Value| {
            let selector = serde_json::from_value::<LabelSelector>(selector.clone());
            selector.is_ok_and(|selector| selector.selects(&labels))
        };
        named.any(|of| of == name(pool)) || selectors.any(selects)
    };
    of_kind(objects, kind).filter(names_it).collect()
}

fn bgp_announcement(
    pool: &str,
    advertisements: &[&Value],
    objects: &[Value],
    communities: &BTreeMap<String, String>,
    plan: &mut Plan,
) -> Option<Value> {
    let first = &advertisements.first()?["spec"];
    if advertisements.len() > 1 {
        plan.differs.push(format!(
            "IPAddressPool {pool}: {} BGPAdvertisements name it, of which {} counts; an Eip has one announcement",
            advertisements.len(),
            name(advertisements[0])
        ));
    }
    let told: Vec<_> = texts(first, "communities")
        .map(|text| communities.get(text).map_or(text, String::as_str))
        .collect();
    let made = without_empty(json!({
        "peers": peer_names(texts(first, "peers"), objects),
        "nodeSelectors": first["nodeSelectors"],
        "communities": told,
        "localPref": first["localPref"].as_u64().filter(|pref| *pref > 0),
        "aggregationLength": first["aggregationLength"].as_u64().filter(|length| *length < 32),
        "aggregationLengthV6": first["aggregationLengthV6"].as_u64().filter(|length| *length < 128),
    }));
    (made != json!({})).then_some(made)
}

/// As [`bgp_peers`] calls them.
fn peer_names<'a>(named: impl Iterator<Item = &'a str>, objects: &[Value]) -> Vec<String> {
    let names = named.flat_map(|wanted| {
        let peer = of_kind(objects, "BGPPeer").find(|peer| name(peer) == wanted);
        let selectors = peer.map_or(0, |peer| items(&peer["spec"], "nodeSelectors").count());
        match selectors {
            0 | 1 => vec![wanted.to_owned()],
            count => (1..=count)
                .map(|index| format!("{wanted}-{index}"))
                .collect(),
        }
    });
    names.collect()
}

fn layer2_announcement(pool: &str, advertisements: &[&Value], plan: &mut Plan) -> Option<Value> {
    plan.differs.push(format!(
        "IPAddressPool {pool}: nobody answers for its addresses on layer 2 in this version; Services keep them, and say \
         NotAnnounced"
    ));
    let first = &advertisements.first()?["spec"];
    if items(first, "interfaces").next().is_some() {
        plan.differs.push(format!(
            "L2Advertisement {} interfaces: set Eip {pool} spec.interface once layer 2 is there",
            name(advertisements[0])
        ));
    }
    let made = without_empty(json!({"nodeSelectors": first["nodeSelectors"]}));
    (made != json!({})).then_some(made)
}
