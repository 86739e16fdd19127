//! Paths that carry less than their ends think: towards the client, where a router tells the VIP so, and between
//! nodes, where an outer header takes its share. Needs root.

use anyhow::{Context as _, Result, ensure};
use fairlead_tests::steered::Steered;
use lb_lab::{Netlink, Profile, ROUTER_WAN_LINK, Request, Segments};

/// What a download or upload has: some hundred full segments.
const BYTES: usize = 1 << 20;

fn routed() -> Profile {
    Profile {
        segments: Segments::Node3Routed,
        underlay_mtu: 1500,
        hostile: false,
    }
}

/// Downloads, one by way of each node, so that pods of all nodes answer.
fn download(steered: &Steered, ports: std::ops::Range<u16>) -> Result<()> {
    for target in Steered::targets() {
        for port in ports.clone() {
            let request = Request {
                download_bytes: BYTES,
                ..Request::to(target).from_port(port)
            };
            let seen = steered.lab.client().http(&request).result;
            let seen = seen.with_context(|| format!("a megabyte from {target} to port {port}"))?;
            ensure!(seen.padding.len() == BYTES, "{} bytes", seen.padding.len());
        }
    }
    Ok(())
}

#[test]
fn a_router_that_cannot_pass_a_reply_is_heard_by_the_pod() -> Result<()> {
    let steered = Steered::start(&routed())?;
    steered
        .lab
        .router_namespace()
        .run(|| Ok(Netlink::open()?.set_mtu(ROUTER_WAN_LINK, 1300)?))?;
    download(&steered, 30_000..30_012)?;
    let verdicts = steered.all_verdicts()?;
    let told = verdicts.get("icmp-error-delivered").copied().unwrap_or(0);
    ensure!(told > 0, "no pod was told of the path: {verdicts:?}");
    Ok(())
}

#[test]
fn full_segments_fit_behind_an_outer_header() -> Result<()> {
    let steered = Steered::start(&routed())?;
    for target in Steered::targets() {
        for port in 31_000..31_012 {
            let request = Request {
                upload_bytes: BYTES,
                ..Request::to(target).from_port(port)
            };
            let seen = steered.lab.client().http(&request).result;
            let seen = seen.with_context(|| format!("a megabyte to {target} from port {port}"))?;
            ensure!(seen.received == BYTES, "{} bytes", seen.received);
        }
    }
    let verdicts = steered.all_verdicts()?;
    ensure!(
        !verdicts.contains_key("too-big") && verdicts["forwarded-gue"] > 0,
        "{verdicts:?}"
    );
    Ok(())
}
