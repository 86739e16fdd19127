//! docs/install.md as it is printed: its commands are run section by section beside a real cluster, and after each section
//! it is looked at what they have come to. At the end nothing of ours is left on the cluster or its nodes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::IpAddr,
    os::unix::fs::symlink,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use lb_lab::{
    Bird, Cluster, ClusterOptions, Neighbour, Node, Proxy, agent_image, topology, wait_until,
};

/// Anything that a cluster does on request.
const SOON: Duration = Duration::from_secs(30);
/// How many requests show whether pods of all nodes answer.
const REQUESTS: usize = 60;

#[test]
fn the_page_on_installing_does_what_it_says() -> Result<()> {
    install_and_uninstall(Proxy::Nftables)
}

#[test]
#[ignore = "soak: the same beside the other mode of kube-proxy"]
fn the_page_on_installing_does_what_it_says_beside_iptables() -> Result<()> {
    install_and_uninstall(Proxy::Iptables)
}

fn install_and_uninstall(proxy: Proxy) -> Result<()> {
    let mut story = Story::begin(proxy)?;
    story.run("The image")?;
    story.run("The chart")?;
    story.run("Addresses and the router")?;
    story.run("A first Service")?;
    let vip = story.vip()?;
    let all: BTreeSet<IpAddr> = story.cluster.lab().nodes().map(address).collect();
    story.wait_gateways(vip, &all)?;
    let nodes = story.answering_nodes(vip)?;
    ensure!(nodes.len() == 3, "pods of these nodes answer: {nodes:?}");

    story.run("Looking at it")?;
    story.run("Only nodes with pods")?;
    let home = story.only_home()?;
    let home_address = story
        .cluster
        .lab()
        .nodes()
        .find(|node| node.name() == home)
        .map(address);
    let home_address: BTreeSet<IpAddr> = home_address.into_iter().collect();
    story.wait_gateways(vip, &home_address)?;
    ensure!(story.answering_nodes(vip)? == BTreeSet::from([home]));

    story.run("Going on to another version")?;
    story.wait_gateways(vip, &home_address)?;
    story.answering_nodes(vip)?;
    story.run("Taking it away")?;
    ensure!(
        story.sections.is_empty(),
        "not run: {:?}",
        story.sections.keys()
    );
    story.wait_gateways(vip, &BTreeSet::new())?;
    story.nothing_is_left()
}

struct Story {
    cluster: Cluster,
    _bird: Bird,
    /// Commands by heading.
    sections: BTreeMap<String, String>,
}

impl Story {
    fn begin(proxy: Proxy) -> Result<Self> {
        let cluster = Cluster::up(&ClusterOptions {
            proxy: Some(proxy),
            ..ClusterOptions::default()
        })?;
        let neighbours: Vec<Neighbour> = cluster.lab().nodes().map(Neighbour::of_cluster).collect();
        let bird = cluster.lab().start_bird_with(&neighbours)?;
        // The page's commands are run where a checkout seems to be.
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .canonicalize()?;
        symlink(root.join("deploy"), cluster.folder().join("deploy"))?;
        fs::create_dir_all(cluster.folder().join("target/image"))?;
        symlink(
            agent_image()?,
            cluster.folder().join("target/image/fairlead.tar"),
        )?;
        let page = fs::read_to_string(root.join("docs/install.md"))?;
        Ok(Self {
            cluster,
            _bird: bird,
            sections: commands_by_section(&page),
        })
    }

    /// Runs the commands of a section; each is run once.
    fn run(&mut self, section: &str) -> Result<()> {
        let commands = self.sections.remove(section);
        let commands =
            commands.with_context(|| format!("the page has no commands below `{section}`"))?;
        let said = self.cluster.shell(&commands);
        let said = said.map_err(|error| error.context(self.look()))?;
        println!("{said}");
        Ok(())
    }

    /// What a person would look at first.
    fn look(&self) -> String {
        let shown = self.cluster.shell(
            "kubectl get pods,jobs -A -o wide; kubectl -n fairlead-system logs -l app.kubernetes.io/name=fairlead --tail=20 --prefix; kubectl get events -A | tail -20",
        );
        shown.unwrap_or_else(|error| format!("{error:#}"))
    }

    fn vip(&self) -> Result<IpAddr> {
        let path = "jsonpath={.status.loadBalancer.ingress[0].ip}";
        Ok(self
            .cluster
            .kubectl(&["get", "service", "web", "-o", path])?
            .parse()?)
    }

    /// The nodes of the Service's pods, by the pods' names.
    fn pods(&self) -> Result<BTreeMap<String, String>> {
        let path = "jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName}{\"\\n\"}{end}";
        let arguments = [
            "get",
            "pods",
            "-l",
            "app=web",
            "--field-selector=status.phase=Running",
            "-o",
            path,
        ];
        let shown = self.cluster.kubectl(&arguments)?;
        let pairs = shown.lines().filter_map(|line| line.split_once(' '));
        Ok(pairs
            .map(|(pod, node)| (pod.to_owned(), node.to_owned()))
            .collect())
    }

    /// The node of the only pod, once those that end are gone.
    fn only_home(&self) -> Result<String> {
        wait_until(SOON, "one pod is left", || {
            let nodes: Vec<String> = self.pods()?.into_values().collect();
            let [node] = &nodes[..] else {
                bail!("pods on {nodes:?}");
            };
            Ok(Some(node.clone()))
        })
    }

    fn wait_gateways(&self, vip: IpAddr, expected: &BTreeSet<IpAddr>) -> Result<()> {
        wait_until(SOON, "the router's gateways", || {
            let gateways = self.cluster.lab().router_gateways((vip, 32))?;
            let gateways: BTreeSet<IpAddr> = gateways.into_iter().collect();
            ensure!(gateways == *expected, "{gateways:?} and not {expected:?}");
            Ok(Some(()))
        })
        .map_err(|error| error.context(self.look()))
    }

    /// Asks many times from the client; on which nodes the pods are that answered. Each must have seen the client itself.
    fn answering_nodes(&self, vip: IpAddr) -> Result<BTreeSet<String>> {
        let pods = self.pods()?;
        let ask = format!(
            "for i in $(seq {REQUESTS}); do client curl -sS --max-time 5 http://{vip}/hostname; echo; done"
        );
        let names = self.cluster.shell(&ask)?;
        let client = self.cluster.shell(&format!(
            "client curl -sS --max-time 5 http://{vip}/clientip"
        ))?;
        let own = topology::client().v4.to_string();
        ensure!(client.starts_with(&own), "a pod saw {client} and not {own}");
        ensure!(names.lines().count() == REQUESTS, "{names}");
        names
            .lines()
            .map(|name| {
                pods.get(name)
                    .cloned()
                    .with_context(|| format!("{name} is none of {pods:?}"))
            })
            .collect()
    }

    fn nothing_is_left(&self) -> Result<()> {
        let kinds = "namespaces,clusterroles,clusterrolebindings,crds";
        let objects = self.cluster.shell(&format!(
            "kubectl get {kinds} -o name | grep -e fairlead -e kubesphere || true; kubectl get nodes -o yaml | grep fairlead.io || true"
        ))?;
        ensure!(objects.is_empty(), "left in the cluster: {objects}");
        for (number, node) in (1..).zip(self.cluster.lab().nodes()) {
            let name = node.name();
            let pins = Path::new("/sys/fs/bpf/fairlead");
            let has_pins = self.cluster.node(number).run(|| Ok(pins.exists()))?;
            ensure!(!has_pins, "{name} has pins");
            let links = self.cluster.shell(&format!(
                "{name} ip -details link show dev eth0; {name} ip rule; {name} ip route show table all"
            ))?;
            for trace in ["xdp", "10.99.0", "unreachable 10."] {
                ensure!(!links.contains(trace), "{name} has `{trace}`: {links}");
            }
        }
        Ok(())
    }
}

fn address(node: Node<'_>) -> IpAddr {
    node.addresses().v4.into()
}

/// The blocks of shell commands below each heading of the second level.
fn commands_by_section(page: &str) -> BTreeMap<String, String> {
    let mut sections = BTreeMap::new();
    for section in page.split("\n## ").skip(1) {
        let heading = section.lines().next().unwrap_or_default().to_owned();
        let blocks = section.split("```sh\n").skip(1);
        let commands: String = blocks
            .filter_map(|block| block.split("```").next())
            .collect();
        if !commands.is_empty() {
            sections.insert(heading, commands);
        }
    }
    sections
}
