//! Unnumbered sessions: both ends know the interface only, find each other by router advertisements, and IPv4 routes have
//! IPv6 next hops (RFC 8950). Of the daemons only FRR does this.

use anyhow::{Result, ensure};
use lb_lab::{
    AgentOptions, Lab, NODE_ASN, NODE_BGP_PORT, Profile, ROUTER_ASN, Segments, vip, wait_until,
};

use crate::cells::SESSION_LIMIT;

#[test]
fn frr_without_any_address() -> Result<()> {
    // Each node alone on its segment with the router.
    let lab = Lab::build(&Profile {
        segments: Segments::AllRouted,
        ..Profile::default()
    })?;
    let commands = format!(
        "router bgp {ROUTER_ASN}
 bgp router-id 198.51.100.1
 no bgp ebgp-requires-policy
 neighbor lan0 interface remote-as {NODE_ASN}
 neighbor lan0 timers connect 2
 address-family ipv6 unicast
  neighbor lan0 activate
"
    );
    let frr = lab.start_frr_from(&commands, &[])?;
    let bgp = format!(
        "  asn: {NODE_ASN}
  listenPort: {NODE_BGP_PORT}
  peers:
    - {{interface: eth0, asn: {ROUTER_ASN}}}
"
    );
    let yaml = lab.agent_configuration_with(1, &bgp, &lab.web_service("web", 1));
    let mut agent = lab.start_agent(1, &yaml, &AgentOptions::default())?;
    agent.wait_for(SESSION_LIMIT, "bgp", "a session", |shown| {
        shown["rows"][0]["state"] == "Established"
    })?;
    for address in vip(1).both() {
        let (family, length) = if address.is_ipv4() {
            ("ipv4", 32)
        } else {
            ("ipv6", 128)
        };
        let prefix = format!("{address}/{length}");
        wait_until(SESSION_LIMIT, &format!("FRR has {prefix}"), || {
            let answer = frr.query(&format!("show bgp {family} unicast {prefix} json"))?;
            ensure!(answer.contains("\"valid\":true"), "{answer}");
            ensure!(
                answer.contains("fe80::"),
                "no link-local next hop: {answer}"
            );
            Ok(Some(()))
        })?;
    }
    Ok(())
}
