//! The pod's address and port in place of the VIP's, under all checksums that cover them.

use lb_common::{
    flow::Flow,
    packet::{self, ETHERNET_BYTES, Layout, Packet as _},
    walk::Walk,
};

use crate::{hook::Context, ptr::Frame};

/// Rewrites destination address and ports for the pod. `frame` is as if untagged and has its IP header; `transport`
/// begins with the transport header and has 8 bytes: none for a later fragment, which no checksum of its own covers.
#[cfg(not(feature = "tc"))]
#[inline(always)]
pub(crate) fn destination<const V6: bool>(
    _: &Context,
    _: &Walk,
    frame: Frame,
    transport: Option<Frame>,
    flow: &Flow,
) {
    use lb_common::{TCP, checksum::Delta};
    let at = Layout::destination(V6);
    let delta = if V6 {
        Delta::new().address(&frame.load_address::<V6>(at), &flow.endpoint)
    } else {
        let delta = Delta::new().word(frame.load_u32(at), flow.endpoint[0]);
        let checksum = ETHERNET_BYTES + 10;
        frame.store_u16(checksum, delta.apply(frame.load_u16(checksum)));
        delta
    };
    frame.store_address::<V6>(at, &flow.endpoint);
    let Some(transport) = transport else { return };
    let ports = packet::ports(flow.mapped_port, flow.endpoint_port);
    let delta = delta.word(transport.load_u32(0), ports);
    transport.store_u32(0, ports);
    if cfg!(feature = "canary-checksum") {
        return;
    }
    if flow.protocol != TCP {
        transport.store_u16(6, delta.apply_udp(transport.load_u16(6)));
    } else if transport.has(18) {
        transport.store_u16(16, delta.apply(transport.load_u16(16)));
    }
}

/// The same by the kernel's helpers, which know what has become of an skb's checksums; its frames are stale afterwards. A
/// refusal leaves a packet that its pod drops.
#[cfg(feature = "tc")]
#[inline(always)]
pub(crate) fn destination<const V6: bool>(
    ctx: &Context,
    walk: &Walk,
    frame: Frame,
    transport: Option<Frame>,
    flow: &Flow,
) {
    use crate::{egress, hook, ptr};

    let old = frame.load_address::<V6>(Layout::destination(V6));
    let tags = ptr::tag_bytes(walk);
    if let Some(transport) = transport {
        let at = usize::from(walk.transport_at);
        let ports = packet::ports(flow.mapped_port, flow.endpoint_port);
        let change = checksums::Change {
            old: &old,
            new: &flow.endpoint,
            old_ports: transport.load_u32(0),
            new_ports: ports,
        };
        checksums::transport::<V6>(ctx, at, flow.protocol, &change);
        let _ = ctx.store(at, &ports, 0);
    } else if V6 {
        hook::add_to_whole_sum(ctx, egress::difference(&old, &flow.endpoint).unwrap_or(0));
    }
    let at = tags + Layout::destination(V6);
    if V6 {
        let _ = ctx.store(at, &flow.endpoint, 0);
        return;
    }
    let checksum_at = tags + ETHERNET_BYTES + 10;
    let (from, to) = (u64::from(old[0]), u64::from(flow.endpoint[0]));
    let _ = ctx.l3_csum_replace(checksum_at, from, to, 4);
    let _ = ctx.store(at, &flow.endpoint[0], 0);
}

/// A transport header's checksum under a change of address and ports.
#[cfg(feature = "tc")]
mod checksums {
    use aya_ebpf::bindings::{BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR};
    use lb_common::{Address, TCP};

    use crate::{
        egress,
        hook::{self, Context},
    };

    /// What changes.
    pub(super) struct Change<'a> {
        pub(super) old: &'a Address,
        pub(super) new: &'a Address,
        pub(super) old_ports: u32,
        pub(super) new_ports: u32,
    }

    /// Brings the checksum of the header at `at` up to date.
    #[inline(always)]
    pub(super) fn transport<const V6: bool>(
        ctx: &Context,
        at: usize,
        protocol: u8,
        change: &Change<'_>,
    ) {
        let (checksum_at, flags) = if protocol == TCP {
            (at + 16, 0)
        } else {
            (at + 6, u64::from(BPF_F_MARK_MANGLED_0))
        };
        let pseudo = flags | u64::from(BPF_F_PSEUDO_HDR);
        if V6 {
            // What the whole packet adds up to stays: the address is not under a checksum of its own, as IPv4's is. Kernels
            // before 6.16 take it to be.
            let sum = hook::whole_sum(ctx);
            let difference = egress::difference(change.old, change.new).unwrap_or(0);
            let _ = ctx.l4_csum_replace(checksum_at, 0, difference, pseudo);
            hook::restore_whole_sum(ctx, sum);
        } else {
            let (old, new) = (u64::from(change.old[0]), u64::from(change.new[0]));
            let _ = ctx.l4_csum_replace(checksum_at, old, new, pseudo | 4);
        }
        let (old, new) = (u64::from(change.old_ports), u64::from(change.new_ports));
        let _ = ctx.l4_csum_replace(checksum_at, old, new, flags | 4);
    }
}
