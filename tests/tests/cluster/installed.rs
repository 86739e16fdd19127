//! A cluster with Fairlead's image on its nodes, and with the chart if a test does not install it by itself; and what tests
//! of its traffic look at: the router's next hops, and who answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use lb_lab::{Bird, Cluster, ClusterOptions, Neighbour, agent_image, wait_until};

use crate::page;

/// Anything that a cluster does on request.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// The speaker, its router and two pools, one a family.
const NETWORK: &str = "
apiVersion: network.kubesphere.io/v1alpha2
kind: Eip
metadata: {name: public}
spec: {address: 10.99.0.0/24}
---
apiVersion: network.kubesphere.io/v1alpha2
kind: Eip
metadata: {name: public-v6}
spec: {address: 'fd99::100-fd99::1ff'}
---
apiVersion: network.kubesphere.io/v1alpha2
kind: BgpConf
metadata: {name: default}
spec: {as: 65000}
---
apiVersion: network.kubesphere.io/v1alpha2
kind: BgpPeer
metadata: {name: router}
spec:
  conf: {peerAs: 65001, neighborAddress: 10.0.0.1}
  nextHop: self
  afiSafis:
    - config: {family: {afi: AFI_IP, safi: SAFI_UNICAST}, enabled: true}
    - config: {family: {afi: AFI_IP6, safi: SAFI_UNICAST}, enabled: true}
";

/// The cluster.
pub(crate) struct Installed {
    pub(crate) cluster: Cluster,
}

impl Installed {
    /// A cluster with the image, in whose shell the commands of pages work.
    pub(crate) fn image_only(options: &ClusterOptions) -> Result<Self> {
        let cluster = Cluster::up(options)?;
        cluster.import(&agent_image()?)?;
        page::check_out(&cluster)?;
        Ok(Self { cluster })
    }

    /// One that announces to a BIRD on the router, by the chart with these arguments to Helm.
    pub(crate) fn up(options: &ClusterOptions, helm: &str) -> Result<(Self, Bird)> {
        let installed = Self::image_only(options)?;
        let lab = installed.cluster.lab();
        let neighbours: Vec<Neighbour> = lab.nodes().map(Neighbour::of_cluster).collect();
        let mut bird = lab.start_bird_with(&neighbours)?;
        installed.shell(&format!(
            "helm install fairlead deploy/chart --namespace fairlead-system --create-namespace --wait {helm}"
        ))?;
        installed.cluster.server().apply(NETWORK)?;
        bird.wait_established(SOON)?;
        Ok((installed, bird))
    }

    /// Runs commands, and says what a person would look at first if one fails.
    pub(crate) fn shell(&self, commands: &str) -> Result<String> {
        let said = self.cluster.shell(commands);
        said.map_err(|error| error.context(self.look()))
    }

    fn look(&self) -> String {
        let shown = self.cluster.shell(
            "kubectl get pods,jobs,services,eips -A -o wide; kubectl -n fairlead-system logs -l app.kubernetes.io/name=fairlead --tail=20 --prefix; kubectl get events -A | tail -20",
        );
        shown.unwrap_or_else(|error| format!("{error:#}"))
    }

    /// The addresses of a Service, once it has one of each of its families.
    pub(crate) fn vips(&self, service: &str) -> Result<Vec<IpAddr>> {
        wait_until(SOON, "the Service has its addresses", || {
            let path = "jsonpath={.spec.ipFamilies[*]}/{.status.loadBalancer.ingress[*].ip}";
            let shown = self
                .cluster
                .kubectl(&["get", "service", service, "-o", path])?;
            let (families, addresses) = shown.split_once('/').context("a slash")?;
            let addresses: Vec<IpAddr> = addresses
                .split_whitespace()
                .map(str::parse)
                .collect::<Result<_, _>>()?;
            let is_whole = addresses.len() == families.split_whitespace().count();
            Ok(is_whole.then_some(addresses))
        })
    }

    /// Waits until the router's kernel sends a VIP to exactly these nodes.
    pub(crate) fn wait_gateways(&self, vip: IpAddr, nodes: &[u8]) -> Result<()> {
        let lab = self.cluster.lab();
        let expected: BTreeSet<IpAddr> = nodes
            .iter()
            .map(|&node| lab.node(node).addresses().like(vip))
            .collect();
        let length = if vip.is_ipv4() { 32 } else { 128 };
        wait_until(SOON, "the router's gateways", || {
            let gateways = lab.router_gateways((vip, length))?;
            let gateways: BTreeSet<IpAddr> = gateways.into_iter().collect();
            ensure!(
                gateways == expected,
                "{vip}: {gateways:?}, not {expected:?}"
            );
            Ok(Some(()))
        })
        .map_err(|error| error.context(self.look()))
    }

    /// The nodes, by number, of running pods with a label, by the pods' names; without those that end.
    pub(crate) fn pods(&self, label: &str) -> Result<BTreeMap<String, u8>> {
        let path = "jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName} {.metadata.deletionTimestamp}{\"\\n\"}{end}";
        let running = "--field-selector=status.phase=Running";
        let shown = self
            .cluster
            .kubectl(&["get", "pods", "-l", label, running, "-o", path])?;
        let rows = shown
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        let staying = rows.filter_map(|row| match row[..] {
            [pod, node] => Some((pod.to_owned(), node.trim_start_matches("node").to_owned())),
            _ => None,
        });
        staying
            .map(|(pod, number)| Ok((pod, number.parse()?)))
            .collect()
    }

    /// The words that run a command in the network of a pod, on its node.
    pub(crate) fn in_pod(&self, pod: &str, node: u8) -> Result<String> {
        let path = "jsonpath={.status.containerStatuses[0].containerID}";
        let id = self.cluster.kubectl(&["get", "pod", pod, "-o", path])?;
        let id = id.rsplit('/').next().unwrap_or_default();
        let tasks = self
            .cluster
            .shell(&format!("node{node} ctr --namespace k8s.io tasks ls"))?;
        let line = tasks.lines().find(|line| line.starts_with(id));
        let pid = line.and_then(|line| line.split_whitespace().nth(1));
        let pid = pid.with_context(|| format!("{pod} has no process on node{node}"))?;
        Ok(format!("node{node} nsenter --target {pid} --net"))
    }
}
