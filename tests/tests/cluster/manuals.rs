//! Manuals of PorterLB and MetalLB, step by step, as docs/manuals says what becomes of each: the reader's commands are run,
//! and what the reader is told to look at is there. Routers are set up by the manuals' own files.

use std::{collections::BTreeSet, net::IpAddr, path::Path};

use anyhow::{Context as _, Result, ensure};
use lb_lab::{ClusterOptions, Neighbour, wait_until};

use crate::{
    installed::{Installed, SOON},
    page::Page,
};

/// How many requests find both of two pods.
const REQUESTS: usize = 24;

#[test]
fn porterlb_in_bgp_mode() -> Result<()> {
    let installed = Installed::image_only(&ClusterOptions::default())?;
    let _registry = installed.cluster.start_registry()?;
    let lab = installed.cluster.lab();
    let addresses = [("192.168.0.5", "10.0.0.1"), ("192.168.0.2", "10.0.0.11")];
    let text = printed("porterlb-bird2.conf", &addresses)?;
    let _bird = lab.start_bird_from(lab.router_namespace(), "bird", &text)?;

    let mut page = Page::read("manuals/porterlb.md")?;
    for section in ["Installing", "Steps 2 to 6: the objects"] {
        println!("{}", installed.shell(&page.section(section)?)?);
    }
    let vip: IpAddr = "172.22.0.2".parse()?;
    ensure!(installed.vips("porter-bgp-svc")? == [vip]);
    installed.wait_gateways(vip, &[1, 2, 3])?;
    let shown = installed.shell(&page.section("Step 7: looking at it")?)?;
    for word in ["172.22.0.2", "porter-bgp-eip", "node3"] {
        ensure!(shown.contains(word), "{word}: {shown}");
    }
    let pods: BTreeSet<String> = installed.pods("app=porter-bgp")?.into_keys().collect();
    ensure!(
        pods.len() == 2 && answering(&installed, "172.22.0.2")? == pods,
        "{pods:?}"
    );

    installed.shell(&page.section("With externalTrafficPolicy Local")?)?;
    wait_until(SOON, "one pod is left", || {
        let nodes: Vec<u8> = installed.pods("app=porter-bgp")?.into_values().collect();
        Ok((nodes == [1]).then_some(()))
    })?;
    installed.wait_gateways(vip, &[1])?;
    answering(&installed, "172.22.0.2")?;

    installed.shell(&page.section("Services that share an address")?)?;
    page.was_run()
}

#[test]
#[ignore = "soak: a cluster of its own"]
fn porters_simulation_with_bird() -> Result<()> {
    let installed = Installed::image_only(&ClusterOptions::default())?;
    let lab = installed.cluster.lab();
    let neighbours: Vec<Neighbour> = lab.nodes().map(Neighbour::of).collect();
    let _bird = lab.start_bird_with(&neighbours)?;

    let mut page = Page::read("manuals/porter-with-bird.md")?;
    for section in ["Installing", "Steps 5 and 6: the Eip and the Service"] {
        println!("{}", installed.shell(&page.section(section)?)?);
    }
    // In the manual's way of announcing, every node is a next hop.
    installed.wait_gateways("139.198.254.4".parse()?, &[1, 2, 3])?;
    let shown = installed.shell(&page.section("Steps 7 and 8: looking at it")?)?;
    ensure!(shown.contains("AddressAssigned"), "{shown}");
    let pods: BTreeSet<String> = installed.pods("app=mylbapp")?.into_keys().collect();
    let answering = answering(&installed, "139.198.254.4:8088/hostname")?;
    ensure!(answering == pods, "{answering:?} of {pods:?}");
    page.was_run()
}

#[test]
#[ignore = "soak: a cluster of its own"]
fn metallb_with_quagga() -> Result<()> {
    let installed = Installed::image_only(&ClusterOptions::default())?;
    let lab = installed.cluster.lab();
    let addresses = [("192.168.1.5", "10.0.0.11"), ("192.168.1.6", "10.0.0.12")];
    let commands = printed("metallb-quagga.conf", &addresses)?;
    let frr = lab.start_frr_from(&commands, &[])?;

    let mut page = Page::read("manuals/metallb-with-quagga.md")?;
    installed.shell(&page.section("Installing")?)?;
    let plan = installed.shell(&page.section("The ConfigMap")?)?;
    let way_out = "kubectl -n metallb-system scale deployment controller --replicas=0";
    for word in ["Eip default", "BgpPeer peer-1-10-0-0-1", way_out] {
        ensure!(plan.contains(word), "{word}: {plan}");
    }
    println!("{}", installed.shell(&page.section("The Services")?)?);
    let first: IpAddr = "192.168.0.30".parse()?;
    ensure!(installed.vips("nginx-lb")? == [first]);
    ensure!(installed.vips("nginx2-lb")? == ["192.168.0.31".parse::<IpAddr>()?]);
    // It has sessions with the two nodes that it knows.
    for vip in ["192.168.0.30", "192.168.0.31"] {
        installed.wait_gateways(vip.parse()?, &[1, 2])?;
    }
    let summary = frr.query("show ip bgp summary")?;
    ensure!(!summary.contains("Active"), "{summary}");
    let shown = installed.shell(&page.section("Looking at it")?)?;
    ensure!(shown.matches("200 OK").count() == 2, "{shown}");
    page.was_run()
}

/// Which pods answer the machine with the router's daemon, as the manuals ask.
fn answering(installed: &Installed, url: &str) -> Result<BTreeSet<String>> {
    let ask = format!("for i in $(seq {REQUESTS}); do curl -sS --max-time 5 {url}; echo; done");
    let names = installed.shell(&ask)?;
    let names = names.lines().map(str::trim).filter(|name| !name.is_empty());
    Ok(names.map(str::to_owned).collect())
}

/// A file of `tests/manuals/` with other addresses.
fn printed(file: &str, addresses: &[(&str, &str)]) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("manuals")
        .join(file);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let replace = |text: String, (from, to): &(&str, &str)| text.replace(from, to);
    Ok(addresses.iter().fold(text, replace))
}
