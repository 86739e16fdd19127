//! A real BIRD 2, by default in the router's namespace, with its own control socket. Its configuration is PorterLB's
//! from its manual, in BIRD 2's syntax: a kernel protocol per family with `merge paths on`, and one BGP protocol per
//! neighbour with both families and `add paths on`. It is asked by `birdc`, its effect is read from the kernel's routes.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::lab::Lab;
use crate::namespace::Namespace;
use crate::process::{Process, output};
use crate::router::{Neighbour, ROUTER_ASN, ROUTER_ID, ReceivedRoute, Router, parse_prefix};
use crate::wait::wait_until;

/// A running BIRD.
pub struct Bird {
    namespace: Arc<Namespace>,
    config: PathBuf,
    /// In the namespace's own `/run`.
    socket: PathBuf,
    process: Process,
    neighbours: Vec<Neighbour>,
}

const START_LIMIT: Duration = Duration::from_secs(5);

impl Lab {
    /// Starts BIRD on the router with one protocol for each node, named like the node.
    pub fn start_bird(&self) -> Result<Bird> {
        let neighbours: Vec<Neighbour> = self.nodes().map(Neighbour::of).collect();
        self.start_bird_with(&neighbours)
    }

    /// Starts BIRD on the router with these neighbours.
    pub fn start_bird_with(&self, neighbours: &[Neighbour]) -> Result<Bird> {
        let text = configuration(neighbours)?;
        let mut bird = self.start_bird_from(self.router_namespace(), "bird", &text)?;
        bird.neighbours = neighbours.to_vec();
        Ok(bird)
    }

    /// Starts BIRD in a namespace with mounts of its own, from the text of a configuration file.
    pub fn start_bird_from(
        &self,
        namespace: &Arc<Namespace>,
        name: &str,
        text: &str,
    ) -> Result<Bird> {
        let config = self.folder().join(format!("{name}.conf"));
        fs::write(&config, text)?;
        let socket = PathBuf::from(format!("/run/{name}.ctl"));
        let mut command = Command::new("bird");
        command.arg("-f").arg("-c").arg(&config);
        command.arg("-s").arg(&socket);
        let process = Process::start(namespace, name, command, self.folder())
            .context("BIRD 2 is needed (Debian package bird2)")?;
        let mut bird = Bird {
            namespace: Arc::clone(namespace),
            config,
            socket,
            process,
            neighbours: Vec::new(),
        };
        bird.wait("BIRD's control socket", START_LIMIT, |bird| {
            Ok(bird.query("show status").is_ok().then_some(()))
        })?;
        Ok(bird)
    }
}

impl Bird {
    /// The answer of `birdc` to a command.
    pub fn query(&self, command: &str) -> Result<String> {
        let mut birdc = Command::new("birdc");
        birdc.arg("-s").arg(&self.socket).args(command.split(' '));
        output(&self.namespace, birdc)
    }

    /// The names of the protocols whose sessions are established.
    pub fn established_names(&self) -> Result<Vec<String>> {
        let answer = self.query("show protocols")?;
        let established = answer
            .lines()
            .filter(|line| line.trim_end().ends_with("Established"));
        let name = |line: &str| line.split_whitespace().next().map(str::to_owned);
        Ok(established.filter_map(name).collect())
    }

    /// Waits until the sessions of all neighbours are established.
    pub fn wait_established(&mut self, limit: Duration) -> Result<()> {
        let expected = self.neighbours.len();
        self.wait("BGP sessions established", limit, |bird| {
            let up = bird.established_names()?;
            if up.len() < expected {
                bail!("established: {up:?} of {expected}");
            }
            Ok(Some(()))
        })
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its configuration file; after a change, `configure` makes BIRD read it.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The command with which a person opens BIRD's command line.
    pub fn birdc_command(&self) -> String {
        format!(
            "nsenter {} birdc -s {}",
            self.namespace.nsenter_arguments(),
            self.socket.display()
        )
    }

    fn wait<T>(
        &mut self,
        what: &str,
        limit: Duration,
        check: impl Fn(&Self) -> Result<Option<T>>,
    ) -> Result<T> {
        let seen = wait_until(limit, what, || match self.process.ended()? {
            Some(status) => Ok(Some(Err(anyhow!("BIRD has ended: {status}")))),
            None => Ok(check(self)?.map(Ok)),
        });
        seen.flatten().map_err(|error| self.process.failure(&error))
    }

    fn address_of(&self, protocol: &str) -> Option<IpAddr> {
        let named = |neighbour: &&Neighbour| neighbour.name == protocol;
        Some(self.neighbours.iter().find(named)?.address)
    }
}

impl Router for Bird {
    fn name(&self) -> &'static str {
        "BIRD"
    }

    fn configure(&mut self, neighbours: &[Neighbour]) -> Result<()> {
        fs::write(&self.config, configuration(neighbours)?)?;
        let answer = self.query("configure")?;
        anyhow::ensure!(answer.contains("Reconfig"), "BIRD refuses: {answer}");
        self.neighbours = neighbours.to_vec();
        Ok(())
    }

    fn established(&self) -> Result<BTreeSet<IpAddr>> {
        let names = self.established_names()?;
        Ok(names
            .iter()
            .filter_map(|name| self.address_of(name))
            .collect())
    }

    fn routes(&self) -> Result<Vec<ReceivedRoute>> {
        let answer = self.query("show route all")?;
        Ok(parse_routes(&answer, |protocol| self.address_of(protocol)))
    }

    fn updates_received(&self, neighbour: &Neighbour) -> Result<u64> {
        let answer = self.query(&format!("show protocols all {}", neighbour.name))?;
        let lines = answer.lines();
        let counts = lines.filter_map(|line| line.trim().strip_prefix("Import updates:"));
        let received =
            counts.filter_map(|counts| counts.split_whitespace().next()?.parse::<u64>().ok());
        Ok(received.sum())
    }

    fn refresh(&self, neighbour: &Neighbour) -> Result<()> {
        self.query(&format!("reload in {}", neighbour.name))
            .map(drop)
    }

    fn marked_refreshes(&self) -> Result<Option<usize>> {
        let log = fs::read_to_string(self.process.log())?;
        Ok(Some(log.matches("Got END-OF-RR").count()))
    }

    fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// BIRD's configuration. Its BGP connects to nodes too: both ends dial, and the collision is theirs to resolve.
fn configuration(neighbours: &[Neighbour]) -> Result<String> {
    let mut text = format!(
        "router id {ROUTER_ID};
log stderr all;

protocol device {{ scan time 1; }}

protocol kernel kernel4 {{
    scan time 60;
    ipv4 {{ import none; export all; }};
    merge paths on;
}}

protocol kernel kernel6 {{
    scan time 60;
    ipv6 {{ import none; export all; }};
    merge paths on;
}}
"
    );
    for neighbour in neighbours {
        text += &protocol(neighbour)?;
    }
    Ok(text)
}

fn protocol(neighbour: &Neighbour) -> Result<String> {
    let Neighbour {
        name,
        address,
        asn,
        port,
        source,
        hold_time_s,
        options,
        ..
    } = neighbour;
    let mut text = format!(
        "
protocol bgp {name} {{
    local {local} as {ROUTER_ASN};
    neighbor {address} port {port} as {asn};
    hold time {hold_time_s};
    connect delay time 1;
    connect retry time 2;
    error wait time 1, 2;
    debug {{ packets }};
",
        local = source.like(*address),
    );
    if let Some(password) = &neighbour.password {
        writeln!(text, "    password \"{password}\";")?;
    }
    if neighbour.ttl_security {
        text += "    ttl security on;\n";
    }
    if neighbour.passive {
        text += "    passive on;\n";
    }
    let add_paths = if neighbour.add_paths { "on" } else { "off" };
    let extended = if address.is_ipv6() { "on" } else { "off" };
    writeln!(
        text,
        "    {options}
    ipv4 {{ import all; export all; add paths {add_paths}; extended next hop {extended}; next hop address {v4}; }};
    ipv6 {{ import all; export all; add paths {add_paths}; next hop address {v6}; }};
}}",
        v4 = source.v4,
        v6 = source.v6,
    )?;
    Ok(text)
}

/// Reads `show route all`: per destination one line for each path, with the path's attributes indented below it.
fn parse_routes(answer: &str, address_of: impl Fn(&str) -> Option<IpAddr>) -> Vec<ReceivedRoute> {
    let mut routes: Vec<ReceivedRoute> = Vec::new();
    let mut destination = None;
    for line in answer.lines() {
        if let Some((name, value)) = line.trim_start().split_once(": ") {
            if let Some(route) = routes.last_mut() {
                read_attribute(route, name, value);
            }
            continue;
        }
        let Some((before, after)) = line.split_once(" [") else {
            continue;
        };
        let first = before.split_whitespace().next().and_then(parse_prefix);
        destination = first.or(destination);
        let protocol = after.split([' ', ']']).next().unwrap_or_default();
        routes.push(ReceivedRoute {
            neighbour: address_of(protocol),
            prefix: destination,
            // `s` after the preference: stale; printed as (100s).
            stale: after.contains("s)"),
            ..ReceivedRoute::default()
        });
    }
    routes
}

fn read_attribute(route: &mut ReceivedRoute, name: &str, value: &str) {
    match name {
        "BGP.next_hop" => route.next_hop = value.split(' ').next().and_then(|hop| hop.parse().ok()),
        "BGP.as_path" => {
            let numbers = value.split_whitespace();
            route.as_path = numbers.filter_map(|number| number.parse().ok()).collect();
        }
        "BGP.med" => route.med = value.trim().parse().ok(),
        "BGP.local_pref" => route.local_pref = value.trim().parse().ok(),
        "BGP.community" => route.communities = tuples(value),
        "BGP.large_community" => route.large_communities = tuples(value),
        "BGP.ext_community" => route.extended_communities = tuples(value),
        _ => {}
    }
}

/// `(65000,100) (65000, 7)` as `65000:100` and `65000:7`.
fn tuples(value: &str) -> BTreeSet<String> {
    let inner = value.split(['(', ')']).map(str::trim);
    inner
        .filter(|tuple| !tuple.is_empty())
        .map(|tuple| tuple.replace(", ", ":").replace(',', ":"))
        .collect()
}

#[cfg(test)]
mod tests;
