//! A real Kubernetes cluster in namespaces: the API server with controllers and scheduler on the lab's router, and three
//! nodes with kubelet, containerd, runc, a CNI and kube-proxy, each a machine of its own in the network of a lab's node.
//! The lab's router and client are beside them. Images are made here and imported, no registry is asked. It dies with
//! its process, leaves nothing but its folder of logs, and others can run beside it.

mod cgroups;
mod control_plane;
mod images;
mod machine;
mod node;
pub(crate) mod programs;
mod registry;
pub(crate) mod shell;

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};

pub use images::{AGNHOST, KUBIA};
pub use registry::Registry;

use crate::apiserver::{self, ApiServer};
use crate::builder::node_name;
use crate::client::Client;
use crate::lab::{self, Lab};
use crate::namespace::Namespace;
use crate::topology::{self, NODES, Profile};
use crate::wait::wait_until;
use cgroups::Cgroups;
use control_plane::ControlPlane;
use node::{ClusterNode, Membership};

/// Which kube-proxy the nodes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// Its mode `nftables`.
    Nftables,
    /// Its mode `iptables`.
    Iptables,
}

/// What a cluster shall be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterOptions {
    /// The network; pods are the kubelets'.
    pub profile: Profile,
    /// None: nobody serves ClusterIPs, and `kubernetes.default` does not answer.
    pub proxy: Option<Proxy>,
    /// Whether there is a cluster DNS.
    pub dns: bool,
    /// Whether nodes name their IPv6 addresses. Pods and Services have both families in any case.
    pub nodes_ipv6: bool,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            profile: Profile::default(),
            proxy: Some(Proxy::Nftables),
            dns: false,
            nodes_ipv6: true,
        }
    }
}

/// Addresses that every node must know.
#[derive(Clone, Copy, Debug)]
struct ClusterAddresses {
    dns: Ipv4Addr,
}

/// A cluster that is up; dropping it takes it down.
pub struct Cluster {
    folder: PathBuf,
    // In the order in which they end.
    nodes: Vec<ClusterNode>,
    _control_plane: ControlPlane,
    server: ApiServer,
    cgroups: Cgroups,
    lab: Lab,
}

const READY_LIMIT: Duration = Duration::from_secs(60);
/// In the range of ClusterIPs that the API server is told.
const DNS_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

impl Cluster {
    /// Brings one up; when this returns, its nodes are Ready.
    pub fn up(options: &ClusterOptions) -> Result<Self> {
        let lab = Lab::build_without_pods(&options.profile)?;
        let folder = lab::make_folder("cluster")?;
        let cgroups = Cgroups::make()?;
        let archives = images::write_all(&folder)?;
        let (server, nodes) = thread::scope(|scope| {
            let server = scope.spawn(|| lab.start_cluster_api_server());
            let nodes: Vec<_> = lab
                .nodes()
                .map(|node| {
                    let (folder, archives) = (&folder, &archives);
                    scope.spawn(move || ClusterNode::boot(node, folder, archives))
                })
                .collect();
            (
                joined(server),
                nodes.into_iter().map(joined).collect::<Vec<_>>(),
            )
        });
        let (server, nodes) = (server?, nodes.into_iter().collect::<Result<Vec<_>>>()?);
        for archive in archives {
            fs::remove_file(archive)?;
        }
        server.apply(&node_manifests())?;
        let control_plane = ControlPlane::start(lab.router_namespace(), &server, &folder)?;
        let mut cluster = Self {
            folder,
            nodes,
            _control_plane: control_plane,
            server,
            cgroups,
            lab,
        };
        for number in 1..=NODES {
            cluster.join(number, options)?;
        }
        cluster.wait_ready()?;
        cluster.write_programs()?;
        if options.dns {
            cluster.start_dns()?;
        }
        Ok(cluster)
    }

    /// The network, with its router and its client.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The API server.
    pub fn server(&self) -> &ApiServer {
        &self.server
    }

    /// The client behind the router.
    pub fn client(&self) -> Client {
        self.lab.client()
    }

    /// The folder of its logs.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs kubectl as the admin.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.server.kubectl(arguments)
    }

    /// The namespace that a node's processes are in, with the node's mounts.
    pub fn node(&self, number: u8) -> &Arc<Namespace> {
        self.nodes[usize::from(number) - 1].machine().namespace()
    }

    /// Brings an image from an archive onto every node.
    pub fn import(&self, archive: &Path) -> Result<()> {
        let importing = |node: &ClusterNode| node.import(archive);
        thread::scope(|scope| {
            let tasks: Vec<_> = self
                .nodes
                .iter()
                .map(|node| scope.spawn(move || importing(node)))
                .collect();
            tasks.into_iter().try_for_each(joined)
        })
        .with_context(|| format!("importing {}", archive.display()))
    }

    /// Brings onto every node agnhost with a shell, curl and nc, which Kubernetes' own end-to-end tests call in its pods.
    pub fn import_agnhost_for_e2e(&self) -> Result<()> {
        let archive = images::write_agnhost_for_e2e(&self.folder)?;
        self.import(&archive)?;
        Ok(fs::remove_file(archive)?)
    }

    /// Starts a registry that the nodes ask in place of docker.io, with the image that manuals name.
    pub fn start_registry(&self) -> Result<Registry> {
        Registry::start(&self.lab, &[images::kubia()?])
    }

    /// The arguments with which `nsenter` gets onto a node, while this process lives.
    pub fn nsenter_arguments(&self, number: u8) -> String {
        self.nodes[usize::from(number) - 1]
            .machine()
            .nsenter_arguments()
    }

    /// Pulls the plug of a node: every process on it is gone when this returns. Its links and pins stay until something
    /// else takes them away.
    pub fn power_off(&mut self, number: u8) -> Result<()> {
        self.nodes[usize::from(number) - 1].power_off()
    }

    fn join(&mut self, number: u8, options: &ClusterOptions) -> Result<()> {
        let name = node_name(number);
        let kubeconfig = |user: &str| self.server.kubeconfig(user);
        let proxy = options
            .proxy
            .map(|mode| Ok::<_, anyhow::Error>((mode, kubeconfig(apiserver::KUBE_PROXY)?)));
        let membership = Membership {
            node: self.lab.node(number),
            kubelet: kubeconfig(&name)?,
            proxy: proxy.transpose()?,
            cgroup: self.cgroups.of_node(&name)?,
            ipv6: options.nodes_ipv6,
            cluster: ClusterAddresses { dns: DNS_ADDRESS },
        };
        self.nodes[usize::from(number) - 1].join(&membership)
    }

    fn wait_ready(&mut self) -> Result<()> {
        let ready = wait_until(READY_LIMIT, "all nodes are Ready", || {
            if let Some(error) = self.nodes.iter_mut().find_map(|node| node.check().err()) {
                return Ok(Some(Err(error)));
            }
            let conditions = "{range .items[*]}{.metadata.name}={.status.conditions[?(@.type=='Ready')].status} {end}";
            let shown =
                self.server
                    .kubectl(&["get", "nodes", "-o", &format!("jsonpath={conditions}")])?;
            let count = shown.matches("=True").count();
            ensure!(count == usize::from(NODES), "{shown}");
            // Without it no pod of the Namespace is let in.
            self.server.kubectl(&["get", "serviceaccount", "default"])?;
            Ok(Some(Ok(())))
        });
        ready.flatten()
    }

    fn start_dns(&self) -> Result<()> {
        let manifest = DNS_MANIFEST.replace("IMAGE", images::DNS);
        self.server
            .apply(&manifest.replace("ADDRESS", &DNS_ADDRESS.to_string()))?;
        let wait = [
            "-n",
            "kube-system",
            "rollout",
            "status",
            "deployment/coredns",
            "--timeout=60s",
        ];
        self.kubectl(&wait).map(drop)
    }
}

const DNS_MANIFEST: &str = include_str!("cluster/dns.yaml");

impl Lab {
    fn start_cluster_api_server(&self) -> Result<ApiServer> {
        let address = topology::router(0).v4;
        ApiServer::start_for_nodes(self.router_namespace(), address)
    }
}

/// The Nodes before their kubelets find them, for a kubelet cannot say which pod networks it has.
fn node_manifests() -> String {
    (1..=NODES)
        .map(|number| {
            let [v4, v6] = topology::pod_networks(number)
                .map(|(network, length)| format!("{network}/{length}"));
            let name = node_name(number);
            format!(
                "---\napiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\n\
                 spec: {{podCIDR: \"{v4}\", podCIDRs: [\"{v4}\", \"{v6}\"]}}\n"
            )
        })
        .collect()
}

fn joined<T>(task: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    task.join()
        .unwrap_or_else(|_| Err(anyhow!("a thread that brought the cluster up panicked")))
}
