use serde_json::{Value, json};

use super::*;

const MANUAL: &str = include_str!("../../../tests/manuals/metallb-bgp.yaml");

fn yaml(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap()
}

fn service(name: &str, spec: Value, ingress: &[&str]) -> Value {
    let mut object = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], "selector": {"app": name}},
        "status": {"loadBalancer": {"ingress": ingress.iter().map(|ip| json!({"ip": ip})).collect::<Vec<_>>()}},
    });
    for (field, value) in spec.as_object().unwrap() {
        object["spec"][field] = value.clone();
    }
    object
}

fn spec<'a>(plan: &'a Plan, kind: &'a str, wanted: &str) -> &'a Value {
    let mut objects = of_kind(&plan.objects, kind);
    let found = objects.find(|object| name(object) == wanted);
    &found.unwrap_or_else(|| panic!("no {kind} {wanted}: {:#?}", plan.objects))["spec"]
}

fn says(sentences: &[String], words: &str) -> bool {
    sentences.iter().any(|sentence| sentence.contains(words))
}

#[test]
fn the_manuals_config_map_becomes_a_pool_a_speaker_and_a_peer() {
    let mut objects = yaml(MANUAL);
    objects.push(service("web", json!({}), &["192.168.0.30"]));
    let plan = plan(Origin::MetalLb, &objects);
    assert_eq!(
        *spec(&plan, "Eip", "default"),
        json!({"address": "192.168.0.30-192.168.0.49"})
    );
    assert_eq!(*spec(&plan, "BgpConf", "default"), json!({"as": 65001}));
    assert_eq!(
        *spec(&plan, "BgpPeer", "peer-1-192-168-1-2"),
        json!({"conf": {"neighborAddress": "192.168.1.2", "peerAs": 65000}, "nextHop": "self"})
    );
    assert_eq!(plan.differs, Vec::<String>::new());
    assert_eq!(plan.arguments, ["--default-class"]);
    assert_eq!(plan.kept.len(), 1);
    assert_eq!(plan.kept[0].eip.as_deref(), Some("default"));
    let text = plan.to_string();
    assert!(
        text.contains("default/web keeps 192.168.0.30, of Eip default"),
        "{text}"
    );
}

#[test]
fn a_layer_2_config_map_keeps_addresses_and_says_that_nobody_answers() {
    let text = include_str!("../../../tests/manuals/metallb-layer2.yaml");
    let plan = plan(Origin::MetalLb, &yaml(text));
    assert_eq!(
        *spec(&plan, "Eip", "default"),
        json!({"address": "192.168.1.30-192.168.1.49", "protocol": "layer2"})
    );
    assert!(says(
        &plan.differs,
        "nobody answers for its addresses on layer 2"
    ));
}

const KINDS: &str = "
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: first, namespace: metallb-system, labels: {zone: a}}
spec:
  addresses: [192.0.2.0/25, 'fd00:1::/112']
  avoidBuggyIPs: true
  autoAssign: false
  serviceAllocation:
    priority: 50
    namespaces: [a]
    serviceSelectors: [{matchLabels: {app: web}}]
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: second, namespace: metallb-system}
spec: {addresses: ['192.0.2.128 - 192.0.2.140']}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: one, namespace: metallb-system}
spec:
  ipAddressPoolSelectors: [{matchLabels: {zone: a}}]
  aggregationLength: 25
  localPref: 150
  communities: [vpn, '65000:7']
  peers: [leaf]
  nodeSelectors: [{matchLabels: {rack: r1}}]
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: two, namespace: metallb-system}
spec: {ipAddressPools: [second]}
---
apiVersion: metallb.io/v1beta1
kind: Community
metadata: {name: all, namespace: metallb-system}
spec: {communities: [{name: vpn, value: '65000:100'}]}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: leaf, namespace: metallb-system}
spec:
  myASN: 64500
  peerASN: 64501
  peerAddress: 10.0.0.1
  peerPort: 1790
  holdTime: 1m30s
  connectTime: 5s
  ebgpMultiHop: true
  vrf: red
  sourceAddress: 10.0.0.2
  bfdProfile: fast
  passwordSecret: {name: leaf, namespace: metallb-system}
  nodeSelectors:
    - {matchLabels: {rack: r1}}
    - {matchExpressions: [{key: rack, operator: In, values: [r2]}]}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: other, namespace: metallb-system}
spec: {myASN: 64510, peerASN: 64511, peerAddress: 'fd00::1', password: secret, holdTime: 500ms}
---
apiVersion: metallb.io/v1beta1
kind: BFDProfile
metadata: {name: fast, namespace: metallb-system}
";

#[test]
fn kinds_of_today_keep_what_has_an_equivalent() {
    let plan = plan(Origin::MetalLb, &yaml(KINDS));
    assert_eq!(
        *spec(&plan, "Eip", "first"),
        json!({
            "address": "192.0.2.0/25", "addresses": ["fd00:1::/112"], "avoidBuggyIPs": true, "autoAssign": false,
            "priority": 50, "namespaces": ["a"], "serviceSelectors": [{"matchLabels": {"app": "web"}}], "fence": true,
            "announcement": {
                "peers": ["leaf-1", "leaf-2"], "nodeSelectors": [{"matchLabels": {"rack": "r1"}}],
                "communities": ["65000:100", "65000:7"], "localPref": 150, "aggregationLength": 25,
            },
        })
    );
    assert_eq!(
        *spec(&plan, "Eip", "second"),
        json!({"address": "192.0.2.128-192.0.2.140", "priority": 1_000_000})
    );
    let families = json!([
        {"config": {"family": {"afi": "AFI_IP", "safi": "SAFI_UNICAST"}, "enabled": true}},
        {"config": {"family": {"afi": "AFI_IP6", "safi": "SAFI_UNICAST"}, "enabled": true}},
    ]);
    let leaf = json!({
        "conf": {"neighborAddress": "10.0.0.1", "peerAs": 64501, "vrf": "red"},
        "ebgpMultihop": {"enabled": true, "multihopTtl": 255}, "transport": {"remotePort": 1790},
        "timers": {"config": {"holdTime": "90", "connectRetry": "5"}}, "sourceAddress": "10.0.0.2",
        "passwordSecret": {"name": "leaf", "key": "password"}, "afiSafis": families, "nextHop": "self",
        "nodeSelector": {"matchLabels": {"rack": "r1"}},
    });
    assert_eq!(*spec(&plan, "BgpPeer", "leaf-1"), leaf);
    let second = &spec(&plan, "BgpPeer", "leaf-2")["nodeSelector"];
    assert_eq!(second["matchExpressions"][0]["values"], json!(["r2"]));
    let other = &spec(&plan, "BgpPeer", "other")["conf"];
    assert_eq!(
        *other,
        json!({"neighborAddress": "fd00::1", "peerAs": 64511, "localAs": 64510, "authPassword": "secret"})
    );
    for words in [
        "BFDProfile fast",
        "BGPPeer leaf bfdProfile",
        "copy Secret metallb-system/leaf into the Namespace fairlead-system",
        "BGPPeer other holdTime: 500ms is not in whole seconds",
    ] {
        assert!(says(&plan.differs, words), "{words}: {:#?}", plan.differs);
    }
    assert_eq!(plan.differs.len(), 4, "{:#?}", plan.differs);
}

#[test]
fn every_object_of_a_plan_is_one_of_ours_that_is_understood() {
    for objects in [yaml(KINDS), yaml(MANUAL)] {
        for object in plan(Origin::MetalLb, &objects).objects {
            let spec = object["spec"].clone();
            let back = match object["kind"].as_str().unwrap() {
                "Eip" => round_trip::<crate::crd::EipSpec>(&spec).1,
                "BgpConf" => round_trip::<crate::crd::BgpConfSpec>(&spec).1,
                "BgpPeer" => {
                    let (read, back) = round_trip::<crate::crd::BgpPeerSpec>(&spec);
                    let findings = crate::project::bgp::peer_findings(&read);
                    assert!(findings.is_empty(), "{spec}: {findings:?}");
                    back
                }
                other => panic!("{other}"),
            };
            assert_eq!(back, spec, "no field is lost");
        }
    }
}

fn round_trip<T: serde::de::DeserializeOwned + serde::Serialize>(spec: &Value) -> (T, Value) {
    let read: T = serde_json::from_value(spec.clone()).unwrap();
    let back = serde_json::to_value(&read).unwrap();
    (read, back)
}

#[test]
fn openelbs_objects_stay_as_they_are_and_say_what_is_ignored() {
    let objects = yaml(
        "
apiVersion: network.kubesphere.io/v1alpha2
kind: Eip
metadata:
  name: pool
  resourceVersion: '7'
  finalizers: [finalizer.ipam.kubesphere.io/v1alpha1]
  annotations: {eip.openelb.kubesphere.io/is-default-eip: 'true', other: x}
spec: {address: 192.0.2.0/24, protocol: bgp}
status: {occupied: false}
---
apiVersion: network.kubesphere.io/v1alpha2
kind: BgpPeer
metadata: {name: leaf}
spec: {conf: {neighborAddress: 10.0.0.1, peerAs: 64501, peerGroup: all}}
---
apiVersion: network.kubesphere.io/v1alpha2
kind: BgpConf
metadata: {name: other}
spec: {as: 1}
",
    );
    let plan = plan(Origin::OpenElb, &objects);
    let eip = of_kind(&plan.objects, "Eip").next().unwrap();
    assert_eq!(
        *eip,
        json!({
            "apiVersion": "network.kubesphere.io/v1alpha2", "kind": "Eip",
            "metadata": {"name": "pool", "annotations": {"eip.openelb.kubesphere.io/is-default-eip": "true"}},
            "spec": {"address": "192.0.2.0/24", "protocol": "bgp"},
        })
    );
    assert_eq!(of_kind(&plan.objects, "BgpConf").count(), 0);
    assert!(says(
        &plan.differs,
        "BgpConf other: only the one named default counts"
    ));
    assert!(
        says(&plan.differs, "BgpPeer leaf spec.conf.peerGroup"),
        "{:?}",
        plan.differs
    );
}

#[test]
fn every_address_is_kept_by_an_eip_or_by_name_or_said_to_be_lost() {
    let mut objects = yaml(MANUAL);
    let class = json!({"loadBalancerClass": "metallb.io/metallb"});
    let stranger = json!({"loadBalancerClass": "example.com/other"});
    objects.extend([
        service("inside", class.clone(), &["192.168.0.31"]),
        service("outside", class, &["203.0.113.9", "2001:db8::9"]),
        service("without", json!({}), &["192.168.0.33"]),
        service("stranger", stranger, &["192.168.0.40"]),
        service("pending", json!({}), &[]),
    ]);
    let made = plan(Origin::MetalLb, &objects);
    let kept: Vec<_> = made.kept.iter().map(|kept| kept.service.as_str()).collect();
    assert_eq!(
        kept,
        [
            "default/inside",
            "default/outside",
            "default/outside",
            "default/without"
        ]
    );
    let map = of_kind(&made.objects, "ConfigMap").next().unwrap();
    assert_eq!(
        map["data"],
        json!({"default.outside": "203.0.113.9,2001:db8::9"})
    );
    assert!(says(&made.lost, "default/stranger has 192.168.0.40"));
    assert_eq!(made.lost.len(), 1, "{:?}", made.lost);
    assert_eq!(
        made.arguments,
        [
            "--load-balancer-class metallb.io/metallb",
            "--default-class"
        ]
    );
    let openelb = plan(
        Origin::OpenElb,
        &[service("plain", json!({}), &["192.0.2.1"])],
    );
    assert!(
        says(&openelb.lost, "nobody gives it to us"),
        "{:?}",
        openelb.lost
    );
}

#[test]
fn policies_that_let_nodes_in_are_named_with_the_services_behind_them() {
    let policy = |name: &str, cidr: &str, app: &str| {
        json!({
            "kind": "NetworkPolicy", "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "podSelector": {"matchLabels": {"app": app}},
                "ingress": [{"from": [{"ipBlock": {"cidr": cidr}}]}],
            },
        })
    };
    let objects = [
        json!({"kind": "Node", "metadata": {"name": "n1"}, "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.11"}]}}),
        service("web", json!({}), &[]),
        policy("nodes", "10.0.0.0/24", "web"),
        policy("clients", "198.51.100.0/24", "web"),
        policy("others", "10.0.0.0/24", "db"),
    ];
    let plan = plan(Origin::MetalLb, &objects);
    assert_eq!(plan.policies.len(), 1, "{:?}", plan.policies);
    assert!(says(&plan.policies, "default/nodes lets 10.0.0.0/24 in"));
    assert!(says(&plan.policies, "Service default/web"));
}

#[test]
fn webhooks_go_first_and_nobody_elses_controllers_at_all() {
    let object = |kind: &str, name: &str, of: Option<&str>| json!({"kind": kind, "metadata": {"name": name, "namespace": of}});
    let objects = [
        object("DaemonSet", "speaker", Some("metallb-system")),
        object("Deployment", "controller", Some("metallb-system")),
        object("Deployment", "porter-bgp", Some("default")),
        object("Deployment", "porter-bgp", None),
        object(
            "ValidatingWebhookConfiguration",
            "metallb-webhook-configuration",
            None,
        ),
        object(
            "ValidatingWebhookConfiguration",
            "cert-manager-webhook",
            None,
        ),
    ];
    let commands: Vec<_> = plan(Origin::MetalLb, &objects)
        .obstacles
        .into_iter()
        .map(|obstacle| obstacle.command)
        .collect();
    assert_eq!(
        commands,
        [
            "kubectl delete validatingwebhookconfiguration metallb-webhook-configuration",
            "kubectl -n metallb-system scale deployment controller --replicas=0",
            "kubectl -n metallb-system delete daemonset speaker",
        ]
    );
}

#[test]
fn durations_are_read_as_go_writes_them() {
    for (text, seconds) in [
        ("90s", Some(90)),
        ("1m30s", Some(90)),
        ("1h", Some(3600)),
        ("500ms", None),
        ("90", None),
        ("", None),
    ] {
        assert_eq!(convert::seconds(text), seconds, "{text}");
    }
}
