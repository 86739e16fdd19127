use std::{collections::BTreeSet, time::Duration};

use lb_common::{
    abi::{ABI_VERSION, MapId},
    config::Config,
    endpoint::Endpoint,
    image::{Image, store_element},
    limits::Capacity,
};
use lb_core::probes::Probe;

use super::{found_down, keys, new_keys, words};

fn probe(address: &str) -> Probe {
    Probe {
        address: address.parse().unwrap(),
        interval: Duration::from_secs(1),
        failures: 3,
    }
}

fn endpoint(address: &str, flags: u32) -> Endpoint {
    Endpoint {
        address: words(address.parse().unwrap()),
        flags,
        ..Endpoint::default()
    }
}

#[test]
fn endpoints_that_no_service_used_are_down() {
    let mut image = Image::empty(Capacity {
        endpoints: 64,
        ..Capacity::DEFAULT
    });
    image.apply(&[
        store_element(MapId::Endpoints, 3, &endpoint("10.1.1.2", Endpoint::IN_USE)),
        store_element(MapId::Endpoints, 40, &endpoint("fd01::2", Endpoint::IN_USE)),
        store_element(MapId::Endpoints, 41, &endpoint("10.1.1.3", 0)),
    ]);
    let wanted = [
        "10.1.1.2:80",
        "10.1.1.3:80",
        "10.1.1.4:80",
        "[fd01::2]:80",
        "[fd01::3]:80",
    ];
    let wanted: BTreeSet<_> = wanted.into_iter().map(probe).collect();
    let down = ["10.1.1.3:80", "10.1.1.4:80", "[fd01::3]:80"];
    assert_eq!(
        found_down(&image, &wanted),
        down.into_iter().map(probe).collect()
    );
}

#[test]
fn keys_are_those_of_the_maps_if_an_agent_wrote_them() {
    let mut image = Image::empty(Capacity {
        endpoints: 64,
        ..Capacity::DEFAULT
    });
    assert_eq!(keys(&image), None);
    let mut config: Config = image.element(MapId::Config, 0);
    config.abi_version = ABI_VERSION;
    config.seed = [1, 2];
    config.gue_key = [3, 4];
    image.apply(&[store_element(MapId::Config, 0, &config)]);
    let keys = keys(&image).unwrap();
    assert_eq!((keys.seed, keys.gue_key), ([1, 2], [3, 4]));
}

#[test]
fn new_keys_are_new() {
    assert_ne!(new_keys().unwrap(), new_keys().unwrap());
}
