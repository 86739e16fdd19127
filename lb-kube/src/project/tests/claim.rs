use std::net::IpAddr;

use serde_json::json;

use super::service;
use crate::project::{
    claim::{Claim, ClaimedBy, ClassRules, claim},
    request::{AskedBy, Request},
};

#[test]
fn a_class_decides_and_else_the_annotation_and_else_the_default() {
    let strict = ClassRules::default();
    let default = ClassRules {
        default_class: true,
        ..ClassRules::default()
    };
    let none = json!({});
    let opted_in = json!({"lb.kubesphere.io/v1alpha1": "porter"});
    let ours = json!({"loadBalancerClass": "fairlead.io/load-balancer"});
    let other = json!({"loadBalancerClass": "example.com/other"});
    let cases = [
        (
            &none,
            &ours,
            Claim::Ours(ClaimedBy::Class),
            Claim::Ours(ClaimedBy::Class),
        ),
        (&opted_in, &other, Claim::OtherClass, Claim::OtherClass),
        (
            &opted_in,
            &json!({}),
            Claim::Ours(ClaimedBy::Annotation),
            Claim::Ours(ClaimedBy::Annotation),
        ),
        (
            &none,
            &json!({}),
            Claim::Unclaimed,
            Claim::Ours(ClaimedBy::Default),
        ),
        (
            &json!({"lb.kubesphere.io/v1alpha1": "openelb"}),
            &json!({}),
            Claim::Ours(ClaimedBy::Annotation),
            Claim::Ours(ClaimedBy::Annotation),
        ),
        (
            &json!({"lb.kubesphere.io/v1alpha1": "somebody"}),
            &json!({}),
            Claim::Unclaimed,
            Claim::Ours(ClaimedBy::Default),
        ),
        (
            &opted_in,
            &json!({"type": "NodePort"}),
            Claim::NotLoadBalancer,
            Claim::NotLoadBalancer,
        ),
        (
            &none,
            &json!({"type": "ExternalName", "externalName": "example.com"}),
            Claim::NotLoadBalancer,
            Claim::NotLoadBalancer,
        ),
    ];
    for (annotations, spec, by_strict, by_default) in cases {
        let service = service(annotations.clone(), spec.clone());
        assert_eq!(claim(&service, &strict), by_strict, "{annotations} {spec}");
        assert_eq!(
            claim(&service, &default),
            by_default,
            "{annotations} {spec}"
        );
    }
}

#[test]
fn requests_of_every_origin_are_understood() {
    let addresses = |texts: &[&str]| -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };
    let openelb = Request::of(&service(
        json!({
            "eip.porter.kubesphere.io/v1alpha1": "10.99.0.7",
            "eip.porter.kubesphere.io/v1alpha2": "pool",
            "protocol.porter.kubesphere.io/v1alpha1": "layer2",
        }),
        json!({}),
    ));
    assert_eq!(openelb.addresses, addresses(&["10.99.0.7"]));
    assert_eq!(openelb.asked_by, Some(AskedBy::OpenElb));
    assert_eq!(openelb.pool.as_deref(), Some("pool"));
    assert_eq!(openelb.protocol.as_deref(), Some("layer2"));
    let metallb = Request::of(&service(
        json!({
            "metallb.universe.tf/loadBalancerIPs": "10.99.0.8, fd99::8",
            "metallb.io/address-pool": "gold",
            "metallb.io/allow-shared-ip": "key",
        }),
        json!({}),
    ));
    assert_eq!(metallb.addresses, addresses(&["10.99.0.8", "fd99::8"]));
    assert_eq!(metallb.pool.as_deref(), Some("gold"));
    assert_eq!(metallb.sharing_key.as_deref(), Some("key"));
    let field = Request::of(&service(json!({}), json!({"loadBalancerIP": "10.99.0.9"})));
    assert_eq!(field.addresses, addresses(&["10.99.0.9"]));
    assert_eq!(field.asked_by, Some(AskedBy::Field));
    assert!(
        [openelb, metallb, field]
            .iter()
            .all(|request| request.problems.is_empty())
    );
    assert_eq!(
        Request::of(&service(json!({}), json!({}))),
        Request::default()
    );
}

#[test]
fn requests_that_contradict_each_other_say_which_counts() {
    let request = Request::of(&service(
        json!({
            "eip.openelb.kubesphere.io/v1alpha1": "10.99.0.1",
            "eip.porter.kubesphere.io/v1alpha1": "10.99.0.2",
            "metallb.io/loadBalancerIPs": "10.99.0.3",
            "protocol.openelb.kubesphere.io/v1alpha1": "rip",
        }),
        json!({"loadBalancerIP": "nonsense"}),
    ));
    assert_eq!(request.addresses, ["10.99.0.1".parse::<IpAddr>().unwrap()]);
    assert_eq!(request.problems.len(), 5, "{:#?}", request.problems);
    let agreeing = Request::of(&service(
        json!({"metallb.io/loadBalancerIPs": "10.99.0.3"}),
        json!({"loadBalancerIP": "10.99.0.3"}),
    ));
    assert!(agreeing.problems.is_empty());
}
