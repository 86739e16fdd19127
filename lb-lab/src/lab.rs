//! A lab: client, router, switch, nodes and pods of a [`Profile`], with the pods serving. Building it starts no agent and
//! no routing daemon; those are asked for one by one. All of it goes with the value, or with the process.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, process};

use anyhow::{Context, Result};

use crate::builder::{self, Network};
use crate::client::Client;
use crate::counters::TcpCounters;
use crate::namespace::Namespace;
use crate::netlink::{Netlink, Prefix, Route};
use crate::pod::Pod;
use crate::topology::{self, NODES, PODS_PER_NODE, Pair, Profile};
use crate::xdp_verdict::{AttachedProgram, CountingProgram, Verdict};
use crate::{firewall, relay, xdp_verdict};

/// A lab that is up.
pub struct Lab {
    profile: Profile,
    folder: PathBuf,
    // Pods before their namespaces: servers end first.
    pods: Vec<Vec<Pod>>,
    network: Network,
    build_time: Duration,
}

impl Lab {
    /// Builds a lab; when this returns, packets flow and pods answer.
    pub fn build(profile: &Profile) -> Result<Self> {
        Self::build_with(profile, PODS_PER_NODE)
    }

    /// Builds a lab whose nodes have no pods yet: somebody else makes them, in the nodes' pod networks.
    pub(crate) fn build_without_pods(profile: &Profile) -> Result<Self> {
        Self::build_with(profile, 0)
    }

    fn build_with(profile: &Profile, pods_per_node: u8) -> Result<Self> {
        let started = Instant::now();
        let network = builder::build(profile, pods_per_node).context("building the lab")?;
        let pods = (1..=NODES)
            .map(|node| start_pods(&network, node))
            .collect::<Result<_>>()?;
        Ok(Self {
            profile: *profile,
            folder: make_folder("lab")?,
            pods,
            network,
            build_time: started.elapsed(),
        })
    }

    /// What was built.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// How long building took.
    pub fn build_time(&self) -> Duration {
        self.build_time
    }

    /// The folder for this lab's logs and captures; it stays.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file with the key that the nodes of every lab share: always the same, so that the same flows meet the same pods.
    pub fn key_file(&self) -> PathBuf {
        self.folder.join("key")
    }

    /// The client.
    pub fn client(&self) -> Client {
        Client::new(&self.network.client)
    }

    /// The client's namespace.
    pub fn client_namespace(&self) -> &Arc<Namespace> {
        &self.network.client
    }

    /// The router's namespace.
    pub fn router_namespace(&self) -> &Arc<Namespace> {
        &self.network.router
    }

    /// The namespace of the bridges, with a port for each node.
    pub fn switch_namespace(&self) -> &Arc<Namespace> {
        &self.network.switch
    }

    /// A node, numbered from 1.
    pub fn node(&self, number: u8) -> Node<'_> {
        assert!((1..=NODES).contains(&number), "no node {number}");
        Node { lab: self, number }
    }

    /// All nodes, node 1 first.
    pub fn nodes(&self) -> impl Iterator<Item = Node<'_>> {
        (1..=NODES).map(|number| self.node(number))
    }

    /// A pod, by the numbers of node and pod from 1.
    pub fn pod(&self, node: u8, pod: u8) -> &Pod {
        &self.pods[usize::from(node) - 1][usize::from(pod) - 1]
    }

    /// A pod, to stop or start its servers.
    pub fn pod_mut(&mut self, node: u8, pod: u8) -> &mut Pod {
        &mut self.pods[usize::from(node) - 1][usize::from(pod) - 1]
    }

    /// All pods, those of node 1 first.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.iter().flatten()
    }

    /// The pods of a node, pod 1 first.
    pub fn node_pods(&self, node: u8) -> &[Pod] {
        &self.pods[usize::from(node) - 1]
    }

    /// What TCP has counted so far at all ends of the clients' connections: in the client and in all pods.
    pub fn tcp_counters(&self) -> Result<TcpCounters> {
        let ends = self
            .pods()
            .map(Pod::namespace)
            .chain([&self.network.client]);
        TcpCounters::sum(ends.map(AsRef::as_ref))
    }

    /// The router's main table.
    pub fn router_routes(&self) -> Result<Vec<Route>> {
        self.network.router.run(|| Ok(Netlink::open()?.routes()?))
    }

    /// The gateways of the router's route to exactly this destination, sorted; none if it has no such route.
    pub fn router_gateways(&self, (address, prefix_len): Prefix) -> Result<Vec<IpAddr>> {
        let routes = self.router_routes()?;
        let route = routes
            .into_iter()
            .find(|route| route.destination == (address, prefix_len));
        let mut gateways = route.map(|route| route.gateways).unwrap_or_default();
        gateways.sort();
        Ok(gateways)
    }

    /// Gives the router a static route over nodes, in place of what a routing protocol would bring.
    pub fn route_by_nodes(&self, destination: Prefix, nodes: &[u8]) -> Result<()> {
        let gateway = |&node: &u8| self.node(node).addresses().like(destination.0);
        let gateways: Vec<IpAddr> = nodes.iter().map(gateway).collect();
        self.network
            .router
            .run(|| Ok(Netlink::open()?.add_multipath_route(destination, &gateways)?))
    }
}

/// A node of a lab.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    lab: &'a Lab,
    number: u8,
}

impl<'a> Node<'a> {
    /// Its number, from 1.
    pub fn number(self) -> u8 {
        self.number
    }

    /// Its name, as in the agent's configuration.
    pub fn name(self) -> String {
        builder::node_name(self.number)
    }

    /// Its addresses on its segment.
    pub fn addresses(self) -> Pair {
        topology::node(self.lab.profile.segments, self.number)
    }

    /// The router's addresses on its segment.
    pub fn router(self) -> Pair {
        topology::router(self.lab.profile.segments.of_node(self.number))
    }

    /// Its namespace.
    pub fn namespace(self) -> &'a Arc<Namespace> {
        &self.lab.network.nodes[usize::from(self.number) - 1]
    }

    /// Plugs the node's cable into the switch, or pulls it: both ends see the carrier go.
    pub fn set_plugged(self, plugged: bool) -> Result<()> {
        let port = builder::switch_port(self.number);
        self.lab
            .network
            .switch
            .run(|| Ok(Netlink::open()?.set_up(&port, plugged)?))
    }

    /// Makes the node's uplink send every frame back by XDP as it came, until the returned program is dropped.
    pub fn reflect(self) -> Result<AttachedProgram> {
        self.namespace().run(|| {
            let index = Netlink::open()?.index(builder::UPLINK)?;
            xdp_verdict::attach(index, Verdict::Transmit)
                .context("attaching the reflecting program")
        })
    }

    /// Gives the XDP hook of the node's uplink to a program of other software, which lets everything pass.
    pub fn occupy_xdp(self) -> Result<CountingProgram> {
        self.namespace().run(|| {
            let index = Netlink::open()?.index(builder::UPLINK)?;
            xdp_verdict::attach_counting(index).context("attaching the counting program")
        })
    }

    /// Sends all that comes in on the node's uplink back out of it, with another node of its segment as the destination, by
    /// the smallest program that can. It counts the frames.
    pub fn relay_to(self, node: u8) -> Result<CountingProgram> {
        self.namespace().run(|| {
            let index = Netlink::open()?.index(builder::UPLINK)?;
            let (to, from) = (topology::node_mac(node), topology::node_mac(self.number));
            relay::attach(index, to, from).context("attaching the relay")
        })
    }

    /// Makes the node's uplink drop every frame, until the returned program is dropped.
    pub fn discard(self) -> Result<AttachedProgram> {
        self.namespace().run(|| {
            let index = Netlink::open()?.index(builder::UPLINK)?;
            xdp_verdict::attach(index, Verdict::Drop).context("attaching the dropping program")
        })
    }

    /// Drops what leaves by the node's uplink, until the returned program is dropped: as other software's egress program
    /// would, behind those that are there.
    pub fn drop_egress(self) -> Result<AttachedProgram> {
        self.namespace().run(|| {
            let index = Netlink::open()?.index(builder::UPLINK)?;
            xdp_verdict::attach_egress_drop(index).context("attaching the dropping program")
        })
    }

    /// On a hostile node: adds the firewall rules that accept forwarded traffic of pods, as its operator would.
    pub fn accept_forwarding(self) -> Result<()> {
        self.namespace().run(firewall::accept_forwarding)
    }
}

fn start_pods(network: &Network, node: u8) -> Result<Vec<Pod>> {
    let namespaces = &network.pods[usize::from(node) - 1];
    let start = |(pod, namespace): (u8, &Arc<Namespace>)| {
        Pod::start_new(
            builder::pod_name(node, pod),
            topology::pod(node, pod),
            Arc::clone(namespace),
        )
    };
    (1..).zip(namespaces).map(start).collect()
}

/// A fresh folder below `FAIRLEAD_ARTIFACTS`, or below `artifacts` at the root of the workspace.
pub(crate) fn make_folder(kind: &str) -> Result<PathBuf> {
    static LABS: AtomicUsize = AtomicUsize::new(0);
    let number = LABS.fetch_add(1, Ordering::Relaxed);
    let root = artifacts()?;
    let folder = root.join(format!("{kind}-{}-{number}", process::id()));
    let is_first = !root.exists();
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    give_to_caller(&folder)?;
    if is_first {
        give_to_caller(&root)?;
    }
    fs::write(folder.join("key"), KEY).context("writing the cluster key")?;
    Ok(folder)
}

/// The folder that labs have theirs below.
pub(crate) fn artifacts() -> Result<PathBuf> {
    env::var_os("FAIRLEAD_ARTIFACTS").map_or_else(default_artifacts, |folder| Ok(folder.into()))
}

/// What a user's `sudo` leaves behind in the user's checkout must be the user's to remove.
fn give_to_caller(folder: &Path) -> Result<()> {
    let id = |name| env::var(name).ok()?.parse().ok();
    let (Some(user), Some(group)) = (id("SUDO_UID"), id("SUDO_GID")) else {
        return Ok(());
    };
    std::os::unix::fs::chown(folder, Some(user), Some(group))
        .with_context(|| format!("giving {} to user {user}", folder.display()))
}

const KEY: &str = "the key of every lab, 32 bytes..\n";

fn default_artifacts() -> Result<PathBuf> {
    let here = env::current_dir()?;
    let root = here
        .ancestors()
        .find(|folder| folder.join("Cargo.lock").exists());
    Ok(root.unwrap_or(&here).join("artifacts"))
}
