//! The canaries: agents whose data path makes one mistake each. Every mistake must fail a check that the shipped data path
//! passes in `steering`, and for its own reason; a lab in which one passes cannot see that kind of mistake. Needs root.

use std::fmt::Debug;

use anyhow::{Result, ensure};
use fairlead_tests::{
    steered::{Steered, canary_binary},
    steering::{
        datagrams_are_answered, forwarding_costs_a_hop, pods_answer_directly, requests_are_answered,
    },
};
use lb_lab::{AgentOptions, Profile};

#[test]
fn a_wrong_checksum_fails_every_request() -> Result<()> {
    let steered = canary("checksum")?;
    for target in Steered::targets() {
        let before = steered.lab.tcp_counters()?;
        let answered = requests_are_answered(&steered, target, 20_000..20_016);
        expect_failure(answered, "16 of 16 requests")?;
        let counted = steered.lab.tcp_counters()?.since(before);
        ensure!(counted.wrong_checksums >= 16, "{target}: {counted:?}");
    }
    Ok(())
}

#[test]
fn a_hop_limit_that_stays_is_seen_at_the_pod() -> Result<()> {
    let steered = canary("ttl")?;
    for target in Steered::targets() {
        let cost = forwarding_costs_a_hop(&steered, target, 21_000);
        expect_failure(cost, "hops left by its own node")?;
    }
    Ok(())
}

#[test]
fn a_wrong_mac_fails_what_is_forwarded() -> Result<()> {
    let steered = canary("mac")?;
    for target in Steered::targets() {
        steered.enter_by(target.ip(), &[1])?;
        let answered = requests_are_answered(&steered, target, 22_000..22_016);
        expect_failure(answered, "of 16 requests")?;
    }
    // What node1 serves itself is served; the rest left it and arrived nowhere.
    ensure!(steered.verdict(1, "replied")? > 0);
    ensure!(steered.verdict(1, "forwarded-direct")? > 0);
    for node in [2, 3] {
        let verdicts = steered.verdicts(node)?;
        ensure!(verdicts.is_empty(), "reached node{node}: {verdicts:?}");
    }
    Ok(())
}

#[test]
fn replies_told_apart_by_the_pod_alone_break_direct_access() -> Result<()> {
    let steered = canary("reverse")?;
    for target in Steered::targets() {
        // The VIP itself works: only what is not for it shows this mistake.
        datagrams_are_answered(&steered, target, 23_000..23_001)?;
        let direct = pods_answer_directly(&steered, target, 23_000);
        expect_failure(direct, "under its own address")?;
    }
    Ok(())
}

/// A lab whose agents make this mistake.
fn canary(mistake: &str) -> Result<Steered> {
    let options = AgentOptions {
        environment: vec![("FAIRLEAD_CANARY".to_owned(), mistake.to_owned())],
        binary: Some(canary_binary()?),
        ..AgentOptions::default()
    };
    Steered::start_with(&Profile::default(), &options)
}

fn expect_failure<T: Debug>(check: Result<T>, reason: &str) -> Result<()> {
    let error = match check {
        Ok(value) => anyhow::bail!("the mistake was not noticed: {value:?}"),
        Err(error) => format!("{error:#}"),
    };
    ensure!(error.contains(reason), "failed for another reason: {error}");
    println!("noticed: {error}");
    Ok(())
}
