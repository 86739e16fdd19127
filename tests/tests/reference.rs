//! The real programs beside the reference model, on random and mutated packets and whole conversations of them, over
//! four nodes; every checksum of every packet that leaves is verified. Needs root; nothing is attached.

use std::env;

use anyhow::{Context as _, Result, ensure};
use fairlead_tests::{
    reference::{Reference, shown},
    traffic,
};

/// A hundred thousand packets, and those that nodes send each other.
const SCENES: u64 = 1400;
/// Comparing every flow reads whole tables.
const SCENES_BETWEEN_FLOWS: u64 = 100;

/// Outcomes without which a run has shown little.
const OUTCOMES: [&[&str]; 37] = [
    &[],
    &["delivered"],
    &["neighbour-answered"],
    &["vip-claimed"],
    &["forwarded-direct"],
    &["forwarded-gue"],
    &["replied"],
    &["no-such-port"],
    &["no-such-port", "reset-sent"],
    &["error-sent", "no-such-port"],
    &["no-endpoint", "reset-sent"],
    &["error-sent", "ttl-expired"],
    &["ttl-expired"],
    &["node-unresolved"],
    &["detoured", "forwarded-gue"],
    &["no-such-port", "source-martian"],
    &["error-sent", "too-big"],
    &["malformed"],
    &["fragment"],
    &["fragment-sent-home"],
    &["fragment-unknown"],
    &["fragment-overlap"],
    &["fragment-tiny"],
    &["header-options"],
    &["unsupported-protocol"],
    &["echo-answered", "unsupported-protocol"],
    &["gue-stranger"],
    &["gue-malformed"],
    &["gue-bad-tag"],
    &["icmp-error-delivered"],
    &["icmp-error-of-no-flow"],
    &["icmp-error-replied"],
    &["reply-fragment"],
    &["source-refused"],
    &["left-to-kernel"],
    &["delivered", "reverse-clash"],
    &["client-port-translated", "delivered", "reverse-clash"],
];

#[test]
fn the_data_path_does_what_the_model_says() -> Result<()> {
    let seed = env::var("FAIRLEAD_SEED").ok().map(|seed| seed.parse());
    if let Some(seed) = seed.transpose().context("FAIRLEAD_SEED")? {
        let mut reference = Reference::new()?;
        traffic::play(&mut reference, seed)?;
        reference.compare_flows()?;
        return reference.compare_counters();
    }
    let reference = run(1, SCENES)?;
    println!(
        "{} packets\n{}",
        reference.packets(),
        shown(reference.taken())
    );
    ensure!(
        reference.packets() >= 100_000,
        "{} packets",
        reference.packets()
    );
    for outcome in OUTCOMES {
        let times = reference.taken().get(outcome).copied().unwrap_or(0);
        ensure!(
            times > 0,
            "never met: {outcome:?}\n{}",
            shown(reference.taken())
        );
    }
    Ok(())
}

#[test]
#[ignore = "soak: a million packets"]
fn the_data_path_does_what_the_model_says_a_million_times() -> Result<()> {
    let reference = run(1 << 20, 10 * SCENES)?;
    let packets = reference.packets();
    println!("{packets} packets\n{}", shown(reference.taken()));
    ensure!(packets >= 1_000_000, "{packets} packets");
    Ok(())
}

fn run(first_seed: u64, scenes: u64) -> Result<Reference> {
    let mut reference = Reference::new()?;
    for number in 0..scenes {
        traffic::play(&mut reference, first_seed + number)?;
        if number % SCENES_BETWEEN_FLOWS == SCENES_BETWEEN_FLOWS - 1 {
            let of = format!("after the scenes up to {}", first_seed + number);
            let compared = reference.compare_flows();
            compared
                .and_then(|()| reference.compare_counters())
                .context(of)?;
        }
    }
    Ok(reference)
}
