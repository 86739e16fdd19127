//! The section `dataplane`: what VIPs answer by themselves, and where packets end that are for no VIP of ours.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use super::{error::Problem, schema};
use crate::model::{Dataplane, Node, Prefix, Service};

/// A CPU sends no more than it gets; beyond this it is no limit.
const ANSWERS_PER_SECOND_MAX: u32 = 1_000_000;
/// Tables that the kernel has names for: unspecified, compat, default, main, local (linux/rtnetlink.h).
const KERNEL_TABLES: [u32; 5] = [0, 252, 253, 254, 255];

pub(super) fn dataplane(
    section: Option<&schema::Dataplane>,
    nodes: &[Arc<Node>],
    services: &[Arc<Service>],
    problems: &mut Vec<Problem>,
) -> Dataplane {
    let default = Dataplane::default();
    let Some(section) = section else {
        return default;
    };
    let mut bounded = |value: Option<&serde_saphyr::Spanned<u32>>,
                       default: u32,
                       name: &str,
                       why_not: fn(u32) -> Option<&'static str>| {
        let Some(value) = value else { return default };
        if let Some(why) = why_not(value.value) {
            problems.push(Problem::at(value, format!("dataplane.{name}"), why));
        }
        value.value
    };
    let answers_per_second = bounded(
        section.answers_per_second.as_ref(),
        default.answers_per_second,
        "answersPerSecond",
        |rate| match rate {
            1..=ANSWERS_PER_SECOND_MAX => None,
            _ => Some("a rate is a number from 1 to 1000000"),
        },
    );
    let routing_table = bounded(
        section.routing_table.as_ref(),
        default.routing_table,
        "routingTable",
        |table| {
            let is_the_kernels = KERNEL_TABLES.contains(&table);
            is_the_kernels.then_some("tables 0 and 252 to 255 are the kernel's own; take another")
        },
    );
    let per_prefix = section.new_flows_per_source_prefix_per_second.as_ref();
    let any_number = 0;
    let new_flows = bounded(
        per_prefix,
        any_number,
        "newFlowsPerSourcePrefixPerSecond",
        |rate| (rate == 0).then_some("0 would let nobody in; leave it out to let everybody in"),
    );
    Dataplane {
        answers_echo: section.answer_echo.unwrap_or(default.answers_echo),
        refuses_closed_ports: refuses_closed_ports(section.closed_ports.as_ref(), problems),
        answers_per_second,
        new_flows_per_source_prefix_per_second: per_prefix.map(|_| new_flows),
        pools: pools(&section.pools, nodes, services, problems),
        routing_table,
    }
}

fn refuses_closed_ports(text: Option<&schema::Text>, problems: &mut Vec<Problem>) -> bool {
    let Some(text) = text else { return true };
    match text.value.as_str() {
        "reset" => {}
        "drop" => return false,
        other => {
            let message = format!("\"{other}\" is none of reset, drop");
            problems.push(Problem::at(text, "dataplane.closedPorts", &message));
        }
    }
    true
}

fn pools(
    pools: &[schema::Text],
    nodes: &[Arc<Node>],
    services: &[Arc<Service>],
    problems: &mut Vec<Problem>,
) -> BTreeSet<Prefix> {
    let mut made = BTreeSet::new();
    for (index, text) in pools.iter().enumerate() {
        match pool(&text.value, nodes, services) {
            Ok(pool) => _ = made.insert(pool),
            Err(message) => {
                let field = format!("dataplane.pools[{index}]");
                problems.push(Problem::at(text, field, &message));
            }
        }
    }
    made
}

/// What is somebody's own must stay reachable through this node.
fn pool(text: &str, nodes: &[Arc<Node>], services: &[Arc<Service>]) -> Result<Prefix, String> {
    let pool = prefix(text).ok_or_else(|| {
        format!("\"{text}\" is not a network; write one like 10.99.0.0/24, without host bits")
    })?;
    let nodes = nodes.iter().flat_map(|node| {
        let whose = |address: &IpAddr| (*address, format!("node {}", node.name));
        node.addresses.iter().map(whose)
    });
    let endpoints = services.iter().flat_map(|service| {
        let endpoints = service.endpoints.iter();
        endpoints.map(|endpoint| (endpoint.address, format!("an endpoint of {}", service.name)))
    });
    let mut others = nodes.chain(endpoints);
    match others.find(|(address, _)| pool.contains(*address)) {
        Some((address, whose)) => Err(format!(
            "{address}, the address of {whose}, is in {pool}; a pool holds nothing but VIPs"
        )),
        None => Ok(pool),
    }
}

fn prefix(text: &str) -> Option<Prefix> {
    let (address, bits) = text.split_once('/')?;
    let bits: u8 = bits.parse().ok().filter(|bits| *bits > 0)?;
    Prefix::new(address.parse().ok()?, bits)
}

#[cfg(test)]
mod tests;
