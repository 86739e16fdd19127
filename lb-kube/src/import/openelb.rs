//! OpenELB's own objects, which are taken as they are: only what the API server and the old manager have added goes. What of
//! their fields means nothing here is said.

use serde_json::{Value, json};

use super::{Plan, name, of_kind, ours};
use crate::{
    crd::{BgpConfSpec, BgpPeerSpec, EipSpec},
    project::{bgp, gobgp::POLICY_KEY, pool::Pool},
};

/// Marks the Eip that gives to who asks for none.
const DEFAULT_EIP: &str = "eip.openelb.kubesphere.io/is-default-eip";

/// Adds the objects to the plan, and what is different.
pub(super) fn convert(objects: &[Value], plan: &mut Plan) {
    for conf in of_kind(objects, "BgpConf") {
        if name(conf) != crate::crd::BGP_CONF_NAME {
            let name = name(conf);
            plan.differs
                .push(format!("BgpConf {name}: only the one named default counts"));
            continue;
        }
        let read = serde_json::from_value::<BgpConfSpec>(conf["spec"].clone());
        let findings = read.map(|spec| bgp::conf_findings(&spec, policy(objects, &spec)));
        tell(conf, findings, plan);
        plan.objects.push(as_it_is(conf));
    }
    for peer in of_kind(objects, "BgpPeer") {
        let read = serde_json::from_value::<BgpPeerSpec>(peer["spec"].clone());
        let findings = read.map(|spec| bgp::peer_findings(&spec));
        tell(peer, findings, plan);
        plan.objects.push(as_it_is(peer));
    }
    for eip in of_kind(objects, "Eip") {
        match serde_json::from_value::<EipSpec>(eip["spec"].clone()) {
            Ok(spec) => {
                let problems = Pool::of(&spec).problems.into_iter();
                let name = name(eip);
                plan.differs
                    .extend(problems.map(|why| format!("Eip {name}: {why}")));
                if bgp_only(&spec) {
                    plan.differs.push(format!(
                        "Eip {name}: nobody answers for its addresses on layer 2 in this version; Services keep them, and \
                         say NotAnnounced"
                    ));
                }
            }
            Err(why) => plan.differs.push(format!("Eip {}: {why}", name(eip))),
        }
        plan.objects.push(as_it_is(eip));
    }
}

/// The text of the policy that a BgpConf names, if its ConfigMap is among the objects.
fn policy<'a>(objects: &'a [Value], spec: &BgpConfSpec) -> Option<&'a str> {
    let named = bgp::policy_name(spec)?;
    let map = of_kind(objects, "ConfigMap").find(|map| name(map) == named)?;
    map["data"][POLICY_KEY].as_str()
}

/// Whether the protocol is one that this version does not speak.
fn bgp_only(spec: &EipSpec) -> bool {
    crate::project::pool::announce(spec.protocol) == lb_core::model::Announce::Layer2
}

fn tell(object: &Value, findings: serde_json::Result<bgp::Findings>, plan: &mut Plan) {
    let of = format!(
        "{} {}",
        object["kind"].as_str().unwrap_or_default(),
        name(object)
    );
    match findings {
        Ok(findings) => plan
            .differs
            .extend(findings.0.iter().map(|finding| format!("{of} {finding}"))),
        Err(why) => plan.differs.push(format!("{of}: {why}")),
    }
}

/// With its name, its mark as the default and its spec.
fn as_it_is(object: &Value) -> Value {
    let kind = object["kind"].as_str().unwrap_or_default();
    let mut made = ours(kind, name(object), object["spec"].clone());
    if let Some(mark) = object["metadata"]["annotations"][DEFAULT_EIP].as_str() {
        made["metadata"]["annotations"] = json!({DEFAULT_EIP: mark});
    }
    made
}
