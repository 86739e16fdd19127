//! Which peer is told what, by which next hops, while nodes die, Services change and this node leaves.

use std::{sync::Arc, time::Duration};

use crate::{
    desired::PlannedRoute,
    model::{
        Announce, Bgp, GRACEFUL_SHUTDOWN_DEFAULT, HealthCheck, NextHopMode, Node, NodeBgp, Peer,
        Prefix, Protocol, Remote, Selector, TrafficPolicy, Unfit,
    },
    probes::Probe,
    snapshot::{Drain, PortFeedback},
    world::{CAPACITY, World, service},
};

fn peer(address: &str) -> Peer {
    Peer::new(Remote::Address(address.parse().unwrap()), 65001)
}

fn nodes(send_max: usize) -> Peer {
    Peer {
        next_hop: NextHopMode::Nodes { send_max },
        ..peer("10.0.0.1")
    }
}

/// Three nodes on 10.0.0.0/24, two Services with a VIP of each family, applied and announced.
fn world(peers: impl IntoIterator<Item = Peer>) -> World {
    let mut world = World::new(CAPACITY);
    let subnet = |address: &str, bits| Prefix::containing(address.parse().unwrap(), bits);
    world.snapshot.links[0].subnets = vec![subnet("10.0.0.0", 24), subnet("fd00::", 64)];
    world.snapshot.bgp = Some(Arc::new(Bgp {
        asn: 65000,
        router_id: [10, 0, 0, 11].into(),
        listen_port: 17_900,
        nodes: Vec::new(),
        graceful_shutdown: GRACEFUL_SHUTDOWN_DEFAULT,
        peers: peers.into_iter().map(Arc::new).collect(),
    }));
    for (name, vip) in [("default/a", 1), ("default/b", 2)] {
        let mut service = service(name, vip, &[(Protocol::Tcp, 80)], &[1, 2, 3, 4, 5, 6]);
        service.announce = Announce::Bgp;
        world.snapshot.set_service(Arc::new(service));
    }
    settle(&mut world);
    world
}

/// Plans, applies and plans again.
fn settle(world: &mut World) {
    for _ in 0..2 {
        world.desired = crate::plan(&world.snapshot, &world.desired);
        let generation = world.desired.generation;
        let applied = world.desired.ports();
        world.snapshot.applied = applied
            .map(|plan| (plan.port, PortFeedback::Applied { generation }))
            .collect();
    }
    world.desired = crate::plan(&world.snapshot, &world.desired);
}

fn edit(world: &mut World, index: usize, change: impl FnOnce(&mut crate::model::Service)) {
    let mut service = (**world.snapshot.services.values().nth(index).unwrap()).clone();
    change(&mut service);
    world.snapshot.set_service(Arc::new(service));
    settle(world);
}

fn told(world: &World, peer: &str) -> Vec<(String, PlannedRoute)> {
    let remote = Remote::Address(peer.parse().unwrap());
    let routes = &world.desired.peer_routes.by_peer[&remote];
    let routes = routes.iter();
    routes
        .map(|(p, route)| (p.to_string(), route.clone()))
        .collect()
}

fn next_hops(world: &World, prefix: &str) -> Vec<String> {
    let told = told(world, "10.0.0.1");
    let route = &told.iter().find(|(p, _)| p == prefix).unwrap().1;
    let next_hops = route.next_hops.as_ref().unwrap();
    next_hops.iter().map(ToString::to_string).collect()
}

#[test]
fn every_announced_vip_is_told_with_the_settings_of_peer_and_service() {
    let mut with = peer("10.0.0.1");
    with.routes.med = Some(10);
    with.routes.communities.insert(1);
    let mut world = world([with, peer("10.0.0.2")]);
    edit(&mut world, 1, |service| {
        Arc::make_mut(&mut service.bgp).routes.med = Some(20);
        Arc::make_mut(&mut service.bgp).routes.communities.insert(2);
    });
    let told_first = told(&world, "10.0.0.1");
    let prefixes: Vec<_> = told_first.iter().map(|(prefix, _)| &prefix[..]).collect();
    assert_eq!(
        prefixes,
        ["10.99.0.1/32", "10.99.0.2/32", "fd99::1/128", "fd99::2/128"]
    );
    assert_eq!(told_first[0].1.says.med, Some(10));
    assert_eq!(told_first[1].1.says.med, Some(20), "the Service's wins");
    assert!(told_first[1].1.says.communities.iter().eq([&1, &2]));
    assert_eq!(told_first[0].1.next_hops, None);
    assert_eq!(told(&world, "10.0.0.2")[1].1.says.communities.len(), 1);
}

#[test]
fn unchanged_inputs_keep_the_very_routes() {
    let mut world = world([peer("10.0.0.1"), peer("10.0.0.2")]);
    let routes = |world: &World| {
        let by_peer = world.desired.peer_routes.by_peer.values();
        by_peer.cloned().collect::<Vec<_>>()
    };
    let before = routes(&world);
    assert!(Arc::ptr_eq(&before[0], &before[1]), "one policy, one set");
    world.snapshot.now += Duration::from_secs(1);
    settle(&mut world);
    assert!(Arc::ptr_eq(&before[0], &routes(&world)[0]));
    // A change that comes to the same.
    edit(&mut world, 0, |service| service.endpoints[0].weight = 2);
    assert!(Arc::ptr_eq(&before[0], &routes(&world)[0]));
}

#[test]
fn services_and_peers_choose_each_other() {
    let mut only_b = peer("10.0.0.2");
    only_b.services = Some(["default/b".into()].into());
    let mut world = world([peer("10.0.0.1"), only_b]);
    assert_eq!(told(&world, "10.0.0.2").len(), 2);
    edit(&mut world, 1, |service| {
        let remote = Remote::Address([10, 0, 0, 1].into());
        Arc::make_mut(&mut service.bgp).peers = Some([remote].into());
    });
    assert_eq!(told(&world, "10.0.0.2").len(), 0);
    assert_eq!(told(&world, "10.0.0.1").len(), 4);
}

#[test]
fn vips_of_one_prefix_become_one_route() {
    let mut aggregating = peer("10.0.0.1");
    aggregating.routes.aggregation_length = Some(24);
    let mut world = world([aggregating]);
    edit(&mut world, 0, |service| {
        Arc::make_mut(&mut service.bgp).routes.med = Some(1)
    });
    edit(&mut world, 1, |service| {
        Arc::make_mut(&mut service.bgp).routes.med = Some(2)
    });
    let routes = told(&world, "10.0.0.1");
    let prefixes: Vec<_> = routes.iter().map(|(prefix, _)| &prefix[..]).collect();
    assert_eq!(prefixes, ["10.99.0.0/24", "fd99::1/128", "fd99::2/128"]);
    assert_eq!(routes[0].1.says.med, Some(1), "the lowest VIP's");
}

#[test]
fn every_node_is_a_next_hop_until_its_endpoints_fail() {
    let mut world = world([nodes(10)]);
    assert_eq!(
        next_hops(&world, "10.99.0.1/32"),
        ["10.0.0.11", "10.0.0.12", "10.0.0.13"]
    );
    assert_eq!(
        next_hops(&world, "fd99::1/128"),
        ["fd00::11", "fd00::12", "fd00::13"]
    );

    let check = HealthCheck {
        tcp_port: 8080,
        interval: Duration::from_secs(1),
        failures: 1,
    };
    edit(&mut world, 0, |service| service.health_check = Some(check));
    let service = Arc::clone(world.snapshot.services.values().next().unwrap());
    let on = |node: &str| {
        let endpoints = service
            .endpoints
            .iter()
            .filter(|e| e.node.as_deref() == Some(node));
        endpoints.map(|e| Probe::of(&check, e)).collect::<Vec<_>>()
    };
    let (lost, own) = (on("node2"), on("node1"));
    assert!(lost.len() > 1 && !own.is_empty());
    world.snapshot.down.extend(&lost[1..]);
    settle(&mut world);
    assert_eq!(
        next_hops(&world, "10.99.0.1/32").len(),
        3,
        "one still answers"
    );
    world.snapshot.down.extend(&lost);
    world.snapshot.down.extend(own);
    settle(&mut world);
    // This node knows by itself that it lives.
    assert_eq!(
        next_hops(&world, "10.99.0.2/32"),
        ["10.0.0.11", "10.0.0.13"]
    );
}

/// `externalTrafficPolicy: Local`: a node without an endpoint would drop what it gets.
#[test]
fn packets_that_stay_where_they_arrive_go_only_where_they_are_served() {
    let mut world = world([nodes(10)]);
    edit(&mut world, 0, |service| {
        service.traffic_policy = TrafficPolicy::Local;
        service
            .endpoints
            .retain(|endpoint| endpoint.node.as_deref() != Some("node2"));
    });
    assert_eq!(
        next_hops(&world, "10.99.0.1/32"),
        ["10.0.0.11", "10.0.0.13"]
    );
    assert_eq!(next_hops(&world, "10.99.0.2/32").len(), 3);
}

#[test]
fn the_most_paths_are_chosen_alike_everywhere_and_begin_with_this_node() {
    let mut world = world([nodes(2)]);
    let at_first = next_hops(&world, "10.99.0.1/32");
    assert_eq!((at_first.len(), &at_first[0][..]), (2, "10.0.0.11"));
    // The other place is the same wherever it is computed, and not the same for every VIP.
    let all: Vec<_> = [11, 12, 13, 14, 15]
        .map(|host| [10, 0, 0, host].into())
        .to_vec();
    let second = |vip: u8| super::chosen([10, 99, 0, vip].into(), &all, 2)[1];
    let distinct: std::collections::BTreeSet<_> = (0..32).map(second).collect();
    assert!(distinct.len() == 4, "{distinct:?}");
    let mut backwards = all.clone();
    backwards[1..].reverse();
    let vip = [10, 99, 0, 7].into();
    assert_eq!(
        super::chosen(vip, &all, 3),
        super::chosen(vip, &backwards, 3)
    );
    settle(&mut world);
}

#[test]
fn a_router_on_the_link_gets_only_next_hops_on_the_link() {
    let mut behind = nodes(10);
    behind.transport.multihop = Some(2);
    behind.remote = Remote::Address([192, 0, 2, 1].into());
    let mut world = world([nodes(10), behind]);
    let mut far = (*world.snapshot.nodes[2]).clone();
    far.addresses[0] = [10, 7, 0, 13].into();
    world.snapshot.nodes[2] = Arc::new(far);
    settle(&mut world);
    assert_eq!(
        next_hops(&world, "10.99.0.1/32"),
        ["10.0.0.11", "10.0.0.12"]
    );
    let routes = told(&world, "192.0.2.1");
    assert_eq!(routes[0].1.next_hops.as_ref().unwrap().len(), 3);
}

#[test]
fn labels_choose_peers_numbers_and_ids() {
    let rack = |name: &str| Selector([("rack".to_owned(), name.to_owned())].into());
    let mut of_a = peer("10.0.0.1");
    of_a.node_selector = rack("a");
    let mut of_b = peer("10.0.0.2");
    of_b.node_selector = rack("b");
    let mut world = world([of_a, of_b]);
    assert!(world.desired.bgp.as_ref().unwrap().peers.is_empty());

    let mut own = (*world.snapshot.nodes[0]).clone();
    own.labels.insert("rack".into(), "b".into());
    world.snapshot.nodes[0] = Arc::new(own);
    let mut bgp = (**world.snapshot.bgp.as_ref().unwrap()).clone();
    // The id is that of node2's address: its own it is not.
    bgp.router_id = [10, 0, 0, 12].into();
    world.snapshot.bgp = Some(Arc::new(bgp.clone()));
    settle(&mut world);
    let plan = world.desired.bgp.as_ref().unwrap();
    assert_eq!(plan.peers[0].remote.to_string(), "10.0.0.2");
    assert_eq!((plan.asn, plan.router_id), (65000, [10, 0, 0, 11].into()));

    bgp.nodes = vec![NodeBgp {
        selector: rack("b"),
        asn: Some(65012),
        router_id: Some([1, 2, 3, 4].into()),
    }];
    world.snapshot.bgp = Some(Arc::new(bgp));
    settle(&mut world);
    let plan = world.desired.bgp.as_ref().unwrap();
    assert_eq!((plan.asn, plan.router_id), (65012, [1, 2, 3, 4].into()));
}

/// RFC 8326: marked first, withdrawn later, and the sessions end last.
#[test]
fn a_leaving_node_marks_its_routes_before_it_withdraws_them() {
    let mut world = world([peer("10.0.0.1")]);
    let remote = Remote::Address([10, 0, 0, 1].into());
    world.snapshot.routes.sessions.insert(remote, true);
    world.snapshot.routes.held = (*world.desired.routes).clone();
    let told_at = world.snapshot.now;
    world.snapshot.drain = Some(Drain::default());
    settle(&mut world);
    let route = told(&world, "10.0.0.1")[0].1.clone();
    assert!(route.says.communities.contains(&0xffff_0000));
    assert_eq!(route.says.local_pref, Some(0));
    assert!(world.desired.drain.is_none());

    world.snapshot.now = world.desired.replan_at.unwrap();
    assert_eq!(world.snapshot.now - told_at, GRACEFUL_SHUTDOWN_DEFAULT);
    settle(&mut world);
    assert!(told(&world, "10.0.0.1").is_empty());
    assert!(!world.desired.bgp.as_ref().unwrap().is_drained);
    world.snapshot.routes.held.clear();
    settle(&mut world);
    world.snapshot.now = world.desired.replan_at.unwrap();
    settle(&mut world);
    assert!(world.desired.bgp.as_ref().unwrap().is_drained);

    world.snapshot.drain = None;
    settle(&mut world);
    assert_eq!(told(&world, "10.0.0.1").len(), 4);
    assert!(!world.desired.bgp.as_ref().unwrap().is_drained);
}

/// The sessions end when no flow is left, or when flows were waited for long enough.
#[test]
fn flows_of_a_leaving_node_keep_its_sessions_for_a_while() {
    let drained = |world: &World| world.desired.bgp.as_ref().unwrap().is_drained;
    for ends_by_itself in [true, false] {
        let mut world = world([peer("10.0.0.1")]);
        let told_at = world.snapshot.now;
        let flows_wait = Duration::from_secs(30);
        world.snapshot.drain = Some(Drain { flows_wait });
        settle(&mut world);
        world.snapshot.now = told_at + Duration::from_secs(10);
        world.snapshot.flows = Some(3);
        settle(&mut world);
        assert!(told(&world, "10.0.0.1").is_empty());
        assert!(!drained(&world), "three flows are alive");
        assert_eq!(world.desired.replan_at, Some(told_at + flows_wait));
        if ends_by_itself {
            world.snapshot.flows = Some(0);
        } else {
            world.snapshot.now = told_at + flows_wait;
        }
        settle(&mut world);
        assert!(drained(&world));
    }
}

#[test]
fn without_a_session_nothing_is_waited_for() {
    let mut world = world([peer("10.0.0.1")]);
    world.snapshot.drain = Some(Drain::default());
    world.desired = crate::plan(&world.snapshot, &world.desired);
    assert!(world.desired.drain.is_some());
}

#[test]
fn a_node_that_is_not_fit_is_no_next_hop_of_others() {
    let mut world = world([nodes(10)]);
    let all = ["10.0.0.11", "10.0.0.12", "10.0.0.13"];
    assert_eq!(next_hops(&world, "10.99.0.1/32"), all);
    for unfit in [Unfit::NotReady, Unfit::Draining, Unfit::NotServing] {
        let node = Node {
            unfit: Some(unfit),
            ..(*world.snapshot.nodes[1]).clone()
        };
        world.snapshot.nodes[1] = Arc::new(node);
        settle(&mut world);
        assert_eq!(
            next_hops(&world, "10.99.0.1/32"),
            ["10.0.0.11", "10.0.0.13"]
        );
    }
}

#[test]
fn a_service_may_name_the_nodes_that_are_its_next_hops() {
    let mut world = world([nodes(10)]);
    edit(&mut world, 0, |service| {
        let nodes = ["node1".into(), "node3".into()];
        Arc::make_mut(&mut service.bgp).next_hops = Some(nodes.into());
    });
    let own_and_third = ["10.0.0.11", "10.0.0.13"];
    assert_eq!(next_hops(&world, "10.99.0.1/32"), own_and_third);
    assert_eq!(next_hops(&world, "10.99.0.2/32").len(), 3);
}
