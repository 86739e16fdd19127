use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Removes the key if there is no value.
type Edit = (u16, Option<u8>);

fn edit(map: &mut OrdMap<u16, u8>, twin: &mut BTreeMap<u16, u8>, edits: &[Edit]) {
    for &(key, value) in edits {
        match value {
            Some(value) => assert_eq!(map.insert(key, value), twin.insert(key, value)),
            None => assert_eq!(map.remove(&key), twin.remove(&key)),
        }
    }
}

fn edits(most: usize) -> impl Strategy<Value = Vec<Edit>> {
    prop::collection::vec((0..600_u16, prop::option::weighted(0.6, 0..4_u8)), 0..most)
}

proptest! {
    #[test]
    fn a_map_is_what_the_standard_one_is(edits in edits(2000)) {
        let (mut map, mut twin) = (OrdMap::default(), BTreeMap::new());
        edit(&mut map, &mut twin, &edits);
        prop_assert!(map.iter().eq(twin.iter()));
        prop_assert_eq!(map.len(), twin.len());
        prop_assert!((0..600).all(|key| map.get(&key) == twin.get(&key)));
        prop_assert!(map.chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= CHUNK_MAX));
    }

    #[test]
    fn a_difference_is_every_key_whose_value_changed(first in edits(2000), then in edits(40)) {
        let (mut old, mut old_twin) = (OrdMap::default(), BTreeMap::new());
        edit(&mut old, &mut old_twin, &first);
        let (mut new, mut new_twin) = (old.clone(), old_twin.clone());
        edit(&mut new, &mut new_twin, &then);
        prop_assert!(old.iter().eq(old_twin.iter()), "the copy is not changed");
        let seen: Vec<_> = old.diff(&new, u8::eq).map(|d| (*d.key, d.old.copied(), d.new.copied())).collect();
        let keys = 0..600_u16;
        let expected: Vec<_> = keys
            .map(|key| (key, old_twin.get(&key).copied(), new_twin.get(&key).copied()))
            .filter(|(_, old, new)| old != new)
            .collect();
        prop_assert_eq!(&seen, &expected);
        prop_assert_eq!(old == new, expected.is_empty());
    }
}

#[test]
fn shared_chunks_are_not_looked_into() {
    let old: OrdMap<u32, u32> = (0..10_000).map(|number| (number, number)).collect();
    assert_eq!(old.chunks.len(), 10_000_usize.div_ceil(CHUNK_MAX));
    let mut new = old.clone();
    new.insert(5000, 0);
    new.remove(&9000);
    let compared = std::cell::Cell::new(0);
    let same = |a: &u32, b: &u32| {
        compared.set(compared.get() + 1);
        a == b
    };
    assert_eq!(old.diff(&new, same).count(), 2);
    assert!(
        compared.get() <= 2 * CHUNK_MAX,
        "{} looked at",
        compared.get()
    );
}
