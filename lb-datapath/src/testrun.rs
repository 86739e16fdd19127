//! `BPF_PROG_TEST_RUN`: the real program on a frame of ours, as fixtures and benches run it. Repeats are not
//! offered: the kernel does not restore the packet between them.

use crate::{
    Error,
    load::{Instance, WayIn},
    sys,
};

/// Room for what a program may put in front of a frame.
const GROWTH_BYTES: usize = 256;

/// What a program made of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// `XDP_*` on the way in, whatever the hook; `TCX_*` as the kernel returns it on the way out.
    pub action: u32,
    /// The frame afterwards.
    pub frame: Vec<u8>,
}

pub(crate) fn ingress(instance: &Instance, frame: &[u8]) -> Result<Outcome, Error> {
    let outcome = run(instance.entry_fd()?, frame)?;
    Ok(match instance.way_in() {
        WayIn::Xdp => outcome,
        WayIn::Tc => Outcome {
            action: xdp_action(outcome.action),
            ..outcome
        },
    })
}

pub(crate) fn egress(instance: &Instance, frame: &[u8]) -> Result<Outcome, Error> {
    run(instance.egress_fd()?, frame)
}

/// What tc's actions are in XDP's words (linux/pkt_cls.h, linux/bpf.h).
fn xdp_action(tc: u32) -> u32 {
    const TC_ACT_UNSPEC: u32 = u32::MAX;
    const TC_ACT_SHOT: u32 = 2;
    const TC_ACT_REDIRECT: u32 = 7;
    const XDP_ABORTED: u32 = 0;
    const XDP_DROP: u32 = 1;
    const XDP_PASS: u32 = 2;
    const XDP_REDIRECT: u32 = 4;
    match tc {
        TC_ACT_UNSPEC => XDP_PASS,
        TC_ACT_SHOT => XDP_DROP,
        TC_ACT_REDIRECT => XDP_REDIRECT,
        _ => XDP_ABORTED,
    }
}

fn run(program: std::os::fd::BorrowedFd<'_>, frame: &[u8]) -> Result<Outcome, Error> {
    let mut out = vec![0; frame.len() + GROWTH_BYTES];
    let run = sys::test_run(program, frame, &mut out, 1)
        .map_err(|source| Error::kernel("run a program", source))?;
    out.truncate(run.bytes_out);
    Ok(Outcome {
        action: run.return_value,
        frame: out,
    })
}
