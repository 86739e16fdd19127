//! Who answers where, and what the operator is told.

use super::*;
use crate::{
    model::Protocol,
    snapshot::{Drain, PortFeedback},
    world::{CAPACITY, World, service},
};

const HTTP: (Protocol, u16) = (Protocol::Tcp, 80);

fn world(interfaces: &[&str], owns: &[IpAddr]) -> World {
    let mut world = World::new(CAPACITY);
    world.snapshot.layer2 = Some(Arc::new(Layer2 {
        interfaces: interfaces.iter().map(|name| (*name).into()).collect(),
        owns: owns.iter().copied().collect(),
    }));
    let mut web = service("web", 1, &[HTTP], &[1, 2]);
    web.announce = Announce::Layer2;
    world.set(web);
    world
}

fn vips() -> [IpAddr; 2] {
    ["10.99.0.1", "fd99::1"].map(|text| text.parse().unwrap())
}

fn reason(world: &World, vip: IpAddr) -> &VipReason {
    &world.desired.vips[&vip].reason
}

fn applied(world: &mut World) {
    let generation = world.desired.generation;
    let ports = world.desired.ports().map(|plan| plan.port);
    let applied = ports.map(|port| (port, PortFeedback::Applied { generation }));
    world.snapshot.applied = applied.collect();
    world.plan();
}

#[test]
fn owned_vips_are_answered_for_on_the_interfaces_that_are_uplinks() {
    let [v4, v6] = vips();
    let mut world = world(&["eth0", "eth1"], &[v4]);
    assert_eq!(*world.desired.owned, [(v4, 0b1)].into());
    assert!(matches!(reason(&world, v4), VipReason::WaitsForDatapath(_)));
    applied(&mut world);
    assert_eq!(*reason(&world, v4), VipReason::Announced);
    assert_eq!(*reason(&world, v6), VipReason::NotOwned);
    assert!(world.desired.routes.is_empty(), "BGP is told of nothing");
}

#[test]
fn nobody_answers_without_an_interface_an_endpoint_or_a_section() {
    let [v4, v6] = vips();
    let elsewhere = world(&["eth1"], &[v4, v6]);
    assert_eq!(*reason(&elsewhere, v4), VipReason::NoInterface);
    let mut alone = world(&[], &[v4, v6]);
    let mut web = (**alone.snapshot.services.values().next().unwrap()).clone();
    web.endpoints.retain(|endpoint| endpoint.address.is_ipv6());
    alone.set(web);
    assert_eq!(*reason(&alone, v4), VipReason::NoEndpoint);
    assert_eq!(*alone.desired.owned, [(v6, 0b1)].into());
    alone.snapshot.layer2 = None;
    alone.plan();
    assert_eq!(*reason(&alone, v6), VipReason::NoLayer2);
    for world in [elsewhere, alone] {
        assert!(world.desired.owned.is_empty());
    }
}

#[test]
fn who_leaves_or_has_none_of_the_ports_gives_the_vip_up() {
    let mut world = world(&[], &vips());
    applied(&mut world);
    for port in world.snapshot.applied.clone().keys() {
        let reason = "no room".to_owned();
        let applied = &mut world.snapshot.applied;
        applied.insert(*port, PortFeedback::Failed { reason });
    }
    world.plan();
    assert_eq!(*reason(&world, vips()[0]), VipReason::NotInDatapath);
    assert!(world.desired.owned.is_empty());
    applied(&mut world);
    assert_eq!(world.desired.owned.len(), 2);
    world.snapshot.drain = Some(Drain::default());
    world.plan();
    assert_eq!(*reason(&world, vips()[0]), VipReason::Draining);
    assert!(world.desired.owned.is_empty());
}

#[test]
fn the_data_path_hears_of_a_change_of_ownership_alone() {
    let mut world = world(&[], &vips());
    applied(&mut world);
    let before = world.desired.generation;
    world.plan();
    assert_eq!(world.desired.generation, before, "nothing changed");
    world.snapshot.layer2 = Some(Arc::default());
    world.plan();
    assert!(world.desired.generation > before);
}
