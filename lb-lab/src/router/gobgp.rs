//! A real GoBGP: `gobgpd` in the router's namespace, from a TOML file that it reads again on SIGHUP. It has no part in
//! the kernel's routes. It is asked by the program `gobgp`, which answers in JSON.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::lab::Lab;
use crate::namespace::Namespace;
use crate::process::{Process, output};
use crate::router::{Neighbour, ROUTER_ASN, ROUTER_ID, ReceivedRoute, Router, parse_prefix};

/// A running GoBGP.
pub struct GoBgp {
    namespace: Arc<Namespace>,
    config: PathBuf,
    process: Process,
}

const START_LIMIT: Duration = Duration::from_secs(10);
/// `BGP_FSM_ESTABLISHED` of GoBGP's API.
const ESTABLISHED: u64 = 6;

impl Lab {
    /// Starts GoBGP on the router with these neighbours.
    pub fn start_gobgp(&self, neighbours: &[Neighbour]) -> Result<GoBgp> {
        let config = self.folder().join("gobgpd.toml");
        fs::write(&config, configuration(neighbours)?)?;
        let namespace = Arc::clone(self.router_namespace());
        let mut command = Command::new("gobgpd");
        command.arg("-f").arg(&config);
        command.args(["-p", "--pprof-disable", "--api-hosts", "127.0.0.1:50051"]);
        let process = Process::start(&namespace, "gobgpd", command, self.folder())
            .context("GoBGP is needed (Debian package gobgpd)")?;
        let mut gobgp = GoBgp {
            namespace,
            config,
            process,
        };
        let router: &mut dyn Router = &mut gobgp;
        router.wait_for(START_LIMIT, "answers", |router| {
            Ok(router.established().is_ok().then_some(()))
        })?;
        Ok(gobgp)
    }
}

impl GoBgp {
    /// The answer of `gobgp` to words of its command line.
    pub fn query(&self, words: &str) -> Result<String> {
        let mut gobgp = Command::new("gobgp");
        gobgp.args(words.split(' '));
        output(&self.namespace, gobgp)
    }

    fn json(&self, words: &str) -> Result<Value> {
        let answer = self.query(&format!("-j {words}"))?;
        serde_json::from_str(&answer).with_context(|| format!("gobgp {words}: {answer}"))
    }
}

impl Router for GoBgp {
    fn name(&self) -> &'static str {
        "GoBGP"
    }

    fn configure(&mut self, neighbours: &[Neighbour]) -> Result<()> {
        fs::write(&self.config, configuration(neighbours)?)?;
        self.process.signal(libc::SIGHUP)
    }

    fn established(&self) -> Result<BTreeSet<IpAddr>> {
        let all = self.json("neighbor")?;
        let neighbours = all.as_array().into_iter().flatten();
        let up = neighbours.filter(|one| one["state"]["session_state"] == ESTABLISHED);
        let address = |one: &Value| one["state"]["neighbor_address"].as_str()?.parse().ok();
        Ok(up.filter_map(address).collect())
    }

    fn routes(&self) -> Result<Vec<ReceivedRoute>> {
        // Not what it has of a neighbour: of one that is away it tells nothing.
        let mut routes = Vec::new();
        for family in ["ipv4", "ipv6"] {
            let shown = self.json(&format!("global rib -a {family}"))?;
            for (prefix, paths) in shown.as_object().into_iter().flatten() {
                let paths = paths.as_array().into_iter().flatten();
                routes.extend(paths.map(|path| received(prefix, path)));
            }
        }
        Ok(routes)
    }

    fn updates_received(&self, neighbour: &Neighbour) -> Result<u64> {
        let shown = self.json(&format!("neighbor {}", neighbour.address))?;
        let count = shown["state"]["messages"]["received"]["update"].as_u64();
        count.with_context(|| format!("no count of UPDATEs in {shown}"))
    }

    fn refresh(&self, neighbour: &Neighbour) -> Result<()> {
        self.query(&format!("neighbor {} softresetin", neighbour.address))
            .map(drop)
    }

    fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

fn configuration(neighbours: &[Neighbour]) -> Result<String> {
    let mut text = format!(
        "[global.config]
as = {ROUTER_ASN}
router-id = \"{ROUTER_ID}\"
port = 179
"
    );
    for neighbour in neighbours {
        write_neighbour(&mut text, neighbour)?;
    }
    Ok(text)
}

/// GoBGP refuses connections for 30 s after a session has ended with a message unless it is told otherwise, and rests for
/// five to ten seconds before it dials, whatever it is told: what only it can begin takes that long. It begins a
/// session anew for another description, not for another hold time.
fn write_neighbour(text: &mut String, neighbour: &Neighbour) -> Result<()> {
    let Neighbour {
        address,
        asn,
        port,
        source,
        hold_time_s,
        options,
        ..
    } = neighbour;
    write!(
        text,
        "
[[neighbors]]
[neighbors.config]
neighbor-address = \"{address}\"
peer-as = {asn}
description = \"hold time {hold_time_s} s\"
"
    )?;
    if let Some(password) = &neighbour.password {
        writeln!(text, "auth-password = \"{password}\"")?;
    }
    write!(
        text,
        "[neighbors.transport.config]
remote-port = {port}
local-address = \"{local}\"
passive-mode = {passive}
[neighbors.timers.config]
hold-time = {hold_time_s}
keepalive-interval = {keepalive}
connect-retry = 2
idle-hold-time-after-reset = 1
[neighbors.graceful-restart.config]
enabled = true
notification-enabled = true
long-lived-enabled = true
restart-time = 120
",
        local = source.like(*address),
        passive = neighbour.passive,
        keepalive = hold_time_s / 3,
    )?;
    if neighbour.ttl_security {
        *text += "[neighbors.ttl-security.config]\nenabled = true\nttl-min = 255\n";
    }
    writeln!(text, "{options}")?;
    for family in ["ipv4-unicast", "ipv6-unicast"] {
        write!(
            text,
            "[[neighbors.afi-safis]]
[neighbors.afi-safis.config]
afi-safi-name = \"{family}\"
[neighbors.afi-safis.add-paths.config]
receive = {add_paths}
[neighbors.afi-safis.mp-graceful-restart.config]
enabled = true
[neighbors.afi-safis.long-lived-graceful-restart.config]
enabled = true
restart-time = 120
",
            add_paths = neighbour.add_paths,
        )?;
    }
    Ok(())
}

fn received(prefix: &str, path: &Value) -> ReceivedRoute {
    let mut route = ReceivedRoute {
        neighbour: path["neighbor-ip"]
            .as_str()
            .and_then(|peer| peer.parse().ok()),
        prefix: parse_prefix(prefix),
        stale: path["stale"] == true,
        ..ReceivedRoute::default()
    };
    for attribute in path["attrs"].as_array().into_iter().flatten() {
        read_attribute(&mut route, attribute);
    }
    route
}

/// By the type code of RFC 4271 and its kin.
fn read_attribute(route: &mut ReceivedRoute, attribute: &Value) {
    let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
    let values = || attribute["communities"].as_array().into_iter().flatten();
    match attribute["type"].as_u64() {
        Some(2) => {
            let segments = attribute["as_paths"].as_array().into_iter().flatten();
            let numbers = segments
                .filter_map(|segment| segment["asns"].as_array())
                .flatten();
            route.as_path = numbers.filter_map(number).collect();
        }
        Some(3 | 14) => {
            let hop = attribute["nexthop"].as_str();
            route.next_hop = hop.and_then(|hop| hop.parse().ok());
        }
        Some(4) => route.med = number(&attribute["metric"]),
        Some(5) => route.local_pref = number(&attribute["value"]),
        Some(8) => {
            let pair = |value| Some((number(value)? >> 16, number(value)? & 0xffff));
            route.communities = values()
                .filter_map(pair)
                .map(|(asn, value)| format!("{asn}:{value}"))
                .collect();
        }
        Some(16) => {
            let all = attribute["value"].as_array().into_iter().flatten();
            let shown = |value: &Value| match value["value"].as_str() {
                Some(text) => text.to_owned(),
                None => value.to_string(),
            };
            route.extended_communities = all.map(shown).collect();
        }
        Some(32) => {
            let all = attribute["value"].as_array().into_iter().flatten();
            let part = |value: &Value, name: &str| number(&value[name]).unwrap_or_default();
            let shown = |value: &Value| {
                let [asn, one, two] =
                    ["ASN", "LocalData1", "LocalData2"].map(|name| part(value, name));
                format!("{asn}:{one}:{two}")
            };
            route.large_communities = all.map(shown).collect();
        }
        _ => {}
    }
}
