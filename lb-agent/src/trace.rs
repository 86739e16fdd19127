//! Where a packet would go: its frame (described, in hexadecimal or captured) goes through the real programs beside the
//! data path of this node, and what came out is put into words. Nothing is sent and nothing of the running data path
//! changes. Names of services and nodes come from the agent, if one answers; without it there are addresses.

mod decode;
mod names;
pub mod packet;
pub mod pcap;

use lb_common::{Address, node::Node, service::ServiceCold, verdict::Verdict};
use lb_datapath::trace::{Direction, Trace, Tracer};
use serde::Serialize;

pub use names::Names;

/// What became of a packet, in words and numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TraceRow {
    /// The uplink that it came in by, or leaves by.
    pub interface: String,
    /// The packet as it came.
    pub packet: String,
    /// The service port that it is for; none: no service port counted it.
    pub service: Option<String>,
    /// Labels of what was counted; none: none of ours, it passes untouched and uncounted.
    pub verdicts: Vec<&'static str>,
    /// `pass`, `transmit`, `redirect` or `drop`; on the way out `next`.
    pub action: &'static str,
    /// The next node, of a packet that is sent on to one.
    pub node: Option<String>,
    /// The flow that was made for it: what it would be if the packet were real.
    pub new_flow: Option<String>,
    /// The packet as it goes on; none if it goes nowhere.
    pub becomes: Option<String>,
    /// That frame, in hexadecimal.
    pub frame: Option<String>,
}

/// Puts a trace into words.
#[must_use]
pub fn explain(
    tracer: &Tracer,
    names: &Names,
    interface: &str,
    direction: Direction,
    frame: &[u8],
    trace: &Trace,
) -> TraceRow {
    let action = action(direction, trace.outcome.action);
    let goes_on = action != "drop";
    let after = goes_on.then_some(&trace.outcome.frame[..]);
    let leaves = matches!(action, "transmit" | "redirect");
    TraceRow {
        interface: interface.to_owned(),
        packet: decode::frame(frame),
        service: trace.service.as_ref().map(|cold| service(names, cold)),
        verdicts: trace
            .verdicts
            .iter()
            .map(|verdict| verdict.label())
            .collect(),
        action,
        node: after
            .filter(|_| leaves && is_forwarded(&trace.verdicts))
            .and_then(|frame| node(tracer, names, frame)),
        new_flow: trace.new_flow.as_ref().map(|flow| {
            let (client, vip) = (flow.client, flow.vip);
            let v6 = flow.family == 6;
            let end = |address: &Address, port: u16| {
                decode::end(decode::address(v6, address), u16::from_be(port))
            };
            format!(
                "{} to {}, served by {}",
                end(&client, flow.client_port),
                end(&vip, flow.vip_port),
                end(&flow.endpoint, flow.endpoint_port)
            )
        }),
        becomes: after.map(decode::frame),
        frame: after.map(hexadecimal),
    }
}

/// The text of `lb-agent trace`.
#[must_use]
pub fn text(row: &TraceRow) -> String {
    let mut lines = vec![("packet", format!("{}, on {}", row.packet, row.interface))];
    let service = row.service.clone();
    lines.push((
        "service",
        service.unwrap_or_else(|| "none of ours".to_owned()),
    ));
    let verdict = match &row.verdicts[..] {
        [] => "none: it passes untouched and uncounted".to_owned(),
        verdicts => verdicts.join(", "),
    };
    lines.push(("verdict", verdict));
    lines.push(("action", row.action.to_owned()));
    let rest = [
        ("node", &row.node),
        ("new flow", &row.new_flow),
        ("becomes", &row.becomes),
    ];
    lines.extend(
        rest.into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?))),
    );
    lines
        .into_iter()
        .map(|(name, value)| format!("{name:<10}{value}\n"))
        .collect()
}

/// `enum xdp_action` (linux/bpf.h); on egress the program always lets the next one decide.
const fn action(direction: Direction, number: u32) -> &'static str {
    match (direction, number) {
        (Direction::Egress, 2) => "drop",
        (Direction::Egress, _) => "next",
        (Direction::Ingress, 2) => "pass",
        (Direction::Ingress, 3) => "transmit",
        (Direction::Ingress, 4) => "redirect",
        (Direction::Ingress, _) => "drop",
    }
}

fn is_forwarded(verdicts: &[Verdict]) -> bool {
    let forwarded = [Verdict::ForwardedDirect, Verdict::ForwardedGue];
    verdicts.iter().any(|verdict| forwarded.contains(verdict))
}

fn service(names: &Names, cold: &ServiceCold) -> String {
    let vip = decode::address(cold.family == 6, &cold.vip);
    let port = u16::from_be(cold.port);
    let port_key = decode::protocol(cold.protocol);
    let end = format!("{}/{port_key}", decode::end(vip, port));
    match names.service(vip, port, port_key) {
        Some(name) => format!("{name} {end}"),
        None => end,
    }
}

/// The node that a frame goes to: the far end of its GUE, or the owner of its destination MAC.
fn node(tracer: &Tracer, names: &Names, frame: &[u8]) -> Option<String> {
    let mac: [u8; 6] = frame.get(..6)?.try_into().ok()?;
    let outer = decode::destination(frame)?;
    let row = tracer
        .node(|node| outer == outer_destination(node))
        .or_else(|| {
            tracer.node(|node| {
                let macs = macs(node);
                node.flags & Node::DIRECT != 0 && macs[..6] == mac
            })
        })?;
    let address = outer_destination(&row);
    Some(match names.node(address) {
        Some(name) => format!("{name} ({address})"),
        None => address.to_string(),
    })
}

fn outer_destination(node: &Node) -> std::net::IpAddr {
    let (_, destination) = node.outer_addresses();
    decode::address(node.flags & Node::OUTER_V6 != 0, &destination)
}

fn macs(node: &Node) -> [u8; 12] {
    let mut bytes = [0; 12];
    for (pair, half) in bytes.chunks_exact_mut(2).zip(node.macs) {
        pair.copy_from_slice(&half.to_ne_bytes());
    }
    bytes
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
