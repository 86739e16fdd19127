//! `BgpPeer`: who it is, how connections are made and signed, what is offered. An object that says too little for a
//! session gives no peer; a value that makes no sense is replaced by the default and reported.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use lb_core::model::{self, Authentication, Families, NextHopMode, Peer, Remote, SEND_MAX_DEFAULT};

use super::{Findings, Password, PasswordFile, conf::ASN_MAX};
use crate::crd::{AfiSafi, BgpPeerSpec, GracefulRestart, NextHop, PeerConf};

/// RFC 4271 section 4.2: two octets, at least three seconds.
const HOLD_TIME_SECS: (i64, i64) = (3, 65_535);
/// ConnectRetry has no field on the wire; a day is enough.
const CONNECT_RETRY_SECS: (i64, i64) = (1, 86_400);
/// The restart time has 12 bits (RFC 4724 section 3).
const RESTART_TIME_SECS: (i64, i64) = (1, 4095);
/// The long-lived stale time has 24 bits (RFC 9494 section 3).
const STALE_TIME_SECS: (i64, i64) = (1, 0x00ff_ffff);
/// How long routes are kept as a last resort if that is wanted and no time is said.
const STALE_TIME_DEFAULT: Duration = Duration::from_secs(3600);
/// As far as packets go.
const HOPS_MAX: u8 = 255;

/// What reading a BgpPeer needs besides it.
pub(super) struct Reader<'a> {
    pub(super) own_asn: u32,
    pub(super) graceful_restart: Option<&'a GracefulRestart>,
    pub(super) password_file: PasswordFile<'a>,
}

/// Whether the object says to have no session.
pub(super) fn is_down(spec: &BgpPeerSpec) -> bool {
    let conf = spec.conf.as_ref();
    conf.and_then(|conf| conf.admin_down).unwrap_or(false)
}

/// What is ignored or wrong in a BgpPeer, whichever node reads it.
#[must_use]
pub fn peer_findings(spec: &BgpPeerSpec) -> Findings {
    let reader = Reader {
        own_asn: 0,
        graceful_restart: None,
        password_file: &|_, _| PathBuf::new(),
    };
    reader.read("", spec).1
}

impl Reader<'_> {
    /// The peer, for every node, if the object says enough to have a session.
    pub(super) fn read(&self, name: &str, spec: &BgpPeerSpec) -> (Option<Peer>, Findings) {
        let mut findings = Findings::default();
        let spec = match spec.normalised() {
            Ok(spec) => spec,
            Err(conflict) => {
                findings.wrong(conflict.new, conflict.to_string());
                return (None, findings);
            }
        };
        let conf = spec.conf.clone().unwrap_or_default();
        let identity = identity(&conf, &mut findings);
        let peer = identity.map(|(remote, asn)| {
            let mut peer = Peer::new(remote, asn);
            peer.local_asn = local_asn(&conf, &mut findings);
            self.set_transport(&mut peer, &spec, &conf, &mut findings);
            peer.transport.authentication = self.authentication(name, &spec, &conf);
            set_times(&mut peer, &spec, &mut findings);
            let own = spec.graceful_restart.as_ref();
            peer.graceful_restart = graceful_restart(own.or(self.graceful_restart), &mut findings);
            set_families(&mut peer, &spec.afi_safis, &mut findings);
            peer.next_hop = next_hop(&spec, &mut findings);
            peer
        });
        check_selector(&spec, &mut findings);
        ignore_the_rest(&spec, &conf, &mut findings);
        (peer, findings)
    }

    fn set_transport(
        &self,
        peer: &mut Peer,
        spec: &BgpPeerSpec,
        conf: &PeerConf,
        findings: &mut Findings,
    ) {
        let given = spec.transport.clone().unwrap_or_default();
        let port = given.remote_port.filter(|port| *port != 0);
        let port = port.and_then(|port| findings.number("transport.remotePort", port, (1, 65_535)));
        peer.transport.port = port.unwrap_or(peer.transport.port);
        peer.transport.passive = given.passive_mode.unwrap_or(false);
        peer.transport.gtsm = spec.gtsm.unwrap_or(false);
        peer.transport.source_address = source_address(spec, &peer.remote, findings);
        let vrf = conf.vrf.as_deref().filter(|vrf| !vrf.is_empty());
        peer.transport.source_interface = match &peer.remote {
            Remote::Interface(interface) => Some(interface.clone()),
            _ => vrf.map(Into::into),
        };
        let own_asn = peer.local_asn.unwrap_or(self.own_asn);
        let is_internal = peer.asn == own_asn && !peer.transport.gtsm;
        peer.transport.multihop = multihop(spec, findings)
            // A session within one AS is not bound to a shared link (RFC 4271 section 5.1.3 is about eBGP).
            .or(is_internal.then_some(HOPS_MAX));
    }

    fn authentication(
        &self,
        name: &str,
        spec: &BgpPeerSpec,
        conf: &PeerConf,
    ) -> Option<Authentication> {
        let text = conf
            .auth_password
            .as_deref()
            .filter(|text| !text.is_empty());
        let password = match (&spec.password_secret, text) {
            (Some(secret), _) => Password::Secret(secret),
            (None, Some(text)) => Password::Text(text),
            (None, None) => return None,
        };
        Some(Authentication::Md5((self.password_file)(name, password)))
    }
}

/// Who the peer is; both must be there.
fn identity(conf: &PeerConf, findings: &mut Findings) -> Option<(Remote, u32)> {
    let address = conf
        .neighbor_address
        .as_deref()
        .filter(|text| !text.is_empty());
    let interface = conf
        .neighbor_interface
        .as_deref()
        .filter(|text| !text.is_empty());
    let remote = match (address, interface) {
        (Some(text), _) => {
            let address = text.parse::<IpAddr>().ok();
            if address.is_none() {
                let message = format!("\"{text}\" is not an address; there is no session");
                findings.wrong("conf.neighborAddress", message);
            }
            address.map(Remote::Address)
        }
        (None, Some(interface)) => Some(Remote::Interface(interface.into())),
        (None, None) => {
            findings.wrong("conf.neighborAddress", "it is missing; there is no session");
            None
        }
    };
    let asn = match conf.peer_as {
        Some(asn) => findings.number("conf.peerAs", asn, (1, ASN_MAX)),
        None => {
            findings.wrong("conf.peerAs", "it is missing; there is no session");
            None
        }
    };
    Some((remote?, asn?))
}

fn local_asn(conf: &PeerConf, findings: &mut Findings) -> Option<u32> {
    let asn = conf.local_as.filter(|asn| *asn != 0)?;
    findings.number("conf.localAs", asn, (1, ASN_MAX))
}

fn source_address(spec: &BgpPeerSpec, remote: &Remote, findings: &mut Findings) -> Option<IpAddr> {
    let text = spec.source_address.as_deref()?;
    let address = text.parse::<IpAddr>().ok();
    let fits = |address: &IpAddr| match remote {
        Remote::Address(peer) => peer.is_ipv4() == address.is_ipv4(),
        Remote::Interface(_) | Remote::Range(_) => false,
    };
    let address = address.filter(fits);
    if address.is_none() {
        let message =
            format!("\"{text}\" is not an address of the family of the session; not used");
        findings.wrong("sourceAddress", message);
    }
    address
}

fn multihop(spec: &BgpPeerSpec, findings: &mut Findings) -> Option<u8> {
    let given = spec.ebgp_multihop.as_ref()?;
    let ttl = given.multihop_ttl.filter(|ttl| *ttl != 0);
    if !given.enabled.unwrap_or(false) {
        if ttl.is_some() {
            findings.ignore("ebgpMultihop.multihopTtl", "ebgpMultihop is not enabled");
        }
        return None;
    }
    let ttl =
        ttl.and_then(|ttl| findings.number("ebgpMultihop.multihopTtl", ttl, (1, HOPS_MAX.into())));
    Some(ttl.unwrap_or(HOPS_MAX))
}

fn set_times(peer: &mut Peer, spec: &BgpPeerSpec, findings: &mut Findings) {
    let given = spec
        .timers
        .as_ref()
        .and_then(|timers| timers.config.clone());
    let given = given.unwrap_or_default();
    let hold = seconds(
        given.hold_time.as_deref(),
        "timers.config.holdTime",
        HOLD_TIME_SECS,
        findings,
    );
    peer.hold_time = hold.unwrap_or(peer.hold_time);
    let retry = given.connect_retry.as_deref();
    let retry = seconds(
        retry,
        "timers.config.connectRetry",
        CONNECT_RETRY_SECS,
        findings,
    );
    peer.connect_retry = retry.unwrap_or(peer.connect_retry);
    findings.ignore_given(&[
        (
            "timers.config.keepaliveInterval",
            is_set(given.keepalive_interval.as_deref()),
            "it is a third of the negotiated hold time",
        ),
        (
            "timers.config.minimumAdvertisementInterval",
            is_set(given.minimum_advertisement_interval.as_deref()),
            "changes are sent at once",
        ),
    ]);
}

/// GoBGP takes zero for not given.
fn is_set(text: Option<&str>) -> bool {
    text.is_some_and(|text| !text.is_empty() && text != "0")
}

fn seconds(
    text: Option<&str>,
    field: &str,
    limits: (i64, i64),
    findings: &mut Findings,
) -> Option<Duration> {
    let text = text.filter(|text| is_set(Some(text)))?;
    let Ok(number) = text.trim().parse::<i64>() else {
        findings.wrong(
            field,
            format!("\"{text}\" is not a number of seconds; not used"),
        );
        return None;
    };
    findings
        .number(field, number, limits)
        .map(Duration::from_secs)
}

fn graceful_restart(
    given: Option<&GracefulRestart>,
    findings: &mut Findings,
) -> Option<model::GracefulRestart> {
    let mut made = model::GracefulRestart::default();
    let Some(given) = given else {
        return Some(made);
    };
    let time = given.restart_time.filter(|time| *time != 0);
    let time = time
        .and_then(|time| findings.number("gracefulRestart.restartTime", time, RESTART_TIME_SECS));
    made.restart_time = time.map_or(made.restart_time, Duration::from_secs);
    let stale = given.stale_routes_time.filter(|time| *time != 0);
    if given.longlived_enabled.unwrap_or(false) {
        let field = "gracefulRestart.staleRoutesTime";
        let stale = stale.and_then(|time| findings.number(field, time, STALE_TIME_SECS));
        made.stale_time = stale.map_or(STALE_TIME_DEFAULT, Duration::from_secs);
    } else if stale.is_some() {
        findings.ignore(
            "gracefulRestart.staleRoutesTime",
            "longlivedEnabled is not set",
        );
    }
    let nothing_learnt = "nothing is learnt from routers";
    let state = "it is state of GoBGP";
    findings.ignore_given(&[
        (
            "gracefulRestart.helperOnly",
            given.helper_only == Some(true),
            nothing_learnt,
        ),
        (
            "gracefulRestart.deferralTime",
            given.deferral_time.is_some_and(|time| time != 0),
            nothing_learnt,
        ),
        (
            "gracefulRestart.notificationEnabled",
            given.notification_enabled.is_some(),
            "it is always offered (RFC 8538)",
        ),
        (
            "gracefulRestart.peerRestartTime",
            given.peer_restart_time.is_some(),
            state,
        ),
        (
            "gracefulRestart.peerRestarting",
            given.peer_restarting.is_some(),
            state,
        ),
        (
            "gracefulRestart.localRestarting",
            given.local_restarting.is_some(),
            state,
        ),
        ("gracefulRestart.mode", given.mode.is_some(), state),
    ]);
    given.enabled.unwrap_or(true).then_some(made)
}

/// Those that are listed; none listed, or none of them named: that of the peer's address.
fn set_families(peer: &mut Peer, listed: &[AfiSafi], findings: &mut Findings) {
    let of_address = match peer.remote {
        Remote::Address(address) => Families {
            ipv4: address.is_ipv4(),
            ipv6: address.is_ipv6(),
        },
        Remote::Interface(_) | Remote::Range(_) => Families {
            ipv4: true,
            ipv6: true,
        },
    };
    let mut families = Families::default();
    let mut is_off = false;
    for (index, entry) in listed.iter().enumerate() {
        if entry.mp_graceful_restart.is_some() {
            let field = format!("afiSafis[{index}].mpGracefulRestart");
            findings.ignore(&field, "graceful restart is offered for every family");
        }
        let Some(config) = &entry.config else {
            families.ipv4 |= of_address.ipv4;
            families.ipv6 |= of_address.ipv6;
            continue;
        };
        if config.enabled == Some(false) {
            is_off = true;
            continue;
        }
        let family = config.family.clone().unwrap_or_default();
        match (family.afi.as_deref(), family.safi.as_deref()) {
            (Some("AFI_IP"), None | Some("SAFI_UNICAST")) => families.ipv4 = true,
            (Some("AFI_IP6"), None | Some("SAFI_UNICAST")) => families.ipv6 = true,
            (afi, safi) => {
                let (afi, safi) = (afi.unwrap_or("-"), safi.unwrap_or("-"));
                let field = format!("afiSafis[{index}].config.family");
                findings.ignore(
                    &field,
                    format!("{afi} {safi} is not a family that addresses are announced in"),
                );
            }
        }
    }
    if families == Families::default() {
        if is_off {
            let message =
                "a session without a family could announce nothing; that of the address is offered";
            findings.wrong("afiSafis", message);
        }
        families = of_address;
    }
    peer.families = families;
}

fn next_hop(spec: &BgpPeerSpec, findings: &mut Findings) -> NextHopMode {
    let configs = spec
        .afi_safis
        .iter()
        .filter_map(|entry| entry.add_paths.as_ref()?.config.as_ref());
    let numbers: Vec<i64> = configs
        .clone()
        .filter_map(|config| config.send_max)
        .collect();
    if configs
        .into_iter()
        .any(|config| config.receive == Some(true))
    {
        findings.ignore(
            "afiSafis[].addPaths.config.receive",
            "nothing is learnt from routers",
        );
    }
    let field = "afiSafis[].addPaths.config.sendMax";
    if spec.next_hop == Some(NextHop::Own) {
        if !numbers.is_empty() {
            findings.ignore(field, "with nextHop self there is one path");
        }
        return NextHopMode::Own;
    }
    let most = numbers.iter().copied().max();
    if numbers.iter().any(|number| Some(*number) != most) {
        findings.ignore(field, "one number counts for all families: the largest");
    }
    // GoBGP sends one path if it may send no further ones.
    let send_max = most.and_then(|most| findings.number::<usize>(field, most.max(1), (1, 255)));
    NextHopMode::Nodes {
        send_max: send_max.unwrap_or(SEND_MAX_DEFAULT),
    }
}

fn ignore_the_rest(spec: &BgpPeerSpec, conf: &PeerConf, findings: &mut Findings) {
    let only_ours = "no route has an AS number but ours";
    let nothing_learnt = "nothing is learnt from routers";
    let kernel = "it is the kernel's";
    let transport = spec.transport.clone().unwrap_or_default();
    let is_number = |number: Option<i64>| number.is_some_and(|number| number != 0);
    let is_text = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    findings.ignore_given(&[
        (
            "conf.peerGroup",
            is_text(&conf.peer_group),
            "there are no peer groups",
        ),
        (
            "conf.peerType",
            is_number(conf.peer_type),
            "the AS numbers say whether the peer is internal",
        ),
        (
            "conf.removePrivateAs",
            is_text(&conf.remove_private_as),
            only_ours,
        ),
        (
            "conf.routeFlapDamping",
            conf.route_flap_damping == Some(true),
            nothing_learnt,
        ),
        (
            "conf.sendCommunity",
            is_number(conf.send_community),
            "what communities a route has is sent",
        ),
        (
            "conf.allowOwnAs",
            is_number(conf.allow_own_as),
            nothing_learnt,
        ),
        (
            "conf.replacePeerAs",
            conf.replace_peer_as == Some(true),
            only_ours,
        ),
        (
            "transport.remoteAddress",
            is_text(&transport.remote_address),
            "the peer is conf.neighborAddress",
        ),
        (
            "transport.mtuDiscovery",
            transport.mtu_discovery == Some(true),
            kernel,
        ),
        ("transport.tcpMss", is_number(transport.tcp_mss), kernel),
        (
            "bfd",
            spec.bfd.is_some(),
            "this version has no BFD; routers notice a dead node by the hold time",
        ),
        (
            "usingPortForward",
            spec.using_port_forward == Some(true),
            "let the router dial listenPort, or set listenPort to 179",
        ),
    ]);
}

fn check_selector(spec: &BgpPeerSpec, findings: &mut Findings) {
    let selector = spec.node_selector.as_ref();
    if let Some(operator) = selector.and_then(|selector| selector.unknown_operator()) {
        let message = format!(
            "\"{operator}\" is none of In, NotIn, Exists, DoesNotExist; no node is selected"
        );
        findings.wrong("nodeSelector", message);
    }
}
