//! Which node is home to whose fragments: rendezvous hashing over a fixed number of places, so that all nodes agree and a
//! node that comes or goes moves its own share only.

use std::{collections::BTreeMap, sync::Arc};

use lb_common::fragment::{HOMES, home_score};

use crate::{image::node_id, model::Node};

/// Index of the home, by place. Empty without nodes.
pub(super) fn homes(seed: u64, nodes: &BTreeMap<u16, Arc<Node>>) -> Arc<[u16]> {
    let nodes: Vec<_> = nodes
        .iter()
        .map(|(&index, node)| (index, node_id(seed, node)))
        .collect();
    let home = |place| {
        let best = nodes
            .iter()
            .max_by_key(|(_, id)| (home_score(seed, place, *id), *id));
        best.map(|(index, _)| *index)
    };
    (0..HOMES).filter_map(home).collect()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn nodes(numbers: impl Iterator<Item = u8>) -> BTreeMap<u16, Arc<Node>> {
        let node = |number: u8| Node {
            name: format!("node{number}").into(),
            addresses: vec![IpAddr::from([10, 0, 0, number])],
            labels: BTreeMap::new(),
            unfit: None,
        };
        numbers
            .map(|number| (u16::from(number), Arc::new(node(number))))
            .collect()
    }

    #[test]
    fn a_node_that_leaves_moves_its_own_share_only() {
        let before = homes(7, &nodes(1..=10));
        let after = homes(7, &nodes(1..=9));
        assert_eq!(before.len(), HOMES as usize);
        for (before, after) in before.iter().zip(&*after) {
            assert!(before == after || *before == 10, "{before} {after}");
        }
    }

    #[test]
    fn shares_are_nearly_even() {
        let homes = homes(7, &nodes(1..=10));
        for index in 1..=10 {
            let share = homes.iter().filter(|&&home| home == index).count();
            assert!((70..140).contains(&share), "{index}: {share}");
        }
    }
}
