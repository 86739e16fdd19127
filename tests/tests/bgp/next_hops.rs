//! A node that has an IPv6 address only announces its IPv4 VIPs by that (RFC 8950), to routers that take it so.

use anyhow::{Result, ensure};
use lb_lab::{
    AgentOptions, Lab, NODE_BGP_PORT, Neighbour, Profile, ROUTER_ASN, ReceivedRoute, Router,
};

use crate::cells::{SESSION_LIMIT, prefixes};

#[test]
fn of_ipv6_for_ipv4_at_bird() -> Result<()> {
    ipv4_by_ipv6(|lab, neighbours| Ok(Box::new(lab.start_bird_with(neighbours)?)))
}

#[test]
fn of_ipv6_for_ipv4_at_frr() -> Result<()> {
    ipv4_by_ipv6(|lab, neighbours| Ok(Box::new(lab.start_frr(neighbours)?)))
}

fn ipv4_by_ipv6(start: impl FnOnce(&Lab, &[Neighbour]) -> Result<Box<dyn Router>>) -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let own = lab.node(1).addresses();
    let neighbour = Neighbour {
        address: own.v6.into(),
        ..Neighbour::of(lab.node(1))
    };
    let mut router = start(&lab, std::slice::from_ref(&neighbour))?;
    let bgp = format!(
        "  asn: 65000
  routerId: 192.0.2.1
  listenPort: {NODE_BGP_PORT}
  peers:
    - {{address: \"{}\", asn: {ROUTER_ASN}, connectRetry: 1s}}
",
        lab.node(1).router().v6
    );
    let yaml = lab.agent_configuration_with(1, &bgp, &lab.web_service("web", 1));
    let both = format!("addresses: [{}, \"{}\"]", own.v4, own.v6);
    ensure!(yaml.contains(&both), "{yaml}");
    let yaml = yaml.replace(&both, &format!("addresses: [\"{}\"]", own.v6));
    let _agent = lab.start_agent(1, &yaml, &AgentOptions::default())?;
    for prefix in prefixes(1) {
        let is_it = |routes: &[ReceivedRoute]| matches!(routes, [route] if route.next_hop == Some(own.v6.into()));
        let from = (neighbour.address, prefix);
        router.wait_routes(SESSION_LIMIT, from, "by the IPv6 next hop", is_it)?;
    }
    Ok(())
}
