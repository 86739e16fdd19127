//! The clusters of these tests themselves: pods on every node are reached by ClusterIP and by name, two clusters stand
//! side by side, and one whose process is killed in mid-sentence leaves nothing behind.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use lb_lab::{AGNHOST, Cluster, ClusterOptions, Namespace, Process, Proxy, wait_until};

/// Anything that a cluster does on request.
const SOON: Duration = Duration::from_secs(20);
/// A cluster comes up in eight seconds on a quiet machine.
const UP_LIMIT: Duration = Duration::from_secs(60);

#[test]
fn two_stand_side_by_side_and_leave_nothing() -> Result<()> {
    let mut other = OtherCluster::up()?;
    let cluster = Cluster::up(&ClusterOptions {
        proxy: Some(Proxy::Iptables),
        dns: true,
        ..ClusterOptions::default()
    })?;
    pods_are_reached(&cluster)?;

    let left = other.kill()?;
    wait_until(SOON, "the killed cluster is gone", || {
        let traces = left.find()?;
        ensure!(traces.is_empty(), "left behind: {traces:?}");
        Ok(Some(()))
    })?;
    // What the kernel took away was the other one's.
    cluster.shell(
        "node1 true; node2 true; node3 true; kubectl rollout status deployment/web --timeout=10s",
    )?;

    let left = Traces::of(std::process::id());
    ensure!(
        !left.find()?.is_empty(),
        "a running cluster has no traces: this test sees nothing"
    );
    drop(cluster);
    let traces = left.find()?;
    ensure!(traces.is_empty(), "left behind: {traces:?}");
    Ok(())
}

fn pods_are_reached(cluster: &Cluster) -> Result<()> {
    cluster.server().apply(&web())?;
    cluster.shell("kubectl rollout status deployment/web --timeout=60s")?;
    let placed =
        cluster.shell("kubectl get pods -l app=web -o jsonpath='{.items[*].spec.nodeName}'")?;
    for node in ["node1", "node2", "node3"] {
        ensure!(placed.contains(node), "no pod on {node}: {placed}");
    }
    let address = cluster.shell("kubectl get service web -o jsonpath='{.spec.clusterIP}'")?;
    for node in ["node1", "node2", "node3"] {
        let names = wait_until(SOON, "the ClusterIP answers for several pods", || {
            let asked = cluster.shell(&format!(
                "for i in 1 2 3 4 5 6 7 8; do {node} curl -sS --max-time 2 http://{address}/hostname; echo; done"
            ))?;
            let mut names: Vec<String> = asked.lines().map(str::to_owned).collect();
            names.sort();
            names.dedup();
            ensure!(names.len() > 1, "{asked}");
            Ok(Some(names))
        })?;
        ensure!(
            names.iter().all(|name| name.starts_with("web-")),
            "{names:?}"
        );
    }
    cluster.shell("kubectl exec deployment/web -- /agnhost connect --timeout=5s web.default.svc.cluster.local:80")?;
    Ok(())
}

/// Two pods a node, kept apart by the scheduler.
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
        - {{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {{matchLabels: {{app: web}}}}}}
      containers:
        - name: web
          image: {AGNHOST}
          imagePullPolicy: Never
          args: [netexec, --http-port=8080]
          readinessProbe: {{httpGet: {{path: /healthz, port: 8080}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{port: 80, targetPort: 8080}}]}}
"
    )
}

/// A cluster of another process, as `cargo xtask cluster up` starts it.
struct OtherCluster(Process);

impl OtherCluster {
    fn up() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("other-cluster-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let mut command = Command::new(lab_binary()?);
        command.args(["cluster", "up"]);
        let mut process = Process::start(&Namespace::on_host("other")?, "other", command, &folder)?;
        let up = wait_until(UP_LIMIT, "another cluster is up", || {
            if let Some(status) = process.ended()? {
                return Ok(Some(Err(anyhow::anyhow!("it ended: {status}"))));
            }
            Ok(process
                .log_tail(5)
                .contains("opens a shell")
                .then_some(Ok(())))
        });
        up.flatten().map_err(|error| process.failure(&error))?;
        fs::remove_dir_all(folder)?;
        Ok(Self(process))
    }

    /// Kills it, and says what must go.
    fn kill(&mut self) -> Result<Traces> {
        let left = Traces::of(self.0.pid());
        self.0.kill()?;
        Ok(left)
    }
}

/// `lb-lab`, one folder above the test binaries.
fn lab_binary() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let found = own
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("lb-lab"));
    found
        .into_iter()
        .find(|path| path.is_file())
        .context("lb-lab is not built")
}

/// What a cluster could leave on its machine: cgroups, which cannot go before the last pod, and processes.
struct Traces {
    maker: u32,
}

impl Traces {
    fn of(maker: u32) -> Self {
        Self { maker }
    }

    fn find(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let own = format!("cluster-{}-", self.maker);
        let folders = fs::read_dir("/sys/fs/cgroup")?
            .flatten()
            .map(|entry| entry.path());
        for folder in folders.chain([PathBuf::from("/sys/fs/cgroup")]) {
            let inside = fs::read_dir(&folder).into_iter().flatten().flatten();
            let paths = inside.map(|entry| entry.path().display().to_string());
            found.extend(paths.filter(|path| path.contains(&own)));
        }
        for process in fs::read_dir("/proc")?.flatten() {
            let arguments = fs::read(process.path().join("cmdline")).unwrap_or_default();
            let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
            if arguments.contains(&own) && process.path() != Path::new("/proc/self") {
                found.push(arguments);
            }
        }
        Ok(found)
    }
}
