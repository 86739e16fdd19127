//! A real OpenBGPD 7.7, Debian's package unpacked into the cache and run from there in the router's namespace, from a file
//! that it reads again when told. It wants a user that only its package would make, so the namespace has a list of users
//! of its own. It has no part in the kernel's routes. It is asked by `bgpctl`, which answers in JSON.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    net::IpAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    debian::{self, Package},
    lab::Lab,
    namespace::Namespace,
    process::{Process, output},
    router::{Neighbour, ROUTER_ASN, ROUTER_ID, ReceivedRoute, Router, parse_prefix},
};

/// A running OpenBGPD.
pub struct OpenBgpd {
    namespace: Arc<Namespace>,
    programs: PathBuf,
    config: PathBuf,
    neighbours: Vec<Neighbour>,
    process: Process,
}

const START_LIMIT: Duration = Duration::from_secs(10);
/// In the namespace's own `/run`; the daemon locks itself in there.
const RUN: &str = "/run/openbgpd";
/// The user that the daemon gives root up for.
const USER: &str = "_openbgpd";

impl Lab {
    /// Starts OpenBGPD on the router with these neighbours.
    pub fn start_openbgpd(&self, neighbours: &[Neighbour]) -> Result<OpenBgpd> {
        let package = Package {
            suite: "bookworm".to_owned(),
            name: "openbgpd".to_owned(),
            version: "7.7-2".to_owned(),
            sha256: "976d1ab9bcae964febabf630540bff94c1c223994343ef07072268d726a694c4".to_owned(),
        };
        let programs = debian::unpacked("debs", "openbgpd-7.7", &[package])?.join("usr/sbin");
        let config = self.folder().join("openbgpd.conf");
        write_configuration(&config, neighbours)?;
        let namespace = Arc::clone(self.router_namespace());
        namespace.run(make_user)?;
        let mut command = Command::new(programs.join("bgpd"));
        command.args(["-d", "-v", "-f"]).arg(&config);
        let process = Process::start(&namespace, "openbgpd", command, self.folder())?;
        let mut openbgpd = OpenBgpd {
            namespace,
            programs,
            config,
            neighbours: neighbours.to_vec(),
            process,
        };
        let router: &mut dyn Router = &mut openbgpd;
        router.wait_for(START_LIMIT, "answers", |router| {
            Ok(router.established().is_ok().then_some(()))
        })?;
        Ok(openbgpd)
    }
}

impl OpenBgpd {
    /// The answer of `bgpctl` to words of its command line.
    pub fn query(&self, words: &str) -> Result<String> {
        let mut bgpctl = Command::new(self.programs.join("bgpctl"));
        bgpctl.args(words.split(' '));
        output(&self.namespace, bgpctl)
    }

    fn json(&self, words: &str) -> Result<Value> {
        let answer = self.query(&format!("-j {words}"))?;
        serde_json::from_str(&answer).with_context(|| format!("bgpctl {words}: {answer}"))
    }
}

impl Router for OpenBgpd {
    fn name(&self) -> &'static str {
        "OpenBGPD"
    }

    /// It keeps sessions whose neighbours are configured in another way, but for some changes: those are cleared.
    fn configure(&mut self, neighbours: &[Neighbour]) -> Result<()> {
        write_configuration(&self.config, neighbours)?;
        self.query("reload")?;
        for neighbour in neighbours {
            if !self.neighbours.contains(neighbour) {
                self.query(&format!("neighbor {} clear", neighbour.address))?;
            }
        }
        self.neighbours = neighbours.to_vec();
        Ok(())
    }

    fn established(&self) -> Result<BTreeSet<IpAddr>> {
        let shown = self.json("show neighbor")?;
        let all = shown["neighbors"].as_array().into_iter().flatten();
        let up = all.filter(|one| one["state"] == "Established");
        let address = |one: &Value| one["remote_addr"].as_str()?.parse().ok();
        Ok(up.filter_map(address).collect())
    }

    fn routes(&self) -> Result<Vec<ReceivedRoute>> {
        let shown = self.json("show rib detail")?;
        let routes = shown["rib"].as_array().into_iter().flatten();
        Ok(routes.map(received).collect())
    }

    fn updates_received(&self, neighbour: &Neighbour) -> Result<u64> {
        let shown = self.json(&format!("show neighbor {}", neighbour.address))?;
        let count = shown["neighbors"][0]["stats"]["message"]["received"]["updates"].as_u64();
        count.with_context(|| format!("no count of UPDATEs in {shown}"))
    }

    fn refresh(&self, neighbour: &Neighbour) -> Result<()> {
        self.query(&format!("neighbor {} refresh", neighbour.address))
            .map(drop)
    }

    fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// Lays lists of users and groups over the host's, which this namespace alone sees.
fn make_user() -> Result<()> {
    fs::create_dir_all(RUN)?;
    for (list, line) in [
        (
            "passwd",
            format!("{USER}:x:64000:64000::{RUN}:/usr/sbin/nologin\n"),
        ),
        ("group", format!("{USER}:x:64000:\n")),
    ] {
        let (of_host, own) = (format!("/etc/{list}"), format!("/run/{list}"));
        fs::write(&own, fs::read_to_string(&of_host)? + &line)?;
        let status = Command::new("mount")
            .args(["--bind", &own, &of_host])
            .status()?;
        anyhow::ensure!(status.success(), "mount --bind {own} {of_host}: {status}");
    }
    Ok(())
}

/// The daemon refuses a file that others can read, as it may have passwords in it.
fn write_configuration(path: &Path, neighbours: &[Neighbour]) -> Result<()> {
    fs::write(path, configuration(neighbours)?)?;
    Ok(fs::set_permissions(
        path,
        fs::Permissions::from_mode(0o600),
    )?)
}

fn configuration(neighbours: &[Neighbour]) -> Result<String> {
    let mut text = format!(
        "AS {ROUTER_ASN}
router-id {ROUTER_ID}
fib-update no
"
    );
    for neighbour in neighbours {
        write_neighbour(&mut text, neighbour)?;
    }
    Ok(text + "allow from any\nallow to any\n")
}

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
    let yes = |is: bool| if is { "yes" } else { "no" };
    write!(
        text,
        "neighbor {address} {{
    remote-as {asn}
    local-address {local}
    port {port}
    announce IPv4 unicast
    announce IPv6 unicast
    announce add-path recv {add_paths}
    ttl-security {ttl_security}
",
        local = source.like(*address),
        add_paths = yes(neighbour.add_paths),
        ttl_security = yes(neighbour.ttl_security),
    )?;
    if *hold_time_s > 0 {
        writeln!(text, "    holdtime {hold_time_s}")?;
    }
    if let Some(password) = &neighbour.password {
        writeln!(text, "    tcp md5sig password {password}")?;
    }
    if neighbour.passive {
        *text += "    passive\n";
    }
    writeln!(text, "{options}}}")?;
    Ok(())
}

fn received(shown: &Value) -> ReceivedRoute {
    let number = |name: &str| {
        shown[name]
            .as_u64()
            .and_then(|number| number.try_into().ok())
    };
    let words = |name: &str| -> BTreeSet<String> {
        let all = shown[name].as_array().into_iter().flatten();
        all.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let text = |value: &Value| value.as_str().map(str::to_owned).unwrap_or_default();
    ReceivedRoute {
        neighbour: text(&shown["neighbor"]["remote_addr"]).parse().ok(),
        prefix: parse_prefix(&text(&shown["prefix"])),
        next_hop: text(&shown["exit_nexthop"]).parse().ok(),
        as_path: text(&shown["aspath"])
            .split(' ')
            .filter_map(|number| number.parse().ok())
            .collect(),
        med: number("metric"),
        local_pref: number("localpref"),
        // It writes `NO_EXPORT`.
        communities: words("communities")
            .iter()
            .map(|word| word.to_lowercase().replace('_', "-"))
            .collect(),
        large_communities: words("large_communities"),
        extended_communities: words("extended_communities"),
        stale: shown["stale"] == true,
    }
}
