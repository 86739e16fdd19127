//! The table of what a session can be, cell by cell, against each daemon.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use lb_lab::{NODE_ASN, ReceivedRoute, wait_until};

use crate::{
    cells::{Cells, LARGE_ASN, SESSION_LIMIT, SOON, prefixes},
    policy,
};

#[test]
fn bird() -> Result<()> {
    let cannot = &[];
    all_cells(Cells::start(
        |lab, neighbours| Ok(Box::new(lab.start_bird_with(neighbours)?)),
        cannot,
    )?)
}

#[test]
fn frr() -> Result<()> {
    let cannot = &[];
    all_cells(Cells::start(
        |lab, neighbours| Ok(Box::new(lab.start_frr(neighbours)?)),
        cannot,
    )?)
}

#[test]
fn gobgp() -> Result<()> {
    let cannot = &[
        (REFRESH, "GoBGP 3.10 asks no peer to send again"),
        (
            HOLD_TIME_ZERO,
            "GoBGP 3.10 gives up at its first write in a session without timers",
        ),
    ];
    all_cells(Cells::start(
        |lab, neighbours| Ok(Box::new(lab.start_gobgp(neighbours)?)),
        cannot,
    )?)
}

#[test]
fn exabgp() -> Result<()> {
    let cannot = &[
        (REFRESH, "ExaBGP 4.2 asks no peer to send again"),
        (LONG_LIVED, "ExaBGP keeps no routes"),
    ];
    all_cells(Cells::start(
        |lab, neighbours| Ok(Box::new(lab.start_exabgp(neighbours)?)),
        cannot,
    )?)
}

#[test]
#[ignore = "soak: one more implementation"]
fn openbgpd() -> Result<()> {
    let cannot = &[
        (LONG_LIVED, "OpenBGPD 7.7 does not know RFC 9494"),
        (HOLD_TIME_ZERO, "OpenBGPD 7.7 cannot be configured so"),
    ];
    all_cells(Cells::start(
        |lab, neighbours| Ok(Box::new(lab.start_openbgpd(neighbours)?)),
        cannot,
    )?)
}

const REFRESH: &str = "refresh";
const LONG_LIVED: &str = "long-lived graceful restart";
const HOLD_TIME_ZERO: &str = "hold time 0";
const TTL_SECURITY: &str = "TTL security";
const TTL_SECURITY_ONE_SIDED: &str = "TTL security at the agent only";

fn all_cells(mut cells: Cells) -> Result<()> {
    cells.step("both families over one session", both_families)?;
    cells.step("internal", internal)?;
    cells.step("over IPv6, 4-octet AS", over_ipv6)?;
    cells.step("withdraw", withdraw)?;
    cells.step(REFRESH, refresh)?;
    policy::all(&mut cells)?;
    cells.step("the router dials port 17900", router_dials)?;
    cells.step("both dial", both_dial)?;
    cells.step("right password", right_password)?;
    cells.step("wrong password", wrong_password)?;
    cells.step(TTL_SECURITY, ttl_security)?;
    cells.step(TTL_SECURITY_ONE_SIDED, ttl_security_one_sided)?;
    cells.step("the agent only listens", agent_listens)?;
    cells.step("dynamic neighbours", dynamic_neighbours)?;
    cells.step(HOLD_TIME_ZERO, hold_time_zero)?;
    cells.step(LONG_LIVED, long_lived)?;
    // At last, because ExaBGP does not dial again what it has once listened for.
    cells.step("the router only listens", router_listens)
}

fn both_families(cells: &mut Cells) -> Result<()> {
    cells.wait_route(1, 1, "from the node's AS", |route| {
        route.as_path == [NODE_ASN]
    })
}

/// RFC 4271 section 5.1.5: LOCAL_PREF to internal peers; section 5.1.2: no own AS in the path.
fn internal(cells: &mut Cells) -> Result<()> {
    cells.wait_route(2, 1, "internal", |route| {
        route.as_path.is_empty() && route.local_pref == Some(100)
    })?;
    let shown = cells.agent(2).show("bgp")?;
    ensure!(shown["rows"][0]["hold_time_seconds"] == 3, "{shown}");
    Ok(())
}

fn over_ipv6(cells: &mut Cells) -> Result<()> {
    cells.wait_route(3, 1, "from a large AS", |route| {
        route.as_path == [LARGE_ASN]
    })
}

fn withdraw(cells: &mut Cells) -> Result<()> {
    let since = cells.since()?;
    for node in 1..=3 {
        cells.edit(node, |speaker| speaker.services = vec![1, 2])?;
    }
    for node in 1..=3 {
        cells.wait_route(node, 2, "another service", |_| true)?;
    }
    for node in 1..=3 {
        cells.edit(node, |speaker| speaker.services = vec![1])?;
    }
    for node in 1..=3 {
        cells.wait_gone(node, 2)?;
        cells.wait_route(node, 1, "untouched", |_| true)?;
    }
    ensure!(cells.since()? == since, "a session was begun anew");
    Ok(())
}

fn refresh(cells: &mut Cells) -> Result<()> {
    let (neighbour, _) = cells.ends[0].clone();
    let before = cells.router.updates_received(&neighbour)?;
    let marked = cells.router.marked_refreshes()?;
    cells.router.refresh(&neighbour)?;
    cells
        .router
        .wait_for(SOON, "everything is sent again", |router| {
            let more = router.updates_received(&neighbour)? - before;
            ensure!(more >= 2, "{more} UPDATEs since");
            // Begin and end of either family (RFC 7313).
            let marks = router.marked_refreshes()?;
            ensure!(
                marks
                    .zip(marked)
                    .is_none_or(|(now, before)| now >= before + 2),
                "the end of the routes was marked {marked:?}, then {marks:?} times"
            );
            Ok(Some(()))
        })?;
    let shown = cells.agent(1).show("bgp")?;
    let agreed = shown["rows"][0]["agreed"].to_string();
    ensure!(
        agreed.contains("enhanced route refresh") == marked.is_some(),
        "{shown}"
    );
    cells.wait_route(1, 1, "still there", |_| true)
}

/// With a node whose session was not yet begun anew, so that the agent dials again soon.
fn router_listens(cells: &mut Cells) -> Result<()> {
    cells.renew(3, |neighbour, _| neighbour.passive = true)
}

/// The agent dials a port at which nobody listens, so that only the router's own connection can succeed.
fn router_dials(cells: &mut Cells) -> Result<()> {
    cells.renew(1, |_, speaker| {
        speaker.peer = ", port: 1790".to_owned();
    })
}

/// RFC 4271 section 6.8, won by either end: the router's identifier is 198.51.100.1.
fn both_dial(cells: &mut Cells) -> Result<()> {
    for router_id in ["10.0.0.11", "203.0.113.1"] {
        cells.renew(1, |_, speaker| {
            speaker.peer = String::new();
            speaker.global = format!("  routerId: {router_id}\n");
        })?;
        cells.one_connection(1)?;
    }
    Ok(())
}

fn right_password(cells: &mut Cells) -> Result<()> {
    let peer = password_file(cells, "right")?;
    cells.renew(1, |neighbour, speaker| {
        neighbour.password = Some("right".to_owned());
        speaker.peer = peer;
    })
}

fn wrong_password(cells: &mut Cells) -> Result<()> {
    let wrong = password_file(cells, "wrong")?;
    cells.end(1, |_, speaker| speaker.peer = wrong)?;
    cells.wait_sessions(&[2, 3])?;
    let agent = cells.agent(1);
    agent.wait_for(SESSION_LIMIT, "bgp", "a hint at the password", |shown| {
        let error = shown["rows"][0]["last_error"].as_str();
        error.is_some_and(|error| error.contains("is the password the same at both ends?"))
    })?;
    cells.wait_sessions(&[2, 3])?;
    cells.renew(1, |neighbour, speaker| {
        neighbour.password = None;
        speaker.peer = String::new();
    })
}

fn password_file(cells: &Cells, password: &str) -> Result<String> {
    let file = cells.lab.folder().join(password);
    fs::write(&file, format!("{password}\n"))?;
    Ok(format!(", passwordFile: {}", file.display()))
}

/// RFC 5082: both ends send TTL 255 and take nothing less. The agent goes first: it hears nothing more in the old session,
/// finds that out, and does not wait for the hold timer.
fn ttl_security(cells: &mut Cells) -> Result<()> {
    cells.edit(1, |speaker| speaker.peer = ", gtsm: true".to_owned())?;
    wait_until(SOON, "the agent gives the old session up", || {
        let words = "come from farther away than `gtsm` allows now";
        Ok((cells.logged(1, words)? > 0).then_some(()))
    })?;
    cells.wait_sessions(&[2, 3])?;
    let up = cells.end(1, |neighbour, _| neighbour.ttl_security = true)?;
    cells.wait_up(1, up)
}

/// The router's packets come with TTL 1, or 64 from one that takes its sessions for local: the kernel drops them.
fn ttl_security_one_sided(cells: &mut Cells) -> Result<()> {
    cells.end(1, |neighbour, _| neighbour.ttl_security = false)?;
    cells.wait_sessions(&[2, 3])?;
    let dropped = || -> Result<u64> {
        let read = || Ok(fs::read_to_string("/proc/thread-self/net/netstat")?);
        counter(&cells.lab.node(1).namespace().run(read)?, "TCPMinTTLDrop")
    };
    wait_until(SESSION_LIMIT, "segments with low TTLs are dropped", || {
        Ok((dropped()? > 0).then_some(()))
    })?;
    cells.wait_sessions(&[2, 3])
}

/// A counter of `TcpExt` in netstat's table of names and values.
fn counter(table: &str, wanted: &str) -> Result<u64> {
    let mut lines = table.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = lines.next().zip(lines.next()).context("no TcpExt")?;
    let mut pairs = names.split_whitespace().zip(values.split_whitespace());
    let pair = pairs.find(|(name, _)| *name == wanted);
    Ok(pair.with_context(|| format!("no {wanted}"))?.1.parse()?)
}

fn agent_listens(cells: &mut Cells) -> Result<()> {
    cells.renew(1, |_, speaker| speaker.peer = ", passive: true".to_owned())
}

/// Whoever dials from the segment.
fn dynamic_neighbours(cells: &mut Cells) -> Result<()> {
    let named = cells.ends[0].1.router.clone();
    cells.renew(1, |_, speaker| {
        speaker.peer = String::new();
        speaker.router = "range: 10.0.0.0/24".to_owned();
    })?;
    cells.edit(1, |speaker| speaker.router = named)
}

/// RFC 4271 section 4.2: no keepalives and no expiry.
fn hold_time_zero(cells: &mut Cells) -> Result<()> {
    cells.renew(2, |neighbour, _| neighbour.hold_time_s = 0)?;
    let shown = cells.agent(2).show("bgp")?;
    let row = &shown["rows"][0];
    ensure!(row["state"] == "Established", "{shown}");
    ensure!(row["hold_time_seconds"].is_null(), "{shown}");
    Ok(())
}

/// RFC 9494: kept beyond the restart time, as a last resort, and fresh again when the agent is back.
fn long_lived(cells: &mut Cells) -> Result<()> {
    cells.renew(3, |_, speaker| {
        speaker.peer = ", gracefulRestart: {restartTime: 1s, longLivedStaleTime: 60s}".to_owned();
    })?;
    cells.agent(3).process().kill()?;
    let neighbour = cells.address(3);
    for prefix in prefixes(1) {
        let is_last_resort =
            |routes: &[ReceivedRoute]| matches!(routes, [route] if is_long_lived(route));
        cells.router.wait_routes(
            SESSION_LIMIT,
            (neighbour, prefix),
            "LLGR_STALE",
            is_last_resort,
        )?;
    }
    cells.agent(3).restart()?;
    cells.wait_sessions(&[1, 2, 3])?;
    cells.wait_route(3, 1, "fresh", |route| !is_long_lived(route))
}

fn is_long_lived(route: &ReceivedRoute) -> bool {
    let words = ["65535:6", "llgr-stale", "llgrStale"];
    words
        .into_iter()
        .any(|word| route.communities.contains(word))
}
