use std::{net::IpAddr, sync::Arc};

use super::{Facts, Needs, iptables, judge, nft};

fn needs(pods: &[&str]) -> Needs {
    Needs {
        uplinks: vec![Arc::from("eth0")],
        pods: pods
            .iter()
            .map(|pod| pod.parse::<IpAddr>().unwrap())
            .collect(),
        node_addresses: vec![],
    }
}

fn facts(saved: &str, family: &str) -> Facts {
    Facts {
        firewall: vec![iptables::parse(saved, family)],
        ..Facts::default()
    }
}

#[test]
fn a_missing_accept_rule_is_named_exactly() {
    let dropping = "*filter\n:FORWARD DROP [0:0]\nCOMMIT\n";
    let sentences = judge(&facts(dropping, "ip"), &needs(&["10.1.1.2"]));
    assert_eq!(
        sentences,
        [
            "the FORWARD chain of table ip filter drops by policy and no rule accepts traffic to 10.1.1.2: \
         iptables -I FORWARD -d 10.1.1.2 -j ACCEPT",
            "the FORWARD chain of table ip filter drops by policy and no rule accepts traffic from 10.1.1.2: \
         iptables -I FORWARD -s 10.1.1.2 -j ACCEPT",
        ]
    );
    let sentences = judge(&facts(dropping, "ip6"), &needs(&["fd01::2", "fd01::3"]));
    assert!(
        sentences[0].ends_with("ip6tables -I FORWARD -d fd01::2,fd01::3 -j ACCEPT"),
        "{sentences:?}"
    );
    assert_eq!(sentences.len(), 2, "one sentence for all pods");
}

#[test]
fn a_table_of_nft_gets_a_rule_of_nft() {
    let json = r#"{"nftables": [{"chain": {"family": "inet", "table": "fw", "name": "fwd",
        "type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}},
        {"rule": {"family": "inet", "table": "fw", "chain": "fwd", "expr": [{"match": {"op": "in",
        "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}, {"accept": null}]}}]}"#;
    let facts = Facts {
        firewall: vec![nft::parse(json).unwrap()],
        ..Facts::default()
    };
    let both = judge(&facts, &needs(&["10.1.1.2", "fd01::2"]));
    assert!(
        both[1].ends_with("ip6 daddr '{ fd01::2 }' accept"),
        "families apart: {both:?}"
    );
    assert_eq!(
        judge(&facts, &needs(&["10.1.1.2"])),
        [
            "the fwd chain of table inet fw drops by policy and no rule accepts traffic to 10.1.1.2: \
         nft insert rule inet fw fwd ip daddr '{ 10.1.1.2 }' accept",
        ]
    );
}

#[test]
fn what_two_tools_tell_is_said_once() {
    let ruleset = iptables::parse("*filter\n:FORWARD DROP [0:0]\nCOMMIT\n", "ip");
    let facts = Facts {
        firewall: vec![ruleset.clone(), ruleset],
        ..Facts::default()
    };
    assert_eq!(judge(&facts, &needs(&["10.1.1.2"])).len(), 2);
}
