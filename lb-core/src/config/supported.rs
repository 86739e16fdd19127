//! What the schema knows and this version does not do: refused, one sentence each, so that nobody believes a
//! setting is in force that is not.

use std::fmt;

use serde_saphyr::Spanned;

use super::{error::Problem, schema};

pub(super) fn refuse_unsupported(file: &schema::File, problems: &mut Vec<Problem>) {
    if let Some(bgp) = &file.bgp {
        for (index, peer) in bgp.value.peers.iter().enumerate() {
            refuse_of_peer(peer, index, problems);
        }
    }
    for (index, service) in file.services.iter().enumerate() {
        refuse_of_service(service, index, problems);
    }
}

fn refuse_of_peer(peer: &schema::Peer, index: usize, problems: &mut Vec<Problem>) {
    let field = |name: &str| format!("bgp.peers[{index}].{name}");
    refuse(peer.bfd.as_ref(), field("bfd"), "BFD", problems);
    let words = [("self", true), ("nodes", true)];
    one_of(peer.next_hop.as_ref(), field("nextHop"), &words, problems);
}

fn refuse_of_service(service: &schema::Service, index: usize, problems: &mut Vec<Problem>) {
    let field = |name: &str| format!("services[{index}].{name}");
    let words = [("bgp", true), ("layer2", true)];
    one_of(
        service.announce.as_ref(),
        field("announce"),
        &words,
        problems,
    );
    let policy = service.external_traffic_policy.as_ref();
    let words = [("Cluster", true), ("Local", true)];
    one_of(policy, field("externalTrafficPolicy"), &words, problems);
    let affinity = service.session_affinity.as_ref();
    let words = [("None", true), ("ClientIP", true)];
    one_of(affinity, field("sessionAffinity"), &words, problems);
    let words = [("direct", true), ("ingress", true)];
    one_of(
        service.return_by.as_ref(),
        field("return"),
        &words,
        problems,
    );
    if let Some(check) = &service.health_check {
        let (http, grpc) = (check.value.http.as_ref(), check.value.grpc.as_ref());
        refuse(
            http,
            field("healthCheck.http"),
            "a health check by HTTP",
            problems,
        );
        refuse(
            grpc,
            field("healthCheck.grpc"),
            "a health check by gRPC",
            problems,
        );
    }
    for (port, item) in service.ports.value.iter().enumerate() {
        let field = field(&format!("ports[{port}].protocol"));
        refuse_protocol(item.protocol.as_ref(), field, problems);
    }
}

fn refuse_protocol(
    protocol: Option<&schema::Text>,
    field: impl fmt::Display,
    problems: &mut Vec<Problem>,
) {
    match protocol {
        Some(sctp) if sctp.value == "SCTP" => {
            let why =
                "SCTP is not supported: its associations carry addresses that cannot be translated";
            problems.push(Problem::at(sctp, field, why));
        }
        other => one_of(other, field, &[("TCP", true), ("UDP", true)], problems),
    }
}

fn refuse<T>(
    value: Option<&Spanned<T>>,
    field: impl fmt::Display,
    what: &str,
    problems: &mut Vec<Problem>,
) {
    if let Some(value) = value {
        let message = format!("{what} is not supported by this version yet");
        problems.push(Problem::at(value, field, &message));
    }
}

/// Refuses a word that is not known, and one that is known but not supported (false).
fn one_of(
    value: Option<&schema::Text>,
    field: impl fmt::Display,
    words: &[(&str, bool)],
    problems: &mut Vec<Problem>,
) {
    let Some(value) = value else {
        return;
    };
    let message = match words.iter().find(|(word, _)| *word == value.value) {
        Some((_, true)) => return,
        Some((word, false)) => format!("{word} is not supported by this version yet"),
        None => {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            format!("\"{}\" is none of {}", value.value, known.join(", "))
        }
    };
    problems.push(Problem::at(value, field, &message));
}
