//! The rules that kube-proxy keeps on a node for services of two endpoints, in the shape of its nftables and its iptables
//! mode (Kubernetes: `pkg/proxy/nftables`, `pkg/proxy/iptables`): one verdict map or one linear list of services, a
//! random choice, DNAT, and masquerading of what came from outside. Text only; `nft` and `iptables-restore` load it.

use std::{fmt::Write as _, net::Ipv4Addr};

use crate::services::{PORT, Service};

/// As `nft -f -` takes it.
pub(crate) fn nftables(services: &[Service]) -> String {
    let mut text = String::from(
        "table ip kube-proxy {
  chain mark-for-masquerade {
    meta mark set meta mark or 0x4000
  }
  chain masquerading {
    meta mark and 0x4000 == 0 return
    meta mark set meta mark xor 0x4000
    masquerade fully-random
  }
",
    );
    let mut elements = Vec::new();
    for (number, service) in services.iter().enumerate() {
        for (place, (address, port)) in service.endpoints.iter().enumerate() {
            let _ = writeln!(
                text,
                "  chain endpoint-{number}-{place} {{
    ip saddr {address} jump mark-for-masquerade
    meta l4proto udp dnat to {address}:{port}
  }}"
            );
        }
        let _ = writeln!(
            text,
            "  chain service-{number} {{
    numgen random mod 2 vmap {{ 0 : goto endpoint-{number}-0, 1 : goto endpoint-{number}-1 }}
  }}
  chain external-{number} {{
    jump mark-for-masquerade
    goto service-{number}
  }}"
        );
        elements.push(format!(
            "{} . udp . {PORT} : goto external-{number}",
            service.vip
        ));
    }
    let _ = write!(
        text,
        "  map service-ips {{
    type ipv4_addr . inet_proto . inet_service : verdict
    elements = {{ {} }}
  }}
  chain services {{
    ip daddr . meta l4proto . th dport vmap @service-ips
  }}
  chain nat-prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    jump services
  }}
  chain nat-postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    jump masquerading
  }}
  map no-endpoint-services {{
    type ipv4_addr . inet_proto . inet_service : verdict
  }}
  chain filter-forward {{
    type filter hook forward priority -110; policy accept;
    ct state new ip daddr . meta l4proto . th dport vmap @no-endpoint-services
  }}
}}
",
        elements.join(", ")
    );
    text
}

/// As `iptables-restore` takes it.
pub(crate) fn iptables(services: &[Service]) -> String {
    let mut chains = String::from(
        ":KUBE-SERVICES - [0:0]\n:KUBE-POSTROUTING - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n",
    );
    let mut rules = String::from(
        "-A PREROUTING -j KUBE-SERVICES
-A POSTROUTING -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
",
    );
    for (number, service) in services.iter().enumerate() {
        let vip = service.vip;
        let _ = writeln!(
            chains,
            ":KUBE-SVC-{number} - [0:0]\n:KUBE-EXT-{number} - [0:0]\n:KUBE-SEP-{number}-0 - [0:0]\n:KUBE-SEP-{number}-1 - [0:0]"
        );
        let _ = writeln!(
            rules,
            "-A KUBE-SERVICES -d {vip}/32 -p udp -m udp --dport {PORT} -j KUBE-EXT-{number}
-A KUBE-EXT-{number} -j KUBE-MARK-MASQ
-A KUBE-EXT-{number} -j KUBE-SVC-{number}
-A KUBE-SVC-{number} -m statistic --mode random --probability 0.5 -j KUBE-SEP-{number}-0
-A KUBE-SVC-{number} -j KUBE-SEP-{number}-1"
        );
        for (place, endpoint) in service.endpoints.iter().enumerate() {
            endpoint_rules(&mut rules, number, place, *endpoint);
        }
    }
    format!(
        "*filter
:KUBE-FORWARD - [0:0]
-A FORWARD -j KUBE-FORWARD
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
*nat
{chains}{rules}COMMIT
"
    )
}

fn endpoint_rules(
    rules: &mut String,
    service: usize,
    place: usize,
    (address, port): (Ipv4Addr, u16),
) {
    let _ = writeln!(
        rules,
        "-A KUBE-SEP-{service}-{place} -s {address}/32 -j KUBE-MARK-MASQ
-A KUBE-SEP-{service}-{place} -p udp -m udp -j DNAT --to-destination {address}:{port}"
    );
}
