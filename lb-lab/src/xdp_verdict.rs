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

/// A program of other software that lets every frame pass and counts it; it goes when this is dropped.
pub struct CountingProgram {
    _link: OwnedFd,
    counter: OwnedFd,
}

impl CountingProgram {
    /// Frames so far.
    pub fn frames(&self) -> io::Result<u64> {
        let (key, mut frames) = (0_u32, 0_u64);
        let request = ElementRequest {
            map: self.counter.as_raw_fd().cast_unsigned(),
            padding: 0,
            key: (&raw const key).addr() as u64,
            value: (&raw mut frames).addr() as u64,
            flags: 0,
        };
        bpf_status(COMMAND_MAP_LOOKUP, &request)?;
        Ok(frames)
    }
}

/// Attaches a program that counts and passes, as [`attach`].
pub(crate) fn attach_counting(interface_index: u32) -> io::Result<CountingProgram> {
    let counter = counter()?;
    let map = counter.as_raw_fd().cast_unsigned();
    let instructions = [
        // r2 = r10 - 4; *r2 = 0; r0 = lookup(r1 = counter, r2); if r0 != 0, lock *r0 += 1; return XDP_PASS.
        0xa2bf,
        0x07 | 2 << 8 | (-4_i64 as u64) << IMMEDIATE_SHIFT,
        0x0262,
        0x1118 | u64::from(map) << IMMEDIATE_SHIFT,
        0,
        0x85 | MAP_LOOKUP << IMMEDIATE_SHIFT,
        0x0015 | 2 << 16,
        MOVE_IMMEDIATE_TO_R0 | 1 << 8 | 1 << IMMEDIATE_SHIFT,
        0x10db,
        MOVE_IMMEDIATE_TO_R0 | (Verdict::Pass as u64) << IMMEDIATE_SHIFT,
        EXIT,
    ];
    attach_with(&instructions, counter, interface_index)
}

/// Attaches a program that counts in this map.
pub(crate) fn attach_with(
    instructions: &[u64],
    counter: OwnedFd,
    interface_index: u32,
) -> io::Result<CountingProgram> {
    let program = load(PROGRAM_TYPE_XDP, instructions)?;
    let link = attach_loaded(&program, interface_index)?;
    Ok(CountingProgram {
        _link: link,
        counter,
    })
}

/// A map of one number, zero.
pub(crate) fn counter() -> io::Result<OwnedFd> {
    bpf(
        COMMAND_MAP_CREATE,
        &MapCreate {
            map_type: MAP_TYPE_ARRAY,
            key_bytes: 4,
            value_bytes: 8,
            entries: 1,
        },
    )
}

/// Attaches a program to the link with this index in the namespace of the calling thread, in native mode.
pub(crate) fn attach(interface_index: u32, verdict: Verdict) -> io::Result<AttachedProgram> {
    let program = load(PROGRAM_TYPE_XDP, &returning(verdict as u8))?;
    let link = attach_loaded(&program, interface_index)?;
    Ok(AttachedProgram { _link: link })
}

fn attach_loaded(program: &OwnedFd, interface_index: u32) -> io::Result<OwnedFd> {
    let request = LinkCreate {
        program: program.as_raw_fd().cast_unsigned(),
        interface_index,
        attach_type: ATTACH_TYPE_XDP,
        flags: XDP_FLAGS_NATIVE,
    };
    bpf(COMMAND_LINK_CREATE, &request)
}

/// Attaches a program that drops everything to the link's egress, behind the programs that are there.
pub(crate) fn attach_egress_drop(interface_index: u32) -> io::Result<AttachedProgram> {
    let program = load(PROGRAM_TYPE_SCHED_CLS, &returning(TCX_DROP))?;
    let request = LinkCreate {
        program: program.as_raw_fd().cast_unsigned(),
        interface_index,
        attach_type: ATTACH_TYPE_TCX_EGRESS,
        flags: 0,
    };
    let link = bpf(COMMAND_LINK_CREATE, &request)?;
    Ok(AttachedProgram { _link: link })
}

fn returning(verdict: u8) -> [u64; 2] {
    [
        MOVE_IMMEDIATE_TO_R0 | u64::from(verdict) << IMMEDIATE_SHIFT,
        EXIT,
    ]
}

fn load(program_type: u32, instructions: &[u64]) -> io::Result<OwnedFd> {
    let license = c"Dual MIT/GPL";
    let request = |flags| ProgramLoad {
        program_type,
        instruction_count: instructions.len() as u32,
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
    let descriptor = bpf_status(command, request)?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Calls bpf(2); what it returned if that is not an error.
fn bpf_status<Request>(command: libc::c_long, request: &Request) -> io::Result<i32> {
    // SAFETY: the request is a prefix of `union bpf_attr` with its size given; what it points to outlives the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(request),
            size_of::<Request>(),
        )
    };
    let result =
        i32::try_from(result).map_err(|_| io::Error::other("bpf(2) returned no status"))?;
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
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

/// The head of `BPF_MAP_CREATE`'s part of `union bpf_attr`.
#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_bytes: u32,
    value_bytes: u32,
    entries: u32,
}

/// `BPF_MAP_LOOKUP_ELEM`'s part of `union bpf_attr`.
#[repr(C)]
struct ElementRequest {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

const COMMAND_MAP_CREATE: libc::c_long = 0;
const COMMAND_MAP_LOOKUP: libc::c_long = 1;
const MAP_TYPE_ARRAY: u32 = 2;
/// `BPF_FUNC_map_lookup_elem`.
const MAP_LOOKUP: u64 = 1;
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
