//! What brings a packet in, as the programs of the ingress path see it: the context, the frame's bounds, moves of its ends,
//! and what may become of it. All that is said of one hook and not of another is in here, and chosen where it is compiled.

mod xdp;

pub(crate) use xdp::*;
