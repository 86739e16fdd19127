//! `BgpConf`: the node's AS number and router id, the port to listen on, and how restarts are made invisible.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Duration};

use lb_core::model::{Bgp, GRACEFUL_SHUTDOWN_DEFAULT, Node};

use super::Findings;
use crate::crd::{BgpConfSpec, GracefulRestart};
use crate::project::gobgp::{POLICY_FIELD, POLICY_KEY, Policy};

/// Largest AS number (RFC 6793).
pub(super) const ASN_MAX: i64 = u32::MAX as i64;

/// What GoBGP listens on if nothing is said.
const LISTEN_PORT_DEFAULT: u16 = 179;
/// What is listened on where GoBGP would not listen at all: a port that no router dials unasked.
const LISTEN_PORT_ASIDE: u16 = 17_900;

/// The node label that says its rack, in both eras.
const RACK: [&str; 2] = ["openelb.kubesphere.io/rack", "porter.kubesphere.io/rack"];

/// What a BgpConf comes to on one node.
#[derive(Debug, Default)]
pub(super) struct Conf {
    /// Without peers.
    pub(super) bgp: Option<Bgp>,
    pub(super) graceful_restart: Option<GracefulRestart>,
}

/// The rack of a node.
#[must_use]
pub fn rack(labels: &BTreeMap<String, String>) -> Option<&str> {
    let mut found = RACK.iter().filter_map(|key| labels.get(*key));
    found.next().map(String::as_str)
}

/// Whether `other` is no next hop for what `own` announces: `own` has an AS number by its rack, which is not `other`'s.
#[must_use]
pub fn is_of_other_rack(conf: &BgpConfSpec, own: &Node, other: &Node) -> bool {
    let own = rack(&own.labels).filter(|rack| conf.as_per_rack.contains_key(*rack));
    own.is_some() && own != rack(&other.labels)
}

/// The ConfigMap with the policy, if one is named.
#[must_use]
pub fn policy_name(spec: &BgpConfSpec) -> Option<&str> {
    spec.policy.as_deref().filter(|name| !name.is_empty())
}

/// What to say if it is not there.
pub(super) fn no_policy(name: &str) -> String {
    format!(
        "there is no ConfigMap {name} with the key {POLICY_KEY} in our namespace; agents that have not read it announce nothing"
    )
}

/// What is ignored or wrong in a BgpConf, whichever node reads it, and in the text of the policy that it names.
#[must_use]
pub fn conf_findings(spec: &BgpConfSpec, policy: Option<&str>) -> Findings {
    let somewhere = Node {
        name: "".into(),
        addresses: vec![Ipv4Addr::LOCALHOST.into()],
        labels: BTreeMap::new(),
        unfit: None,
    };
    let mut findings = read(spec, &somewhere).1;
    match (policy_name(spec), policy.map(Policy::read)) {
        (None, _) => {}
        (Some(name), None) => findings.wrong(POLICY_FIELD, no_policy(name)),
        (Some(name), Some(Err(why))) => {
            let message = format!(
                "ConfigMap {name} is not understood, what it said before is in force: {why}"
            );
            findings.wrong(POLICY_FIELD, message);
        }
        (Some(_), Some(Ok((_, of_policy)))) => findings.0.extend(of_policy.0),
    }
    findings
}

pub(super) fn read(spec: &BgpConfSpec, node: &Node) -> (Conf, Findings) {
    let mut findings = Findings::default();
    let spec = match spec.normalised() {
        Ok(spec) => spec,
        Err(conflict) => {
            findings.wrong(conflict.new, conflict.to_string());
            return (Conf::default(), findings);
        }
    };
    let numbers = numbers(&spec, node, &mut findings);
    let listen_port = listen_port(spec.listen_port, &mut findings);
    let drain = spec.drain.as_ref();
    let shutdown = drain.and_then(|drain| drain.graceful_shutdown_seconds);
    let shutdown = shutdown.and_then(|seconds| u64::try_from(seconds).ok());
    findings.ignore_given(&[
        (
            "listenAddresses",
            !spec.listen_addresses.is_empty(),
            "nodes listen on all addresses and drop strangers",
        ),
        (
            "families",
            !spec.families.is_empty(),
            "families are said at each BgpPeer",
        ),
        (
            "useMultiplePaths",
            spec.use_multiple_paths.is_some(),
            "nothing is learnt from routers",
        ),
    ]);
    let bgp = numbers.map(|(asn, router_id)| Bgp {
        asn,
        router_id,
        listen_port,
        nodes: Vec::new(),
        graceful_shutdown: shutdown.map_or(GRACEFUL_SHUTDOWN_DEFAULT, Duration::from_secs),
        peers: Vec::new(),
    });
    let graceful_restart = spec.graceful_restart;
    (
        Conf {
            bgp,
            graceful_restart,
        },
        findings,
    )
}

/// AS number and router id of a node.
fn numbers(spec: &BgpConfSpec, node: &Node, findings: &mut Findings) -> Option<(u32, Ipv4Addr)> {
    let of_rack = rack(&node.labels).and_then(|rack| spec.as_per_rack.get_key_value(rack));
    let asn = match (of_rack, spec.asn) {
        (Some((rack, asn)), _) => findings.number(&format!("asPerRack.{rack}"), *asn, (1, ASN_MAX)),
        (None, Some(asn)) => findings.number("as", asn, (1, ASN_MAX)),
        (None, None) => {
            let is_by_rack = !spec.as_per_rack.is_empty();
            if !is_by_rack {
                findings.wrong("as", "without an AS number there is no BGP");
            }
            None
        }
    };
    let given = spec
        .router_id
        .as_deref()
        .filter(|id| !id.is_empty() && of_rack.is_none());
    let given = given.and_then(|text| {
        let id: Option<Ipv4Addr> = text
            .parse()
            .ok()
            .filter(|id: &Ipv4Addr| !id.is_unspecified());
        if id.is_none() {
            let message = format!(
                "\"{text}\" is not a router id like 10.0.0.11; each node takes its own address"
            );
            findings.wrong("routerId", message);
        }
        id
    });
    let router_id = given.or_else(|| node.ipv4());
    if router_id.is_none() {
        let message = format!(
            "node {} has no IPv4 address to take as router id: set one",
            node.name
        );
        findings.wrong("routerId", message);
    }
    Some((asn?, router_id?))
}

fn listen_port(port: Option<i64>, findings: &mut Findings) -> u16 {
    match port {
        None | Some(0) => LISTEN_PORT_DEFAULT,
        Some(-1) => {
            let message = format!(
                "agents always listen; on {LISTEN_PORT_ASIDE} here, where no router dials unasked"
            );
            findings.ignore("listenPort", message);
            LISTEN_PORT_ASIDE
        }
        Some(port) => {
            let port = findings.number("listenPort", port, (1, u16::MAX.into()));
            port.unwrap_or(LISTEN_PORT_DEFAULT)
        }
    }
}
