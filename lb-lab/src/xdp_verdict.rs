//! The smallest programs there are, `return VERDICT`, loaded with the raw bpf(2) system call. A veth sends what its
//! peer returns with `XDP_TX` only if that peer has an XDP program itself (`drivers/net/veth.c`, `veth_xdp_xmit`), so
//! every bridge port that faces a node gets `XDP_PASS`, where a real NIC's port would need nothing. On egress one
//! stands for other software's programs.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// What the program returns for every frame (`enum xdp_action` of include/uapi/linux/bpf.h).
#[derive(Clone, Copy)]
pub(crate) enum Verdict {
    /// Gone.
    Drop = 1,
    /// On to the stack.
    Pass = 2,
    /// Back out of the link it came in by, as it is.
    Transmit = 3,
}

/// An attached program; it goes when this is dropped.
pub struct AttachedProgram {
    _link: OwnedFd,
}

/// Attaches a program to the link with this index in the namespace of the calling thread, in native mode.
pub(crate) fn attach(interface_index: u32, verdict: Verdict) -> io::Result<AttachedProgram> {
    let program = load(PROGRAM_TYPE_XDP, verdict as u8)?;
    let request = LinkCreate {
        program: program.as_raw_fd().cast_unsigned(),
        interface_index,
        attach_type: ATTACH_TYPE_XDP,
        flags: XDP_FLAGS_NATIVE,
    };
    let link = bpf(COMMAND_LINK_CREATE, &request)?;
    Ok(AttachedProgram { _link: link })
}

/// Attaches a program that drops everything to the link's egress, behind the programs that are there.
pub(crate) fn attach_egress_drop(interface_index: u32) -> io::Result<AttachedProgram> {
    let program = load(PROGRAM_TYPE_SCHED_CLS, TCX_DROP)?;
    let request = LinkCreate {
        program: program.as_raw_fd().cast_unsigned(),
        interface_index,
        attach_type: ATTACH_TYPE_TCX_EGRESS,
        flags: 0,
    };
    let link = bpf(COMMAND_LINK_CREATE, &request)?;
    Ok(AttachedProgram { _link: link })
}

fn load(program_type: u32, verdict: u8) -> io::Result<OwnedFd> {
    let instructions = [
        MOVE_IMMEDIATE_TO_R0 | u64::from(verdict) << IMMEDIATE_SHIFT,
        EXIT,
    ];
    let license = c"Dual MIT/GPL";
    let request = |flags| ProgramLoad {
        program_type,
        instruction_count: 2,
        instructions: instructions.as_ptr().addr() as u64,
        license: license.as_ptr().addr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags,
    };
    // Frames of a jumbo MTU lie in several buffers (Linux 5.18).
    let flags = match program_type {
        PROGRAM_TYPE_XDP => XDP_HAS_FRAGMENTS,
        _ => 0,
    };
    bpf(COMMAND_PROGRAM_LOAD, &request(flags)).or_else(|_| bpf(COMMAND_PROGRAM_LOAD, &request(0)))
}

/// Calls bpf(2) for a command that returns a descriptor.
fn bpf<Request>(command: libc::c_long, request: &Request) -> io::Result<OwnedFd> {
    // SAFETY: the request is a prefix of `union bpf_attr` with its size given; what it points to outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(request),
            size_of::<Request>(),
        )
    };
    let Ok(descriptor) = i32::try_from(result) else {
        return Err(io::Error::other("bpf(2) returned no descriptor"));
    };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// The head of `BPF_PROG_LOAD`'s part of `union bpf_attr` (include/uapi/linux/bpf.h).
#[repr(C)]
struct ProgramLoad {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The head of `BPF_LINK_CREATE`'s part of `union bpf_attr`.
#[repr(C)]
struct LinkCreate {
    program: u32,
    interface_index: u32,
    attach_type: u32,
    flags: u32,
}

const COMMAND_PROGRAM_LOAD: libc::c_long = 5;
const COMMAND_LINK_CREATE: libc::c_long = 28;
const PROGRAM_TYPE_XDP: u32 = 6;
const ATTACH_TYPE_XDP: u32 = 37;
const PROGRAM_TYPE_SCHED_CLS: u32 = 3;
const ATTACH_TYPE_TCX_EGRESS: u32 = 47;
const TCX_DROP: u8 = 2;
/// `XDP_FLAGS_DRV_MODE` of include/uapi/linux/if_link.h.
const XDP_FLAGS_NATIVE: u32 = 1 << 2;
/// `BPF_F_XDP_HAS_FRAGS` of include/uapi/linux/bpf.h.
const XDP_HAS_FRAGMENTS: u32 = 1 << 5;

/// `BPF_ALU64 | BPF_MOV | BPF_K` with destination r0.
const MOVE_IMMEDIATE_TO_R0: u64 = 0xb7;
/// Where the immediate lies in `struct bpf_insn`, little endian.
const IMMEDIATE_SHIFT: u32 = 32;
/// `BPF_JMP | BPF_EXIT`.
const EXIT: u64 = 0x95;
