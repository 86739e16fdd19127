use lb_core::allocate::Sharing;

use super::*;

fn read(yaml_as_json: serde_json::Value) -> lb_core::allocate::Service {
    let object: Service = serde_json::from_value(yaml_as_json).unwrap();
    lb_core::allocate::Service::clone(&record(&object, &ClassRules::default()).model)
}

fn with(annotations: serde_json::Value, spec: serde_json::Value) -> serde_json::Value {
    let mut object = serde_json::json!({
        "metadata": {"name": "web", "namespace": "a", "annotations": annotations},
        "spec": {"type": "LoadBalancer", "ipFamilies": ["IPv4"], "ports": [{"port": 80}]},
    });
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    object
}

#[test]
fn openelbs_services_share_and_ours_do_not() {
    let none = serde_json::json!({});
    let opt_in = serde_json::json!({"lb.kubesphere.io/v1alpha1": "porter"});
    let class = serde_json::json!({"loadBalancerClass": "fairlead.io/load-balancer"});
    let by_key = serde_json::json!({"metallb.io/allow-shared-ip": "k"});
    assert_eq!(read(with(opt_in, none)).sharing, Sharing::Always);
    let key = Sharing::Key("k".to_owned());
    assert_eq!(read(with(by_key, class.clone())).sharing, key);
    let said = serde_json::json!({"fairlead.io/sharing": "sameNamespace"});
    assert_eq!(
        read(with(said, class.clone())).sharing,
        Sharing::SameNamespace
    );
    assert_eq!(
        read(with(serde_json::json!({}), class)).sharing,
        Sharing::Exclusive
    );
}

#[test]
fn of_two_addresses_by_openelbs_rules_the_one_that_it_has_counts() {
    let annotations = serde_json::json!({
        "lb.kubesphere.io/v1alpha1": "openelb",
        "eip.openelb.kubesphere.io/v1alpha1": "10.0.0.1",
    });
    let mut object = with(
        annotations,
        serde_json::json!({"loadBalancerIP": "10.0.0.2"}),
    );
    let asked = |object| read(object).request.unwrap().addresses;
    assert_eq!(
        asked(object.clone()),
        ["10.0.0.1".parse::<IpAddr>().unwrap()]
    );
    object["status"] = serde_json::json!({"loadBalancer": {"ingress": [{"ip": "10.0.0.2"}]}});
    assert_eq!(asked(object), ["10.0.0.2".parse::<IpAddr>().unwrap()]);
}

#[test]
fn what_cannot_be_given_is_said_at_once() {
    let class = serde_json::json!({"loadBalancerClass": "fairlead.io/load-balancer"});
    for asked in ["nonsense", "10.0.0.1,10.0.0.2"] {
        let annotations = serde_json::json!({"metallb.io/loadBalancerIPs": asked});
        assert!(
            read(with(annotations, class.clone())).request.is_err(),
            "{asked}"
        );
    }
}

#[test]
fn a_status_is_read_as_it_was_written() {
    let mut object = with(
        serde_json::json!({"fairlead.io/reassign": "10.0.0.1, x"}),
        serde_json::json!({}),
    );
    object["metadata"]["finalizers"] = serde_json::json!([FINALIZER, OPENELB_FINALIZERS[0]]);
    object["status"] = serde_json::json!({
        "loadBalancer": {"ingress": [{"ip": "10.0.0.1", "ports": [
            {"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP", "error": "x/Y"},
        ]}]},
        "conditions": [
            {"type": "fairlead.io/LoadBalancerServing", "status": "Unknown", "reason": "R", "message": "",
             "lastTransitionTime": "2026-01-01T00:00:00Z"},
            {"type": "other.io/Thing", "status": "True", "reason": "R", "message": "",
             "lastTransitionTime": "2026-01-01T00:00:00Z"},
        ],
    });
    let service = read(object);
    assert!(service.has_finalizer && service.has_openelb_marks && !service.is_wanted);
    let states: Vec<_> = service.ingress[0].ports.values().copied().collect();
    assert_eq!(states, [PortState::Served, PortState::Conflict]);
    assert_eq!(service.conditions.len(), 1);
    assert_eq!(service.conditions[0].status, None);
    assert_eq!(service.leave.len(), 1);
}

#[test]
fn proxy_pods_are_not_run_and_it_is_said() {
    let class = serde_json::json!({"loadBalancerClass": "fairlead.io/load-balancer"});
    let asked = serde_json::json!({"node-proxy.openelb.kubesphere.io/type": "daemonset"});
    let service = read(with(asked, class));
    assert!(service.request.is_ok());
    assert!(
        service.ignored[0].contains("proxy pods (daemonset)"),
        "{:?}",
        service.ignored
    );
}
