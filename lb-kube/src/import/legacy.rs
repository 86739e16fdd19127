//! What MetalLB was told before it had the kinds of today, in the words of those: the ConfigMap of up to v0.12, and the
//! AddressPools between.

use serde_json::{Value, json};

use super::{
    convert::{items, text, without_empty},
    name,
};

/// The ConfigMap's text as objects; an error in words if it is not understood.
pub(super) fn of_config_map(object: &Value) -> Result<Vec<Value>, String> {
    let Some(text) = text(&object["data"], "config") else {
        return Err("it has no key `config`".to_owned());
    };
    let config: Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let mut made = Vec::new();
    if let Some(communities) = config["bgp-communities"].as_object() {
        let list: Vec<_> = communities
            .iter()
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect();
        made.push(object_of(
            "Community",
            "communities",
            json!({"communities": list}),
        ));
    }
    made.extend(items(&config, "peers").enumerate().map(|(index, peer)| {
        let address = peer["peer-address"].as_str().unwrap_or_default();
        let name = match peer["name"].as_str() {
            Some(name) => name.to_owned(),
            None => format!("peer-{}-{}", index + 1, address.replace(['.', ':'], "-")),
        };
        object_of("BGPPeer", &name, peer_of(peer))
    }));
    made.extend(items(&config, "bfd-profiles").map(|profile| {
        let name = profile["name"].as_str().unwrap_or_default();
        object_of("BFDProfile", name, json!({}))
    }));
    for pool in items(&config, "address-pools") {
        made.extend(pool_of(pool, PoolWords::CONFIG_MAP));
    }
    Ok(made)
}

/// An AddressPool as the kinds that followed it.
pub(super) fn of_address_pool(object: &Value) -> Vec<Value> {
    let mut pool = object["spec"].clone();
    pool["name"] = name(object).into();
    pool_of(&pool, PoolWords::ADDRESS_POOL)
}

fn peer_of(peer: &Value) -> Value {
    let selectors = items(peer, "node-selectors").map(|selector| {
        let expressions: Vec<_> = items(selector, "match-expressions").cloned().collect();
        without_empty(json!({
            "matchLabels": selector["match-labels"], "matchExpressions": expressions,
        }))
    });
    without_empty(json!({
        "peerAddress": peer["peer-address"],
        "peerASN": peer["peer-asn"],
        "myASN": peer["my-asn"],
        "peerPort": peer["peer-port"],
        "sourceAddress": peer["source-address"],
        "holdTime": peer["hold-time"],
        "keepaliveTime": peer["keepalive-time"],
        "routerID": peer["router-id"],
        "password": peer["password"],
        "bfdProfile": peer["bfd-profile"],
        "ebgpMultiHop": peer["ebgp-multihop"],
        "nodeSelectors": selectors.collect::<Vec<_>>(),
    }))
}

/// How a pool of the older forms calls its fields.
struct PoolWords {
    auto_assign: &'static str,
    avoid_buggy: &'static str,
    advertisements: &'static str,
    length: &'static str,
    length_v6: &'static str,
    local_pref: &'static str,
}

impl PoolWords {
    const CONFIG_MAP: Self = Self {
        auto_assign: "auto-assign",
        avoid_buggy: "avoid-buggy-ips",
        advertisements: "bgp-advertisements",
        length: "aggregation-length",
        length_v6: "aggregation-length-v6",
        local_pref: "localpref",
    };
    const ADDRESS_POOL: Self = Self {
        auto_assign: "autoAssign",
        avoid_buggy: "avoidBuggyIPs",
        advertisements: "bgpAdvertisements",
        length: "aggregationLength",
        length_v6: "aggregationLengthV6",
        local_pref: "localPref",
    };
}

/// A pool and how it is advertised: once, if nothing is said.
fn pool_of(pool: &Value, words: PoolWords) -> Vec<Value> {
    let name = pool["name"].as_str().unwrap_or_default();
    let spec = without_empty(json!({
        "addresses": pool["addresses"],
        "autoAssign": pool[words.auto_assign],
        "avoidBuggyIPs": pool[words.avoid_buggy],
    }));
    let mut made = vec![object_of("IPAddressPool", name, spec)];
    if pool["protocol"] == "layer2" {
        made.push(object_of(
            "L2Advertisement",
            name,
            json!({"ipAddressPools": [name]}),
        ));
        return made;
    }
    let given: Vec<_> = items(pool, words.advertisements).cloned().collect();
    let given = match given.is_empty() {
        true => vec![json!({})],
        false => given,
    };
    made.extend(given.iter().map(|advertisement| {
        let spec = without_empty(json!({
            "ipAddressPools": [name],
            "aggregationLength": advertisement[words.length],
            "aggregationLengthV6": advertisement[words.length_v6],
            "localPref": advertisement[words.local_pref],
            "communities": advertisement["communities"],
        }));
        object_of("BGPAdvertisement", name, spec)
    }));
    made
}

fn object_of(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "metallb.io/v1beta1", "kind": kind,
        "metadata": {"name": name, "namespace": "metallb-system"}, "spec": spec,
    })
}
