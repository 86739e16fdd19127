//! The only raw reads and writes: packet memory, map words that other CPUs write too, and the context. Packet
//! loads are single aligned-typed loads: byte by byte they would cost a third of the program, and the BPF
//! machine takes them at any address.

use aya_ebpf::{helpers, programs::TcContext};
use lb_common::{
    headers::Nested,
    packet::{ETHERNET_BYTES, Packet, PacketMut},
    walk::Walk,
};

use crate::hook::{self, Context, Raw};

/// The linear part of a packet, from its Ethernet header on. All headers are in it; what follows may lie in other buffers.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    start: usize,
    end: usize,
    /// The context that knows the other buffers; null where nobody asks.
    whole: *mut Raw,
}

impl Frame {
    /// The frame as it is now; stale after one of its ends was moved.
    #[inline(always)]
    pub(crate) fn of(ctx: &Context) -> Self {
        Self {
            whole: hook::raw(ctx),
            ..Self::one_buffer(ctx)
        }
    }

    /// As [`Frame::of`], of which nobody asks what is in other buffers: a frame that has any seems cut short.
    #[inline(always)]
    pub(crate) fn one_buffer(ctx: &Context) -> Self {
        let (start, end) = hook::bounds(ctx);
        Self {
            start,
            end,
            whole: core::ptr::null_mut(),
        }
    }

    /// The linear part of an skb; stale after a helper that writes it.
    #[inline(always)]
    pub(crate) fn skb(ctx: &TcContext) -> Self {
        // SAFETY: the context is the one that the kernel passed to this run.
        unsafe {
            Self {
                start: (&raw const (*ctx.skb.skb).data).read_volatile() as usize,
                end: (&raw const (*ctx.skb.skb).data_end).read_volatile() as usize,
                whole: core::ptr::null_mut(),
            }
        }
    }

    /// The frame as it would be without its tags, but for the MACs: what is behind the EtherType is where it is in an
    /// untagged frame.
    #[inline(always)]
    pub(crate) fn untagged(ctx: &Context, walk: &Walk) -> Self {
        Self::of(ctx).beyond(tag_bytes(walk))
    }

    /// The frame without a number of bytes that is known here.
    #[inline(always)]
    pub(crate) fn past(&self, bytes: usize) -> Self {
        Self {
            start: self.start + bytes,
            ..*self
        }
    }

    /// Bytes of the frame, all buffers together.
    #[inline(always)]
    pub(crate) fn len(&self) -> u64 {
        let first = (self.end - self.start) as u64;
        if self.whole.is_null() {
            return first;
        }
        opaque(first) + elsewhere(self.whole)
    }

    /// Writes two bytes; the frame must have them.
    #[inline(always)]
    pub(crate) fn store_u16(&self, offset: usize, value: u16) {
        // SAFETY: the caller asked `has` for these bytes, and the verifier proves it at load.
        unsafe { ((self.start + offset) as *mut u16).write(value) }
    }

    /// Writes four bytes; the frame must have them.
    #[inline(always)]
    pub(crate) fn store_u32(&self, offset: usize, value: u32) {
        // SAFETY: as `store_u16`.
        unsafe { ((self.start + offset) as *mut u32).write(value) }
    }

    /// Writes eight bytes; the frame must have them.
    #[inline(always)]
    pub(crate) fn store_u64(&self, offset: usize, value: u64) {
        // SAFETY: as `store_u16`.
        unsafe { ((self.start + offset) as *mut u64).write(value) }
    }

    /// Writes two words that are neighbours by one store; the frame must have them.
    #[inline(always)]
    pub(crate) fn store_pair(&self, offset: usize, first: u32, second: u32) {
        self.store_u64(offset, u64::from(first) | u64::from(second) << 32);
    }

    /// Writes one byte; the frame must have it.
    #[inline(always)]
    pub(crate) fn store_u8(&self, offset: usize, value: u8) {
        // SAFETY: as `store_u16`.
        unsafe { ((self.start + offset) as *mut u8).write(value) }
    }

    /// Writes an address; the frame must have it.
    #[inline(always)]
    pub(crate) fn store_address<const V6: bool>(
        &self,
        offset: usize,
        address: &lb_common::Address,
    ) {
        if !V6 {
            return self.store_u32(offset, address[0]);
        }
        let [a, b, c, d] = address.map(u64::from);
        self.store_u64(offset, a | b << 32);
        self.store_u64(offset + 8, c | d << 32);
    }
}

impl Packet for Frame {
    #[inline(always)]
    fn has(&self, bytes: usize) -> bool {
        self.start + bytes <= self.end
    }

    #[inline(always)]
    fn is_as_long_as(&self, bytes: usize) -> bool {
        (self.end - self.start) as u64 >= bytes as u64
            || !self.whole.is_null() && self.len() >= bytes as u64
    }

    #[inline(always)]
    fn load_u8(&self, offset: usize) -> u8 {
        // SAFETY: the caller asked `has` for these bytes, and the verifier proves it at load.
        unsafe { ((self.start + offset) as *const u8).read() }
    }

    #[inline(always)]
    fn load_u16(&self, offset: usize) -> u16 {
        // SAFETY: as `load_u8`.
        unsafe { ((self.start + offset) as *const u16).read() }
    }

    #[inline(always)]
    fn load_u32(&self, offset: usize) -> u32 {
        // SAFETY: as `load_u8`.
        unsafe { ((self.start + offset) as *const u32).read() }
    }

    #[inline(always)]
    fn load_u64(&self, offset: usize) -> u64 {
        // SAFETY: as `load_u8`.
        unsafe { ((self.start + offset) as *const u64).read() }
    }
}

impl PacketMut for Frame {
    #[inline(always)]
    fn store_u16(&mut self, offset: usize, value: u16) {
        Self::store_u16(self, offset, value);
    }

    #[inline(always)]
    fn store_u32(&mut self, offset: usize, value: u32) {
        Self::store_u32(self, offset, value);
    }
}

impl Nested for Frame {
    #[inline(always)]
    fn beyond(&self, bytes: usize) -> Self {
        // The sum is opaque too, so that what was asked of it with `has` is known of all its copies.
        Self {
            start: opaque(self.start + (opaque(bytes) & 511)),
            ..*self
        }
    }
}

/// The interface that an skb is leaving by.
#[inline(always)]
pub(crate) fn ifindex(ctx: &TcContext) -> u32 {
    // SAFETY: the context is the one that the kernel passed to this run.
    unsafe { (&raw const (*ctx.skb.skb).ifindex).read() }
}

/// Bytes of a frame that are not in its first buffer.
#[inline(always)]
fn elsewhere(ctx: *mut Raw) -> u64 {
    if ctx.is_null() || hook::ONE_BUFFER {
        return 0;
    }
    let first = Frame::one_buffer(&Context::new(ctx));
    let all = hook::bytes(ctx);
    // Opaque: the compiler would add the address of the end to what the kernel said.
    all.wrapping_sub(opaque(first.len()))
}

/// Bytes of the VLAN tags of a frame.
#[inline(always)]
pub(crate) fn tag_bytes(walk: &Walk) -> usize {
    usize::from(walk.ip_at.wrapping_sub(ETHERNET_BYTES as u16))
}

/// A number of which neither compiler nor verifier knows more than its type: for indices whose mask must
/// stay, and where paths that differ only in a number should become one for the verifier.
#[inline(always)]
pub(crate) fn opaque<T>(value: T) -> T {
    core::hint::black_box(value)
}

/// `jiffies64`, inlined by the verifier.
#[inline(always)]
pub(crate) fn jiffies() -> u64 {
    // SAFETY: the helper has no arguments and no effect.
    unsafe { helpers::bpf_jiffies64() }
}

/// Writes [`jiffies`] over the start of a frame.
#[inline(always)]
pub(crate) fn write_jiffies(ctx: &Context) -> u32 {
    let frame = Frame::of(ctx);
    if frame.has(8) {
        let now = jiffies();
        frame.store_u32(0, now as u32);
        frame.store_u32(4, (now >> 32) as u32);
    }
    hook::PASS
}

/// The CPU this run is on, inlined by the verifier.
#[inline(always)]
pub(crate) fn cpu() -> u32 {
    // SAFETY: the helper has no arguments and no effect.
    unsafe { helpers::bpf_get_smp_processor_id() }
}

/// Reads a map word that other CPUs or the agent may write meanwhile.
#[inline(always)]
pub(crate) fn load_word(word: *const u64) -> u64 {
    // SAFETY: `word` points into a map value, aligned; aligned 64-bit loads are whole.
    unsafe { word.read_volatile() }
}

/// Writes a map word whole.
#[inline(always)]
pub(crate) fn store_word(word: *mut u64, value: u64) {
    // SAFETY: as `load_word`.
    unsafe { word.write_volatile(value) }
}

/// An address of a map value, aligned to eight, by two loads.
#[inline(always)]
pub(crate) fn load_address(address: *const lb_common::Address) -> lb_common::Address {
    let words = address.cast::<u64>();
    let (low, high) = (load_word(words), load_word(words.wrapping_add(1)));
    [low, low >> 32, high, high >> 32].map(|word| word as u32)
}

/// Copies an address from one map value to another, both aligned to eight; a plain assignment becomes a call to
/// the compiler's `memmove`, byte by byte.
#[inline(always)]
pub(crate) fn copy_address(to: *mut lb_common::Address, from: *const lb_common::Address) {
    let (to, from) = (to.cast::<u64>(), from.cast::<u64>());
    store_word(to, load_word(from));
    store_word(to.wrapping_add(1), load_word(from.wrapping_add(1)));
}

/// Replaces `old` by `new`; false if another CPU was first.
#[cfg(not(feature = "basic"))]
#[inline(always)]
pub(crate) fn swap_word(word: *mut u64, old: u64, new: u64) -> bool {
    use core::intrinsics::{AtomicOrdering::SeqCst, atomic_cxchg};
    // SAFETY: as `load_word`; BPF_CMPXCHG on a map value.
    unsafe { atomic_cxchg::<u64, { SeqCst }, { SeqCst }>(word, old, new).1 }
}

/// The same for kernels without BPF_CMPXCHG (before 5.12): everybody swaps under one lock.
#[cfg(feature = "basic")]
#[inline(always)]
pub(crate) fn swap_word(word: *mut u64, old: u64, new: u64) -> bool {
    let Some(lock) = crate::maps::SWAP_LOCK.get_ptr_mut(0) else {
        return false;
    };
    let lock = lock.cast::<aya_ebpf::bindings::bpf_spin_lock>();
    // SAFETY: `lock` points to the lock at the start of a map value, and is released below on every path.
    unsafe { helpers::bpf_spin_lock(lock) };
    let is_old = load_word(word) == old;
    if is_old {
        store_word(word, new);
    }
    // SAFETY: as above; taken above.
    unsafe { helpers::bpf_spin_unlock(lock) };
    is_old
}

/// Adds to a counter that only this CPU writes.
#[inline(always)]
pub(crate) fn add(counter: *mut u64, amount: u64) {
    // SAFETY: `counter` points into a map value, aligned; programs do not migrate between CPUs.
    unsafe { *counter += amount }
}

/// Adds to a counter that all CPUs write.
#[inline(always)]
pub(crate) fn add_shared(counter: *mut u64, amount: u64) {
    use core::intrinsics::{AtomicOrdering::Relaxed, atomic_xadd};
    // SAFETY: `counter` points into a map value, aligned; nobody looks at what was there, so that it is BPF's plain atomic
    // add, which every kernel has.
    unsafe { atomic_xadd::<u64, u64, { Relaxed }>(counter, amount) };
}

/// A map value that only this run can see, or whose fields are read as they come.
#[inline(always)]
pub(crate) fn by_ref<'a, T>(value: *const T) -> &'a T {
    // SAFETY: array values live as long as the map, which outlives every run; fields are plain integers.
    unsafe { &*value }
}

/// As [`by_ref`], for a record that this run has claimed.
#[inline(always)]
pub(crate) fn by_mut<'a, T>(value: *mut T) -> &'a mut T {
    // SAFETY: as `by_ref`; the claim keeps other CPUs away.
    unsafe { &mut *value }
}
