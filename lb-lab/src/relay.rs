//! The smallest program that sends a frame on: it writes two MACs, counts, and returns `XDP_TX`. What a link takes of a
//! packet whoever decides where it goes is told by it, so it looks at nothing and knows nothing. Written as instructions
//! (RFC 9669), for the raw bpf(2) system call.

use std::{io, os::fd::AsRawFd as _};

use crate::{
    netlink::Mac,
    xdp_verdict::{self, CountingProgram, Verdict},
};

/// Attaches a relay to the link with this index in the namespace of the calling thread: every frame goes back out of it,
/// to one MAC and from another.
pub(crate) fn attach(interface_index: u32, to: Mac, from: Mac) -> io::Result<CountingProgram> {
    let counter = xdp_verdict::counter()?;
    let macs = [to, from].concat();
    let word = |at| u32::from_le_bytes([macs[at], macs[at + 1], macs[at + 2], macs[at + 3]]);
    let half = |at| u32::from(u16::from_le_bytes([macs[at], macs[at + 1]]));
    let map = counter.as_raw_fd().cast_unsigned();
    let instructions = [
        // r2 = data, r3 = data_end; a frame without MACs is dropped.
        operation(0x61, 2, 1, 0, 0),
        operation(0x61, 3, 1, 4, 0),
        operation(0xbf, 4, 2, 0, 0),
        operation(0x07, 4, 0, 0, 14),
        operation(0xb7, 0, 0, 0, Verdict::Drop as u32),
        operation(0x2d, 4, 3, 10, 0),
        // Both MACs, in the sizes that are aligned.
        operation(0x62, 2, 0, 0, word(0)),
        operation(0x6a, 2, 0, 4, half(4)),
        operation(0x6a, 2, 0, 6, half(6)),
        operation(0x62, 2, 0, 8, word(8)),
        // r1 = the map's value; it grows by one.
        operation(0x18, 1, PSEUDO_MAP_VALUE, 0, map),
        operation(0, 0, 0, 0, 0),
        operation(0x79, 3, 1, 0, 0),
        operation(0x07, 3, 0, 0, 1),
        operation(0x7b, 1, 3, 0, 0),
        operation(0xb7, 0, 0, 0, Verdict::Transmit as u32),
        operation(0x95, 0, 0, 0, 0),
    ];
    xdp_verdict::attach_with(&instructions, counter, interface_index)
}

/// `BPF_PSEUDO_MAP_VALUE` of include/uapi/linux/bpf.h.
const PSEUDO_MAP_VALUE: u64 = 2;

/// One instruction, as `struct bpf_insn` lies in memory on a little-endian machine.
fn operation(code: u64, destination: u64, source: u64, offset: u64, immediate: u32) -> u64 {
    code | destination << 8 | source << 12 | offset << 16 | u64::from(immediate) << 32
}
