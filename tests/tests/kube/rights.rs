//! What the service accounts may do: exactly what is listed here, a second time, and nothing else. That an agent's token
//! cannot give itself away as a controller is tried, not only read.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use k8s_openapi::api::authorization::v1::{SelfSubjectRulesReview, SelfSubjectRulesReviewSpec};
use kube::{Api, api::PostParams};
use lb_lab::{AGENT, CONTROLLER, NOBODY, SYSTEM_NAMESPACE};

use crate::fixture::{self, Scope, block_on};

/// Everywhere, as `VERB GROUP/RESOURCE`.
const AGENT_EVERYWHERE: [&str; 2] = [
    "get list watch: /services /nodes discovery.k8s.io/endpointslices network.kubesphere.io/eips \
     network.kubesphere.io/bgpconfs network.kubesphere.io/bgppeers",
    "get patch: network.kubesphere.io/bgpconfs/status network.kubesphere.io/bgppeers/status",
];
/// In the Namespace of the product besides.
const AGENT_AT_HOME: [&str; 1] = ["get list watch: /secrets /configmaps"];

const CONTROLLER_EVERYWHERE: [&str; 4] = [
    "get list watch: /services /nodes /namespaces discovery.k8s.io/endpointslices networking.k8s.io/servicecidrs \
     network.kubesphere.io/eips network.kubesphere.io/bgpconfs network.kubesphere.io/bgppeers",
    "patch update: /services network.kubesphere.io/eips network.kubesphere.io/bgpconfs network.kubesphere.io/bgppeers",
    "get patch update: /services/status network.kubesphere.io/eips/status network.kubesphere.io/bgpconfs/status \
     network.kubesphere.io/bgppeers/status",
    "create patch: /events events.k8s.io/events",
];
const CONTROLLER_AT_HOME: [&str; 5] = [
    "create: coordination.k8s.io/leases",
    "get list watch patch update: coordination.k8s.io/leases=fairlead-controller",
    "get list watch: /configmaps",
    "create: /secrets",
    "get: /secrets=fairlead-cluster",
];

#[test]
fn service_accounts_have_the_listed_rights_and_no_other() -> Result<()> {
    let scope = Scope::new("rights-listed")?;
    let cases = [
        (AGENT, &AGENT_EVERYWHERE[..], &AGENT_AT_HOME[..]),
        (CONTROLLER, &CONTROLLER_EVERYWHERE, &CONTROLLER_AT_HOME),
    ];
    for (user, everywhere, at_home) in cases {
        let usual = rights(NOBODY, &scope.namespace)?;
        let everywhere = listed(everywhere);
        let found = &rights(user, &scope.namespace)? - &usual;
        assert_eq!(found, everywhere, "{user} in another Namespace");
        let found = &rights(user, SYSTEM_NAMESPACE)? - &usual;
        assert_eq!(
            found,
            &everywhere | &listed(at_home),
            "{user} in its own Namespace"
        );
    }
    Ok(())
}

fn listed(lines: &[&str]) -> BTreeSet<String> {
    let mut rights = BTreeSet::new();
    for (verbs, resources) in lines.iter().filter_map(|line| line.split_once(": ")) {
        for verb in verbs.split(' ') {
            rights.extend(
                resources
                    .split(' ')
                    .map(|resource| format!("{verb} {resource}")),
            );
        }
    }
    rights
}

/// What the API server says a user may do in a Namespace.
fn rights(user: &str, namespace: &str) -> Result<BTreeSet<String>> {
    let review = SelfSubjectRulesReview {
        spec: SelfSubjectRulesReviewSpec {
            namespace: Some(namespace.to_owned()),
        },
        ..SelfSubjectRulesReview::default()
    };
    let answer = block_on(async {
        let client = fixture::client(fixture::shared()?, user).await?;
        let api: Api<SelfSubjectRulesReview> = Api::all(client);
        anyhow::Ok(api.create(&PostParams::default(), &review).await?)
    })?;
    let status = answer.status.unwrap_or_default();
    ensure!(!status.incomplete, "the list is not complete");
    let mut rights = BTreeSet::new();
    for rule in status.resource_rules {
        let names = rule.resource_names.unwrap_or_default();
        let names = if names.is_empty() {
            vec![String::new()]
        } else {
            names
        };
        for group in rule.api_groups.unwrap_or_default() {
            for resource in rule.resources.iter().flatten() {
                for (verb, name) in rule
                    .verbs
                    .iter()
                    .flat_map(|verb| names.iter().map(move |name| (verb, name)))
                {
                    let name = if name.is_empty() {
                        String::new()
                    } else {
                        format!("={name}")
                    };
                    rights.insert(format!("{verb} {group}/{resource}{name}"));
                }
            }
        }
    }
    Ok(rights)
}

#[test]
fn an_agent_cannot_write_the_status_of_a_service() -> Result<()> {
    let scope = Scope::new("rights-service")?;
    scope.kubectl(&["create", "service", "loadbalancer", "web", "--tcp=80:8080"])?;
    let patch = r#"{"status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}}}"#;
    let words = [
        "patch",
        "service",
        "web",
        "--subresource=status",
        "--type=merge",
        "-p",
        patch,
    ];
    refused(&scope, &words)?;
    refused(&scope, &["annotate", "service", "web", "a=b"])?;
    refused(&scope, &["delete", "service", "web"])?;
    let words = [&["-n", scope.namespace.as_str()], &words[..]].concat();
    scope.server.kubectl_as(CONTROLLER, &words)?;
    let address = "jsonpath={.status.loadBalancer.ingress[0].ip}";
    assert_eq!(
        scope.kubectl(&["get", "service", "web", "-o", address])?,
        "10.0.0.1"
    );
    Ok(())
}

#[test]
fn an_agent_writes_its_keys_and_nothing_else_of_a_peer() -> Result<()> {
    let scope = Scope::new("rights-peer")?;
    let peer = "{apiVersion: network.kubesphere.io/v1alpha2, kind: BgpPeer, metadata: {name: rights-peer}, spec: {}}";
    scope.apply(peer)?;
    let status = r#"{"status": {"nodesPeerStatus": {"node1": {"peerState": {"sessionState": "ESTABLISHED"}}}}}"#;
    let patch = ["patch", "bgppeer", "rights-peer", "--type=merge", "-p"];
    let of_status = [&patch[..], &[status, "--subresource=status"]].concat();
    scope.server.kubectl_as(AGENT, &of_status)?;
    refused(
        &scope,
        &[&patch[..], &[r#"{"spec": {"gtsm": true}}"#]].concat(),
    )?;
    refused(&scope, &["delete", "bgppeer", "rights-peer"])?;
    refused(&scope, &["get", "secrets"])?;
    Ok(())
}

fn refused(scope: &Scope, words: &[&str]) -> Result<()> {
    let words = [&["-n", scope.namespace.as_str()], words].concat();
    match scope.server.kubectl_as(AGENT, &words) {
        Ok(answer) => anyhow::bail!("an agent may {words:?}: {answer}"),
        Err(error) => {
            let text = error.to_string();
            ensure!(
                text.contains("orbidden") || text.contains("cannot"),
                "{words:?}: {text}"
            );
            Ok(())
        }
    }
}
