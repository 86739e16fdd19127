//! A peer that stops to read: the others are told everything as if it were not there, and it is told the last state of each
//! route, without those that were overtaken, once it reads again. One session lasts through all of it.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::{Context as _, Result, ensure};
use lb_lab::{AgentOptions, Lab, NODE_BGP_PORT, Pair, Profile, ROUTER_ASN, Sinks, UPLINK};

use crate::{
    cells::SESSION_LIMIT,
    flood::both_established,
    scripted::{KEEPALIVE, Script, Session, UPDATE},
};

/// Each has a community of its own, so that each takes an UPDATE of its own.
const VIPS: u16 = 1000;
/// States that each route goes through: more octets than the two ends' socket buffers hold.
const ROUNDS: u16 = 12;
const PORT: u16 = 1790;
/// Path attribute type (RFC 1997).
const COMMUNITIES: u8 = 8;

#[test]
fn a_peer_that_does_not_read_holds_up_nobody() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let asn = u16::try_from(ROUTER_ASN)?;
    let sinks = Sinks::listen(lab.router_namespace(), PORT, asn)?;
    let mut agent = lab.start_agent(1, &configuration(&lab, 1), &AgentOptions::default())?;
    let script = Script {
        asn,
        address: lab.node(1).router().v4,
        restart: None,
    };
    let to = SocketAddr::new(lab.node(1).addresses().v6.into(), NODE_BGP_PORT);
    let mut stuck = script.connect(lab.router_namespace(), to, SESSION_LIMIT)?;
    let since = both_established(&mut agent)?;

    let healthy = [script.address.into()];
    for round in 1..=ROUNDS {
        agent.edit(&configuration(&lab, round))?;
        // It lives, and says so.
        stuck.send(KEEPALIVE, &[])?;
        sinks.wait_routes(SESSION_LIMIT, &healthy, u64::from(VIPS) * u64::from(round))?;
    }
    let unsent = unsent_octets(&lab)?;
    ensure!(unsent > 0, "everything went into the sockets' buffers");

    let told = read_until_all_are_in(&mut stuck, ROUNDS)?;
    let most = u64::from(VIPS) * u64::from(ROUNDS);
    ensure!(told < most, "{told} announcements: what was overtaken too");
    ensure!(
        both_established(&mut agent)? == since,
        "a session began anew"
    );
    Ok(())
}

/// Reads UPDATEs until every route is in its state of this round; how many announcements that took.
fn read_until_all_are_in(session: &mut Session, round: u16) -> Result<u64> {
    let mut rounds = BTreeMap::new();
    let mut told = 0;
    while rounds.len() < usize::from(VIPS) || rounds.values().any(|is| *is != round) {
        let (kind, body) = session.receive()?;
        if kind != UPDATE {
            continue;
        }
        for (host, community) in announcements(&body)? {
            rounds.insert(host, community / VIPS);
            told += 1;
        }
    }
    Ok(told)
}

/// The IPv4 hosts that an UPDATE announces (RFC 4271 section 4.3), with the lower half of their first community.
fn announcements(body: &[u8]) -> Result<Vec<(Ipv4Addr, u16)>> {
    let field = |octets: &mut &[u8], length: usize| -> Result<Vec<u8>> {
        let (field, rest) = octets.split_at_checked(length).context("cut off")?;
        *octets = rest;
        Ok(field.to_vec())
    };
    let length = |octets: &[u8]| octets.iter().fold(0, |sum, o| sum << 8 | usize::from(*o));
    let mut rest = body;
    let withdrawn = length(&field(&mut rest, 2)?);
    field(&mut rest, withdrawn)?;
    let attributes_len = length(&field(&mut rest, 2)?);
    let attributes = field(&mut rest, attributes_len)?;
    let mut attributes = attributes.as_slice();
    let mut community = None;
    while !attributes.is_empty() {
        let [flags, kind] = field(&mut attributes, 2)?[..] else {
            unreachable!()
        };
        let length_octets = if flags & 0x10 == 0 { 1 } else { 2 };
        let value_len = length(&field(&mut attributes, length_octets)?);
        let value = field(&mut attributes, value_len)?;
        if kind == COMMUNITIES {
            community = value
                .get(2..4)
                .map(|low| u16::from_be_bytes([low[0], low[1]]));
        }
    }
    let hosts = rest.chunks_exact(5).map(|nlri| {
        ensure!(nlri[0] == 32, "/{}", nlri[0]);
        let host = Ipv4Addr::new(nlri[1], nlri[2], nlri[3], nlri[4]);
        Ok((host, community.context("no community")?))
    });
    hosts.collect()
}

/// What the connection that was dialled to node 1 has still to send (`/proc/net/tcp6`: local address, state, queues).
fn unsent_octets(lab: &Lab) -> Result<u64> {
    const ESTABLISHED: &str = "01";
    let read = || Ok(fs::read_to_string("/proc/thread-self/net/tcp6")?);
    let table = lab.node(1).namespace().run(read)?;
    let port = format!(":{NODE_BGP_PORT:04X}");
    let queues = table.lines().find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let is_it = fields.get(1)?.ends_with(&port) && *fields.get(3)? == ESTABLISHED;
        is_it.then(|| fields.get(4)?.split_once(':')).flatten()
    });
    let (to_send, _) = queues.with_context(|| format!("no connection in\n{table}"))?;
    Ok(u64::from_str_radix(to_send, 16)?)
}

fn configuration(lab: &Lab, round: u16) -> String {
    let Pair { v4, v6 } = lab.node(1).addresses();
    let router = lab.node(1).router();
    let services: String = (0..VIPS).map(|number| service(number, round)).collect();
    format!(
        "node: {{name: node1, uplinks: [{UPLINK}]}}
nodes:
  - {{name: node1, addresses: [{v4}, \"{v6}\"]}}
bgp:
  asn: 65000
  listenPort: {NODE_BGP_PORT}
  peers:
    - {{address: {}, asn: {ROUTER_ASN}, port: {PORT}, holdTime: 90s}}
    - {{address: \"{}\", asn: {ROUTER_ASN}, passive: true, holdTime: 90s}}
services:
{services}",
        router.v4, router.v6
    )
}

fn service(number: u16, round: u16) -> String {
    let [high, low] = number.to_be_bytes();
    let community = round * VIPS + number;
    format!(
        "  - name: default/s{number}
    addresses: [10.98.{high}.{low}]
    ports: [{{name: http, port: 80}}]
    endpoints:
      - {{address: 10.1.1.2, node: node1, ports: {{http: 8080}}}}
    bgp: {{communities: [\"65000:{community}\"]}}
"
    )
}
