//! The cells of what routes carry, on sessions that stay up all the while: communities of three kinds, MED, LOCAL_PREF, a
//! longer path, graceful shutdown, several paths.

use anyhow::{Result, ensure};
use lb_lab::{NODE_ASN, ReceivedRoute};

use crate::cells::{Cells, prefixes};

/// All of them; no session is begun anew by any but the last.
pub(crate) fn all(cells: &mut Cells) -> Result<()> {
    let since = cells.since()?;
    cells.step("communities of three kinds", communities)?;
    cells.step("MED", med)?;
    cells.step("local preference", local_pref)?;
    cells.step("prepend", prepend)?;
    cells.step("graceful shutdown", graceful_shutdown)?;
    ensure!(cells.since()? == since, "a session was begun anew");
    cells.step("several paths", several_paths)
}

fn communities(cells: &mut Cells) -> Result<()> {
    with(
        cells,
        1,
        "communities: [\"65000:100\", no-export], largeCommunities: [\"65000:1:2\"], \
         extendedCommunities: [\"rt:65000:7\"]",
        |route| {
            let has = |word: &str| route.communities.contains(word);
            let no_export = ["65535:65281", "no-export", "noExport"];
            has("65000:100")
                && no_export.into_iter().any(has)
                && route.large_communities.contains("65000:1:2")
                && route
                    .extended_communities
                    .iter()
                    .any(|shown| shown.contains("65000:7"))
        },
    )
}

fn med(cells: &mut Cells) -> Result<()> {
    with(cells, 1, "med: 20", |route| route.med == Some(20))
}

/// To internal peers only (RFC 4271 section 5.1.5).
fn local_pref(cells: &mut Cells) -> Result<()> {
    with(cells, 2, "localPref: 250", |route| {
        route.local_pref == Some(250)
    })
}

fn prepend(cells: &mut Cells) -> Result<()> {
    with(cells, 1, "prepend: 2", |route| {
        route.as_path == [NODE_ASN; 3]
    })
}

/// RFC 8326, as a setting of a peer; FRR acts on it by itself, the others need a filter.
fn graceful_shutdown(cells: &mut Cells) -> Result<()> {
    with(cells, 1, "communities: [graceful-shutdown]", |route| {
        let words = ["65535:0", "graceful-shutdown", "gracefulShutdown"];
        words
            .into_iter()
            .any(|word| route.communities.contains(word))
    })
}

/// RFC 7911: one session brings a path by each node.
fn several_paths(cells: &mut Cells) -> Result<()> {
    cells.renew_with_paths(1, |_, speaker| speaker.peer = ", nextHop: nodes".to_owned())?;
    let expected: Vec<_> = (1..=3)
        .map(|node| cells.lab.node(node).addresses())
        .collect();
    let neighbour = cells.address(1);
    for prefix in prefixes(1) {
        let mut expected: Vec<_> = expected.iter().map(|pair| pair.like(prefix.0)).collect();
        expected.sort();
        cells.wait_paths(neighbour, prefix, &expected)?;
    }
    cells.renew(1, |_, speaker| speaker.peer = String::new())
}

/// Gives a node's peer more settings, waits for what the router makes of them, and takes them back.
fn with(
    cells: &mut Cells,
    node: u8,
    settings: &str,
    check: impl Fn(&ReceivedRoute) -> bool,
) -> Result<()> {
    cells.edit(node, |speaker| speaker.peer = format!(", {settings}"))?;
    cells.wait_route(node, 1, settings, check)?;
    cells.edit(node, |speaker| speaker.peer = String::new())
}
