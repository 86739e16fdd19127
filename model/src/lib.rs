//! What the data path must do, written a second time from the design and the RFCs, in plain Rust over etherparse. It
//! shares no line with the data path, so that one mistake is not made twice. What the design leaves to a keyed hash
//! (the endpoint of a row, the tag and entropy of GUE) the model does not know: it takes the first packet's word for
//! it, and holds every later packet, on every node, to the same.

mod answers;
mod cluster;
mod compare;
mod counters;
mod flows;
mod ingress;
mod learned;
mod neighbours;
mod parse;
mod parts;
mod replies;
pub mod tags;
mod translate;
mod tunnel;
pub mod wire;

pub use cluster::{Cluster, Endpoint, Node, ServicePort, Way};
pub use compare::{Action, Observed};
pub use counters::{Key, Range, Tally};
pub use flows::{FlowState, FlowView, Tuple};
pub use ingress::Model;
