//! What this kernel can do, found out by asking it: programs of a few instructions that are loaded and dropped at once,
//! never attached and never run, and a query. Names and numbers: linux/bpf.h.

use std::os::fd::OwnedFd;

use super::{bpf_answered, bpf_object};

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_QUERY: libc::c_int = 16;
const BPF_PROG_TYPE_SOCKET_FILTER: u32 = 1;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_F_XDP_HAS_FRAGS: u32 = 1 << 5;
const BPF_TCX_EGRESS: u32 = 47;
const LOOPBACK: u32 = 1;

/// `BPF_PROG_LOAD` (union bpf_attr), up to the flags.
#[repr(C)]
#[derive(Default)]
struct LoadAttributes {
    program_type: u32,
    count: u32,
    instructions: u64,
    licence: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// `BPF_PROG_QUERY` (union bpf_attr), whole: the kernel writes the last field whatever length it is told.
#[repr(C)]
#[derive(Default)]
struct QueryAttributes {
    target: u32,
    attach_type: u32,
    flags: u32,
    attach_flags: u32,
    programs: u64,
    count: u32,
    padding: u32,
    program_flags: u64,
    links: u64,
    link_flags: u64,
    revision: u64,
}

/// Whether the verifier takes these instructions as a socket filter.
pub(crate) fn loads(instructions: &[u64]) -> bool {
    load(BPF_PROG_TYPE_SOCKET_FILTER, 0, instructions)
}

/// Whether the kernel takes an XDP program that knows frames in several buffers.
pub(crate) fn has_xdp_fragments() -> bool {
    // `r0 = 2 (XDP_PASS); exit`.
    load(
        BPF_PROG_TYPE_XDP,
        BPF_F_XDP_HAS_FRAGS,
        &[0xb7 | 2 << 32, 0x95],
    )
}

/// Whether the kernel knows tcx: it can be asked for what is attached to the first interface, the loopback.
pub(crate) fn has_tcx() -> bool {
    let mut attributes = QueryAttributes {
        target: LOOPBACK,
        attach_type: BPF_TCX_EGRESS,
        ..QueryAttributes::default()
    };
    bpf_answered(BPF_PROG_QUERY, &mut attributes).is_ok()
}

fn load(program_type: u32, flags: u32, instructions: &[u64]) -> bool {
    let attributes = LoadAttributes {
        program_type,
        count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        licence: c"GPL".as_ptr() as u64,
        flags,
        ..LoadAttributes::default()
    };
    bpf_object(BPF_PROG_LOAD, &attributes)
        .map(drop::<OwnedFd>)
        .is_ok()
}
