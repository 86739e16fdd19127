//! What runs on a node: containerd with runc and the CNI plugin ptp, the kubelet, and kube-proxy if there is to be one,
//! each on its default port and path. Pods have addresses of both families from the node's pod networks, without
//! masquerading: the lab's router and nodes know the way to every pod.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};

use crate::cluster::images::PAUSE;
use crate::cluster::machine::Machine;
use crate::cluster::programs::{self, NODE};
use crate::cluster::registry;
use crate::cluster::{ClusterAddresses, Proxy};
use crate::lab::Node;
use crate::netlink::Prefix;
use crate::process::Process;
use crate::topology;
use crate::wait::wait_until;

/// A node that is up.
pub(super) struct ClusterNode {
    name: String,
    folder: PathBuf,
    runtime: PathBuf,
    // Before the machine, whose end is the end of everything.
    kube_proxy: Option<Process>,
    kubelet: Option<Process>,
    containerd: Process,
    machine: Machine,
}

/// What a node must know of the cluster before its kubelet starts.
pub(super) struct Membership<'a> {
    pub(super) node: Node<'a>,
    /// Kubeconfig of the kubelet.
    pub(super) kubelet: PathBuf,
    /// Kubeconfig of kube-proxy, and its mode.
    pub(super) proxy: Option<(Proxy, PathBuf)>,
    /// Whether it names its IPv6 address.
    pub(super) ipv6: bool,
    /// As kubelet's `cgroupRoot` has it.
    pub(super) cgroup: String,
    pub(super) cluster: ClusterAddresses,
}

const CONTAINERD_LIMIT: Duration = Duration::from_secs(15);
const CNI_FOLDER: &str = "/run/cni";
const RESOLV_CONF: &str = "/run/resolv.conf";
const REGISTRIES: &str = "/run/registries";

impl ClusterNode {
    /// Boots the machine and starts containerd with these images; needs no API server.
    pub(super) fn boot(node: Node<'_>, folder: &Path, archives: &[PathBuf]) -> Result<Self> {
        let machine = Machine::boot(node.namespace(), folder)?;
        let runtime = programs::container_runtime()?;
        machine.namespace().run(|| {
            let networks = topology::pod_networks(node.number());
            fs::write(
                format!("{CNI_FOLDER}/10-ptp.conflist"),
                cni(&networks).to_string(),
            )?;
            // Nobody outside is asked: there is nobody.
            fs::write(RESOLV_CONF, "nameserver 127.0.0.1\n")?;
            let mirror = Path::new(REGISTRIES).join(registry::INSTEAD_OF);
            fs::create_dir_all(&mirror)?;
            fs::write(mirror.join("hosts.toml"), hosts(node.router().v4))?;
            Ok(())
        })?;
        let name = node.name();
        let config = folder.join(format!("{name}-containerd.toml"));
        fs::write(&config, containerd(&runtime))?;
        let mut command = Command::new(runtime.join("usr/bin/containerd"));
        command.env("PATH", programs::search_path(&runtime));
        command.arg("--config").arg(&config);
        let process = Process::start(
            machine.namespace(),
            &format!("{name}-containerd"),
            command,
            folder,
        )?;
        let mut node = Self {
            name,
            folder: folder.to_owned(),
            runtime,
            kube_proxy: None,
            kubelet: None,
            containerd: process,
            machine,
        };
        node.wait_containerd()?;
        for archive in archives {
            node.import(archive)?;
        }
        Ok(node)
    }

    /// Starts kubelet and kube-proxy, which join the cluster.
    pub(super) fn join(&mut self, membership: &Membership<'_>) -> Result<()> {
        let addresses = membership.node.addresses();
        let config = self.write("kubelet", &kubelet(membership))?;
        let mut command = Command::new(NODE.program("kubelet")?);
        command.env("PATH", programs::search_path(&self.runtime));
        command.arg("--config").arg(config);
        command.arg("--kubeconfig").arg(&membership.kubelet);
        command.arg(format!("--hostname-override={}", self.name));
        let second = membership.ipv6.then(|| format!(",{}", addresses.v6));
        let second = second.unwrap_or_default();
        command.arg(format!("--node-ip={}{second}", addresses.v4));
        self.kubelet = Some(self.start("kubelet", command)?);
        if let Some((mode, kubeconfig)) = &membership.proxy {
            let proxy = kube_proxy(*mode, kubeconfig, &self.name);
            let config = self.write("kube-proxy", &proxy)?;
            let mut command = Command::new(NODE.program("kube-proxy")?);
            command.env("PATH", programs::search_path(&self.runtime));
            command.arg("--config").arg(config);
            self.kube_proxy = Some(self.start("kube-proxy", command)?);
        }
        Ok(())
    }

    /// Brings an image from an archive onto the node.
    pub(super) fn import(&self, archive: &Path) -> Result<()> {
        let mut ctr = Command::new(self.runtime.join("usr/bin/ctr"));
        ctr.args(["--namespace", "k8s.io", "image", "import"])
            .arg(archive);
        self.machine.output(ctr).map(drop)
    }

    /// Where the node's processes are.
    pub(super) fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Pulls the plug. What this process has started there must be waited for, or process 1 would not end
    /// (pid_namespaces(7)).
    pub(super) fn power_off(&mut self) -> Result<()> {
        let services = [self.kubelet.as_mut(), self.kube_proxy.as_mut()];
        for process in services.into_iter().flatten() {
            process.kill()?;
        }
        self.containerd.kill()?;
        self.machine.power_off()
    }

    /// The processes that must not end, for a look at why something did not come up.
    pub(super) fn check(&mut self) -> Result<()> {
        let all = [
            Some(&mut self.containerd),
            self.kubelet.as_mut(),
            self.kube_proxy.as_mut(),
        ];
        for process in all.into_iter().flatten() {
            if let Some(status) = process.ended()? {
                return Err(process.failure(&anyhow!("ended: {status}")));
            }
        }
        Ok(())
    }

    fn wait_containerd(&mut self) -> Result<()> {
        let ctr = self.runtime.join("usr/bin/ctr");
        let ready = wait_until(CONTAINERD_LIMIT, "containerd answers", || {
            if let Some(status) = self.containerd.ended()? {
                return Ok(Some(Err(anyhow!("containerd ended: {status}"))));
            }
            let mut version = Command::new(&ctr);
            version.arg("version");
            self.machine.output(version).map(|_| Some(Ok(())))
        });
        ready
            .flatten()
            .map_err(|error| self.containerd.failure(&error))
    }

    fn start(&self, program: &str, command: Command) -> Result<Process> {
        let name = format!("{}-{program}", self.name);
        Process::start(self.machine.namespace(), &name, command, &self.folder)
    }

    fn write(&self, program: &str, configuration: &Value) -> Result<PathBuf> {
        let file = self.folder.join(format!("{}-{program}.json", self.name));
        fs::write(&file, configuration.to_string())
            .with_context(|| format!("writing {}", file.display()))?;
        Ok(file)
    }
}

/// containerd 1.6's configuration. A lab may lack `CAP_SYS_RESOURCE`, which `restrict_oom_score_adj` makes up for.
fn containerd(runtime: &Path) -> String {
    let root = runtime.display();
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
  disable_apparmor = true

[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "{REGISTRIES}"

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{root}/usr/lib/cni"
  conf_dir = "{CNI_FOLDER}"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  BinaryName = "{root}/usr/sbin/runc"
"#
    )
}

/// Whom containerd asks for images of a registry.
fn hosts(router: Ipv4Addr) -> String {
    let url = format!("http://{router}:{}", registry::PORT);
    format!("server = \"{url}\"\n[host.\"{url}\"]\n  capabilities = [\"pull\", \"resolve\"]\n")
}

fn cni(networks: &[Prefix]) -> Value {
    let ranges: Vec<Value> = networks
        .iter()
        .map(|(network, length)| json!([{"subnet": format!("{network}/{length}")}]))
        .collect();
    json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": false,
                "ipam": {
                    "type": "host-local",
                    "ranges": ranges,
                    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}

/// Fit for cgroups of version 1 and 2, for a machine that swaps and for a disk that is nearly full.
fn kubelet(membership: &Membership<'_>) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": membership.cgroup,
        "cgroupsPerQOS": true,
        "clusterDNS": [membership.cluster.dns],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "enforceNodeAllocatable": ["pods"],
        "evictionHard": {"memory.available": "1Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
        "evictionPressureTransitionPeriod": "1s",
        "failCgroupV1": false,
        "failSwapOn": false,
        "imageGCHighThresholdPercent": 100,
        "localStorageCapacityIsolation": false,
        "nodeLeaseDurationSeconds": 10,
        "nodeStatusUpdateFrequency": "2s",
        "resolvConf": RESOLV_CONF,
        "serverTLSBootstrap": false,
        "syncFrequency": "1s",
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
    })
}

/// Without the limits of connection tracking, which it may not change in a namespace.
fn kube_proxy(mode: Proxy, kubeconfig: &Path, node: &str) -> Value {
    let mode = match mode {
        Proxy::Nftables => "nftables",
        Proxy::Iptables => "iptables",
    };
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": mode,
        "hostnameOverride": node,
        "clientConnection": {"kubeconfig": kubeconfig},
        "clusterCIDR": "10.1.0.0/16,fd01::/16",
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "metricsBindAddress": "127.0.0.1:10249",
        "iptables": {"minSyncPeriod": "0s"},
        "nftables": {"minSyncPeriod": "0s"},
    })
}
