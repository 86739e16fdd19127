//! docs/install.md as it is printed: its commands are run section by section beside a real cluster, and after each section
//! it is looked at what they have come to. At the end nothing of ours is left on the cluster or its nodes.

use std::{collections::BTreeSet, fs, net::IpAddr, os::unix::fs::symlink, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use lb_lab::{Bird, Cluster, ClusterOptions, Neighbour, Proxy, agent_image, topology, wait_until};

use crate::{
    installed::{Installed, SOON},
    page::{Page, check_out},
};

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
    story.installed.wait_gateways(vip, &[1, 2, 3])?;
    let nodes = story.answering_nodes(vip)?;
    ensure!(nodes.len() == 3, "pods of these nodes answer: {nodes:?}");

    story.run("Looking at it")?;
    story.run("Only nodes with pods")?;
    let home = story.only_home()?;
    story.installed.wait_gateways(vip, &[home])?;
    ensure!(story.answering_nodes(vip)? == BTreeSet::from([home]));

    story.run("Going on to another version")?;
    story.installed.wait_gateways(vip, &[home])?;
    story.answering_nodes(vip)?;
    story.run("Taking it away")?;
    story.page.was_run()?;
    story.installed.wait_gateways(vip, &[])?;
    story.nothing_is_left()?;
    story.again()
}

struct Story {
    installed: Installed,
    _bird: Bird,
    page: Page,
}

impl Story {
    fn begin(proxy: Proxy) -> Result<Self> {
        let cluster = Cluster::up(&ClusterOptions {
            proxy: Some(proxy),
            ..ClusterOptions::default()
        })?;
        let neighbours: Vec<Neighbour> = cluster.lab().nodes().map(Neighbour::of_cluster).collect();
        let bird = cluster.lab().start_bird_with(&neighbours)?;
        check_out(&cluster)?;
        fs::create_dir_all(cluster.folder().join("target/image"))?;
        symlink(
            agent_image()?,
            cluster.folder().join("target/image/fairlead.tar"),
        )?;
        Ok(Self {
            installed: Installed { cluster },
            _bird: bird,
            page: Page::read("install.md")?,
        })
    }

    fn run(&mut self, section: &str) -> Result<()> {
        println!("{}", self.installed.shell(&self.page.section(section)?)?);
        Ok(())
    }

    fn vip(&self) -> Result<IpAddr> {
        let path = "jsonpath={.status.loadBalancer.ingress[0].ip}";
        Ok(self
            .installed
            .cluster
            .kubectl(&["get", "service", "web", "-o", path])?
            .parse()?)
    }

    /// The node of the only pod, once those that end are gone.
    fn only_home(&self) -> Result<u8> {
        wait_until(SOON, "one pod is left", || {
            let nodes: Vec<u8> = self.installed.pods("app=web")?.into_values().collect();
            let [node] = nodes[..] else {
                bail!("pods on {nodes:?}");
            };
            Ok(Some(node))
        })
    }

    /// Asks many times from the client; on which nodes the pods are that answered. Each must have seen the client itself.
    fn answering_nodes(&self, vip: IpAddr) -> Result<BTreeSet<u8>> {
        let pods = self.installed.pods("app=web")?;
        let ask = format!(
            "for i in $(seq {REQUESTS}); do client curl -sS --max-time 5 http://{vip}/hostname; echo; done"
        );
        let names = self.installed.cluster.shell(&ask)?;
        let client = self.installed.cluster.shell(&format!(
            "client curl -sS --max-time 5 http://{vip}/clientip"
        ))?;
        let own = topology::client().v4.to_string();
        ensure!(client.starts_with(&own), "a pod saw {client} and not {own}");
        ensure!(names.lines().count() == REQUESTS, "{names}");
        names
            .lines()
            .map(|name| {
                pods.get(name)
                    .copied()
                    .with_context(|| format!("{name} is none of {pods:?}"))
            })
            .collect()
    }

    /// On the same cluster once more, by the same commands: addresses that were given back are given out again.
    fn again(&mut self) -> Result<()> {
        self.page = Page::read("install.md")?;
        for section in ["The chart", "Addresses and the router", "A first Service"] {
            self.run(section)?;
        }
        let vip = self.vip()?;
        self.installed.wait_gateways(vip, &[1, 2, 3])?;
        self.run("Taking it away")?;
        self.installed.wait_gateways(vip, &[])?;
        self.nothing_is_left()
    }

    fn nothing_is_left(&self) -> Result<()> {
        let kinds = "namespaces,clusterroles,clusterrolebindings,crds";
        let objects = self.installed.cluster.shell(&format!(
            "kubectl get {kinds} -o name | grep -e fairlead -e kubesphere || true; kubectl get nodes -o yaml | grep fairlead.io || true"
        ))?;
        ensure!(objects.is_empty(), "left in the cluster: {objects}");
        for (number, node) in (1..).zip(self.installed.cluster.lab().nodes()) {
            let name = node.name();
            let pins = Path::new("/sys/fs/bpf/fairlead");
            let has_pins = self
                .installed
                .cluster
                .node(number)
                .run(|| Ok(pins.exists()))?;
            ensure!(!has_pins, "{name} has pins");
            let links = self.installed.cluster.shell(&format!(
                "{name} ip -details link show dev eth0; {name} ip rule; {name} ip route show table all"
            ))?;
            for trace in ["xdp", "10.99.0", "unreachable 10."] {
                ensure!(!links.contains(trace), "{name} has `{trace}`: {links}");
            }
        }
        Ok(())
    }
}
