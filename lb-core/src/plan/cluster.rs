//! The cluster as every service plan sees it. A node's index is private to this node's data path and sticky:
//! a name keeps its index while it is in the cluster. A new name hashes to a home and takes the first index
//! from there that is free and was free in the plan before, so that an index does not change its meaning at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use lb_common::{hash, limits::NODES_MAX};

use super::homes::homes;
use crate::{
    Snapshot,
    desired::{ClusterPlan, ClusterView},
    model::Node,
};

pub(super) fn plan_cluster(
    snapshot: &Snapshot,
    previous: Option<&Arc<ClusterPlan>>,
) -> Arc<ClusterPlan> {
    let (nodes, left_out) = indexed(&snapshot.nodes, previous.map(|plan| &*plan.view));
    let indices: BTreeMap<_, _> = nodes
        .iter()
        .map(|(&index, node)| (Arc::clone(&node.name), index))
        .collect();
    let view = ClusterView {
        own_index: indices.get(&snapshot.own_node).copied(),
        seed: snapshot.keys.seed,
        indices,
    };
    let view = match previous {
        Some(previous) if *previous.view == view => Arc::clone(&previous.view),
        _ => Arc::new(view),
    };
    let homes = match previous {
        Some(previous) if previous.nodes == nodes && previous.keys == snapshot.keys => {
            Arc::clone(&previous.homes)
        }
        _ => homes(snapshot.keys.seed[0], &nodes),
    };
    let plan = ClusterPlan {
        view,
        homes,
        keys: snapshot.keys,
        nodes,
        links: snapshot.links.clone(),
        datapath: snapshot.datapath,
        dataplane: Arc::clone(&snapshot.dataplane),
        left_out,
    };
    match previous {
        Some(previous) if **previous == plan => Arc::clone(previous),
        _ => Arc::new(plan),
    }
}

type Indexed = (BTreeMap<u16, Arc<Node>>, BTreeMap<Arc<str>, String>);

fn indexed(nodes: &[Arc<Node>], previous: Option<&ClusterView>) -> Indexed {
    let before = |name: &str| previous.and_then(|view| view.indices.get(name).copied());
    let sorted: BTreeMap<_, _> = nodes.iter().map(|node| (&node.name, node)).collect();
    let (known, new): (Vec<_>, Vec<_>) = sorted
        .into_values()
        .partition(|node| before(&node.name).is_some());
    let mut indexed: BTreeMap<_, _> = known
        .into_iter()
        .filter_map(|node| Some((before(&node.name)?, Arc::clone(node))))
        .collect();
    let mut taken: BTreeSet<_> = previous
        .into_iter()
        .flat_map(|view| view.indices.values().copied())
        .collect();
    let mut left_out = BTreeMap::new();
    for node in new {
        let free = (0..NODES_MAX)
            .map(|step| ((home(&node.name) + step) % NODES_MAX) as u16)
            .find(|index| !taken.contains(index));
        if let Some(index) = free {
            taken.insert(index);
            indexed.insert(index, Arc::clone(node));
        } else {
            let reason = format!("a cluster has at most {NODES_MAX} nodes");
            left_out.insert(Arc::clone(&node.name), reason);
        }
    }
    (indexed, left_out)
}

fn home(name: &str) -> u32 {
    let hash = name
        .bytes()
        .fold(0, |state, byte| hash::word(state, byte.into()));
    (hash >> 32) as u32 % NODES_MAX
}
