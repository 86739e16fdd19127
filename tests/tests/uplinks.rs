//! A node with two uplinks, between routers that take a packet only from the link that leads to its source. Needs root.

use std::{fmt::Write as _, fs, net::IpAddr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use fairlead_tests::steered::ask;
use lb_lab::{
    Agent, AgentOptions, Lab, Netlink, Profile, Request, UPLINK, failures, set_transmit_checksum,
    topology::{self, POD_PORT},
    vip,
};

/// The second uplink of `node1`, and the router's end of it.
const SECOND: &str = "eth1";
const ROUTER_LINK: &str = "side0";
const SECOND_MAC: [u8; 6] = [2, 0, 0, 0, 0x5e, 1];
const ROUTER_LINK_MAC: [u8; 6] = [2, 0, 0, 0, 0x5e, 2];
const PORT: u16 = 80;

fn node_side() -> [IpAddr; 2] {
    [
        [10, 9, 0, 11].into(),
        [0xfd09, 0, 0, 0, 0, 0, 0, 0x11].into(),
    ]
}

fn router_side() -> [IpAddr; 2] {
    [[10, 9, 0, 1].into(), [0xfd09, 0, 0, 0, 0, 0, 0, 1].into()]
}

fn bits(address: IpAddr, v4: u8, v6: u8) -> (IpAddr, u8) {
    (address, if address.is_ipv4() { v4 } else { v6 })
}

#[test]
fn a_reply_leaves_by_the_uplink_that_its_flow_comes_in_by() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    add_second_uplink(&lab)?;
    let _agent = start_agent(&lab)?;
    // By its routes the node answers over the first uplink; that the router takes no reply there is all that differs.
    reverse_path(&lab, "0", "1")?;
    answers(&lab, 20_000)?;
    let redirected = verdict(&lab, "reply-redirected")?;
    ensure!(
        redirected > 0 && redirected == verdict(&lab, "replied")?,
        "{redirected} redirected"
    );
    // With a route over both the node's own filter may be strict too.
    lab.node(1).namespace().run(|| {
        let gateways = [topology::router(0).v4.into(), router_side()[0]];
        Ok(Netlink::open()?.add_multipath_route(([0; 4].into(), 0), &gateways)?)
    })?;
    reverse_path(&lab, "1", "1")?;
    answers(&lab, 21_000)
}

fn add_second_uplink(lab: &Lab) -> Result<()> {
    let router = lab.router_namespace();
    lab.node(1).namespace().run(|| {
        let mut netlink = Netlink::open()?;
        let (near, far) = (SECOND_MAC, ROUTER_LINK_MAC);
        netlink.add_veth(SECOND, near, router.net(), ROUTER_LINK, far)?;
        for address in node_side() {
            netlink.add_address(SECOND, bits(address, 24, 64))?;
        }
        Ok(netlink.set_up(SECOND, true)?)
    })?;
    router.run(|| {
        let mut netlink = Netlink::open()?;
        set_transmit_checksum(ROUTER_LINK, false)?;
        for address in router_side() {
            netlink.add_address(ROUTER_LINK, bits(address, 24, 64))?;
        }
        netlink.set_up(ROUTER_LINK, true)?;
        for (vip, node) in vip(1).both().into_iter().zip(node_side()) {
            netlink.add_route(bits(vip, 32, 128), node)?;
        }
        Ok(())
    })
}

/// Reverse path filtering on the node, and on the router.
fn reverse_path(lab: &Lab, node: &str, router: &str) -> Result<()> {
    let set = |mode: &str, links: &[&str]| {
        for link in links {
            let path = format!("/proc/sys/net/ipv4/conf/{link}/rp_filter");
            fs::write(&path, mode).with_context(|| path.clone())?;
        }
        Ok(())
    };
    lab.node(1)
        .namespace()
        .run(|| set(node, &["all", UPLINK, SECOND]))?;
    let lan = lb_lab::router_link(0);
    lab.router_namespace()
        .run(|| set(router, &["all", ROUTER_LINK, &lan]))
}

fn start_agent(lab: &Lab) -> Result<Agent> {
    let lb_lab::Pair { v4, v6 } = vip(1);
    let mut services = format!(
        "  - name: default/web
    addresses: [{v4}, \"{v6}\"]
    ports: [{{name: http, protocol: TCP, port: {PORT}}}]
    endpoints:
"
    );
    for pod in lab.node_pods(1) {
        for address in pod.addresses().both() {
            writeln!(
                services,
                "      - {{address: \"{address}\", node: node1, ports: {{http: {POD_PORT}}}}}"
            )?;
        }
    }
    let one = format!("uplinks: [{UPLINK}]");
    let file = lab.agent_configuration(1, 9, &services);
    ensure!(file.contains(&one), "{file}");
    let file = file.replace(&one, &format!("uplinks: [{UPLINK}, {SECOND}]"));
    let mut agent = lab.start_agent(1, &file, &AgentOptions::default())?;
    agent.wait_for(Duration::from_secs(10), "services", "applied", |shown| {
        let rows = shown["rows"].as_array();
        rows.is_some_and(|rows| rows.len() == 2 && rows.iter().all(|row| row["applied"] == true))
    })?;
    Ok(agent)
}

fn answers(lab: &Lab, first_port: u16) -> Result<()> {
    for address in vip(1).both() {
        let target = (address, PORT).into();
        let records = lab
            .client()
            .http_from_ports(target, first_port..first_port + 40, 8)?;
        ensure!(failures(&records).is_empty(), "{:?}", failures(&records));
        let large = Request {
            download_bytes: 1 << 20,
            ..Request::to(target).from_port(first_port + 50)
        };
        lab.client().http(&large).result?;
    }
    Ok(())
}

fn verdict(lab: &Lab, label: &str) -> Result<u64> {
    let socket = AgentOptions::default().socket;
    let node = lab.node(1);
    let shown = node.namespace().run(|| ask(&socket, "/v1/verdicts"))?;
    let rows = shown["rows"].as_array().context("no rows")?;
    let row = rows.iter().find(|row| row["verdict"] == label);
    Ok(row.and_then(|row| row["packets"].as_u64()).unwrap_or(0))
}
