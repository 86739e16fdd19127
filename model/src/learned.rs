//! What the design leaves to a keyed hash: the model takes the data path's word for it once, and holds every later packet
//! to it.

use crate::flows::Tuple;

/// What only the cluster's key explains: the model takes the data path's word for it once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Secret {
    /// The tag of a flow's GUE by hop, flags and ingress node.
    Tag(Tuple, u8, u8, u32),
    /// The outer source port of a flow.
    Entropy(Tuple),
    /// What GUE calls a node.
    NodeId(usize),
}

/// What a keyed hash leads to one of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Draw {
    /// One of a service's endpoints.
    Endpoint(Row),
    /// The node that is home to the parts of datagrams between two hosts, by protocol; the ports are 0.
    Home(Tuple),
}

/// What leads a flow to one of a list of endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    /// Its client port is 0 where the client's address alone decides.
    pub(crate) flow: Tuple,
    /// The list is that of a node's own endpoints.
    pub(crate) of_node: Option<usize>,
}
