//! A VIP is let in after its ports, and only with all of them.

use std::sync::Arc;

use lb_common::{image::Image, image::MapWrite, limits::Capacity};

use super::*;
use crate::{
    image::image,
    model::{Announce, Layer2, Protocol, ServicePort},
    world::{CAPACITY, World, service},
};

const HTTP: (Protocol, u16) = (Protocol::Tcp, 80);
const HTTPS: (Protocol, u16) = (Protocol::Tcp, 443);
const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 99, 0, 1));

fn world(capacity: Capacity, ports: &[(Protocol, u16)]) -> World {
    let mut world = World::new(capacity);
    world.snapshot.layer2 = Some(Arc::new(Layer2 {
        interfaces: Vec::new(),
        owns: [VIP].into(),
    }));
    serve(&mut world, ports, 6);
    world
}

fn serve(world: &mut World, ports: &[(Protocol, u16)], endpoints: u16) {
    let endpoints: Vec<_> = (1..=endpoints).collect();
    let mut web = service("web", 1, ports, &endpoints);
    web.announce = Announce::Layer2;
    web.vips.truncate(1);
    web.endpoints.retain(|endpoint| endpoint.address.is_ipv4());
    world.set(web);
}

/// Writes the plan; returns the writes, carried out.
fn write(world: &World, held: &mut Image) -> Vec<MapWrite> {
    let outcome = image(
        &world.desired,
        &world.snapshot.neighbours,
        held,
        Placements::default(),
    );
    held.apply(&outcome.writes);
    outcome.writes
}

fn owned_on(image: &Image) -> Vec<u64> {
    let words = image.words(MapId::ServiceCold).chunks_exact(COLD_WORDS);
    let owned = words.map(|cold| cold[ServiceCold::OWNED_ON_WORD]);
    owned.filter(|slots| *slots != 0).collect()
}

#[test]
fn it_is_the_last_of_what_makes_a_vip_served() {
    let mut held = Image::empty(CAPACITY);
    let writes = write(&world(CAPACITY, &[HTTP]), &mut held);
    assert_eq!(owned_on(&held), [1]);
    let places = |map| {
        writes
            .iter()
            .rposition(|write| matches!(write, MapWrite::Store { map: of, .. } if *of == map))
    };
    assert!(places(MapId::ServiceCold) > places(MapId::Services));
}

#[test]
fn a_new_agent_finds_it_and_changes_nothing() {
    let mut held = Image::empty(CAPACITY);
    write(&world(CAPACITY, &[HTTP]), &mut held);
    assert_eq!(write(&world(CAPACITY, &[HTTP]), &mut held), []);
}

#[test]
fn each_of_several_vips_stays() {
    let mut held = Image::empty(CAPACITY);
    let mut world = world(CAPACITY, &[HTTP]);
    let other = IpAddr::from([10, 99, 0, 2]);
    world.snapshot.layer2 = Some(Arc::new(Layer2 {
        interfaces: Vec::new(),
        owns: [VIP, other].into(),
    }));
    let mut more = service("more", 2, &[HTTP], &[1, 2]);
    more.announce = Announce::Layer2;
    more.vips.truncate(1);
    more.endpoints.retain(|endpoint| endpoint.address.is_ipv4());
    world.set(more);
    write(&world, &mut held);
    assert_eq!(owned_on(&held), [1, 1]);
    assert_eq!(write(&world, &mut held), []);
}

#[test]
fn a_new_vip_with_a_port_that_found_no_room_waits() {
    let tight = Capacity {
        row_units: 1,
        ..CAPACITY
    };
    let mut held = Image::empty(tight);
    write(&world(tight, &[HTTP, HTTPS]), &mut held);
    assert!(owned_on(&held).is_empty());
    // One port alone fits; a second that does not takes nothing away.
    let mut held = Image::empty(tight);
    let mut world = world(tight, &[HTTP]);
    write(&world, &mut held);
    assert_eq!(owned_on(&held), [1]);
    serve(&mut world, &[HTTP, HTTPS], 6);
    write(&world, &mut held);
    assert_eq!(owned_on(&held), [1]);
}

#[test]
fn what_is_no_longer_owned_or_served_is_given_up() {
    let mut held = Image::empty(CAPACITY);
    let mut world = world(CAPACITY, &[HTTP]);
    write(&world, &mut held);
    serve(&mut world, &[HTTP], 0);
    write(&world, &mut held);
    assert!(owned_on(&held).is_empty(), "no endpoint");
    serve(&mut world, &[HTTP], 6);
    write(&world, &mut held);
    assert_eq!(owned_on(&held), [1]);
    world.snapshot.layer2 = Some(Arc::default());
    world.plan();
    write(&world, &mut held);
    assert!(owned_on(&held).is_empty(), "not owned");
    let gone = ServicePort {
        vip: VIP,
        protocol: Protocol::Tcp,
        port: 80,
    };
    assert!(
        world.desired.ports().any(|plan| plan.port == gone),
        "still served"
    );
}
