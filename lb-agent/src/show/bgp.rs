//! `show bgp` and `show bgp routes` as tables.

use std::time::SystemTime;

use super::{ago, list, or_dash, page, table, yes_no};
use crate::api::rows::{Answer, BgpRow, RouteRow, TcpRow};

/// The table of `show bgp`, and below it what each session agreed on.
#[must_use]
pub fn sessions(answer: &Answer<BgpRow>, now: SystemTime) -> String {
    let mut table = table(&[
        "PEER",
        "ASN",
        "SIGNED",
        "STATE",
        "SINCE",
        "HOLD",
        "TIMERS",
        "RESTART",
        "SENT",
        "RECEIVED",
        "LAST ERROR",
    ]);
    for row in &answer.rows {
        table.add_row([
            peer(row),
            row.asn.to_string(),
            or_dash(row.signed.clone().unwrap_or_default()),
            state(row),
            or_dash(row.since.map(|since| ago(since, now)).unwrap_or_default()),
            or_dash(row.hold_time_seconds.map(in_seconds).unwrap_or_default()),
            timers(row),
            or_dash(row.restart_seconds.map(in_seconds).unwrap_or_default()),
            row.figures.routes_sent.to_string(),
            row.figures.routes_received.to_string(),
            or_dash(row.last_error.clone().unwrap_or_default()),
        ]);
    }
    let mut page = page(answer, &table, "no BGP peer is configured");
    for row in answer.rows.iter().filter(|row| !row.agreed.is_empty()) {
        page += &format!("\n{} speaks {}\n", row.peer, row.agreed.join(", "));
    }
    for row in &answer.rows {
        if let Some(why) = &row.not_dialled {
            page += &format!("\n! {}: {why}\n", row.peer);
        }
    }
    page
}

/// The line below it: what the kernel dropped. Nothing if it dropped nothing.
#[must_use]
pub fn tcp(answer: &Answer<TcpRow>) -> String {
    let dropped = answer.rows.iter().filter(|row| row.segments > 0);
    let dropped: Vec<_> = dropped
        .map(|row| format!("{} {} ({})", row.counter, row.segments, row.meaning))
        .collect();
    match dropped.is_empty() {
        true => String::new(),
        false => format!(
            "\nsegments that the kernel dropped: {}\n",
            dropped.join(", ")
        ),
    }
}

/// The table of `show bgp routes`.
#[must_use]
pub fn routes(answer: &Answer<RouteRow>) -> String {
    let mut table = table(&[
        "PEER",
        "PREFIX",
        "NEXT HOPS",
        "ATTRIBUTES",
        "TOLD",
        "WHY NOT",
    ]);
    for row in &answer.rows {
        table.add_row([
            row.peer.clone(),
            row.prefix.clone(),
            list(&row.next_hops),
            list(&row.attributes),
            yes_no(row.told),
            or_dash(row.reason.clone().unwrap_or_default()),
        ]);
    }
    page(answer, &table, "no route is meant for any BGP peer")
}

fn peer(row: &BgpRow) -> String {
    match (&row.range, row.address) {
        (Some(range), _) => format!("{} of {range}", row.peer),
        (None, Some(address)) if address.to_string() != row.peer => {
            format!("{} ({address})", row.peer)
        }
        _ => row.peer.clone(),
    }
}

/// What runs, in the order in which it matters.
fn timers(row: &BgpRow) -> String {
    let named = [
        ("hold", row.hold_left_seconds),
        ("keepalive", row.keepalive_left_seconds),
        ("retry", row.retry_left_seconds),
    ];
    let running = named
        .into_iter()
        .filter_map(|(name, left)| Some(format!("{name} {}", in_seconds(left?))));
    list(&running.collect::<Vec<_>>())
}

fn state(row: &BgpRow) -> String {
    match row.state {
        _ if row.not_configured_there => "not configured there".to_owned(),
        Some(state) => format!("{state:?}"),
        None => "-".to_owned(),
    }
}

fn in_seconds(seconds: u64) -> String {
    format!("{seconds}s")
}
