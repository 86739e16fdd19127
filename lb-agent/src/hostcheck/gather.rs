//! Reads what the checks look at: `/proc`, and the firewall by the tools that made it. Whatever cannot
//! be read is left out.

use std::{fs, net::IpAddr, process::Command};

use super::{
    Facts, Needs,
    firewall::Ruleset,
    iptables, nft,
    routes::PodRoute,
    settings::{Settings, UplinkSettings},
};

/// Flags of a route in `/proc/net/ipv6_route`: default, and learned from an advertisement (RTF_DEFAULT,
/// RTF_ADDRCONF, include/uapi/linux/ipv6_route.h).
const RTF_DEFAULT_BY_RA: u32 = 0x0001_0000 | 0x0004_0000;

/// Everything.
pub(super) fn facts(needs: &Needs) -> Facts {
    let (firewall, firewall_unread) = firewall();
    Facts {
        settings: Settings {
            kernel: kernel(),
            ipv4_forwarding: sysctl("net/ipv4/ip_forward"),
            ipv6_forwarding: sysctl("net/ipv6/conf/all/forwarding"),
            rp_filter_all: sysctl("net/ipv4/conf/all/rp_filter"),
            uplinks: needs.uplinks.iter().map(|name| uplink(name)).collect(),
        },
        firewall,
        firewall_unread,
        pod_routes: needs.pods.iter().filter_map(|pod| route(*pod)).collect(),
    }
}

/// By iproute2.
fn route(pod: IpAddr) -> Option<PodRoute> {
    let pod_text = pod.to_string();
    let answer = output("ip", &["-json", "route", "get", &pod_text])?;
    PodRoute::parse(pod, &answer)
}

fn uplink(name: &str) -> UplinkSettings {
    UplinkSettings {
        name: name.to_owned(),
        accept_ra: sysctl(&format!("net/ipv6/conf/{name}/accept_ra")),
        has_ra_default_route: fs::read_to_string("/proc/net/ipv6_route")
            .is_ok_and(|routes| has_ra_default_route(&routes, name)),
        rp_filter: sysctl(&format!("net/ipv4/conf/{name}/rp_filter")),
        vlans: fs::read_to_string("/proc/net/vlan/config")
            .map_or_else(|_| Vec::new(), |config| vlans(&config, name)),
        takes_tags_off: output("ethtool", &["-k", name])
            .is_some_and(|features| features.contains("rx-vlan-offload: on")),
    }
}

/// Interfaces of VLANs on a link, by lines like `eth0.7 | 7 | eth0`.
fn vlans(config: &str, link: &str) -> Vec<String> {
    let of_link = config.lines().filter_map(|line| {
        let mut fields = line.split('|').map(str::trim);
        let (name, _, on) = (fields.next()?, fields.next()?, fields.next()?);
        (on == link).then(|| name.to_owned())
    });
    of_link.collect()
}

fn has_ra_default_route(routes: &str, interface: &str) -> bool {
    routes.lines().any(|route| {
        let fields: Vec<_> = route.split_whitespace().collect();
        let flags = fields
            .get(8)
            .and_then(|flags| u32::from_str_radix(flags, 16).ok());
        fields.get(9) == Some(&interface)
            && flags.is_some_and(|flags| flags & RTF_DEFAULT_BY_RA == RTF_DEFAULT_BY_RA)
    })
}

/// `6.18.44-generic` begins with what is wanted.
fn kernel() -> Option<(u32, u32)> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn sysctl(key: &str) -> Option<u8> {
    let value = fs::read_to_string(format!("/proc/sys/{key}")).ok()?;
    value.trim().parse().ok()
}

/// What every tool that is there tells, or why none of them tells anything.
fn firewall() -> (Vec<Ruleset>, Option<String>) {
    let nft = output("nft", &["-j", "list", "ruleset"]).and_then(|json| nft::parse(&json));
    let saved = [
        ("iptables-save", "ip"),
        ("ip6tables-save", "ip6"),
        ("iptables-legacy-save", "ip"),
        ("ip6tables-legacy-save", "ip6"),
    ];
    let saved = saved
        .into_iter()
        .filter_map(|(tool, family)| Some(iptables::parse(&output(tool, &[])?, family)));
    let rulesets: Vec<_> = nft.into_iter().chain(saved).collect();
    let unread = rulesets.is_empty().then(|| {
        "the firewall's rules could not be read, as neither nft nor iptables-save works here: \
         make sure that the FORWARD chain accepts what is for this node's pods"
            .to_owned()
    });
    (rulesets, unread)
}

/// What a tool writes; `None` if it is not there or fails.
fn output(tool: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(tool).args(arguments).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
