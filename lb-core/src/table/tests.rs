use std::{collections::BTreeMap, net::IpAddr};

use proptest::prelude::*;

use super::*;

const SEED: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];

fn target(number: u16, weight: u16) -> Target {
    let [high, low] = number.to_be_bytes();
    Target {
        address: IpAddr::from([10, 1, high, low]),
        port: 8080,
        node: number % 7,
        weight,
    }
}

fn set(numbers: impl IntoIterator<Item = u16>) -> Vec<Target> {
    let mut targets: Vec<_> = numbers
        .into_iter()
        .map(|number| target(number, 1))
        .collect();
    targets.sort_unstable();
    targets
}

/// What nodes agree on: the endpoint of each row.
fn owners(targets: &[Target]) -> Vec<(IpAddr, u16)> {
    let owner = |place: usize| (targets[place].address, targets[place].port);
    rows(&SEED, targets).places().map(owner).collect()
}

fn moved(before: &[(IpAddr, u16)], after: &[(IpAddr, u16)]) -> usize {
    before.iter().zip(after).filter(|(a, b)| a != b).count()
}

fn loads(targets: &[Target]) -> Vec<usize> {
    let mut loads = vec![0; targets.len()];
    for place in rows(&SEED, targets).places() {
        loads[place] += 1;
    }
    loads
}

fn max_over_average(targets: &[Target]) -> f64 {
    let loads = loads(targets);
    let average = loads.iter().sum::<usize>() as f64 / loads.len() as f64;
    *loads.iter().max().unwrap() as f64 / average
}

#[test]
fn shapes_follow_the_number_of_endpoints() {
    for (count, shape, rows_wanted) in [
        (0, Shape::Single, 0),
        (1, Shape::Single, 0),
        (2, Shape::Narrow, 4096),
        (255, Shape::Narrow, 4096),
        (256, Shape::Wide, 4096),
        (1024, Shape::Large, 16_384),
    ] {
        let table = rows(&SEED, &set(0..count));
        assert_eq!((table.shape(), table.places().len()), (shape, rows_wanted));
        assert!(table.places().all(|place| place < count.into()));
    }
}

#[test]
fn load_is_balanced() {
    // Capacity is 1.25 of the share, rounded up to a whole row: 52 of 40.96.
    let hundred = max_over_average(&set(0..100));
    assert!(hundred <= 1.27, "{hundred}");
    // With few endpoints the bound is far off and what is left is chance: of one set it may be 1.09.
    for count in 2..=10 {
        let sets = (0..50).map(|first| max_over_average(&set(first * 10..first * 10 + count)));
        let mean = sets.sum::<f64>() / 50.0;
        assert!(mean <= 1.08, "{count} endpoints: {mean}");
    }
    assert!(loads(&set(0..4000)).iter().all(|&load| load <= 6));
}

#[test]
fn one_of_a_hundred_leaves_and_hardly_anything_else_moves() {
    let all = set(0..100);
    let before = owners(&all);
    let mut extra = 0;
    for gone in 0..100 {
        let mut rest = all.clone();
        let left = rest.remove(gone);
        let must = before
            .iter()
            .filter(|(address, _)| *address == left.address)
            .count();
        extra += moved(&before, &owners(&rest)) - must;
    }
    let percent = extra as f64 / (100.0 * 4096.0) * 100.0;
    assert!(percent <= 0.2, "{percent}% of the rows moved without need");
}

#[test]
fn there_and_back_is_the_same_table() {
    let sixteen = owners(&set(0..16));
    let seventeen = owners(&set(0..17));
    let share = moved(&sixteen, &seventeen) as f64 / 4096.0;
    assert!(
        (0.05..0.08).contains(&share),
        "{share} of the rows moved, 1/17 must"
    );
    assert_eq!(owners(&set(0..16)), sixteen);
}

#[test]
fn weights_are_shares() {
    let targets: Vec<_> = (0..10)
        .map(|n| target(n, if n == 0 { 3 } else { 1 }))
        .collect();
    let loads = loads(&targets);
    let others = loads[1..].iter().sum::<usize>() as f64 / 9.0;
    let ratio = loads[0] as f64 / others;
    assert!((2.7..3.3).contains(&ratio), "{ratio}");
}

#[test]
fn equal_weights_are_no_weights() {
    let light = set(0..20);
    let heavy: Vec<_> = (0..20).map(|number| target(number, 7)).collect();
    assert_eq!(owners(&light), owners(&heavy));
    // The weighted path agrees with the plain one where they meet.
    let mut nearly = heavy;
    nearly[19].weight = 6;
    let changed = moved(&owners(&light), &owners(&nearly));
    assert!(changed < 4096 / 20, "{changed}");
}

#[test]
fn another_seed_is_another_table() {
    let targets = set(0..50);
    let other = rows(&[SEED[0] ^ 1, SEED[1]], &targets);
    let table = rows(&SEED, &targets);
    let same = table
        .places()
        .zip(other.places())
        .filter(|(a, b)| a == b)
        .count();
    assert!(same < 4096 / 20, "{same}");
}

/// The contract between agents: a change of these numbers splits a cluster of two versions.
#[test]
fn the_table_is_what_it_was() {
    let digest = |targets: &[Target]| {
        let table = rows(&SEED, targets);
        table
            .places()
            .fold(0, |state, place| lb_common::hash::word(state, place as u64))
    };
    let weighted: Vec<_> = (0..30)
        .map(|number| target(number, 1 + number % 5))
        .collect();
    let digests = [
        digest(&set(0..3)),
        digest(&set(0..100)),
        digest(&set(0..300)),
        digest(&weighted),
    ];
    assert_eq!(
        digests,
        [
            1_775_896_134_140_533_246,
            430_649_604_874_856_519,
            15_529_484_869_396_064_260,
            10_252_578_778_740_626_139,
        ]
    );
}

/// As the definition says, without a thought of speed: all pairs, best score first.
fn by_definition(targets: &[Target]) -> Vec<usize> {
    let scores = score::Scores::new(&SEED, targets, favourites::scalar);
    let row_count = Shape::for_endpoints(targets.len()).rows();
    let mut left = bounded::capacities(row_count, targets);
    let mut pairs: Vec<_> = (0..row_count)
        .flat_map(|row| (0..targets.len()).map(move |place| (row, place)))
        .map(|(row, place)| {
            (
                std::cmp::Reverse(scores.score(scores.row_key(row), place)),
                row,
                place,
            )
        })
        .collect();
    pairs.sort_unstable_by_key(|&(score, row, place)| (score, place, row));
    let mut winners = BTreeMap::new();
    for (_, row, place) in pairs {
        if left[place] > 0 && !winners.contains_key(&row) {
            winners.insert(row, place);
            left[place] -= 1;
        }
    }
    winners.into_values().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Vacuous only on a CPU without AVX2.
    #[test]
    fn both_paths_make_the_same_table(
        seed: [u64; 2],
        first: u16,
        count in prop_oneof![8 => 2u16..120, 1 => 240u16..270, 1 => 1020u16..1030],
        weighted: bool,
    ) {
        let weight = |number: u16| if weighted { 1 + number % 4 } else { 1 };
        let numbers = (0..count).map(|step| first.wrapping_add(step));
        let mut targets: Vec<_> = numbers.map(|number| target(number, weight(number))).collect();
        targets.sort_unstable();
        prop_assert_eq!(rows(&seed, &targets), rows_scalar(&seed, &targets));
    }

    /// Lengths that are no whole number of vectors are no table's, but they are a slice's.
    #[test]
    fn both_paths_have_the_same_favourites(seed: [u64; 2], count in 1u16..70, rows in 0u32..200) {
        let favourites = |path| {
            let scores = score::Scores::new(&seed, &set(0..count), path);
            let row_keys: Vec<_> = (0..rows).map(|row| scores.row_key(row)).collect();
            scores.favourites(&row_keys)
        };
        prop_assert_eq!(favourites(favourites::fastest()), favourites(favourites::scalar));
    }

    #[test]
    fn it_is_the_stable_matching(numbers in proptest::collection::btree_set(0u16..500, 2..40), weighted: bool) {
        let weight = |number: u16| if weighted { 1 + number % 4 } else { 1 };
        let targets: Vec<_> = numbers.iter().map(|&number| target(number, weight(number))).collect();
        let table: Vec<_> = rows(&SEED, &targets).places().collect();
        prop_assert_eq!(table, by_definition(&targets));
    }
}
