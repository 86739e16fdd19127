use std::{collections::BTreeMap, sync::Arc};

use super::*;
use crate::allocate::{Endpoints, LabelSelector, Labels};

fn agents() -> Agents {
    let node = |rack: &str, unfit| AnnouncingNode {
        labels: Labels::from([("rack".to_owned(), rack.to_owned())]),
        unfit,
    };
    let endpoints = |node: &str| Endpoints {
        count: 1,
        nodes: [Arc::from(node)].into(),
    };
    Agents {
        has_speaker: true,
        peers: BTreeMap::from([("leaf".into(), 1), ("spine".into(), 0)]),
        nodes: BTreeMap::from([
            ("n1".into(), node("a", None)),
            ("n2".into(), node("b", Some("are drained"))),
        ]),
        endpoints: BTreeMap::from([
            ("a/one".into(), endpoints("n1")),
            ("a/two".into(), endpoints("n2")),
            ("a/out".into(), endpoints("elsewhere")),
        ]),
    }
}

fn reason(agents: &Agents, name: &str, is_local: bool, pool: &Pool) -> (&'static str, String) {
    let mut service = crate::allocate::tests::service(name, 1);
    service.is_local = is_local;
    trouble(agents, &service, &[pool]).unwrap_or_default()
}

#[test]
fn the_first_thing_that_is_missing_is_said() {
    let pool = crate::allocate::tests::pool("p", &["10.0.0.1"]);
    let fine = agents();
    let lacks = |change: fn(&mut Agents)| {
        let mut agents = agents();
        change(&mut agents);
        agents
    };
    for (agents, name, is_local, expected, words) in [
        (&fine, "a/one", false, "", ""),
        (&fine, "a/one", true, "", ""),
        (&fine, "a/two", false, "", ""),
        (
            &fine,
            "a/none",
            false,
            "NoEndpoints",
            "no endpoint is ready",
        ),
        (
            &fine,
            "a/two",
            true,
            "NoEligibleNode",
            "no node with an endpoint can announce it: there are only nodes that are drained",
        ),
        (
            &fine,
            "a/out",
            true,
            "NoEligibleNode",
            "on no node of the cluster",
        ),
        (
            &lacks(|a| a.has_speaker = false),
            "a/one",
            false,
            "NotAnnounced",
            "BgpConf named default",
        ),
        (
            &lacks(|a| a.peers.clear()),
            "a/one",
            false,
            "NotAnnounced",
            "create a BgpPeer",
        ),
        (
            &lacks(|a| a.peers.retain(|_, sessions| *sessions == 0)),
            "a/one",
            false,
            "NotAnnounced",
            "no BGP session",
        ),
        (
            &lacks(|a| drop(a.nodes.remove("n1"))),
            "a/one",
            false,
            "NoEligibleNode",
            "only nodes that are drained",
        ),
    ] {
        let (reason, message) = reason(agents, name, is_local, &pool);
        assert_eq!(reason, expected, "{name}: {message}");
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn a_pool_that_names_no_node_that_could_is_said_by_name() {
    let mut pool = crate::allocate::tests::pool("p", &["10.0.0.1"]);
    let rack = |rack: &str| LabelSelector {
        labels: Labels::from([("rack".to_owned(), rack.to_owned())]),
        expressions: Vec::new(),
    };
    pool.announcing_nodes.push(rack("b"));
    let (reason_b, message) = reason(&agents(), "a/one", false, &pool);
    assert_eq!(reason_b, "NoEligibleNode");
    assert!(
        message.contains("nodeSelectors of Eip p selects none"),
        "{message}"
    );
    pool.announcing_nodes.push(rack("a"));
    assert_eq!(reason(&agents(), "a/one", false, &pool).0, "");
    pool.announcing_peers.insert("spine".into());
    let (reason_p, message) = reason(&agents(), "a/one", false, &pool);
    assert_eq!(reason_p, "NotAnnounced");
    assert!(message.contains("no BGP session"), "{message}");
    pool.announcing_peers = ["typo".into()].into();
    let (_, message) = reason(&agents(), "a/one", false, &pool);
    assert!(
        message.contains("announcement.peers of Eip p names no BgpPeer"),
        "{message}"
    );
    pool.protocol = PoolProtocol::Layer2;
    assert_eq!(reason(&agents(), "a/none", false, &pool).0, "NotAnnounced");
}
