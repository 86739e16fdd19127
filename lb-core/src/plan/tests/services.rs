//! Policies of Services: whose endpoints count, who may connect, and what a node without endpoints does.

use super::*;
use crate::model::{Prefix, ServicePort, TrafficPolicy, Unfit};

/// Of endpoint numbers, those that three divides are on this node.
fn local(endpoints: &[u16]) -> Service {
    let mut service = announced_service(endpoints);
    service.traffic_policy = TrafficPolicy::Local;
    service
}

fn port(world: &World) -> Arc<crate::desired::PortPlan> {
    Arc::clone(world.desired.ports().next().expect("a port"))
}

fn verdicts(world: &World) -> Vec<(IpAddr, EndpointVerdict)> {
    let reasons = world.desired.services["web"].reasons.iter();
    let of_http = reasons.filter(|reason| reason.port == HTTP);
    of_http
        .map(|reason| (reason.address, reason.verdict))
        .collect()
}

fn pod(number: u8) -> IpAddr {
    IpAddr::from([10, 1, 0, number])
}

#[test]
fn local_keeps_the_clusters_rows_and_adds_its_own() {
    let mut world = world();
    world.set(local(&[1, 2, 3, 6]));
    let plan = port(&world);
    assert_eq!(plan.targets.len(), 4);
    let here = plan.local.as_ref().expect("two endpoints are here");
    let addresses: Vec<_> = here.iter().map(|target| target.address).collect();
    assert_eq!(addresses, [pod(3), pod(6)]);
}

#[test]
fn a_node_without_endpoints_keeps_the_rows_and_is_not_announced() {
    let mut world = world();
    world.set(local(&[3]));
    world.applied();
    assert_eq!(world.reason(), &VipReason::Announced);
    world.set(local(&[1, 2]));
    world.applied();
    assert_eq!(world.reason(), &VipReason::NoEndpointHere);
    let plan = port(&world);
    assert!(plan.local.is_none() && plan.targets.len() == 2);
    world.set(local(&[]));
    assert_eq!(world.reason(), &VipReason::NoEndpoint);
    world.set(local(&[3]));
    world.applied();
    assert_eq!(world.reason(), &VipReason::Announced);
}

#[test]
fn a_shared_vip_is_announced_for_whichever_service_has_something_here() {
    let mut world = world();
    let mut far = local(&[1]);
    far.name = "far".into();
    far.ports.retain(|port| port.port == 443);
    world.set(far);
    let mut near = announced_service(&[2]);
    near.ports.retain(|port| port.port == 80);
    world.set(near.clone());
    world.applied();
    assert_eq!(world.reason(), &VipReason::Announced);
    near.endpoints.clear();
    world.set(near);
    world.applied();
    assert_eq!(world.reason(), &VipReason::NoEndpointHere);
}

#[test]
fn local_falls_back_to_terminating_endpoints_of_this_node_alone() {
    let mut world = world();
    let mut service = local(&[1, 3]);
    (service.endpoints[1].ready, service.endpoints[1].terminating) = (false, true);
    world.set(service);
    let plan = port(&world);
    let used: Vec<_> = plan.targets.iter().map(|target| target.address).collect();
    assert_eq!(used, [pod(1)], "the cluster has a ready one");
    let here = plan.local.as_ref().expect("it still serves");
    assert_eq!(here[0].address, pod(3));
    let expected = [
        (pod(1), EndpointVerdict::Used),
        (pod(3), EndpointVerdict::UsedHereTerminating),
    ];
    assert_eq!(verdicts(&world), expected);
}

#[test]
fn with_affinity_a_client_finds_its_endpoint_by_every_node_that_announces() {
    let mut world = world();
    let mut service = local(&[1, 2, 3]);
    world.set(service.clone());
    let without = port(&world).local.clone().expect("it has endpoints here");
    assert!(without.len() < 3);

    service.affinity = Some(Duration::from_secs(60));
    world.set(service.clone());
    let plan = port(&world);
    let with = plan.local.clone().expect("it has endpoints here");
    assert!(Arc::ptr_eq(&with, &plan.targets), "and so the same rows");

    // Nodes without endpoints of their own announce nothing all the same.
    service
        .endpoints
        .retain(|endpoint| endpoint.address != pod(3));
    world.set(service);
    assert!(port(&world).local.is_none());
}

#[test]
fn with_affinity_a_nodes_own_serve_where_nobody_else_can_be_steered_to() {
    let mut world = world();
    let mut service = local(&[1, 3]);
    service.endpoints[0].node = None;
    (service.endpoints[1].ready, service.endpoints[1].terminating) = (false, true);
    service.affinity = Some(Duration::from_secs(60));
    world.set(service);
    let plan = port(&world);
    assert!(plan.targets.is_empty(), "the ready one is outside");
    let here = plan.local.as_ref().expect("it still serves");
    assert_eq!(here[0].address, pod(3));
}

#[test]
fn endpoints_outside_are_left_to_the_kernel_only_if_there_are_no_others() {
    let mut world = world();
    let mut service = announced_service(&[1, 3]);
    service.endpoints[0].node = None;
    world.set(service.clone());
    let plan = port(&world);
    assert!(!plan.by_kernel && plan.targets.len() == 1);
    let expected = [
        (pod(1), EndpointVerdict::NoNode),
        (pod(3), EndpointVerdict::Used),
    ];
    assert_eq!(verdicts(&world), expected);

    (service.endpoints[1].ready, service.endpoints[1].terminating) = (false, true);
    world.set(service.clone());
    world.applied();
    let plan = port(&world);
    assert!(
        plan.by_kernel && plan.targets.is_empty(),
        "one that terminates counts only if none is ready"
    );
    let expected = [
        (pod(1), EndpointVerdict::UsedByKernel),
        (pod(3), EndpointVerdict::Terminating),
    ];
    assert_eq!(verdicts(&world), expected);
    assert_eq!(world.reason(), &VipReason::Announced);

    service.traffic_policy = TrafficPolicy::Local;
    world.set(service);
    assert!(
        port(&world).local.is_some(),
        "here it terminates and still serves"
    );
}

#[test]
fn ranges_of_one_family_take_nobody_of_the_other() {
    let mut world = world();
    let mut service = service("web", 1, &[HTTP], &[1]);
    service.source_ranges =
        [Prefix::new(IpAddr::from([192, 0, 2, 0]), 24).expect("a prefix")].into();
    world.set(service);
    let ranges: Vec<_> = world
        .desired
        .ports()
        .map(|plan| plan.source_ranges.as_ref().map(|ranges| ranges.len()))
        .collect();
    assert_eq!(ranges, [Some(1), Some(0)]);
}

#[test]
fn a_change_of_policy_alone_is_a_change_for_the_data_path() {
    let mut world = world();
    let mut service = announced_service(&[1, 2, 3]);
    let edits: [fn(&mut Service); 3] = [
        |service| service.traffic_policy = TrafficPolicy::Local,
        |service| service.affinity = Some(Duration::from_secs(60)),
        |service| service.source_ranges = [Prefix::host(pod(1))].into(),
    ];
    for edit in edits {
        let (before, targets) = (world.desired.generation, port(&world).targets.clone());
        edit(&mut service);
        world.set(service.clone());
        assert!(world.desired.generation > before);
        assert!(
            Arc::ptr_eq(&port(&world).targets, &targets),
            "the set is the same"
        );
    }
}

#[test]
fn an_endpoint_that_hints_keep_for_others_serves_nobody_here_but_keeps_its_flows() {
    let mut world = world();
    let mut hinted = announced_service(&[1, 3]);
    hinted.endpoints[1].elsewhere = true;
    world.set(hinted.clone());
    assert_eq!(
        verdicts(&world),
        [
            (pod(1), EndpointVerdict::Used),
            (pod(3), EndpointVerdict::Elsewhere)
        ]
    );
    let plan = &world.desired.services["web"];
    assert!(plan.local.iter().any(|local| local.address == pod(3)));
    hinted.traffic_policy = TrafficPolicy::Local;
    world.set(hinted);
    assert_eq!(
        verdicts(&world)[1],
        (pod(3), EndpointVerdict::Used),
        "Local goes before hints"
    );
}

#[test]
fn a_port_that_another_service_has_on_a_shared_vip_is_left_to_it() {
    let mut world = world();
    let mut sharing = announced_service(&[1]);
    sharing.taken.insert(ServicePort {
        vip: VIP,
        protocol: HTTPS.0,
        port: HTTPS.1,
    });
    world.set(sharing);
    let ports: Vec<_> = world.desired.ports().map(|plan| plan.port.port).collect();
    assert_eq!(ports, [HTTP.1]);
}

#[test]
fn an_excluded_node_announces_nothing_and_one_that_is_not_ready_goes_on() {
    let mut world = world();
    world.applied();
    for (unfit, reason) in [
        (Unfit::Excluded, VipReason::Unfit(Unfit::Excluded)),
        (
            Unfit::NetworkUnavailable,
            VipReason::Unfit(Unfit::NetworkUnavailable),
        ),
        (Unfit::Deleted, VipReason::Unfit(Unfit::Deleted)),
        (Unfit::NotReady, VipReason::Announced),
        (Unfit::NotServing, VipReason::Announced),
    ] {
        let own = Node {
            unfit: Some(unfit),
            ..(*world.snapshot.nodes[0]).clone()
        };
        world.snapshot.nodes[0] = Arc::new(own);
        world.applied();
        assert_eq!(world.reason(), &reason);
    }
}
