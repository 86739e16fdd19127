//! What aya has no word for: mapped arrays, release-ordered stores into them, an RCU barrier, link and map
//! information, test runs of two programs in a row. The crate's only `unsafe`.

mod probe;

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use bytemuck::{NoUninit, Pod};
pub(crate) use probe::{has_tcx, has_xdp_fragments, loads};

/// An array map in this process's memory, as 64-bit words.
pub(crate) struct Mapping {
    words: NonNull<AtomicU64>,
    len: usize,
    bytes: usize,
}

// SAFETY: the memory is shared with the kernel and only touched through atomics.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps a `BPF_F_MMAPABLE` array of `elements` values of `element_bytes` (a multiple of 8) each.
    pub(crate) fn new(
        map: BorrowedFd<'_>,
        elements: u32,
        element_bytes: usize,
    ) -> io::Result<Self> {
        let used = elements as usize * element_bytes;
        let page = page_bytes();
        let bytes = used.div_ceil(page) * page;
        // SAFETY: a fresh mapping of a length that the kernel checks against the map's.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let words = NonNull::new(address.cast())
            .ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
        Ok(Self {
            words,
            len: used / 8,
            bytes,
        })
    }

    /// All words.
    pub(crate) fn words(&self) -> &[AtomicU64] {
        // SAFETY: mapped for `len` words, page-aligned, until drop.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr(), self.len) }
    }

    /// Stores words one by one, each visible before the next.
    pub(crate) fn store(&self, at: usize, values: &[u64]) {
        for (word, value) in self.words()[at..at + values.len()].iter().zip(values) {
            word.store(*value, Ordering::Release);
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this length, and no reference outlives `self`.
        unsafe { libc::munmap(self.words.as_ptr().cast(), self.bytes) };
    }
}

fn page_bytes() -> usize {
    // SAFETY: no memory involved.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).unwrap_or(4096)
}

/// Below 5.11 maps count against RLIMIT_MEMLOCK; above, this changes nothing.
pub(crate) fn raise_memlock_limit() {
    let unlimited = libc::rlimit {
        rlim_cur: libc::RLIM_INFINITY,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: a plain struct; a refusal shows when maps are made.
    unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const unlimited) };
}

/// Replacing an inner map waits until every program that might still see the old one has ended
/// (`maybe_wait_bpf_programs`, kernel/bpf/syscall.c): the grace period that plain stores lack.
pub(crate) struct GraceBarrier {
    outer: OwnedFd,
    inner: OwnedFd,
}

impl GraceBarrier {
    pub(crate) fn new() -> io::Result<Self> {
        let inner = create_map(BPF_MAP_TYPE_ARRAY, 8, None)?;
        let outer = create_map(BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, Some(inner.as_fd()))?;
        Ok(Self { outer, inner })
    }

    /// Returns when no packet is in a program that began before the call.
    pub(crate) fn wait(&self) -> io::Result<()> {
        insert(self.outer.as_fd(), &0u32, &self.inner.as_raw_fd())
    }
}

/// Stores a value under a key; both must be as large as the map's.
pub(crate) fn insert<K: NoUninit, V: NoUninit>(
    map: BorrowedFd<'_>,
    key: &K,
    value: &V,
) -> io::Result<()> {
    let attributes = ElementAttributes {
        map: map.as_raw_fd() as u32,
        padding: 0,
        key: (&raw const *key) as u64,
        value: (&raw const *value) as u64,
        flags: 0,
    };
    bpf(BPF_MAP_UPDATE_ELEM, &attributes).map(drop)
}

/// Takes a key out, which must be as large as the map's; `NotFound` if it is not there.
pub(crate) fn remove<K: NoUninit>(map: BorrowedFd<'_>, key: &K) -> io::Result<()> {
    let attributes = ElementAttributes {
        map: map.as_raw_fd() as u32,
        padding: 0,
        key: (&raw const *key) as u64,
        value: 0,
        flags: 0,
    };
    bpf(BPF_MAP_DELETE_ELEM, &attributes).map(drop)
}

/// All keys, which must be as large as the map's, as far as the kernel lists them.
pub(crate) fn keys<K: Pod>(map: BorrowedFd<'_>) -> Vec<K> {
    let mut keys: Vec<K> = Vec::new();
    loop {
        let mut next = K::zeroed();
        let attributes = ElementAttributes {
            map: map.as_raw_fd() as u32,
            padding: 0,
            key: keys.last().map_or(0, |last| (&raw const *last) as u64),
            value: (&raw mut next) as u64,
            flags: 0,
        };
        // The end of the map is an error (ENOENT) as well.
        if bpf(BPF_MAP_GET_NEXT_KEY, &attributes).is_err() {
            return keys;
        }
        keys.push(next);
    }
}

/// Deletes whatever a map with keys has.
#[cfg(feature = "fixtures")]
pub(crate) fn delete_all_keys(map: BorrowedFd<'_>) -> io::Result<()> {
    let mut key = vec![0u8; map_definition(map)?.key_bytes as usize];
    loop {
        let mut attributes = ElementAttributes {
            map: map.as_raw_fd() as u32,
            padding: 0,
            key: 0,
            value: key.as_mut_ptr() as u64,
            flags: 0,
        };
        // Without a key to start from this is the first one; "value" is where the next key goes.
        if let Err(error) = bpf(BPF_MAP_GET_NEXT_KEY, &attributes) {
            let is_empty = error.raw_os_error() == Some(libc::ENOENT);
            return if is_empty { Ok(()) } else { Err(error) };
        }
        (attributes.key, attributes.value) = (attributes.value, 0);
        bpf(BPF_MAP_DELETE_ELEM, &attributes)?;
    }
}

const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_MAP_DELETE_ELEM: libc::c_int = 3;
const BPF_MAP_GET_NEXT_KEY: libc::c_int = 4;
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_PROG_TEST_RUN: libc::c_int = 10;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_LINK_DETACH: libc::c_int = 34;
const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_MAP_TYPE_ARRAY_OF_MAPS: u32 = 12;

/// `BPF_MAP_CREATE` (union bpf_attr, linux/bpf.h), as far as it is used here.
#[repr(C)]
struct CreateAttributes {
    map_type: u32,
    key_bytes: u32,
    value_bytes: u32,
    max_entries: u32,
    flags: u32,
    inner_map: u32,
}

/// `BPF_MAP_*_ELEM` and `BPF_MAP_GET_NEXT_KEY` (union bpf_attr).
#[repr(C)]
struct ElementAttributes {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `BPF_OBJ_GET` (union bpf_attr).
#[repr(C)]
struct PathAttributes {
    path: u64,
    fd: u32,
    flags: u32,
}

/// `BPF_OBJ_GET_INFO_BY_FD` (union bpf_attr).
#[repr(C)]
struct InfoAttributes {
    fd: u32,
    length: u32,
    info: u64,
}

/// `BPF_PROG_TEST_RUN` (union bpf_attr).
#[repr(C)]
#[derive(Default)]
struct RunAttributes {
    program: u32,
    return_value: u32,
    bytes_in: u32,
    bytes_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration_ns: u32,
    context_bytes_in: u32,
    context_bytes_out: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    padding: u32,
}

fn create_map(
    map_type: u32,
    value_bytes: u32,
    inner: Option<BorrowedFd<'_>>,
) -> io::Result<OwnedFd> {
    let attributes = CreateAttributes {
        map_type,
        key_bytes: 4,
        value_bytes,
        max_entries: 1,
        flags: 0,
        inner_map: inner.map_or(0, |fd| fd.as_raw_fd() as u32),
    };
    bpf_object(BPF_MAP_CREATE, &attributes)
}

/// Opens a pinned object.
pub(crate) fn open_pin(path: &std::path::Path) -> io::Result<OwnedFd> {
    use std::os::unix::ffi::OsStrExt as _;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    let attributes = PathAttributes {
        path: path.as_ptr() as u64,
        fd: 0,
        flags: 0,
    };
    bpf_object(BPF_OBJ_GET, &attributes)
}

/// What the kernel says of a map: type, key bytes, value bytes, elements, flags, and its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MapDefinition {
    pub(crate) map_type: u32,
    pub(crate) id: u32,
    pub(crate) key_bytes: u32,
    pub(crate) value_bytes: u32,
    pub(crate) elements: u32,
    pub(crate) flags: u32,
}

/// Definition of a map; an error if the descriptor is something else's.
pub(crate) fn map_definition(map: BorrowedFd<'_>) -> io::Result<MapDefinition> {
    // The first six fields of `struct bpf_map_info`.
    let words = information(map)?;
    Ok(MapDefinition {
        map_type: words[0],
        id: words[1],
        key_bytes: words[2],
        value_bytes: words[3],
        elements: words[4],
        flags: words[5],
    })
}

/// Takes a link's program off its interface at once, whoever still holds the link.
pub(crate) fn detach_link(link: BorrowedFd<'_>) -> io::Result<()> {
    bpf(BPF_LINK_DETACH, &(link.as_raw_fd() as u32)).map(drop)
}

/// Interface that an XDP or tcx link is on; 0 if the interface is gone or the link was detached.
pub(crate) fn link_ifindex(link: BorrowedFd<'_>) -> io::Result<u32> {
    // `struct bpf_link_info`: type, id, prog_id, padding, then the union, whose first word is the index for both.
    information(link).map(|words| words[4])
}

/// Name of an interface of this network namespace.
pub(crate) fn interface_name(ifindex: u32) -> Option<String> {
    let mut name = [0u8; libc::IF_NAMESIZE];
    // SAFETY: the buffer has the length that the function wants.
    let found = unsafe { libc::if_indextoname(ifindex, name.as_mut_ptr().cast()) };
    if found.is_null() {
        return None;
    }
    let name = std::ffi::CStr::from_bytes_until_nul(&name).ok()?;
    name.to_str().ok().map(str::to_owned)
}

fn information(object: BorrowedFd<'_>) -> io::Result<[u32; 32]> {
    let mut words = [0u32; 32];
    let mut attributes = InfoAttributes {
        fd: object.as_raw_fd() as u32,
        length: size_of_val(&words) as u32,
        info: words.as_mut_ptr() as u64,
    };
    bpf_answered(BPF_OBJ_GET_INFO_BY_FD, &mut attributes)?;
    Ok(words)
}

/// What a test run came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) return_value: u32,
    pub(crate) bytes_out: usize,
}

/// Runs a program on `data_in` `repeat` times; the packet as it is in the end goes to `data_out`.
pub(crate) fn test_run(
    program: BorrowedFd<'_>,
    data_in: &[u8],
    data_out: &mut [u8],
    repeat: u32,
) -> io::Result<Run> {
    let mut attributes = RunAttributes {
        program: program.as_raw_fd() as u32,
        bytes_in: data_in.len() as u32,
        bytes_out: data_out.len() as u32,
        data_in: data_in.as_ptr() as u64,
        data_out: data_out.as_mut_ptr() as u64,
        repeat,
        ..RunAttributes::default()
    };
    test_run_with(&mut attributes)?;
    Ok(Run {
        return_value: attributes.return_value,
        bytes_out: attributes.bytes_out as usize,
    })
}

/// Runs an XDP program on `count` frames like `frame` that are really sent where it redirects them (kernel:
/// `Documentation/bpf/bpf_prog_run.rst`).
#[cfg(feature = "bench")]
pub(crate) fn send_live(program: BorrowedFd<'_>, frame: &[u8], count: u32) -> io::Result<()> {
    let mut attributes = RunAttributes {
        program: program.as_raw_fd() as u32,
        bytes_in: frame.len() as u32,
        data_in: frame.as_ptr() as u64,
        repeat: count,
        flags: BPF_F_TEST_XDP_LIVE_FRAMES,
        batch_size: LIVE_BATCH_FRAMES,
        ..RunAttributes::default()
    };
    test_run_with(&mut attributes)
}

/// `BPF_F_TEST_XDP_LIVE_FRAMES` (linux/bpf.h).
#[cfg(feature = "bench")]
const BPF_F_TEST_XDP_LIVE_FRAMES: u32 = 1 << 1;
/// What a NIC's poll takes at once (`NAPI_POLL_WEIGHT`, linux/netdevice.h).
#[cfg(feature = "bench")]
const LIVE_BATCH_FRAMES: u32 = 64;

fn test_run_with(attributes: &mut RunAttributes) -> io::Result<()> {
    bpf_answered(BPF_PROG_TEST_RUN, attributes)
}

/// bpf(2) for a command that answers in its attributes, which must have all that the kernel writes: it does not heed
/// their length there.
fn bpf_answered<T>(command: libc::c_int, attributes: &mut T) -> io::Result<()> {
    // SAFETY: the kernel reads and writes within the lengths given, and the attributes themselves.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attributes),
            size_of::<T>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// bpf(2) for a command that makes a descriptor.
fn bpf_object<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    let fd = bpf(command, attributes)?;
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// bpf(2) with attributes that the kernel only reads.
fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_int> {
    // SAFETY: `attributes` is a prefix of `union bpf_attr` for this command, of the length given; addresses in it
    // point to live memory of the caller.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            attributes as *const T,
            size_of::<T>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result as libc::c_int)
}

/// The type of the file system that a path is on (`f_type`, statfs(2)).
#[allow(clippy::unnecessary_cast, reason = "musl's has no sign")]
pub(crate) fn file_system_magic(path: &std::path::Path) -> io::Result<i64> {
    use std::os::unix::ffi::OsStrExt as _;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    let mut status = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: a terminated string and room for the result.
    if unsafe { libc::statfs(path.as_ptr(), status.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: filled in, since the call succeeded.
    Ok(unsafe { status.assume_init() }.f_type as i64)
}
