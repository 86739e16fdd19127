//! The steps of the demo, in their order. Each has a deadline and either holds or ends the demo with the end of the log
//! of the part at fault. Source ports and the cluster's key are fixed, so the same requests meet the same pods each time.

use std::net::IpAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use lb_lab::{Record, per_pod};

use super::cluster::Cluster;
use super::event::{Event, Stage, Step, Stopped};
use super::{Goal, traffic};

/// How many steps the whole demo has.
pub(crate) const ALL: usize = UNTIL_ROUTES + 5;
/// How many steps it takes until the lab serves.
pub(crate) const UNTIL_ROUTES: usize = 3;

const ALL_NODES: [u8; 3] = [1, 2, 3];
const LEFT_NODES: [u8; 2] = [1, 3];
/// The node that is cut off; node 1 stays on-link, node 3 stays behind the router.
const CUT_NODE: u8 = 2;
/// The node whose agent is killed.
const KILLED_NODE: u8 = 1;
const PODS: usize = 6;
const CONCURRENT_REQUESTS: usize = 16;
/// 600 requests, one from each port.
const PORTS: Range<u16> = 20_000..20_600;
const PORTS_AFTER_CUT: Range<u16> = 21_000..21_300;
const PORTS_OF_LOAD: Range<u16> = 22_000..26_000;
const PORTS_OF_DATAGRAMS: Range<u16> = 27_000..27_004;
const LOAD_WORKERS: u16 = 8;
/// How long the load goes on before, between and after what happens to the agent.
const LOAD_PHASE: Duration = Duration::from_secs(1);

const SHORT: Duration = Duration::from_secs(15);
const LONG: Duration = Duration::from_secs(30);

/// Performs the steps of a goal and tells how it ended; with a lab that is kept, it never returns.
pub(crate) fn perform(goal: Goal, stage: &Stage) {
    let built = stage.step(
        step(
            "Build a client, a router, three nodes and six pods",
            SHORT,
            None,
        ),
        || {
            let cluster = Cluster::build()?;
            let milliseconds = cluster.lab().build_time().as_millis();
            stage.note(format!(
                "network namespaces of this process, up in {milliseconds} ms"
            ));
            stage.note("client and LAN with node1 and node2 on a router, node3 behind it");
            Ok(cluster)
        },
    );
    let Ok(mut cluster) = built else {
        stage.tell(Event::Over { folder: None });
        return;
    };
    // A step that failed has been told; the end is the same.
    let _ = show(goal, stage, &mut cluster);
    let folder = Some(cluster.folder());
    if !goal.keep() {
        drop(cluster);
        stage.tell(Event::Over { folder });
        return;
    }
    let commands = cluster.commands().unwrap_or_default();
    stage.tell(Event::Kept { folder, commands });
    loop {
        thread::park();
    }
}

fn show(goal: Goal, stage: &Stage, cluster: &mut Cluster) -> Result<(), Stopped> {
    start(stage, cluster)?;
    routes(stage, cluster)?;
    if let Goal::Everything { .. } = goal {
        for (vip, _) in Cluster::vips() {
            requests(stage, cluster, vip)?;
        }
        cut_off(stage, cluster)?;
        requests_after_cut(stage, cluster)?;
        kill_agent(stage, cluster)?;
    }
    Ok(())
}

fn step(title: impl Into<String>, limit: Duration, log: Option<PathBuf>) -> Step {
    Step {
        title: title.into(),
        limit,
        log,
    }
}

fn start(stage: &Stage, cluster: &mut Cluster) -> Result<(), Stopped> {
    let log = cluster.log("bird");
    stage.step(
        step(
            "Start BIRD on the router and an agent on each node",
            SHORT,
            Some(log),
        ),
        || cluster.start(),
    )
}

fn routes(stage: &Stage, cluster: &mut Cluster) -> Result<(), Stopped> {
    let log = cluster.log("agent-node1");
    let title = "Wait for three BGP sessions and the router's routes to the VIPs";
    stage.step(step(title, LONG, Some(log)), || {
        cluster.wait_sessions(LONG)?;
        stage.note("BGP sessions of BIRD with node1, node2 and node3 are established");
        for vip in Cluster::vips() {
            let gateways = cluster.wait_route(vip, &ALL_NODES, SHORT)?;
            stage.note(format!("{}/{} by {}", vip.0, vip.1, list(&gateways)));
        }
        for (node, way) in cluster.ways(1)? {
            stage.note(format!("node1 reaches {node} {}", in_words(&way)));
        }
        Ok(())
    })
}

fn in_words(way: &str) -> String {
    match way {
        "direct" => "on the LAN, by MAC rewrite".to_owned(),
        "gue" => "behind the router, by GUE".to_owned(),
        other => format!("by: {other}"),
    }
}

fn requests(stage: &Stage, cluster: &mut Cluster, vip: IpAddr) -> Result<(), Stopped> {
    let target = Cluster::target(vip);
    let log = cluster.log("agent-node1");
    let title = format!("Send {} requests to http://{target}/", PORTS.len());
    stage.step(step(title, LONG, Some(log)), || {
        let records = send(cluster, vip, PORTS)?;
        let counts = per_pod(&records);
        stage.note(traffic::in_words(&counts));
        let verdict =
            traffic::all_answered(&records).and_then(|()| traffic::fairly_shared(&records, PODS));
        blame_on(cluster, &ALL_NODES, &records, verdict)?;
        stage.note("all answered; each pod saw the client's own address and port");
        Ok(())
    })
}

fn cut_off(stage: &Stage, cluster: &mut Cluster) -> Result<(), Stopped> {
    let log = cluster.log("agent-node1");
    let title = format!("Pull the cable of node{CUT_NODE} and touch nothing else");
    stage.step(step(title, LONG, Some(log)), || {
        let pulled = Instant::now();
        cluster.lab().node(CUT_NODE).set_plugged(false)?;
        for vip in Cluster::vips() {
            let gateways = cluster.wait_route(vip, &LEFT_NODES, SHORT)?;
            let seconds = pulled.elapsed().as_secs_f32();
            stage.note(format!(
                "{}/{} by {} after {seconds:.1} s",
                vip.0,
                vip.1,
                list(&gateways)
            ));
        }
        for observer in LEFT_NODES {
            cluster.wait_health(observer, &[CUT_NODE], SHORT)?;
            let seconds = pulled.elapsed().as_secs_f32();
            stage.note(format!(
                "node{observer} has taken the pods of node{CUT_NODE} out after {seconds:.1} s"
            ));
        }
        Ok(())
    })
}

fn requests_after_cut(stage: &Stage, cluster: &mut Cluster) -> Result<(), Stopped> {
    let log = cluster.log("agent-node1");
    let title = format!("Send 600 requests without node{CUT_NODE}, half of them by IPv6");
    stage.step(step(title, LONG, Some(log)), || {
        let mut records = Vec::new();
        for (vip, _) in Cluster::vips() {
            records.extend(send(cluster, vip, PORTS_AFTER_CUT)?);
        }
        stage.note(traffic::in_words(&per_pod(&records)));
        blame_on(
            cluster,
            &LEFT_NODES,
            &records,
            traffic::all_answered(&records),
        )?;
        stage.note(format!("{} requests, 0 failures", records.len()));
        Ok(())
    })
}

fn kill_agent(stage: &Stage, cluster: &mut Cluster) -> Result<(), Stopped> {
    let log = cluster.log("agent-node1");
    let title =
        format!("Kill the agent of node{KILLED_NODE} with -9 under load and start it again");
    stage.step(step(title, LONG, Some(log)), || {
        let [(vip, prefix_len), _] = Cluster::vips();
        let client = cluster.lab().client();
        let before = cluster.lab().tcp_counters()?;
        let load = client.start_load(Cluster::target(vip), PORTS_OF_LOAD, LOAD_WORKERS);
        let datagrams = client.start_datagrams(Cluster::target(vip), PORTS_OF_DATAGRAMS);
        thread::sleep(LOAD_PHASE);
        cluster.agent(KILLED_NODE).process().kill()?;
        thread::sleep(LOAD_PHASE);
        cluster.agent(KILLED_NODE).restart()?;
        let gateways = cluster.wait_route((vip, prefix_len), &LEFT_NODES, SHORT)?;
        stage.note(format!(
            "back in the router's route: {vip}/{prefix_len} by {}",
            list(&gateways)
        ));
        thread::sleep(LOAD_PHASE);
        let (datagrams, records) = (datagrams.stop()?, load.stop()?);
        let connections = cluster.lab().tcp_counters()?.since(before);
        let verdict = traffic::all_answered(&records)
            .and_then(|()| traffic::nothing_lost(connections, datagrams));
        blame_on(cluster, &LEFT_NODES, &records, verdict)?;
        stage.note(format!(
            "{} requests meanwhile: 0 failed, 0 connections reset",
            records.len()
        ));
        stage.note(format!("{} datagrams meanwhile: 0 lost", datagrams.sent));
        Ok(())
    })
}

fn send(cluster: &Cluster, vip: IpAddr, ports: Range<u16>) -> Result<Vec<Record>> {
    let client = cluster.lab().client();
    client.http_from_ports(Cluster::target(vip), ports, CONCURRENT_REQUESTS)
}

/// Adds to a failure the end of the log of that of these nodes whose pods answered least.
fn blame_on(
    cluster: &mut Cluster,
    nodes: &[u8],
    records: &[Record],
    verdict: Result<()>,
) -> Result<()> {
    verdict.map_err(|error| {
        let counts = per_pod(records);
        let answered = |node: &u8| {
            let pods = cluster.lab().node_pods(*node).iter();
            pods.filter_map(|pod| counts.get(pod.name())).sum::<usize>()
        };
        let least = nodes
            .iter()
            .copied()
            .min_by_key(answered)
            .unwrap_or(KILLED_NODE);
        cluster.agent(least).process().failure(&error)
    })
}

fn list(gateways: &[IpAddr]) -> String {
    let words: Vec<String> = gateways.iter().map(IpAddr::to_string).collect();
    words.join(", ")
}
