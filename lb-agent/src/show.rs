//! Answers as tables for people: plain columns that survive a pipe and a narrow terminal, words instead of
//! codes, and whatever is wrong said in a sentence below. Pure: rows and the time in, text out.

pub mod bgp;

use std::{
    fmt::Write,
    net::SocketAddr,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use comfy_table::{ContentArrangement, Table, TableStyle};

use crate::{
    api::rows::{
        Answer, EndpointRow, Health, MapRow, Mode, NodeRow, ServiceRow, UplinkRow, VerdictRow,
    },
    flows::FlowsAnswer,
};

/// The table of `show services`.
#[must_use]
pub fn services(answer: &Answer<ServiceRow>) -> String {
    let mut table = table(&[
        "SERVICE",
        "VIP",
        "PORT",
        "ENDPOINTS",
        "APPLIED",
        "ANNOUNCED TO",
        "PACKETS",
        "DROPPED",
        "FLOWS",
        "REASON",
    ]);
    for row in &answer.rows {
        table.add_row([
            row.service.clone(),
            row.vip.to_string(),
            format!("{}/{}", row.port, row.protocol),
            format!("{}/{}", row.endpoints_used, row.endpoints_known),
            yes_no(row.applied),
            list(&row.announced_to),
            row.packets.to_string(),
            row.dropped.to_string(),
            row.active_flows.to_string(),
            or_dash(row.reasons.join("; ")),
        ]);
    }
    page(answer, &table, "no service is configured")
}

/// The line below `show services`: what became of packets for VIPs on this node.
#[must_use]
pub fn verdicts(answer: &Answer<VerdictRow>) -> String {
    let counted: Vec<_> = answer
        .rows
        .iter()
        .map(|row| format!("{} {}", row.verdict, row.packets))
        .collect();
    match counted.is_empty() {
        true => format!("\nno packet for a VIP has come to {} yet\n", answer.node),
        false => format!("\npackets on {}: {}\n", answer.node, counted.join(", ")),
    }
}

/// The table of `show endpoints`.
#[must_use]
pub fn endpoints(answer: &Answer<EndpointRow>, now: SystemTime) -> String {
    let mut table = table(&[
        "SERVICE", "PORT", "ENDPOINT", "NODE", "READY", "HEALTH", "PACKETS", "STATE",
    ]);
    for row in &answer.rows {
        table.add_row([
            row.service.clone(),
            row.port.clone(),
            endpoint(row),
            row.node.clone(),
            yes_no(row.ready),
            health(row, now),
            sampled(row.packets_sampled),
            row.reason.clone(),
        ]);
    }
    page(answer, &table, "no endpoint is configured")
}

/// The table of `show nodes`.
#[must_use]
pub fn nodes(answer: &Answer<NodeRow>) -> String {
    let mut table = table(&[
        "NODE",
        "ADDRESSES",
        "WAY",
        "INTERFACE",
        "NEXT HOP",
        "MTU",
        "PACKETS",
    ]);
    for row in &answer.rows {
        table.add_row([
            row.node.clone(),
            list(&row.addresses),
            way(row.mode).to_owned(),
            or_dash(row.interface.clone().unwrap_or_default()),
            next_hop(row),
            or_dash(
                row.mtu_bytes
                    .map(|bytes| bytes.to_string())
                    .unwrap_or_default(),
            ),
            sampled(row.packets_sampled),
        ]);
    }
    page(answer, &table, "no node is configured")
}

/// The table of `show uplinks`.
#[must_use]
pub fn uplinks(answer: &Answer<UplinkRow>) -> String {
    let mut table = table(&["UPLINK", "XDP", "EGRESS", "MAC", "MTU", "REASON"]);
    for row in &answer.rows {
        table.add_row([
            row.interface.clone(),
            or_dash(row.xdp.clone().unwrap_or_default()),
            or_dash(row.egress.clone().unwrap_or_default()),
            row.mac.clone(),
            row.mtu_bytes.to_string(),
            or_dash(row.not_in_driver.clone().unwrap_or_default()),
        ]);
    }
    page(answer, &table, "no uplink is there")
}

/// The table of `show flows`, and how many there are.
#[must_use]
pub fn flows(answer: &FlowsAnswer) -> String {
    let mut table = table(&[
        "PROTOCOL",
        "CLIENT",
        "VIP",
        "ENDPOINT",
        "STATE",
        "AGE",
        "IDLE",
        "EXPIRES IN",
        "NOTES",
    ]);
    for row in &answer.rows {
        let mapped = row
            .mapped_port
            .map(|port| format!("client port {port} at the pod"));
        let by_gue = row.by_gue.then(|| "by GUE".to_owned());
        let notes: Vec<_> = by_gue.into_iter().chain(mapped).collect();
        table.add_row([
            row.protocol.clone(),
            row.client.to_string(),
            row.vip.to_string(),
            row.endpoint.to_string(),
            row.state.clone(),
            span(row.age_seconds),
            span(row.idle_seconds),
            span(row.expires_in_seconds),
            or_dash(notes.join(", ")),
        ]);
    }
    let mut page = match answer.rows.is_empty() {
        true => String::new(),
        false => lines(&table) + "\n",
    };
    let states = answer.states.iter();
    let states: Vec<_> = states
        .map(|(state, count)| format!("{state} {count}"))
        .collect();
    let _ = write!(
        page,
        "{} shown of {} that match, of {} flows on this node",
        answer.rows.len(),
        answer.matched,
        answer.total
    );
    let _ = match states.is_empty() {
        true => writeln!(page),
        false => writeln!(page, ": {}", states.join(", ")),
    };
    page
}

/// The table of `show maps`.
#[must_use]
pub fn maps(rows: &[MapRow], pin_dir: &Path) -> String {
    if rows.is_empty() {
        return format!(
            "no map is pinned below {}: no agent has run here, or `cleanup` has\n",
            pin_dir.display()
        );
    }
    let mut table = table(&["MAP", "ID", "ELEMENTS", "ELEMENT", "MEMORY", "LAYOUT"]);
    for row in rows {
        let bytes = u64::from(row.elements) * u64::from(row.element_bytes);
        table.add_row([
            row.name.clone(),
            row.id.to_string(),
            row.elements.to_string(),
            format!("{} B", row.element_bytes),
            format!("{} KiB", bytes.div_ceil(1024)),
            if row.is_ours {
                "ours"
            } else {
                "of another version"
            }
            .to_owned(),
        ]);
    }
    lines(&table)
}

/// A table with this head, no lines and two spaces between columns.
fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(TableStyle::new())
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(head);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// The rows, or the sentence that says there are none, then the warnings.
fn page<Row>(answer: &Answer<Row>, table: &Table, none: &str) -> String {
    let mut page = if answer.rows.is_empty() {
        format!("{none} on {}\n", answer.node)
    } else {
        lines(table)
    };
    for warning in &answer.warnings {
        let _ = write!(page, "\n! {warning}\n");
    }
    page
}

/// The table's text, without the blanks that columns leave at the ends of lines.
fn lines(table: &Table) -> String {
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn endpoint(row: &EndpointRow) -> String {
    match row.target_port {
        Some(port) => SocketAddr::new(row.address, port).to_string(),
        None => row.address.to_string(),
    }
}

fn health(row: &EndpointRow, now: SystemTime) -> String {
    let word = match row.health {
        Health::Unchecked => return "-".to_owned(),
        Health::Up => "up",
        Health::Down => "down",
    };
    match row.health_since {
        Some(since) => format!("{word} for {}", ago(since, now)),
        None => word.to_owned(),
    }
}

const fn way(mode: Mode) -> &'static str {
    match mode {
        Mode::Own => "this node",
        Mode::Direct => "direct",
        Mode::Gue => "GUE",
        Mode::Unreachable => "no route",
    }
}

fn next_hop(row: &NodeRow) -> String {
    match (&row.mac, row.mode) {
        (_, Mode::Own) => "-".to_owned(),
        (Some(mac), _) => mac.clone(),
        (None, _) => "unresolved".to_owned(),
    }
}

/// The two largest units of the time since then.
fn ago(since_unix_seconds: u64, now: SystemTime) -> String {
    let then = UNIX_EPOCH + Duration::from_secs(since_unix_seconds);
    span(now.duration_since(then).unwrap_or_default().as_secs())
}

/// The two largest units of a time.
fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, _, _) => format!("{hours}h{minutes:02}m"),
        _ => format!("{days}d{hours:02}h"),
    }
}

/// A number of packets that is an estimate.
fn sampled(packets: u64) -> String {
    match packets {
        0 => "-".to_owned(),
        packets => format!("~{packets}"),
    }
}

fn yes_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

fn list<T: ToString>(items: &[T]) -> String {
    let items: Vec<_> = items.iter().map(ToString::to_string).collect();
    or_dash(items.join(","))
}

fn or_dash(text: String) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests;
