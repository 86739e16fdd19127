//! Settings and their defaults, and the whole text of each refusal.

use crate::{
    config::{ConfigError, Origin, parse},
    model::Dataplane,
};

fn read(section: &str) -> Result<Dataplane, ConfigError> {
    let text = format!(
        "{section}\nnode: {{name: node1}}\nnodes:\n  - {{name: node1, addresses: [10.0.0.11]}}\nservices:\n  \
         - name: web\n    addresses: [10.99.0.1]\n    ports: [{{name: http, port: 80}}]\n    endpoints:\n      \
         - {{address: 10.1.1.2, node: node1, ports: {{http: 8080}}}}\n"
    );
    let origin = Origin {
        file: "lb.yaml",
        host_name: "node1",
    };
    Ok(parse(&text, origin)?.dataplane.as_ref().clone())
}

fn refusal(section: &str) -> String {
    read(section).expect_err("must be refused").to_string()
}

#[test]
fn every_setting_is_understood() {
    let section = "dataplane: {answerEcho: false, closedPorts: drop, answersPerSecond: 50, newFlowsPerSourcePrefixPerSecond: 70, pools: [10.99.0.0/24, \"fd99::/64\"], routingTable: 77}";
    let settings = read(section).unwrap_or_else(|error| panic!("{error}"));
    assert!(!settings.answers_echo && !settings.refuses_closed_ports);
    assert_eq!(
        (settings.answers_per_second, settings.routing_table),
        (50, 77)
    );
    assert_eq!(settings.new_flows_per_source_prefix_per_second, Some(70));
    let pools: Vec<_> = settings.pools.iter().map(ToString::to_string).collect();
    assert_eq!(pools, ["10.99.0.0/24", "fd99::/64"]);
}

#[test]
fn what_is_not_said_is_as_a_host_would_do() {
    for section in [
        "",
        "dataplane: {}",
        "dataplane: {closedPorts: reset, answerEcho: true}",
    ] {
        assert_eq!(read(section).unwrap(), Dataplane::default(), "{section}");
    }
}

#[test]
fn a_setting_that_makes_no_sense_is_refused() {
    insta::assert_snapshot!(refusal("dataplane: {closedPorts: reject, answersPerSecond: 0, routingTable: 254}"), @r#"
    dataplane.closedPorts: "reject" is none of reset, drop
     --> lb.yaml:1:26
      |
    1 | dataplane: {closedPorts: reject, answersPerSecond: 0, routingTable: 254}
      |                          ^
    dataplane.answersPerSecond: a rate is a number from 1 to 1000000
     --> lb.yaml:1:52
      |
    1 | dataplane: {closedPorts: reject, answersPerSecond: 0, routingTable: 254}
      |                                                    ^
    dataplane.routingTable: tables 0 and 252 to 255 are the kernel's own; take another
     --> lb.yaml:1:69
      |
    1 | dataplane: {closedPorts: reject, answersPerSecond: 0, routingTable: 254}
      |                                                                     ^
    "#);
}

#[test]
fn a_pool_holds_nothing_but_vips() {
    insta::assert_snapshot!(refusal("dataplane: {pools: [10.99.0.1/24, 10.0.0.0/8, 10.0.0.0/24, 0.0.0.0/0, nets]}"), @r#"
    dataplane.pools[0]: "10.99.0.1/24" is not a network; write one like 10.99.0.0/24, without host bits
     --> lb.yaml:1:21
      |
    1 | dataplane: {pools: [10.99.0.1/24, 10.0.0.0/8, 10.0.0.0/24, 0.0.0.0/0, nets]}
      |                     ^
    dataplane.pools[1]: 10.0.0.11, the address of node node1, is in 10.0.0.0/8; a pool holds nothing but VIPs
     --> lb.yaml:1:35
      |
    1 | dataplane: {pools: [10.99.0.1/24, 10.0.0.0/8, 10.0.0.0/24, 0.0.0.0/0, nets]}
      |                                   ^
    dataplane.pools[2]: 10.0.0.11, the address of node node1, is in 10.0.0.0/24; a pool holds nothing but VIPs
     --> lb.yaml:1:47
      |
    1 | dataplane: {pools: [10.99.0.1/24, 10.0.0.0/8, 10.0.0.0/24, 0.0.0.0/0, nets]}
      |                                               ^
    dataplane.pools[3]: "0.0.0.0/0" is not a network; write one like 10.99.0.0/24, without host bits
     --> lb.yaml:1:60
      |
    1 | dataplane: {pools: [10.99.0.1/24, 10.0.0.0/8, 10.0.0.0/24, 0.0.0.0/0, nets]}
      |                                                            ^
    dataplane.pools[4]: "nets" is not a network; write one like 10.99.0.0/24, without host bits
     --> lb.yaml:1:71
      |
    1 | dataplane: {pools: [10.99.0.1/24, 10.0.0.0/8, 10.0.0.0/24, 0.0.0.0/0, nets]}
      |                                                                       ^
    "#);
}

#[test]
fn a_limit_of_nothing_is_refused() {
    insta::assert_snapshot!(refusal("dataplane: {newFlowsPerSourcePrefixPerSecond: 0}"), @r#"
    dataplane.newFlowsPerSourcePrefixPerSecond: 0 would let nobody in; leave it out to let everybody in
     --> lb.yaml:1:47
      |
    1 | dataplane: {newFlowsPerSourcePrefixPerSecond: 0}
      |                                               ^
    "#);
}

#[test]
fn sizes_are_understood_and_bounded() {
    let origin = Origin {
        file: "lb.yaml",
        host_name: "node1",
    };
    let file = |sizes: &str| {
        format!("dataplane: {{{sizes}}}\nnodes: [{{name: node1, addresses: [10.0.0.11]}}]\n")
    };
    let sizes = "servicePorts: 20000, endpoints: 1280001, flows: 1000000";
    let config = parse(&file(sizes), origin).unwrap_or_else(|error| panic!("{error}"));
    let made = config.capacity;
    assert_eq!(
        (made.services, made.row_units, made.endpoints),
        (20_000, 22_500, 1_280_002)
    );
    assert_eq!(
        (made.established_flows, made.embryonic_flows),
        (1 << 20, 1 << 18)
    );
    let default = parse(&file(""), origin).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(default.capacity, lb_common::limits::Capacity::DEFAULT);
    let sizes = "servicePorts: 58001, endpoints: 0, flows: 99999999";
    let error = parse(&file(sizes), origin)
        .expect_err("must be refused")
        .to_string();
    let messages: Vec<_> = error
        .lines()
        .filter(|line| line.starts_with("dataplane"))
        .collect();
    assert_eq!(
        messages,
        [
            "dataplane.servicePorts: it is a number from 16 to 58000",
            "dataplane.endpoints: it is a number from 16 to 2097152",
            "dataplane.flows: it is a number from 1024 to 16777216",
        ]
    );
}
