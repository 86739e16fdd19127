//! Ownership as the file says it, and the whole text of each refusal.

use crate::{
    config::{Config, ConfigError, Origin, parse},
    model::Announce,
};

const FILE: &str = r#"
node: {name: node1, uplinks: [eth0, eth1]}
nodes:
  - {name: node1, addresses: [10.0.0.11]}
layer2: {interfaces: [eth0], owns: [10.99.0.1]}
services:
  - name: web
    addresses: [10.99.0.1, "fd99::1"]
    announce: layer2
    ports: [{name: http, port: 80}]
"#;

fn read(text: &str) -> Result<Config, ConfigError> {
    let origin = Origin {
        file: "lb.yaml",
        host_name: "node1",
    };
    parse(text, origin)
}

fn refusal(from: &str, to: &str) -> String {
    assert!(FILE.contains(from), "{from}");
    let error = read(&FILE.replacen(from, to, 1)).expect_err("must be refused");
    error.to_string()
}

#[test]
fn ownership_is_understood() {
    let config = read(FILE).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.services[0].announce, Announce::Layer2);
    let layer2 = config.layer2.unwrap();
    assert_eq!(layer2.interfaces, ["eth0".into()]);
    assert_eq!(layer2.owns, ["10.99.0.1".parse().unwrap()].into());
}

#[test]
fn a_section_alone_announces_on_layer_2() {
    let config = read(&FILE.replace("    announce: layer2\n", "")).unwrap();
    assert_eq!(config.services[0].announce, Announce::Layer2);
}

#[test]
fn an_interface_must_be_an_uplink() {
    insta::assert_snapshot!(refusal("interfaces: [eth0]", "interfaces: [eth2, eth1, eth1]"), @r#"
    layer2.interfaces[0]: eth2 is not among `node.uplinks`
     --> lb.yaml:5:23
      |
    5 | layer2: {interfaces: [eth2, eth1, eth1], owns: [10.99.0.1]}
      |                       ^
    layer2.interfaces[2]: eth1 is listed twice
     --> lb.yaml:5:35
      |
    5 | layer2: {interfaces: [eth2, eth1, eth1], owns: [10.99.0.1]}
      |                                   ^
    "#);
    let without = FILE.replace(", uplinks: [eth0, eth1]", "");
    assert!(read(&without).is_ok(), "the default route tells later");
}

#[test]
fn what_is_owned_must_be_a_vip_of_layer_2() {
    insta::assert_snapshot!(refusal("owns: [10.99.0.1]", "owns: [10.99.0.1, 10.99.0.2, 10.99.0.1, web]"), @r#"
    layer2.owns[1]: 10.99.0.2 is no VIP of a Service
     --> lb.yaml:5:48
      |
    5 | layer2: {interfaces: [eth0], owns: [10.99.0.1, 10.99.0.2, 10.99.0.1, web]}
      |                                                ^
    layer2.owns[2]: 10.99.0.1 is listed twice
     --> lb.yaml:5:59
      |
    5 | layer2: {interfaces: [eth0], owns: [10.99.0.1, 10.99.0.2, 10.99.0.1, web]}
      |                                                           ^
    layer2.owns[3]: "web" is not an IP address
     --> lb.yaml:5:70
      |
    5 | layer2: {interfaces: [eth0], owns: [10.99.0.1, 10.99.0.2, 10.99.0.1, web]}
      |                                                                      ^
    "#);
    let by_bgp = "bgp: {asn: 65000, peers: []}\nservices:";
    let text = FILE
        .replace("services:", by_bgp)
        .replace("announce: layer2", "announce: bgp");
    insta::assert_snapshot!(read(&text).expect_err("must be refused"), @r#"
    layer2.owns[0]: the Service of 10.99.0.1 does not say `announce: layer2`
     --> lb.yaml:5:37
      |
    5 | layer2: {interfaces: [eth0], owns: [10.99.0.1]}
      |                                     ^
    "#);
}

#[test]
fn layer_2_needs_its_section() {
    insta::assert_snapshot!(refusal("layer2: {interfaces: [eth0], owns: [10.99.0.1]}\n", ""), @r#"
    services[0].announce: there is no `layer2` section to announce it with
     --> lb.yaml:8:15
      |
    8 |     announce: layer2
      |               ^
    "#);
}

#[test]
fn a_vip_has_one_announcer() {
    let other = "bgp: {asn: 65000, peers: []}\nservices:\n  - {name: dns, addresses: [10.99.0.1], announce: bgp, ports: [{name: dns, port: 53}]}";
    insta::assert_snapshot!(refusal("services:", other), @r#"
    services[1].addresses[0]: dns announces 10.99.0.1 by BGP; a VIP has one way
      --> lb.yaml:10:17
       |
    10 |     addresses: [10.99.0.1, "fd99::1"]
       |                 ^
    "#);
}
