use std::{collections::BTreeSet, time::Duration};

use lb_core::model::{Prefix, Protocol, TrafficPolicy};
use serde_json::json;

use super::{joined, service, slice_of, slices};
use crate::project::{
    claim::{Claim, ClassRules},
    names::Names,
    service::{ServiceRecord, service as project},
};

fn record(service: &k8s_openapi::api::core::v1::Service) -> ServiceRecord {
    project(service, &ClassRules::default(), &mut Names::default())
}

fn ranges(service: &k8s_openapi::api::core::v1::Service) -> Vec<String> {
    let made = joined(service, &[]).source_ranges;
    made.iter().map(Prefix::to_string).collect()
}

#[test]
fn external_traffic_policy_is_cluster_unless_it_is_local() {
    for (spec, policy) in [
        (json!({}), TrafficPolicy::Cluster),
        (
            json!({"externalTrafficPolicy": "Cluster"}),
            TrafficPolicy::Cluster,
        ),
        (
            json!({"externalTrafficPolicy": "Local"}),
            TrafficPolicy::Local,
        ),
        (
            json!({"internalTrafficPolicy": "Local"}),
            TrafficPolicy::Cluster,
        ),
    ] {
        assert_eq!(
            joined(&service(json!({}), spec), &[]).traffic_policy,
            policy
        );
    }
}

#[test]
fn affinity_lasts_as_long_as_the_service_says_or_three_hours() {
    let affinity = |spec| joined(&service(json!({}), spec), &[]).affinity;
    assert_eq!(affinity(json!({})), None);
    assert_eq!(
        affinity(json!({"sessionAffinity": "ClientIP"})),
        Some(Duration::from_secs(10_800))
    );
    let config = json!({"clientIP": {"timeoutSeconds": 60}});
    let spec = json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": config});
    assert_eq!(affinity(spec), Some(Duration::from_secs(60)));
}

#[test]
fn source_ranges_are_the_fields_and_only_without_it_the_annotations() {
    let annotation = json!({"service.beta.kubernetes.io/load-balancer-source-ranges": " 192.0.2.0/24 ,2001:db8::/32"});
    let field = json!({"loadBalancerSourceRanges": ["198.51.100.7/24 "]});
    assert!(ranges(&service(json!({}), json!({}))).is_empty());
    assert_eq!(
        ranges(&service(annotation.clone(), field.clone())),
        ["198.51.100.0/24"]
    );
    assert_eq!(
        ranges(&service(annotation.clone(), json!({}))),
        ["192.0.2.0/24", "2001:db8::/32"]
    );
    let blank = json!({"service.beta.kubernetes.io/load-balancer-source-ranges": " "});
    assert!(ranges(&service(blank, json!({}))).is_empty());
}

#[test]
fn a_range_that_is_none_lets_nobody_in_and_says_so() {
    let mixed = service(
        json!({}),
        json!({"loadBalancerSourceRanges": ["192.0.2.0/24", "10.0.0.0/33"]}),
    );
    assert_eq!(ranges(&mixed), ["192.0.2.0/24"]);
    let bad = service(json!({}), json!({"loadBalancerSourceRanges": ["office"]}));
    assert_eq!(
        ranges(&bad),
        ["0.0.0.0/32", "::/128"],
        "nobody, not everybody"
    );
    for object in [mixed, bad] {
        assert_eq!(record(&object).balanced.unwrap().problems.len(), 1);
    }
}

#[test]
fn tcp_and_udp_may_have_one_number_and_sctp_is_left_out_by_name() {
    let ports = json!([
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53},
        {"name": "signal", "port": 36412, "protocol": "SCTP"},
    ]);
    let object = service(json!({}), json!({"ports": ports}));
    let made = joined(&object, &[]);
    let keys: Vec<_> = made.ports.iter().map(|p| (p.protocol, p.port)).collect();
    assert_eq!(keys, [(Protocol::Udp, 53), (Protocol::Tcp, 53)]);
    let problems = record(&object).balanced.unwrap().problems;
    assert!(problems[0].contains("36412/SCTP"), "{problems:?}");
}

#[test]
fn vips_are_the_addresses_of_the_status_whatever_their_mode() {
    let mut object = service(json!({}), json!({"externalIPs": ["192.0.2.66"]}));
    let ingress = json!([
        {"ip": "10.99.0.1", "ipMode": "VIP"},
        {"ip": "fd99::1", "ipMode": "Proxy"},
        {"ip": "10.99.0.1"},
        {"hostname": "lb.example.com"},
    ]);
    object.status = serde_json::from_value(json!({"loadBalancer": {"ingress": ingress}})).unwrap();
    let vips = joined(&object, &[]).vips;
    assert_eq!(
        vips,
        ["10.99.0.1", "fd99::1"].map(|text| text.parse::<std::net::IpAddr>().unwrap()),
        "an external IP is not among them"
    );
}

#[test]
fn a_port_that_the_status_gives_to_another_is_taken() {
    let mut object = service(json!({}), json!({}));
    let ports = json!([{"port": 80, "protocol": "TCP", "error": "fairlead.io/PortConflict"}, {"port": 81, "protocol": "TCP"}]);
    let ingress = json!([{"ip": "10.99.0.1", "ports": ports}]);
    object.status = serde_json::from_value(json!({"loadBalancer": {"ingress": ingress}})).unwrap();
    let taken = joined(&object, &[]).taken;
    let taken: Vec<_> = taken.iter().map(ToString::to_string).collect();
    assert_eq!(taken, ["10.99.0.1:80/TCP"]);
}

#[test]
fn what_is_being_deleted_has_no_vip_and_other_types_are_not_served() {
    let mut object = service(json!({}), json!({}));
    object.metadata.deletion_timestamp =
        serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    assert!(joined(&object, &[]).vips.is_empty());
    for spec in [
        json!({"type": "ExternalName", "externalName": "example.com"}),
        json!({"type": "ClusterIP"}),
        json!({"clusterIP": "None"}),
    ] {
        let record = record(&service(json!({}), spec));
        assert_eq!(
            (record.claim, record.balanced),
            (Claim::NotLoadBalancer, None)
        );
    }
}

#[test]
fn node_ports_do_not_count() {
    let with = service(
        json!({}),
        json!({
            "ports": [{"name": "http", "port": 80, "nodePort": 30080, "appProtocol": "kubernetes.io/h2c"}],
            "healthCheckNodePort": 31000,
            "allocateLoadBalancerNodePorts": true,
        }),
    );
    let without = service(
        json!({}),
        json!({"ports": [{"name": "http", "port": 80}], "allocateLoadBalancerNodePorts": false}),
    );
    assert_eq!(joined(&with, &[]), joined(&without, &[]));
}

#[test]
fn slices_of_a_service_that_was_deleted_do_not_serve_its_successor() {
    let of = |uid: &str| {
        slice_of(json!({
            "metadata": {
                "name": uid, "namespace": "default", "labels": {"kubernetes.io/service-name": "web"},
                "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": "web", "uid": uid}],
            },
            "endpoints": [{"addresses": [if uid == "u1" { "10.1.0.1" } else { "10.1.0.2" }]}],
        }))
    };
    let made = joined(&service(json!({}), json!({})), &[of("u0"), of("u1")]);
    let addresses: BTreeSet<_> = made
        .endpoints
        .iter()
        .map(|e| e.address.to_string())
        .collect();
    assert_eq!(addresses, BTreeSet::from(["10.1.0.1".to_owned()]));
}

#[test]
fn a_slice_without_a_service_is_nobodys() {
    let object = slice_of(json!({"metadata": {"name": "loose", "namespace": "default"}}));
    assert_eq!(slices::slice(&object, &mut Names::default()), None);
}

#[test]
fn what_the_controller_recorded_of_a_lost_pool_is_read() {
    let text = r#"{"protocol":"layer2","announcement":{"localPref":50}}"#;
    let object = service(json!({"fairlead.io/announcement": text}), json!({}));
    let recorded = record(&object).balanced.unwrap().recorded.unwrap();
    assert_eq!(recorded.protocol, Some(crate::crd::Protocol::Layer2));
    assert_eq!(recorded.announcement.unwrap().local_pref, Some(50));
    let broken = service(json!({"fairlead.io/announcement": "{"}), json!({}));
    assert_eq!(record(&broken).balanced.unwrap().recorded, None);
}
