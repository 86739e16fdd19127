//! Services with the addresses that they have: whose they will be, which Eip has each address, and which address lies in
//! none and is kept by name.

use std::{collections::BTreeMap, net::IpAddr};

use k8s_openapi::api::core::v1::Service;
use serde_json::{Map, Value, json};

use super::{IMPORT_CONFIG_MAP, Kept, NAMESPACE, Origin, Plan, name, namespace, of_kind};
use crate::{
    crd::EipSpec,
    project::{
        claim::{CLASS_DEFAULT, Claim, ClassRules, claim},
        pool::Pool,
    },
};

/// What controller and agents must be told so that the Services are ours, as arguments in the plan too.
pub(super) fn class_rules(origin: Origin, objects: &[Value], plan: &mut Plan) -> ClassRules {
    let mut classes: BTreeMap<Option<String>, usize> = BTreeMap::new();
    for service in balanced(objects) {
        let class = service["spec"]["loadBalancerClass"].as_str();
        *classes.entry(class.map(str::to_owned)).or_default() += 1;
    }
    let named = classes
        .iter()
        .filter_map(|(class, count)| Some((class.as_deref()?, *count)));
    let most = named.max_by_key(|(_, count)| *count);
    let class = most.map_or(CLASS_DEFAULT, |(class, _)| class).to_owned();
    let default_class = origin == Origin::MetalLb && classes.contains_key(&None);
    if class != CLASS_DEFAULT {
        plan.arguments
            .push(format!("--load-balancer-class {class}"));
    }
    if default_class {
        plan.arguments.push("--default-class".to_owned());
    }
    ClassRules {
        class,
        default_class,
    }
}

/// Finds who keeps which address.
pub(super) fn keep(objects: &[Value], rules: &ClassRules, plan: &mut Plan) {
    let pools = pools(&plan.objects);
    let mut named = Map::new();
    for object in balanced(objects) {
        let of = format!("{}/{}", namespace(object), name(object));
        let addresses = addresses(object);
        let Ok(service) = serde_json::from_value::<Service>(object.clone()) else {
            plan.lost
                .push(format!("{of}: its object is not understood"));
            continue;
        };
        let claim = claim(&service, rules);
        if !claim.is_ours() {
            plan.lost.extend(not_ours(&of, claim, &addresses));
            continue;
        }
        let mut without_eip = Vec::new();
        for address in addresses {
            let holder = pools.iter().find(|(_, pool)| pool.contains(address));
            let eip = holder.map(|(name, _)| name.clone());
            if eip.is_none() {
                without_eip.push(address.to_string());
            }
            plan.kept.push(Kept {
                service: of.clone(),
                address,
                eip,
            });
        }
        if !without_eip.is_empty() {
            let key = format!("{}.{}", namespace(object), name(object));
            named.insert(key, without_eip.join(",").into());
        }
    }
    if !named.is_empty() {
        plan.objects.push(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": IMPORT_CONFIG_MAP, "namespace": NAMESPACE}, "data": named,
        }));
    }
}

fn not_ours(of: &str, claim: Claim, addresses: &[IpAddr]) -> Option<String> {
    let list: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let list = list.join(", ");
    let why = match claim {
        Claim::OtherClass => {
            "it is of another loadBalancerClass, and one of them is ours at a time"
        }
        _ => "nobody gives it to us: annotate it with lb.kubesphere.io/v1alpha1: openelb",
    };
    (!addresses.is_empty()).then(|| format!("{of} has {list}: {why}"))
}

/// Services of type `LoadBalancer`.
fn balanced(objects: &[Value]) -> impl Iterator<Item = &Value> {
    of_kind(objects, "Service").filter(|service| service["spec"]["type"] == "LoadBalancer")
}

fn addresses(service: &Value) -> Vec<IpAddr> {
    let ingress = service["status"]["loadBalancer"]["ingress"].as_array();
    let texts = ingress
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["ip"].as_str());
    texts.filter_map(|text| text.parse().ok()).collect()
}

fn pools(objects: &[Value]) -> Vec<(String, Pool)> {
    let eips = of_kind(objects, "Eip").filter_map(|object| {
        let spec = serde_json::from_value::<EipSpec>(object["spec"].clone()).ok()?;
        Some((name(object).to_owned(), Pool::of(&spec)))
    });
    eips.collect()
}
