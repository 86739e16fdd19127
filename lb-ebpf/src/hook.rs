//! What brings a packet in, as the programs of the ingress path see it: the context, the frame's bounds, moves of its ends,
//! and what may become of it. XDP is meant; the build with the feature `tc` is for uplinks whose XDP hook is taken by
//! somebody else's program. All that is said of one hook and not of the other is in here, and chosen where it is compiled.

#[cfg(feature = "tc")]
mod tc;
#[cfg(not(feature = "tc"))]
mod xdp;

#[cfg(feature = "tc")]
pub(crate) use tc::*;
#[cfg(not(feature = "tc"))]
pub(crate) use xdp::*;
