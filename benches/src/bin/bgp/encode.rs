//! The machine of `lb-bgp` alone: from the wanted routes to the octets of all UPDATEs, in CPU time of this thread.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use anyhow::{Result, ensure};
use fairlead_benches::{
    measure::{Summary, thread_cpu_ns},
    report::Row,
};
use lb_bgp::{
    Family, Input, Output, Peer, PeerConfig, Prefix, Route, RouteAttributes, RouteSet,
    wire::{self, Capability, Open},
};

/// For routes that say the same, which share messages, and for routes that each say something else.
pub(crate) fn rows(routes: u32, rounds: usize) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, distinct) in [("alike", false), ("distinct", true)] {
        let set = Arc::new(routes_of(routes, distinct));
        let mut per_route = Vec::new();
        let mut updates_per_s = Vec::new();
        for _ in 0..rounds {
            let (updates, cpu_ns) = encode(&set)?;
            per_route.push(cpu_ns / f64::from(routes));
            updates_per_s.push(updates as f64 / cpu_ns * 1e9);
        }
        let (per_route, rate) = (Summary::of(per_route), Summary::of(updates_per_s));
        rows.push(Row::figure(
            format!("encode-{name}"),
            "cpu_ns_per_route",
            per_route,
            rounds,
        ));
        rows.push(Row::figure(
            format!("encode-rate-{name}"),
            "updates_per_s",
            rate,
            rounds,
        ));
    }
    Ok(rows)
}

fn routes_of(count: u32, distinct: bool) -> RouteSet {
    let route = |number: u32| {
        let host = Ipv4Addr::from_bits(u32::from_be_bytes([10, 96, 0, 0]) + number);
        let attributes = RouteAttributes::default().with_med(if distinct { number } else { 0 });
        (Prefix::host(host.into()), Route::from(attributes))
    };
    (0..count).map(route).collect()
}

/// UPDATEs, and what they took.
fn encode(routes: &Arc<RouteSet>) -> Result<(u64, f64)> {
    let now = Instant::now();
    let mut peer = established(now)?;
    let before = peer.status().counters.updates_sent;
    let begin = thread_cpu_ns();
    peer.handle(now, Input::Routes(Arc::clone(routes)));
    loop {
        match peer.poll(now) {
            Output::Send { conn, bytes } => {
                let bytes = bytes.len();
                peer.handle(now, Input::Sent { conn, bytes });
            }
            Output::Wait(_) => break,
            _ => {}
        }
    }
    let took = thread_cpu_ns() - begin;
    let status = peer.status();
    ensure!(status.families[Family::Ipv4Unicast].sent == routes.len());
    Ok((status.counters.updates_sent - before, took as f64))
}

fn established(now: Instant) -> Result<Peer> {
    let config = PeerConfig {
        next_hop_v4: Some([10, 0, 0, 11].into()),
        ..PeerConfig::new(65000, 65001, [10, 0, 0, 11].into())
    };
    let mut peer = Peer::new(config, now)?;
    peer.handle(now, Input::Start);
    while let output = peer.poll(now)
        && !matches!(output, Output::Wait(_))
    {
        if let Output::Connect(conn) = output {
            let end = |host: u8| SocketAddr::from(([10, 0, 0, host], 179));
            let (local, remote) = (end(11), end(1));
            peer.handle(
                now,
                Input::Connected {
                    conn,
                    local,
                    remote,
                },
            );
            let capabilities = vec![
                Capability::Multiprotocol(Family::Ipv4Unicast),
                Capability::FourOctetAsn(65001),
            ];
            let open = Open::new(65001, 90, [10, 0, 0, 1].into(), capabilities).encode();
            for bytes in [&open[..], &wire::keepalive()] {
                peer.handle(now, Input::Bytes { conn, bytes });
            }
        }
        if let Output::Send { conn, bytes } = output {
            let bytes = bytes.len();
            peer.handle(now, Input::Sent { conn, bytes });
        }
    }
    Ok(peer)
}
