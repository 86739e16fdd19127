//! Two storms of changes to other Services while one is timed: as many as one API server takes from writers beside it,
//! and as many as the bar says from a source that replays the API server's own objects at the wire of its watch, because
//! an API server with its database on the same two processors does not say ten thousand things a second.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::Result;
use futures_util::future;
use kube::Client;
use lb_lab::{
    ApiServer,
    replay::{Line, Replay, modified},
};
use serde_json::Value;

use crate::cluster;

/// Writers of the API server's storm, each with one request under way.
const WRITERS: u32 = 32;
/// Events a second of the replayed storm.
const RATE: u32 = 10_000;
/// How often some of them are told.
const BEAT: Duration = Duration::from_millis(5);

/// Runs `measured` while writers change Services of the second half; and how many events a second that was.
pub(crate) async fn by_writers<T>(
    client: &Client,
    services: u32,
    measured: impl Future<Output = Result<T>>,
) -> Result<(T, f64)> {
    let (ends, events, begun) = (AtomicBool::new(false), AtomicU32::new(0), Instant::now());
    let writers = (0..WRITERS).map(|writer| {
        let (ends, events) = (&ends, &events);
        async move {
            let mut round = writer;
            while !ends.load(Ordering::Relaxed) {
                cluster::change(client, of_storm(round, services), address(round)).await?;
                events.fetch_add(1, Ordering::Relaxed);
                round += WRITERS;
            }
            anyhow::Ok(())
        }
    });
    let measured = async {
        let done = measured.await;
        ends.store(true, Ordering::Relaxed);
        done
    };
    let (done, written) = future::join(measured, future::try_join_all(writers)).await;
    written?;
    let rate = f64::from(events.load(Ordering::Relaxed)) / begun.elapsed().as_secs_f64();
    Ok((done?, rate))
}

/// The second half: a change that is measured is not written over.
fn of_storm(round: u32, services: u32) -> u32 {
    services / 2 + round % (services / 2)
}

fn address(round: u32) -> Ipv4Addr {
    let [_, _, high, low] = round.to_be_bytes();
    Ipv4Addr::new(10, 3, high, low)
}

/// What an agent lists and watches.
const KINDS: [&str; 7] = [
    "/api/v1/services",
    cluster::SLICES,
    "/api/v1/nodes",
    "/api/v1/namespaces/fairlead-system/secrets",
    "/apis/network.kubesphere.io/v1alpha2/eips",
    "/apis/network.kubesphere.io/v1alpha2/bgpconfs",
    "/apis/network.kubesphere.io/v1alpha2/bgppeers",
];

/// Everything of the API server, served by a replaying source; and its slices, in the order of the Services.
pub(crate) fn copy(server: &ApiServer, replay: &Replay) -> Result<Vec<Value>> {
    let mut slices = Vec::new();
    for path in KINDS {
        let list: Value = serde_json::from_str(&server.kubectl(&["get", "--raw", path])?)?;
        replay.put(path, &list);
        if path == cluster::SLICES {
            slices = list["items"].as_array().cloned().unwrap_or_default();
        }
    }
    slices.sort_by_key(|slice| slice["metadata"]["name"].to_string());
    Ok(slices)
}

/// The slice with another first endpoint, as a watch tells it.
pub(crate) fn changed(slice: &Value, first: Ipv4Addr) -> Line {
    let mut slice = slice.clone();
    slice["endpoints"][0]["addresses"][0] = first.to_string().into();
    modified(&slice)
}

/// A storm that is told until it is ended.
pub(crate) struct Replayed {
    ends: Arc<AtomicBool>,
    teller: JoinHandle<f64>,
}

impl Replayed {
    /// Changes the slices of the second half, each between two endpoints.
    pub(crate) fn start(replay: &Replay, slices: &[Value]) -> Self {
        let half = &slices[slices.len() / 2..];
        let lines: Vec<Line> = [address(0), address(1)]
            .iter()
            .flat_map(|first| half.iter().map(|slice| changed(slice, *first)))
            .collect();
        let (replay, ends) = (replay.clone(), Arc::new(AtomicBool::new(false)));
        let ended = Arc::clone(&ends);
        let teller = thread::spawn(move || {
            let begun = Instant::now();
            let mut told = 0_usize;
            while !ended.load(Ordering::Relaxed) {
                let due = (begun.elapsed().as_secs_f64() * f64::from(RATE)) as usize;
                while told < due && !ended.load(Ordering::Relaxed) {
                    replay.tell(cluster::SLICES, &lines[told % lines.len()]);
                    told += 1;
                }
                thread::sleep(BEAT);
            }
            told as f64 / begun.elapsed().as_secs_f64()
        });
        Self { ends, teller }
    }

    /// How many events a second were told.
    pub(crate) fn end(self) -> f64 {
        self.ends.store(true, Ordering::Relaxed);
        self.teller.join().unwrap_or(0.0)
    }
}
