//! Peers: who they are, how connections with them are made, and how long sessions may be silent.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use serde_saphyr::Spanned;

use super::{super::schema, routes};
use crate::{
    config::{duration, error::Problem, names},
    model::{
        Authentication, Families, GracefulRestart, NextHopMode, Node, Peer, Prefix, Remote,
        SEND_MAX_DEFAULT, Selector, Transport,
    },
};

/// BGP's port (RFC 4271 section 8.2.1).
const PORT_DEFAULT: u16 = 179;
/// RFC 4271 section 4.2: at least three seconds, or none at all.
const HOLD_TIME_SECS_MIN: u64 = 3;
/// The restart time has 12 bits (RFC 4724 section 3).
const RESTART_TIME_SECS_MAX: u64 = 4095;
/// The long-lived stale time has 24 bits (RFC 9494 section 3).
const STALE_TIME_SECS_MAX: u64 = 0x00ff_ffff;

pub(super) fn peers(
    peers: &[schema::Peer],
    own: Option<&Node>,
    problems: &mut Vec<Problem>,
) -> Vec<Peer> {
    let mut seen = BTreeMap::new();
    let mut made = Vec::with_capacity(peers.len());
    for (index, peer) in peers.iter().enumerate() {
        let mut maker = Maker { index, problems };
        let Some((place, remote)) = maker.remote(peer) else {
            continue;
        };
        let selector = &peer.node_selector;
        let twice = seen.insert((remote.clone(), selector), ()).is_some();
        let is_own = matches!(&remote, Remote::Address(address)
            if own.is_some_and(|node| node.addresses.contains(address)));
        if twice {
            maker.problem(place, "address", &format!("there are two peers {remote}"));
        } else if is_own {
            maker.problem(
                place,
                "address",
                &format!("{remote} is this node's own address"),
            );
        }
        made.push(maker.peer(peer, remote));
    }
    made
}

struct Maker<'a> {
    index: usize,
    problems: &'a mut Vec<Problem>,
}

impl Maker<'_> {
    fn field(&self, name: impl Display) -> String {
        format!("bgp.peers[{}].{name}", self.index)
    }

    fn problem<T>(&mut self, place: &Spanned<T>, name: &str, message: &str) {
        let field = self.field(name);
        self.problems.push(Problem::at(place, field, message));
    }

    /// Exactly one of three words says who it is.
    fn remote<'a>(&mut self, peer: &'a schema::Peer) -> Option<(&'a schema::Text, Remote)> {
        let words = [&peer.address, &peer.interface, &peer.range];
        let mut given = words.into_iter().flatten();
        let Some(first) = given.next() else {
            let message = "a peer needs an `address`, an `interface` or a `range`";
            self.problem(&peer.asn, "asn", message);
            return None;
        };
        if let Some(second) = given.next() {
            let message = "a peer has one of `address`, `interface` and `range`, not two";
            self.problem(second, "address", message);
            return None;
        }
        let remote = if peer.address.is_some() {
            let field = self.field("address");
            Remote::Address(names::address(first, field, self.problems)?)
        } else if peer.interface.is_some() {
            Remote::Interface(first.value.as_str().into())
        } else {
            Remote::Range(self.range(first)?)
        };
        Some((first, remote))
    }

    fn range(&mut self, text: &schema::Text) -> Option<Prefix> {
        let parsed = text.value.split_once('/').and_then(|(address, bits)| {
            let address: IpAddr = address.parse().ok()?;
            Prefix::new(address, bits.parse().ok()?)
        });
        if parsed.is_none() {
            let message = format!(
                "\"{}\" is not a network; write its first address and its length, like 10.1.0.0/24",
                text.value
            );
            self.problem(text, "range", &message);
        }
        parsed
    }

    fn peer(&mut self, peer: &schema::Peer, remote: Remote) -> Peer {
        let families = self.families(peer);
        let routes = {
            let field = format!("bgp.peers[{}]", self.index);
            routes::settings(&peer.routes(), &field, self.problems)
        };
        let local_asn = peer.local_asn.as_ref();
        let field = self.field("localAsn");
        let local_asn = local_asn.map(|asn| names::asn(asn, field, self.problems));
        let (asn, hold) = (self.field("asn"), peer.hold_time.as_ref());
        Peer {
            asn: names::asn(&peer.asn, asn, self.problems),
            local_asn,
            node_selector: Selector(peer.node_selector.clone()),
            transport: self.transport(peer, &remote),
            hold_time: hold
                .and_then(|text| self.duration(text, "holdTime", hold_time))
                .unwrap_or(crate::model::HOLD_TIME_DEFAULT),
            connect_retry: peer
                .connect_retry
                .as_ref()
                .and_then(|text| self.duration(text, "connectRetry", connect_retry))
                .unwrap_or(crate::model::CONNECT_RETRY_DEFAULT),
            families,
            families_required: self.required_families(peer, families),
            graceful_restart: self.graceful_restart(peer.graceful_restart.as_ref()),
            received_routes_max: peer.received_routes_max,
            next_hop: self.next_hop(peer),
            services: peer.services.as_ref().map(|names| {
                let names = names.value.iter();
                let names: BTreeSet<Arc<str>> = names.map(|n| n.value.as_str().into()).collect();
                names
            }),
            routes,
            policy: Arc::default(),
            remote,
        }
    }

    fn duration(
        &mut self,
        text: &schema::Text,
        name: &str,
        check: fn(Duration) -> Result<Duration, String>,
    ) -> Option<Duration> {
        let parsed = duration::parse(&text.value).and_then(check);
        parsed.map_err(|why| self.problem(text, name, &why)).ok()
    }

    fn transport(&mut self, peer: &schema::Peer, remote: &Remote) -> Transport {
        let field = self.field("port");
        let port = peer
            .port
            .as_ref()
            .map_or(PORT_DEFAULT, |port| names::port(port, field, self.problems));
        let source = peer.source_address.as_ref().and_then(|text| {
            let field = self.field("sourceAddress");
            let address = names::address(text, field, self.problems)?;
            let other_family = match remote {
                Remote::Address(peer) => peer.is_ipv4() != address.is_ipv4(),
                Remote::Interface(_) => true,
                Remote::Range(network) => network.address().is_ipv4() != address.is_ipv4(),
            };
            if other_family {
                let message =
                    format!("{address} is not of the family of the session with {remote}");
                self.problem(text, "sourceAddress", &message);
            }
            Some(address)
        });
        if let Some(zero) = peer.multihop.as_ref().filter(|hops| hops.value == 0) {
            self.problem(zero, "multihop", "a number of hops is from 1 to 255");
        }
        let dynamic = matches!(remote, Remote::Range(_));
        let passive = peer.passive.as_ref();
        if let Some(no) = passive.filter(|passive| dynamic && !passive.value) {
            self.problem(no, "passive", "peers of a range are never dialled");
        }
        Transport {
            port,
            passive: dynamic || passive.is_some_and(|passive| passive.value),
            source_address: source,
            source_interface: match remote {
                Remote::Interface(name) => Some(Arc::clone(name)),
                _ => peer
                    .source_interface
                    .as_ref()
                    .map(|name| name.value.as_str().into()),
            },
            multihop: peer.multihop.as_ref().map(|hops| hops.value),
            gtsm: peer.gtsm,
            authentication: self.authentication(peer),
        }
    }

    fn authentication(&mut self, peer: &schema::Peer) -> Option<Authentication> {
        let password = peer.password_file.as_ref();
        let Some(ao) = &peer.tcp_ao else {
            return password.map(|path| Authentication::Md5(path.value.clone().into()));
        };
        if let Some(password) = password {
            let message = "a session is signed by `passwordFile` or by `tcpAo`, not by both";
            self.problem(password, "passwordFile", message);
        }
        let algorithm = ao.value.algorithm.as_ref();
        let algorithm = match algorithm.map_or("hmac-sha1-96", |text| &text.value) {
            "hmac-sha1-96" => "hmac(sha1)",
            "aes-128-cmac-96" => "cmac(aes128)",
            other => {
                let message = format!("\"{other}\" is none of hmac-sha1-96, aes-128-cmac-96");
                let place = algorithm.unwrap_or(&ao.value.key_file);
                self.problem(place, "tcpAo.algorithm", &message);
                "hmac(sha1)"
            }
        };
        Some(Authentication::Ao {
            key_file: ao.value.key_file.value.clone().into(),
            send_id: ao.value.send_id,
            receive_id: ao.value.receive_id,
            algorithm,
        })
    }

    fn families(&mut self, peer: &schema::Peer) -> Families {
        let Some(list) = &peer.families else {
            return Families {
                ipv4: true,
                ipv6: true,
            };
        };
        if list.value.is_empty() {
            let message = "a session without a family could announce nothing";
            self.problem(list, "families", message);
        }
        self.set_of_families(&list.value, "families")
    }

    fn required_families(&mut self, peer: &schema::Peer, offered: Families) -> Families {
        let required = self.set_of_families(&peer.required_families, "requiredFamilies");
        let missing = required.ipv4 && !offered.ipv4 || required.ipv6 && !offered.ipv6;
        if let Some(first) = peer.required_families.first().filter(|_| missing) {
            let message = "a family that is required must be among `families`";
            self.problem(first, "requiredFamilies", message);
        }
        required
    }

    fn set_of_families(&mut self, list: &[schema::Text], name: &str) -> Families {
        let mut families = Families::default();
        for (index, text) in list.iter().enumerate() {
            match text.value.as_str() {
                "ipv4" => families.ipv4 = true,
                "ipv6" => families.ipv6 = true,
                other => {
                    let message = format!("\"{other}\" is none of ipv4, ipv6");
                    self.problem(text, &format!("{name}[{index}]"), &message);
                }
            }
        }
        families
    }

    fn graceful_restart(
        &mut self,
        section: Option<&Spanned<schema::GracefulRestart>>,
    ) -> Option<GracefulRestart> {
        let mut made = GracefulRestart::default();
        let Some(section) = section else {
            return Some(made);
        };
        if let Some(text) = &section.value.restart_time {
            let name = "gracefulRestart.restartTime";
            if let Some(time) = self.duration(text, name, restart_time) {
                made.restart_time = time;
            }
        }
        if let Some(text) = &section.value.long_lived_stale_time {
            let name = "gracefulRestart.longLivedStaleTime";
            if let Some(time) = self.duration(text, name, stale_time) {
                made.stale_time = time;
            }
        }
        section.value.enabled.unwrap_or(true).then_some(made)
    }

    fn next_hop(&mut self, peer: &schema::Peer) -> NextHopMode {
        let nodes = peer
            .next_hop
            .as_ref()
            .is_some_and(|word| word.value == "nodes");
        let send_max = peer.send_max.as_ref();
        if let Some(zero) = send_max.filter(|max| max.value == 0) {
            self.problem(zero, "sendMax", "at least one path must be sent");
        }
        if let Some(idle) = send_max.filter(|_| !nodes) {
            self.problem(
                idle,
                "sendMax",
                "it says something only beside `nextHop: nodes`",
            );
        }
        match nodes {
            true => NextHopMode::Nodes {
                send_max: send_max.map_or(SEND_MAX_DEFAULT, |max| max.value.into()),
            },
            false => NextHopMode::Own,
        }
    }
}

fn whole_seconds(time: Duration, least: u64, most: u64) -> bool {
    time.subsec_nanos() == 0 && (least..=most).contains(&time.as_secs())
}

fn hold_time(time: Duration) -> Result<Duration, String> {
    match time.is_zero() || whole_seconds(time, HOLD_TIME_SECS_MIN, u16::MAX.into()) {
        true => Ok(time),
        false => Err(
            "a hold time is 3s to 65535s, in whole seconds, or 0s for none (RFC 4271)".to_owned(),
        ),
    }
}

fn connect_retry(time: Duration) -> Result<Duration, String> {
    match whole_seconds(time, 1, u16::MAX.into()) {
        true => Ok(time),
        false => Err("a retry time is 1s to 65535s, in whole seconds".to_owned()),
    }
}

fn restart_time(time: Duration) -> Result<Duration, String> {
    match whole_seconds(time, 1, RESTART_TIME_SECS_MAX) {
        true => Ok(time),
        false => Err("a restart time is 1s to 4095s, in whole seconds (RFC 4724)".to_owned()),
    }
}

fn stale_time(time: Duration) -> Result<Duration, String> {
    match whole_seconds(time, 0, STALE_TIME_SECS_MAX) {
        true => Ok(time),
        false => Err("a stale time is up to 16777215s, in whole seconds (RFC 9494)".to_owned()),
    }
}
