//! Whether clients reach a Service, as far as the controller can see: its pool's protocol, its endpoints, the nodes that
//! may announce it, sessions that agents report. The first that is missing is said, in the order in which a person
//! would have to see to it. The words name kinds of trouble, not each node, so that nodes that come and go write nothing.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Agents, Announcer, AnnouncingNode, Cluster, Condition, Pool, PoolProtocol, SERVING, Service,
    ledger::Ledger,
    words::{condition, not_announced},
};

/// The condition of a Service that has addresses, with these claims of them.
pub(super) fn serving(
    cluster: &Cluster,
    ledger: &Ledger,
    service: &Service,
    claims: &[usize],
) -> Condition {
    let Announcer::Agents(agents) = &cluster.announcer else {
        let text = "addresses are managed here, and announced by somebody else";
        return condition(SERVING, None, "AddressManagementOnly", text.to_owned());
    };
    let pools = claims.iter().map(|&index| &ledger.entries[index].pool);
    let pools: Vec<&Pool> = pools
        .filter_map(|name| cluster.pools.get(name))
        .map(AsRef::as_ref)
        .collect();
    match trouble(agents, service, &pools) {
        Some((reason, text)) => condition(SERVING, false, reason, text),
        None => condition(SERVING, true, "Serving", String::new()),
    }
}

fn trouble(agents: &Agents, service: &Service, pools: &[&Pool]) -> Option<(&'static str, String)> {
    let not = |text: &str| Some(("NotAnnounced", text.to_owned()));
    let unspoken = pools.iter().find(|pool| pool.protocol != PoolProtocol::Bgp);
    if let Some(pool) = unspoken {
        return Some(("NotAnnounced", not_announced(pool.protocol, &pool.name)));
    }
    let Some(endpoints) = agents.endpoints.get(&service.name) else {
        let text = "no endpoint is ready: see the pods that the selector names, and `kubectl get endpointslices`";
        return Some(("NoEndpoints", text.to_owned()));
    };
    if !agents.has_speaker {
        return not("there is no BgpConf named default: create one");
    }
    if agents.peers.is_empty() {
        return not("no router is told: create a BgpPeer");
    }
    if let Some(text) = no_peer(agents, pools) {
        return Some(("NotAnnounced", text));
    }
    let candidates = |node: &&Arc<str>| !service.is_local || endpoints.nodes.contains(*node);
    let nodes = agents.nodes.keys().filter(candidates);
    let nodes: Vec<&AnnouncingNode> = nodes.map(|name| &agents.nodes[name]).collect();
    if let Some(text) = no_eligible_node(service, &nodes, pools) {
        return Some(("NoEligibleNode", text));
    }
    let told = pools.iter().map(|pool| &pool.announcing_peers);
    let has_session = |names: &BTreeSet<Arc<str>>| {
        let mut peers = agents.peers.iter();
        peers.any(|(name, sessions)| *sessions > 0 && (names.is_empty() || names.contains(name)))
    };
    if !told.chain([&BTreeSet::new()]).all(has_session) {
        return not("no BGP session is established: see `kubectl get bgppeers` and their status");
    }
    None
}

/// That a pool names peers, and none of them exists.
fn no_peer(agents: &Agents, pools: &[&Pool]) -> Option<String> {
    let is_unknown = |pool: &&&Pool| {
        let mut names = pool.announcing_peers.iter();
        !pool.announcing_peers.is_empty() && !names.any(|name| agents.peers.contains_key(name))
    };
    let pool = pools.iter().find(is_unknown)?;
    Some(format!(
        "announcement.peers of Eip {} names no BgpPeer that there is: correct it, or create one",
        pool.name
    ))
}

/// Why none of the nodes that could announce a Service may.
fn no_eligible_node(
    service: &Service,
    nodes: &[&AnnouncingNode],
    pools: &[&Pool],
) -> Option<String> {
    let fit: Vec<_> = nodes.iter().filter(|node| node.unfit.is_none()).collect();
    let which = if service.is_local {
        "externalTrafficPolicy is Local, and no node with an endpoint can announce it"
    } else {
        "no node can announce it"
    };
    if fit.is_empty() {
        let kinds: BTreeSet<&str> = nodes.iter().filter_map(|node| node.unfit).collect();
        let kinds: Vec<&str> = kinds.into_iter().collect();
        let text = match kinds.as_slice() {
            [] => format!("{which}: the endpoints are on no node of the cluster"),
            kinds => format!("{which}: there are only nodes that {}", kinds.join(", or ")),
        };
        return Some(text);
    }
    let selects_none = |pool: &&&Pool| {
        let selectors = &pool.announcing_nodes;
        let selects = |node: &AnnouncingNode| {
            let mut selectors = selectors.iter();
            selectors.any(|selector| selector.selects(&node.labels))
        };
        !selectors.is_empty() && !fit.iter().any(|node| selects(node))
    };
    let pool = pools.iter().find(selects_none)?;
    Some(format!(
        "{which}: announcement.nodeSelectors of Eip {} selects none of the nodes that could",
        pool.name
    ))
}

#[cfg(test)]
mod tests;
