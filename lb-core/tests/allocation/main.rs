//! Allocation with everything going wrong that can: users who edit and delete, two leaders at once, processes that die
//! between two writes, writes and answers that are lost, caches of any age. `FAIRLEAD_SEED=n` repeats one run,
//! `FAIRLEAD_SEEDS=n` sets how many are made.

#![allow(
    clippy::disallowed_methods,
    reason = "which seeds are run is said by the environment"
)]

mod checks;
mod leader;
mod random;
mod store;
mod users;
mod world;

use std::collections::BTreeMap;

use world::World;

const SEEDS: u64 = 4000;

#[test]
fn an_address_is_never_given_twice_never_taken_and_never_lost() {
    let mut transitions = BTreeMap::new();
    for seed in seeds() {
        let mut world = World::new(seed);
        let run = std::panic::AssertUnwindSafe(|| world.run());
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("repeat it with FAIRLEAD_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
        for (transition, count) in world.transitions {
            *transitions.entry(transition).or_insert(0_u64) += count;
        }
    }
    for (transition, count) in &transitions {
        println!("{count:>9} {transition}");
    }
    if std::env::var_os("FAIRLEAD_SEED").is_none() {
        let never: Vec<_> = TRANSITIONS
            .iter()
            .filter(|transition| !transitions.contains_key(**transition))
            .collect();
        assert!(never.is_empty(), "never taken: {never:?}");
    }
}

/// All that must have happened at least once.
const TRANSITIONS: [&str; 41] = [
    "claim: made",
    "claim: made for what a Service shows",
    "claim: Held to Unused",
    "claim: Unused to Held",
    "claim: Held to Resting",
    "claim: Unused to Resting",
    "claim: Resting to Held",
    "claim: forgotten",
    "claim: gets a port",
    "claim: loses a port",
    "pool: finalizer on",
    "pool: finalizer off",
    "pool: taken over by a new leader",
    "service: finalizer on",
    "service: finalizer off",
    "service: gets its first address",
    "service: gets a second family",
    "service: moves",
    "service: leaves by reassign",
    "service: shares an address",
    "service: shares an address by key",
    "service: has a port conflict",
    "service: is released",
    "service: keeps an address outside its pool",
    "service: is not touched",
    "reason: NoPool",
    "reason: PoolExhausted",
    "reason: PoolDisabled",
    "reason: PoolFenced",
    "reason: FamilyMismatch",
    "reason: IPInUse",
    "reason: PortConflict",
    "reason: InvalidRequest",
    "write: conflict",
    "write: gone",
    "write: lost",
    "write: answer lost",
    "write: not confirmed",
    "leader: dies",
    "leader: is deposed",
    "leader: looks afresh",
];

fn seeds() -> Box<dyn Iterator<Item = u64>> {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse().expect("a number"))
    };
    match number("FAIRLEAD_SEED") {
        Some(seed) => Box::new(std::iter::once(seed)),
        None => Box::new(1..=number("FAIRLEAD_SEEDS").unwrap_or(SEEDS)),
    }
}
