use super::{
    super::firewall::{Chain, Match, Verdict},
    parse,
};

/// As nft 1.0.6 writes it.
const RULESET: &str = r#"{"nftables": [
{"metainfo": {"version": "1.0.6", "release_name": "Lester Gooch #5", "json_schema_version": 1}},
{"table": {"family": "ip", "name": "filter", "handle": 1}},
{"chain": {"family": "ip", "table": "filter", "name": "DOCKER", "handle": 1}},
{"chain": {"family": "ip", "table": "filter", "name": "INPUT", "handle": 9, "type": "filter", "hook": "input", "prio": 0, "policy": "drop"}},
{"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "handle": 2, "type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}},
{"chain": {"family": "bridge", "table": "filter", "name": "FORWARD", "handle": 2, "type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}},
{"rule": {"family": "ip", "table": "filter", "chain": "DOCKER", "handle": 4, "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "daddr"}}, "right": {"prefix": {"addr": "10.1.1.0", "len": 24}}}}, {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": {"set": [80, 8080]}}}, {"accept": null}]}},
{"rule": {"family": "ip", "table": "filter", "chain": "FORWARD", "handle": 5, "expr": [{"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "eth0"}}, {"match": {"op": "!=", "left": {"meta": {"key": "oifname"}}, "right": "docker0"}}, {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}, {"accept": null}]}},
{"rule": {"family": "ip", "table": "filter", "chain": "FORWARD", "handle": 6, "expr": [{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "invalid"}}, {"counter": {"packets": 0, "bytes": 0}}, {"drop": null}]}},
{"rule": {"family": "ip", "table": "filter", "chain": "FORWARD", "handle": 7, "expr": [{"jump": {"target": "DOCKER"}}]}},
{"rule": {"family": "ip", "table": "filter", "chain": "FORWARD", "handle": 8, "expr": [{"match": {"op": "!=", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": {"set": ["10.9.9.9", {"prefix": {"addr": "10.0.0.0", "len": 8}}]}}}, {"reject": {"type": "icmp", "expr": "port-unreachable"}}]}},
{"rule": {"family": "ip", "table": "filter", "chain": "FORWARD", "handle": 9, "expr": [{"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": [["invalid", {"drop": null}]]}}}]}},
{"rule": {"family": "ip", "table": "filter", "chain": "FORWARD", "handle": 10, "expr": [{"xt": null}, {"counter": {"packets": 0, "bytes": 0}}, {"accept": null}]}},
{"rule": {"family": "ip", "table": "filter", "chain": "FORWARD", "handle": 11, "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "daddr"}}, "right": "@pods"}}, {"goto": {"target": "DOCKER"}}]}}
]}"#;

fn chain(name: &str) -> Chain {
    let chains = parse(RULESET).unwrap().chains;
    chains.into_iter().find(|chain| chain.name == name).unwrap()
}

#[test]
fn only_chains_that_forwarded_packets_come_through_are_kept() {
    let chains = parse(RULESET).unwrap().chains;
    let names: Vec<_> = chains
        .iter()
        .map(|chain| (chain.name.as_str(), chain.forward_policy_drops))
        .collect();
    assert_eq!(names, [("DOCKER", None), ("FORWARD", Some(true))]);
}

#[test]
fn matches_and_verdicts_are_read() {
    let rules = chain("FORWARD").rules;
    let verdicts: Vec<_> = rules.iter().map(|rule| rule.verdict.clone()).collect();
    let docker = || "DOCKER".to_owned();
    assert_eq!(
        verdicts,
        [
            Verdict::Accept,
            Verdict::Drop,
            Verdict::Jump(docker()),
            Verdict::Drop,
            Verdict::Other,
            Verdict::Accept,
            Verdict::Goto(docker()),
        ]
    );
    let networks = vec![
        ("10.9.9.9".parse().unwrap(), 32),
        ("10.0.0.0".parse().unwrap(), 8),
    ];
    assert_eq!(
        rules[0].matches,
        [
            Match::Inbound("eth0".to_owned(), false),
            Match::Outbound("docker0".to_owned(), true),
            Match::State(vec!["established".to_owned(), "related".to_owned()], false),
        ]
    );
    assert_eq!(
        rules[1].matches,
        [Match::State(vec!["invalid".to_owned()], false)]
    );
    assert_eq!(rules[3].matches, [Match::Source(networks, true)]);
    assert_eq!(rules[5].matches, [Match::Other], "an extension of iptables");
    assert_eq!(rules[6].matches, [Match::Other], "a named set");
    let networks = vec![("10.1.1.0".parse().unwrap(), 24)];
    assert_eq!(
        chain("DOCKER").rules[0].matches,
        [Match::Destination(networks, false), Match::Other]
    );
}

#[test]
fn what_nft_did_not_write_is_no_ruleset() {
    assert_eq!(parse(""), None);
    assert_eq!(parse("{}"), None);
    assert!(parse(r#"{"nftables": []}"#).unwrap().chains.is_empty());
}
