//! kube-proxy in nftables mode beside the agent, in a node's namespace of its own, with its defaults but for what a lab
//! cannot give. When a change is in place is read from the kernel's own announcement of the rules that were committed.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    net::Ipv4Addr,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use lb_lab::{ADMIN, ApiServer, Lab, Process, wait_until};

use crate::cluster;

/// What 10,000 Services may take at first.
const START_LIMIT: Duration = Duration::from_secs(300);
const LIMIT: Duration = Duration::from_secs(120);
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// A running kube-proxy and who listens to its rules.
pub(crate) struct KubeProxy {
    _proxy: Process,
    monitor: Process,
}

impl KubeProxy {
    /// Starts it and waits until all rules are there; how long that took.
    pub(crate) fn start(
        lab: &Lab,
        server: &ApiServer,
        (node, services): (u8, u32),
        program: PathBuf,
    ) -> Result<(Self, Duration)> {
        let node = lab.node(node);
        let config = lab.folder().join("kube-proxy.yaml");
        fs::write(
            &config,
            format!(
                "apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
hostnameOverride: {}
clientConnection: {{kubeconfig: {}}}
conntrack: {{maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}}
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
",
                node.name(),
                server.kubeconfig(ADMIN)?.display()
            ),
        )?;
        // By lines: what waits in a buffer would be seen too late.
        let mut command = Command::new("stdbuf");
        command.args(["-oL", "nft", "monitor", "new", "chains"]);
        let monitor = Process::start(node.namespace(), "nft-monitor", command, lab.folder())?;
        let mut command = Command::new(program);
        command.arg("--config").arg(&config);
        let begun = Instant::now();
        let proxy = Process::start(node.namespace(), "kube-proxy", command, lab.folder())?;
        // All Services are one transaction.
        let last = format!("default/{}/tcp", cluster::name(services - 1));
        wait_until(START_LIMIT, "kube-proxy has written its rules", || {
            let written = fs::read_to_string(monitor.log())?;
            Ok(written.contains(&last).then_some(()))
        })
        .map_err(|error| proxy.failure(&error))?;
        let took = begun.elapsed();
        let rules = Self {
            _proxy: proxy,
            monitor,
        };
        Ok((rules, took))
    }

    /// Where the announcements of what is written from now on begin.
    pub(crate) fn position(&self) -> Result<u64> {
        Ok(fs::metadata(self.monitor.log())?.len())
    }

    /// Waits until an endpoint of this address has its rules; when that was seen.
    pub(crate) async fn until(&self, position: u64, address: Ipv4Addr) -> Result<Instant> {
        // Chains are named after what they lead to: `endpoint-HASH-namespace/service/tcp/port__ADDRESS/PORT`.
        let wanted = format!("__{address}/");
        let mut log = File::open(self.monitor.log())?;
        log.seek(SeekFrom::Start(position))?;
        let mut text = String::new();
        let begun = Instant::now();
        loop {
            log.read_to_string(&mut text).context("rules")?;
            if text.contains(&wanted) {
                return Ok(Instant::now());
            }
            ensure!(
                begun.elapsed() < LIMIT,
                "kube-proxy never wrote a rule for {address}"
            );
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}
