//! A real ExaBGP in the router's namespace: no router, but a speaker whose decoder shares nothing with the others. It
//! reports every message that it receives, raw and decoded, as a line of JSON to a recorder, a file of the lab; which
//! routes it has follows from all lines since the session came up. It reads its configuration again on SIGUSR1.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::lab::Lab;
use crate::process::Process;
use crate::router::{Neighbour, ROUTER_ASN, ROUTER_ID, ReceivedRoute, Router, parse_prefix};

/// A running ExaBGP.
pub struct ExaBgp {
    config: PathBuf,
    recorder: PathBuf,
    messages: PathBuf,
    process: Process,
}

const START_LIMIT: Duration = Duration::from_secs(10);

impl Lab {
    /// Starts ExaBGP on the router with these neighbours.
    pub fn start_exabgp(&self, neighbours: &[Neighbour]) -> Result<ExaBgp> {
        let file = |name: &str| self.folder().join(name);
        let (config, recorder) = (file("exabgp.conf"), file("exabgp-recorder.sh"));
        let messages = file("exabgp-messages.json");
        // ExaBGP takes a recorder for dead that closes its output, so the shell stays and keeps it open.
        let script = format!("#!/bin/sh\ncat >>'{}'\n:\n", messages.display());
        fs::write(&recorder, script)?;
        fs::set_permissions(&recorder, fs::Permissions::from_mode(0o755))?;
        fs::write(&messages, "")?;
        fs::write(&config, configuration(&recorder, neighbours)?)?;
        let own = self.node(1).router();
        let listen = format!("{} {}", own.v4, own.v6);
        let mut command = Command::new("exabgp");
        command.arg(&config).envs([
            ("exabgp_daemon_user", "root"),
            ("exabgp_api_cli", "false"),
            ("exabgp_log_destination", "stdout"),
            ("exabgp_tcp_bind", &listen),
            ("exabgp_tcp_port", "179"),
        ]);
        let process = Process::start(self.router_namespace(), "exabgp", command, self.folder())
            .context("ExaBGP is needed (Debian package exabgp)")?;
        let mut exabgp = ExaBgp {
            config,
            recorder,
            messages,
            process,
        };
        let router: &mut dyn Router = &mut exabgp;
        router.wait_for(START_LIMIT, "has read its configuration", |_| Ok(Some(())))?;
        Ok(exabgp)
    }
}

impl ExaBgp {
    /// All that it has reported, oldest first.
    pub fn messages(&self) -> Result<Vec<Value>> {
        let text = fs::read_to_string(&self.messages)?;
        // The last line may still be written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        // It prints what NOTIFICATIONs carry as it came, control characters and all.
        let parse = |line: &str| {
            let line = line.replace(char::is_control, "?");
            serde_json::from_str(&line).with_context(|| format!("reading {line}"))
        };
        whole.lines().map(parse).collect()
    }
}

impl Router for ExaBgp {
    fn name(&self) -> &'static str {
        "ExaBGP"
    }

    fn configure(&mut self, neighbours: &[Neighbour]) -> Result<()> {
        fs::write(&self.config, configuration(&self.recorder, neighbours)?)?;
        self.process.signal(libc::SIGUSR1)
    }

    fn established(&self) -> Result<BTreeSet<IpAddr>> {
        let mut up = BTreeSet::new();
        for message in self.messages()? {
            let Some(peer) = peer_of(&message) else {
                continue;
            };
            match message["neighbor"]["state"].as_str() {
                Some("up") => up.insert(peer),
                Some("down") => up.remove(&peer),
                _ => continue,
            };
        }
        Ok(up)
    }

    fn routes(&self) -> Result<Vec<ReceivedRoute>> {
        let mut routes = Vec::new();
        for message in self.messages()? {
            let Some(peer) = peer_of(&message) else {
                continue;
            };
            if message["neighbor"]["state"] == "down" {
                routes.retain(|route: &ReceivedRoute| route.neighbour != Some(peer));
            }
            apply(&mut routes, peer, &message["neighbor"]["message"]["update"]);
        }
        Ok(routes)
    }

    fn updates_received(&self, neighbour: &Neighbour) -> Result<u64> {
        let messages = self.messages()?;
        let is_update = |message: &&Value| {
            message["type"] == "update" && peer_of(message) == Some(neighbour.address)
        };
        Ok(messages.iter().filter(is_update).count() as u64)
    }

    fn refresh(&self, neighbour: &Neighbour) -> Result<()> {
        bail!("ExaBGP 4.2 sends {} no ROUTE-REFRESH", neighbour.address)
    }

    fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

fn configuration(recorder: &std::path::Path, neighbours: &[Neighbour]) -> Result<String> {
    let mut text = format!(
        "process recorder {{
    run {};
    encoder json;
}}
",
        recorder.display()
    );
    for neighbour in neighbours {
        let Neighbour {
            address,
            asn,
            port,
            source,
            hold_time_s,
            options,
            ..
        } = neighbour;
        let password = neighbour.password.as_ref();
        let password = password.map_or_else(String::new, |key| format!("md5-password '{key}';"));
        let ttl = if neighbour.ttl_security {
            "outgoing-ttl 255; incoming-ttl 255;"
        } else {
            ""
        };
        // A passive neighbour listens on its own port instead of dialling.
        let reach = if neighbour.passive {
            "passive; listen 179;".to_owned()
        } else {
            format!("connect {port};")
        };
        let add_paths = if neighbour.add_paths {
            "add-path receive;"
        } else {
            ""
        };
        write!(
            text,
            "
neighbor {address} {{
    router-id {ROUTER_ID};
    local-address {local};
    local-as {ROUTER_ASN};
    peer-as {asn};
    hold-time {hold_time_s};
    {reach} {password} {ttl}
    {options}
    family {{ ipv4 unicast; ipv6 unicast; }}
    capability {{ route-refresh enable; graceful-restart 120; {add_paths} }}
    api {{
        processes [ recorder ];
        neighbor-changes;
        receive {{ parsed; consolidate; open; update; notification; refresh; }}
    }}
}}
",
            local = source.like(*address),
        )?;
    }
    Ok(text)
}

fn peer_of(message: &Value) -> Option<IpAddr> {
    message["neighbor"]["address"]["peer"]
        .as_str()?
        .parse()
        .ok()
}

/// What an UPDATE does to the routes of a peer.
fn apply(routes: &mut Vec<ReceivedRoute>, peer: IpAddr, update: &Value) {
    for families in update["withdraw"].as_object().into_iter().flatten() {
        for item in families.1.as_array().into_iter().flatten() {
            let prefix = destination(item);
            routes.retain(|route| (route.neighbour, route.prefix) != (Some(peer), prefix));
        }
    }
    for (_, next_hops) in update["announce"].as_object().into_iter().flatten() {
        for (next_hop, items) in next_hops.as_object().into_iter().flatten() {
            for item in items.as_array().into_iter().flatten() {
                let mut route = with_attributes(&update["attribute"]);
                route.neighbour = Some(peer);
                route.prefix = destination(item);
                route.next_hop = next_hop.parse().ok();
                let is_same = |old: &ReceivedRoute| {
                    (old.neighbour, old.prefix, old.next_hop)
                        == (route.neighbour, route.prefix, route.next_hop)
                };
                routes.retain(|old| !is_same(old));
                routes.push(route);
            }
        }
    }
}

fn destination(item: &Value) -> Option<crate::netlink::Prefix> {
    parse_prefix(item["nlri"].as_str().or_else(|| item.as_str())?)
}

fn with_attributes(attributes: &Value) -> ReceivedRoute {
    let number = |name: &str| {
        attributes[name]
            .as_u64()
            .and_then(|value| value.try_into().ok())
    };
    let list = |name: &str| attributes[name].as_array().into_iter().flatten();
    let joined = |value: &Value| {
        let parts = value.as_array().into_iter().flatten();
        parts.map(Value::to_string).collect::<Vec<_>>().join(":")
    };
    let as_number = |value: &Value| u32::try_from(value.as_u64()?).ok();
    ReceivedRoute {
        as_path: list("as-path").filter_map(as_number).collect(),
        med: number("med"),
        local_pref: number("local-preference"),
        communities: list("community").map(joined).collect(),
        large_communities: list("large-community").map(joined).collect(),
        extended_communities: list("extended-community")
            .map(|value| {
                value["string"]
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned)
            })
            .collect(),
        ..ReceivedRoute::default()
    }
}
