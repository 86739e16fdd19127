//! A real FRR: `zebra` and `bgpd`, started by hand in the router's namespace with its own `/run`, so that nothing of
//! the host's FRR is read or written. Neighbours come and go by `vtysh` commands, as an operator types them; what FRR
//! received is asked by `vtysh` as JSON.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::lab::Lab;
use crate::namespace::Namespace;
use crate::process::{Process, output};
use crate::router::{Neighbour, ROUTER_ASN, ROUTER_ID, ReceivedRoute, Router, parse_prefix};
use crate::wait::wait_until;

/// A running FRR.
pub struct Frr {
    namespace: Arc<Namespace>,
    bgpd: Process,
    // Ends after its client.
    _zebra: Process,
    neighbours: Vec<Neighbour>,
}

/// Where Debian's package keeps the daemons.
const DAEMONS: &str = "/usr/lib/frr";
/// In the namespace's own `/run`.
const RUN: &str = "/run/frr";
const START_LIMIT: Duration = Duration::from_secs(10);

impl Lab {
    /// Starts FRR on the router with these neighbours.
    pub fn start_frr(&self, neighbours: &[Neighbour]) -> Result<Frr> {
        self.start_frr_from(&global_commands(), neighbours)
    }

    /// Starts FRR on the router from these commands, before any neighbour.
    pub fn start_frr_from(&self, commands: &str, neighbours: &[Neighbour]) -> Result<Frr> {
        let namespace = Arc::clone(self.router_namespace());
        namespace.run(make_run_folder)?;
        let config = self.folder().join("bgpd.conf");
        fs::write(
            &config,
            format!("log stdout debugging\ndebug bgp neighbor-events\n{commands}"),
        )?;

        // zebra gives up root and wants the user and the folder that Debian's package has made for it; bgpd goes on as
        // root, which may bind port 179 and read the file in the lab's folder.
        let mut zebra = daemon("zebra");
        zebra.args(["-u", "frr", "-g", "frr", "-f", "/dev/null"]);
        let zebra = Process::start(&namespace, "zebra", zebra, self.folder())
            .context("FRR is needed (Debian package frr)")?;
        wait_until(START_LIMIT, "zebra's socket", || {
            let exists = || Ok(fs::exists(format!("{RUN}/zserv.api"))?);
            Ok(namespace.run(exists)?.then_some(()))
        })
        .map_err(|error| zebra.failure(&error))?;

        let mut bgpd = daemon("bgpd");
        bgpd.arg("--skip_runas").arg("-f").arg(&config);
        let bgpd = Process::start(&namespace, "bgpd", bgpd, self.folder())?;
        let mut frr = Frr {
            namespace,
            bgpd,
            _zebra: zebra,
            neighbours: Vec::new(),
        };
        let router: &mut dyn Router = &mut frr;
        router.wait_for(START_LIMIT, "answers", |router| {
            Ok(router.established().is_ok().then_some(()))
        })?;
        frr.configure(neighbours)?;
        Ok(frr)
    }
}

impl Frr {
    /// The answer of `vtysh` to a command.
    pub fn query(&self, command: &str) -> Result<String> {
        let mut vtysh = Command::new("vtysh");
        vtysh.args(["--vty_socket", RUN, "-d", "bgpd", "-c", command]);
        output(&self.namespace, vtysh)
    }

    /// Commands of the configuration, one a line, below `router bgp`.
    pub fn command(&self, lines: &str) -> Result<()> {
        let mut vtysh = Command::new("vtysh");
        vtysh.args(["--vty_socket", RUN, "-d", "bgpd"]);
        let router = format!("router bgp {ROUTER_ASN}");
        for line in ["configure terminal", &router]
            .into_iter()
            .chain(lines.lines())
        {
            vtysh.args(["-c", line]);
        }
        let answer = output(&self.namespace, vtysh)?;
        ensure!(!answer.contains('%'), "FRR refuses: {answer}");
        Ok(())
    }

    fn json(&self, command: &str) -> Result<Value> {
        let answer = self.query(command)?;
        serde_json::from_str(&answer).with_context(|| format!("{command}: {answer}"))
    }
}

impl Router for Frr {
    fn name(&self) -> &'static str {
        "FRR"
    }

    fn configure(&mut self, neighbours: &[Neighbour]) -> Result<()> {
        for old in &self.neighbours {
            if !neighbours.contains(old) {
                self.command(&format!("no neighbor {}", old.address))?;
            }
        }
        for new in neighbours {
            if !self.neighbours.contains(new) {
                self.command(&commands(new))?;
            }
        }
        self.neighbours = neighbours.to_vec();
        Ok(())
    }

    fn established(&self) -> Result<BTreeSet<IpAddr>> {
        let all = self.json("show bgp neighbors json")?;
        let neighbours = all.as_object().context("no neighbours")?.iter();
        let up = neighbours.filter(|(_, shown)| shown["bgpState"] == "Established");
        Ok(up.filter_map(|(name, _)| name.parse().ok()).collect())
    }

    fn routes(&self) -> Result<Vec<ReceivedRoute>> {
        let mut routes = Vec::new();
        for family in ["ipv4", "ipv6"] {
            let shown = self.json(&format!("show bgp {family} unicast json detail"))?;
            let prefixes = shown["routes"].as_object();
            for (prefix, paths) in prefixes.into_iter().flatten() {
                // The first element is about the destination, the others are its paths.
                let paths = paths.as_array().context("no paths")?;
                let paths = paths.iter().filter(|path| path["nexthops"].is_array());
                routes.extend(paths.map(|path| received(prefix, path)));
            }
        }
        Ok(routes)
    }

    fn updates_received(&self, neighbour: &Neighbour) -> Result<u64> {
        let address = neighbour.address.to_string();
        let shown = self.json(&format!("show bgp neighbors {address} json"))?;
        let count = shown[&address]["messageStats"]["updatesRecv"].as_u64();
        count.with_context(|| format!("no count of UPDATEs in {shown}"))
    }

    fn refresh(&self, neighbour: &Neighbour) -> Result<()> {
        self.query(&format!("clear bgp {} soft in", neighbour.address))
            .map(drop)
    }

    fn marked_refreshes(&self) -> Result<Option<usize>> {
        let log = fs::read_to_string(self.bgpd.log())?;
        Ok(Some(log.matches("rcvd route-refresh (EoRR)").count()))
    }

    fn process(&mut self) -> &mut Process {
        &mut self.bgpd
    }
}

fn make_run_folder() -> Result<()> {
    let number = |kind: &str| -> Result<u32> {
        let file = format!("/etc/{kind}");
        let text = fs::read_to_string(&file)?;
        let line = text.lines().find(|line| line.starts_with("frr:"));
        let number = line.and_then(|line| line.split(':').nth(2));
        let number = number.with_context(|| format!("no frr in {file}: install Debian's frr"))?;
        Ok(number.parse()?)
    };
    fs::create_dir_all(RUN)?;
    std::os::unix::fs::chown(RUN, Some(number("passwd")?), Some(number("group")?))?;
    Ok(())
}

/// A daemon of FRR in the foreground, without a TCP port of its own for commands.
fn daemon(name: &str) -> Command {
    let mut command = Command::new(format!("{DAEMONS}/{name}"));
    command.args(["--log", "stdout", "-P", "0", "--vty_socket", RUN]);
    command.arg("-z").arg(format!("{RUN}/zserv.api"));
    command.arg("-i").arg(format!("{RUN}/{name}.pid"));
    command
}

/// FRR takes no route of another AS without a policy (RFC 8212) unless it is told to.
fn global_commands() -> String {
    format!(
        "router bgp {ROUTER_ASN}
 bgp router-id {ROUTER_ID}
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 bgp graceful-restart stalepath-time 120
 bgp long-lived-graceful-restart stale-time 120
"
    )
}

fn commands(neighbour: &Neighbour) -> String {
    let Neighbour {
        address,
        asn,
        port,
        source,
        hold_time_s,
        ..
    } = neighbour;
    let mut lines = format!("neighbor {address} remote-as {asn}\n");
    let mut line = |words: &str| lines += &format!("neighbor {address} {words}\n");
    // Until it is whole: every command below would end a session that is up.
    line("shutdown");
    line(&format!("port {port}"));
    line(&format!("update-source {}", source.like(*address)));
    line(&format!("timers {} {hold_time_s}", hold_time_s / 3));
    line("timers connect 2");
    if address.is_ipv6() {
        line("capability extended-nexthop");
    }
    if let Some(password) = &neighbour.password {
        line(&format!("password {password}"));
    }
    if neighbour.ttl_security {
        line("ttl-security hops 1");
    }
    if neighbour.passive {
        line("passive");
    }
    for option in neighbour.options.lines() {
        line(option);
    }
    for family in ["ipv4", "ipv6"] {
        lines += &format!("address-family {family} unicast\nneighbor {address} activate\n");
        if !neighbour.add_paths {
            lines += &format!("neighbor {address} disable-addpath-rx\n");
        }
        lines += "exit-address-family\n";
    }
    lines + &format!("no neighbor {address} shutdown\n")
}

fn received(prefix: &str, path: &Value) -> ReceivedRoute {
    let number = |name: &str| {
        path[name]
            .as_u64()
            .and_then(|number| number.try_into().ok())
    };
    let words = |name: &str| -> BTreeSet<String> {
        let text = path[name]["string"].as_str().unwrap_or_default();
        text.split(' ')
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let as_path = path["aspath"]["string"].as_str().unwrap_or_default();
    ReceivedRoute {
        neighbour: path["peer"]["peerId"]
            .as_str()
            .and_then(|peer| peer.parse().ok()),
        prefix: parse_prefix(prefix),
        next_hop: path["nexthops"][0]["ip"]
            .as_str()
            .and_then(|hop| hop.parse().ok()),
        as_path: as_path
            .split(' ')
            .filter_map(|number| number.parse().ok())
            .collect(),
        med: number("metric").or_else(|| number("med")),
        local_pref: number("locPrf"),
        communities: words("community"),
        large_communities: words("largeCommunity"),
        extended_communities: words("extendedCommunity"),
        stale: path["stale"] == true,
    }
}
