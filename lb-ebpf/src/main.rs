//! The XDP program on the uplinks' ingress and the tcx program on their egress. Everything is decided in the
//! agent; here packets are matched against its maps. On the host this is an empty program, so that the whole
//! workspace builds and is linted on a stable toolchain.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(core_intrinsics))]
#![cfg_attr(
    target_arch = "bpf",
    allow(
        internal_features,
        reason = "the only way to a compare-and-swap on BPF"
    )
)]

#[cfg(target_arch = "bpf")]
mod affinity;
#[cfg(target_arch = "bpf")]
mod answer;
#[cfg(all(target_arch = "bpf", feature = "bench-driver"))]
mod bench_driver;
#[cfg(target_arch = "bpf")]
mod choose;
#[cfg(target_arch = "bpf")]
mod clamp;
#[cfg(target_arch = "bpf")]
mod clash;
#[cfg(target_arch = "bpf")]
mod count;
#[cfg(target_arch = "bpf")]
mod deliver;
#[cfg(target_arch = "bpf")]
mod egress;
#[cfg(target_arch = "bpf")]
mod egress_error;
#[cfg(target_arch = "bpf")]
mod encapsulate;
#[cfg(target_arch = "bpf")]
mod ethernet;
#[cfg(target_arch = "bpf")]
mod flow_limit;
#[cfg(target_arch = "bpf")]
mod flows;
#[cfg(target_arch = "bpf")]
mod forward;
#[cfg(target_arch = "bpf")]
mod fragment;
#[cfg(target_arch = "bpf")]
mod hook;
#[cfg(target_arch = "bpf")]
mod ingress;
#[cfg(target_arch = "bpf")]
mod lookup;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod mss;
#[cfg(target_arch = "bpf")]
mod neighbours;
#[cfg(target_arch = "bpf")]
mod new_flow;
#[cfg(target_arch = "bpf")]
mod odd;
#[cfg(target_arch = "bpf")]
mod promote;
#[cfg(target_arch = "bpf")]
mod ptr;
#[cfg(target_arch = "bpf")]
mod related;
#[cfg(target_arch = "bpf")]
mod reply;
#[cfg(target_arch = "bpf")]
mod reply_fragments;
#[cfg(target_arch = "bpf")]
mod return_by;
#[cfg(target_arch = "bpf")]
mod returned;
#[cfg(target_arch = "bpf")]
mod reverse;
#[cfg(target_arch = "bpf")]
mod rooms;
#[cfg(target_arch = "bpf")]
mod source;
#[cfg(target_arch = "bpf")]
mod steer;
#[cfg(target_arch = "bpf")]
mod tokens;
#[cfg(target_arch = "bpf")]
mod translate;
#[cfg(target_arch = "bpf")]
mod tunnel;
#[cfg(target_arch = "bpf")]
mod way_back;

#[cfg(target_arch = "bpf")]
mod programs {
    #[cfg(not(feature = "tc"))]
    use aya_ebpf::macros::xdp;
    use aya_ebpf::{macros::classifier, programs::TcContext};

    use crate::hook::Context;

    /// Programs of the way in.
    macro_rules! programs {
        ($($(#[$doc:meta])* $name:ident: $enter:expr;)*) => {
            $(
                $(#[$doc])*
                #[cfg(not(feature = "tc"))]
                #[cfg_attr(feature = "basic", xdp)]
                #[cfg_attr(not(feature = "basic"), xdp(frags))]
                #[inline(always)]
                pub(crate) fn $name(ctx: Context) -> u32 {
                    $enter(&ctx)
                }

                $(#[$doc])*
                #[cfg(feature = "tc")]
                #[classifier]
                #[inline(always)]
                pub(crate) fn $name(ctx: Context) -> i32 {
                    $enter(&ctx) as i32
                }
            )*
        };
    }

    #[cfg(not(feature = "tc"))]
    programs! {
        /// Packets that come in on an uplink. Those of a jumbo frame may lie in several buffers, if the kernel knows such.
        fairlead_xdp: crate::ingress::walk;
    }

    #[cfg(feature = "tc")]
    programs! {
        /// Packets that come in on an uplink whose XDP hook is somebody else's.
        fairlead_tc: crate::ingress::walk;
    }

    // The programs of the rooms, by the names of [`lb_common::walk::Room::program`].
    programs! {
        odd: crate::odd::enter;
        tunnel: crate::tunnel::enter;
        deliver_v4: crate::deliver::enter::<false>;
        deliver_v6: crate::deliver::enter::<true>;
        forward_v4: crate::forward::enter::<false>;
        forward_v6: crate::forward::enter::<true>;
        answer_v4: crate::answer::enter::<false>;
        answer_v6: crate::answer::enter::<true>;
        related_v4: crate::related::enter::<false>;
        related_v6: crate::related::enter::<true>;
        arp: crate::neighbours::arp;
        ndp: crate::neighbours::ndp;
        new_flow: crate::new_flow::enter;
        choose_v4: crate::choose::enter::<false>;
        choose_v6: crate::choose::enter::<true>;
        keep: crate::affinity::enter;
        fragment: crate::fragment::enter;
        steer_v4: crate::steer::enter::<false>;
        steer_v6: crate::steer::enter::<true>;
        returned: crate::returned::enter;
        clamp: crate::clamp::enter;
    }

    /// Packets that leave by an uplink.
    #[classifier]
    pub(crate) fn fairlead_egress(ctx: TcContext) -> i32 {
        crate::egress::walk(&ctx)
    }

    programs! {
        /// Tells the time: writes `jiffies64` over the first eight bytes of a test run's frame. Never attached.
        fairlead_jiffies: crate::ptr::write_jiffies;
    }

    /// Licence of the object (`linux/module.h`): helpers for tracing and time want a GPL-compatible one.
    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
