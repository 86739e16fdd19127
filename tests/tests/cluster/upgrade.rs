//! What replacing agents, draining a node and losing one do to traffic. Loss is what the client's node sent and no pod's
//! kernel received, counted at both ends, at 10,000 datagrams a second from many ports; a run counts only if the same
//! without the event, just before it, lost nothing.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use lb_lab::{AGNHOST, ClusterOptions, Namespace, wait_until};

use crate::installed::Installed;

/// Datagrams that are sent, and how many of them at once.
const PER_SECOND: u64 = 10_000;
const BURST_MAX: u64 = 100;
const TICK: Duration = Duration::from_millis(1);
/// Ports that they are sent from: so many flows.
const FLOWS: usize = 64;
/// How long nothing happens in a control run.
const CONTROL: Duration = Duration::from_secs(3);
/// A machine that is busy with something else may lose some; it is tried again.
const ATTEMPTS: usize = 4;

#[test]
fn an_upgrade_loses_nothing() -> Result<()> {
    let (installed, _bird) = Installed::up(&ClusterOptions::default(), "")?;
    installed.cluster.server().apply(&sink("node2"))?;
    installed.cluster.server().apply(&web())?;
    installed.shell("kubectl rollout status deployment/sink --timeout=60s")?;
    let vip = installed.vips("sink")?[0];
    // One node announces: while its route is away, everything is lost.
    installed.wait_gateways(vip, &[2])?;
    let pods = Pods::of(&installed)?;
    let (sent, lost) = pods.lost_in(vip, || {
        // Every agent comes back to another cluster than it has left.
        installed.shell(
            "(for n in $(seq 20); do kubectl scale deployment web --replicas=$((1 + n % 6)); sleep 1; done) &
             helm upgrade fairlead deploy/chart --namespace fairlead-system --set agent.logFormat=json --wait
             kubectl --namespace fairlead-system rollout status daemonset/fairlead-agent --timeout=90s
             wait",
        )?;
        // Sessions, and what a router would sweep at their beginning.
        thread::sleep(CONTROL);
        Ok(())
    })?;
    ensure!(lost == 0, "{lost} of {sent} datagrams were lost");
    println!("{sent} datagrams, none lost");
    installed.wait_gateways(vip, &[2])
}

#[test]
#[ignore = "soak: a node is given up after its router's and Kubernetes' time-outs"]
fn a_drained_node_is_not_missed_and_a_dead_one_not_for_long() -> Result<()> {
    let (mut installed, _bird) = Installed::up(&ClusterOptions::default(), "")?;
    installed.cluster.server().apply(&web())?;
    installed.shell("kubectl rollout status deployment/web --timeout=60s")?;
    let vip = installed.vips("web")?[0];
    installed.wait_gateways(vip, &[1, 2, 3])?;
    let asks = |installed: &Installed, count: usize| {
        installed.cluster.shell(&format!(
            "for i in $(seq {count}); do client curl -sS --max-time 2 http://{vip}/hostname; echo; done"
        ))
    };

    // As before a reboot: taken out of service, its pods moved away, then its power.
    installed
        .cluster
        .kubectl(&["annotate", "node", "node3", "fairlead.io/drain=true"])?;
    installed.wait_gateways(vip, &[1, 2])?;
    asks(&installed, 20).context("while node3 leaves")?;
    installed
        .shell("kubectl drain node3 --ignore-daemonsets --pod-selector=app=web --timeout=60s")?;
    asks(&installed, 20).context("node3 is empty")?;
    installed.cluster.power_off(3)?;
    asks(&installed, 20).context("node3 is off")?;

    // Without a word: until the router's hold timer and Kubernetes' grace are over, some requests are lost.
    // A dead node sends no FIN, as the sockets of killed processes would.
    let begun = Instant::now();
    installed.cluster.lab().node(2).set_plugged(false)?;
    installed.cluster.power_off(2)?;
    wait_until(LIMIT, "requests are answered by what is left", || {
        asks(&installed, 20).map(Some)
    })?;
    println!("node2 was missed for {:?} at most", begun.elapsed());
    installed.wait_gateways(vip, &[1])
}

/// The router's hold time, Kubernetes' grace period, and what a cluster on few processors needs besides.
const LIMIT: Duration = Duration::from_secs(60);

/// Pods whose kernels count.
struct Pods<'a> {
    installed: &'a Installed,
    /// Commands that print each pod's /proc/net/snmp.
    look: String,
}

impl<'a> Pods<'a> {
    fn of(installed: &'a Installed) -> Result<Self> {
        let mut look = String::new();
        for (pod, node) in installed.pods("app=sink")? {
            look.push_str(&installed.in_pod(&pod, node)?);
            look.push_str(" cat /proc/net/snmp\n");
        }
        Ok(Self { installed, look })
    }

    /// How many datagrams were sent during an event, and how many of them no pod received.
    fn lost_in(&self, vip: IpAddr, event: impl Fn() -> Result<()>) -> Result<(u64, u64)> {
        for _ in 0..ATTEMPTS {
            let (sent, lost) = self.lost_during(vip, || {
                thread::sleep(CONTROL);
                Ok(())
            })?;
            println!("control: {sent} sent, {lost} lost");
            if lost == 0 {
                return self.lost_during(vip, event);
            }
        }
        Err(anyhow!("datagrams are lost while nothing happens"))
    }

    fn lost_during(&self, vip: IpAddr, event: impl FnOnce() -> Result<()>) -> Result<(u64, u64)> {
        let before = self.received()?;
        let sender = Sender::start(
            self.installed.cluster.lab().client_namespace(),
            (vip, PORT).into(),
        )?;
        let happened = event();
        let sent = sender.stop()?;
        happened?;
        // What is on its way arrives, or never will.
        let mut received = self.received()? - before;
        let until = Instant::now() + SETTLES;
        while received < sent && Instant::now() < until {
            received = self.received()? - before;
        }
        Ok((sent, sent.saturating_sub(received)))
    }

    /// Datagrams that the pods' kernels have had for them, whether their programs were quick enough or not (RFC 4113).
    fn received(&self) -> Result<u64> {
        let shown = self.installed.cluster.shell(&self.look)?;
        let rows = shown.lines().filter_map(|line| line.strip_prefix("Udp: "));
        let values = rows.filter(|row| row.starts_with(|first: char| first.is_ascii_digit()));
        let sums = values.map(|row| {
            let numbers: Vec<u64> = row.split(' ').map_while(|word| word.parse().ok()).collect();
            // InDatagrams, NoPorts, InErrors.
            numbers.iter().take(3).sum::<u64>()
        });
        Ok(sums.sum())
    }
}

const PORT: u16 = 80;
const SETTLES: Duration = Duration::from_secs(2);

/// Sends all the time.
struct Sender {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
}

impl Sender {
    fn start(client: &Arc<Namespace>, target: SocketAddr) -> Result<Self> {
        let any: SocketAddr = "0.0.0.0:0".parse()?;
        let bind = || (0..FLOWS).map(|_| Ok(UdpSocket::bind(any)?)).collect();
        let sockets: Vec<UdpSocket> = client.run(bind)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        let thread = thread::spawn(move || send(&sockets, target, &ends));
        Ok(Self { is_over, thread })
    }

    fn stop(self) -> Result<u64> {
        self.is_over.store(true, Ordering::Relaxed);
        let sent = self.thread.join();
        sent.unwrap_or_else(|_| Err(anyhow!("the sender panicked")))
    }
}

/// What is late is made up for, in bursts that no queue on the way is too short for.
fn send(sockets: &[UdpSocket], target: SocketAddr, is_over: &AtomicBool) -> Result<u64> {
    let mut sent = 0_u64;
    let mut places = (0..sockets.len()).cycle();
    let begun = Instant::now();
    while !is_over.load(Ordering::Relaxed) {
        let due = begun.elapsed().as_micros() as u64 * PER_SECOND / 1_000_000;
        let burst = due.saturating_sub(sent).min(BURST_MAX);
        for place in places.by_ref().take(burst as usize) {
            sockets[place].send_to(b"clientip", target)?;
        }
        sent += burst;
        thread::sleep(TICK);
    }
    Ok(sent)
}

/// One pod on a node, and a Service that only this node announces.
fn sink(node: &str) -> String {
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: sink}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: sink}}}}
  template:
    metadata: {{labels: {{app: sink}}}}
    spec:
      nodeSelector: {{kubernetes.io/hostname: {node}}}
      containers:
        - name: sink
          image: {AGNHOST}
          args: [netexec, --http-port=8080, --udp-port=8080]
          readinessProbe: {{httpGet: {{path: /healthz, port: 8080}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: sink}}
spec:
  type: LoadBalancer
  loadBalancerClass: fairlead.io/load-balancer
  externalTrafficPolicy: Local
  selector: {{app: sink}}
  ports: [{{protocol: UDP, port: {PORT}, targetPort: 8080}}]
"
    )
}

/// Six pods, two a node, that end gracefully.
fn web() -> String {
    format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 6
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      topologySpreadConstraints:
        - {{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {{matchLabels: {{app: web}}}}}}
      containers:
        - name: web
          image: {AGNHOST}
          args: [netexec, --http-port=8080, --delay-shutdown=5]
          readinessProbe: {{httpGet: {{path: /healthz, port: 8080}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec:
  type: LoadBalancer
  loadBalancerClass: fairlead.io/load-balancer
  selector: {{app: web}}
  ports: [{{port: 80, targetPort: 8080}}]
"
    )
}
