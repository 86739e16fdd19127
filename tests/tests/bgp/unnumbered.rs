//! Unnumbered sessions: both ends know the interface only, find each other by router advertisements, and IPv4 routes have
//! IPv6 next hops (RFC 8950). Of the daemons only FRR does this.

use std::net::Ipv6Addr;

use anyhow::{Result, ensure};
use etherparse::PacketBuilder;
use lb_lab::{
    AgentOptions, FrameSocket, Lab, NODE_ASN, NODE_BGP_PORT, Profile, ROUTER_ASN, Segments,
    router_link, vip, wait_until,
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

/// RFC 4861 section 6.1.2: a hop limit below 255 means that a router has forwarded it, from anywhere.
#[test]
fn an_advertisement_from_afar_is_not_believed() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let bgp = format!(
        "  asn: {NODE_ASN}
  listenPort: {NODE_BGP_PORT}
  peers:
    - {{interface: eth0, asn: {ROUTER_ASN}}}
"
    );
    let yaml = lab.agent_configuration_with(1, &bgp, &lab.web_service("web", 1));
    let agent = lab.start_agent(1, &yaml, &AgentOptions::default())?;
    let link = FrameSocket::open(lab.router_namespace(), &router_link(0))?;
    let (afar, near) = ("fe80::bad".parse()?, "fe80::600d".parse()?);
    let shown = wait_until(SESSION_LIMIT, "a router is found", || {
        // The first router that is believed stays for a minute.
        link.send(&advertisement(afar, 64))?;
        link.send(&advertisement(near, 255))?;
        let shown = agent.show("bgp")?;
        let address = shown["rows"][0]["address"].as_str().map(str::to_owned);
        Ok(address)
    })?;
    ensure!(shown == near.to_string(), "{shown} is believed");
    Ok(())
}

/// To all nodes, from a link-local address, with a lifetime of zero (RFC 4861 section 4.2).
fn advertisement(from: Ipv6Addr, hop_limit: u8) -> Vec<u8> {
    let all_nodes: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 0x99], [0x33, 0x33, 0, 0, 0, 1])
        .ipv6(from.octets(), all_nodes.octets(), hop_limit)
        .icmpv6_raw(134, 0, [0; 4]);
    let mut frame = Vec::new();
    builder
        .write(&mut frame, &[0; 8])
        .expect("a vector takes everything");
    frame
}
