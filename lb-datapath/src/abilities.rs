//! What the running kernel can do, found out by trying and never by its version: distributions backport. What it lacks
//! has a fallback each: another build of the programs, another way to attach.

use std::fmt;

use crate::sys;

/// What newer kernels have and 5.10 may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// BPF has compare-and-swap (5.12). Without it whoever makes a flow takes a lock.
    pub compare_and_swap: bool,
    /// XDP takes frames that lie in several buffers (5.18), which drivers have of large MTUs. Without: a native program asks for an
    /// MTU that fits into one.
    pub xdp_fragments: bool,
    /// Programs at tc's hooks have links, which a restart replaces (tcx, 6.6). Without them: a filter of clsact.
    pub tcx: bool,
}

impl Abilities {
    /// Asks the kernel; changes nothing.
    #[must_use]
    pub fn probe() -> Self {
        Self {
            compare_and_swap: sys::loads(&COMPARE_AND_SWAP),
            xdp_fragments: sys::has_xdp_fragments(),
            tcx: sys::has_tcx(),
        }
    }

    /// Whether the programs must be the build for kernels that lack something.
    pub(crate) fn need_basic(self) -> bool {
        !self.compare_and_swap || !self.xdp_fragments
    }
}

impl fmt::Display for Abilities {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let swap = if self.need_basic() {
            "a lock for new flows and one buffer a frame (compare-and-swap is from 5.12, XDP with fragments from 5.18)"
        } else {
            "compare-and-swap, XDP with fragments"
        };
        let egress = if self.tcx {
            "tcx links"
        } else {
            "clsact filters (tcx is from 6.6)"
        };
        write!(out, "{swap}, {egress}")
    }
}

/// `r0 = 0; *(u64 *)(r10 - 8) = 0; cmpxchg(r10 - 8, r0, r0); exit` in the encoding of
/// Documentation/bpf/standardization/instruction-set.rst: opcode, registers, offset, immediate.
const COMPARE_AND_SWAP: [u64; 4] = [
    instruction(0xb7, 0x00, 0, 0),
    instruction(0x7a, 0x0a, -8, 0),
    instruction(0xdb, 0x0a, -8, 0xf1),
    instruction(0x95, 0x00, 0, 0),
];

const fn instruction(opcode: u8, registers: u8, offset: i16, immediate: u32) -> u64 {
    opcode as u64
        | (registers as u64) << 8
        | (offset.cast_unsigned() as u64) << 16
        | (immediate as u64) << 32
}
