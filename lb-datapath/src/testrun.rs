//! `BPF_PROG_TEST_RUN`: the real program on a frame of ours, as fixtures and benches run it. Repeats are not
//! offered: the kernel does not restore the packet between them.

use crate::{Error, load::Instance, sys};

/// Room for what a program may put in front of a frame.
const GROWTH_BYTES: usize = 256;

/// What a program made of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// `XDP_*`, or `TCX_*` as the kernel returns it.
    pub action: u32,
    /// The frame afterwards.
    pub frame: Vec<u8>,
}

pub(crate) fn xdp(instance: &Instance, frame: &[u8]) -> Result<Outcome, Error> {
    run(instance.xdp_fd()?, frame)
}

pub(crate) fn egress(instance: &Instance, frame: &[u8]) -> Result<Outcome, Error> {
    run(instance.egress_fd()?, frame)
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
