//! What only this kernel can say: how fast jiffies run, and how long its conntrack remembers, which flow
//! time-outs must not exceed (after conntrack forgets, a masquerade rule would rewrite a reply).

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use lb_common::{
    flow::{STATES, State, timeout_seconds},
    limits::Capacity,
};

use crate::{Error, load::Instance, sys};

/// What planning needs to fill the map `config`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Sizes of the maps.
    pub capacity: Capacity,
    /// HZ of the running kernel.
    pub jiffies_per_second: u64,
    /// A tick of flow ages is `1 << tick_shift` jiffies, about a second.
    pub tick_shift: u32,
    /// Ticks that a flow outlives its last packet, by [`State`].
    pub timeout_ticks: [u16; STATES],
}

/// HZ that kernels are built with (kernel/Kconfig.hz).
const KNOWN_HZ: [u64; 5] = [100, 250, 300, 512, 1000];
const MEASURED: Duration = Duration::from_millis(40);

/// What [`Facts::timeout_ticks`] is now, by this node's conntrack, on a kernel of that HZ and with ticks of that length.
#[must_use]
pub fn timeout_ticks(jiffies_per_second: u64, tick_shift: u32) -> [u16; STATES] {
    bounded_ticks(jiffies_per_second, tick_shift, conntrack_seconds)
}

pub(crate) fn gather(instance: &Instance, capacity: Capacity) -> Result<Facts, Error> {
    let jiffies_per_second = measure_hz(instance)?;
    let tick_shift = tick_shift(jiffies_per_second);
    let timeout_ticks = timeout_ticks(jiffies_per_second, tick_shift);
    Ok(Facts {
        capacity,
        jiffies_per_second,
        tick_shift,
        timeout_ticks,
    })
}

/// `jiffies64` now.
pub(crate) fn jiffies(instance: &Instance) -> Result<u64, Error> {
    // A test run wants a whole Ethernet header, and tc's something behind it; the program writes the time over its start.
    let frame = [0u8; 64];
    let mut out = [0u8; 64];
    sys::test_run(instance.jiffies_fd()?, &frame, &mut out, 1)
        .map_err(|source| Error::kernel("read the kernel's jiffies", source))?;
    let mut word = [0; 8];
    word.copy_from_slice(&out[..8]);
    Ok(u64::from_ne_bytes(word))
}

/// HZ of the running kernel.
pub(crate) fn measure_hz(instance: &Instance) -> Result<u64, Error> {
    let (start, first) = (Instant::now(), jiffies(instance)?);
    thread::sleep(MEASURED);
    let (last, elapsed) = (jiffies(instance)?, start.elapsed());
    Ok(nearest_hz(last.wrapping_sub(first), elapsed))
}

fn nearest_hz(jiffies: u64, elapsed: Duration) -> u64 {
    let measured = jiffies * 1_000_000
        / u64::try_from(elapsed.as_micros())
            .unwrap_or(u64::MAX)
            .max(1);
    let distance = |hz: u64| {
        (hz.max(measured) * 1000)
            .checked_div(hz.min(measured))
            .unwrap_or(u64::MAX)
    };
    KNOWN_HZ
        .into_iter()
        .min_by_key(|hz| distance(*hz))
        .unwrap_or(250)
}

/// The power of two of jiffies that is nearest to a second.
fn tick_shift(jiffies_per_second: u64) -> u32 {
    let below = jiffies_per_second.ilog2();
    let over = (1 << (below + 1)) - jiffies_per_second;
    if over < jiffies_per_second - (1 << below) {
        below + 1
    } else {
        below
    }
}

fn bounded_ticks(hz: u64, shift: u32, conntrack: impl Fn(State) -> Option<u32>) -> [u16; STATES] {
    const STATES_WITH_TIMEOUT: [State; 8] = [
        State::Claimed,
        State::SynReceived,
        State::Adopted,
        State::Unreplied,
        State::Established,
        State::Closing,
        State::Reset,
        State::Stream,
    ];
    let mut ticks = [0; STATES];
    for state in STATES_WITH_TIMEOUT {
        let own = timeout_seconds(state);
        let seconds = conntrack(state).map_or(own, |limit| own.min(limit));
        ticks[state as usize] = u16::try_from((u64::from(seconds) * hz) >> shift)
            .unwrap_or(u16::MAX)
            .max(1);
    }
    ticks
}

/// The node's conntrack time-out that corresponds to a state; `None` where it has none, or no conntrack.
fn conntrack_seconds(state: State) -> Option<u32> {
    let name = match state {
        State::Established => "tcp_timeout_established",
        State::Closing => "tcp_timeout_fin_wait",
        State::Unreplied => "udp_timeout",
        State::Stream => "udp_timeout_stream",
        _ => return None,
    };
    fs::read_to_string(format!("/proc/sys/net/netfilter/nf_conntrack_{name}"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hz_is_the_nearest_that_kernels_have() {
        for hz in KNOWN_HZ {
            for milliseconds in [40u64, 47, 90] {
                let jiffies = hz * milliseconds / 1000;
                assert_eq!(
                    nearest_hz(jiffies, Duration::from_millis(milliseconds)),
                    hz,
                    "{hz} {milliseconds}"
                );
            }
        }
    }

    #[test]
    fn a_tick_is_about_a_second() {
        assert_eq!([100, 250, 300, 512, 1000].map(tick_shift), [7, 8, 8, 9, 10]);
    }

    #[test]
    fn conntrack_bounds_the_time_outs() {
        let unbounded = bounded_ticks(250, 8, |_| None);
        assert_eq!(unbounded[State::Established as usize], 7265);
        let bounded = bounded_ticks(250, 8, |state| (state == State::Established).then_some(600));
        assert_eq!(bounded[State::Established as usize], 585);
        assert_eq!(
            bounded[State::Stream as usize],
            unbounded[State::Stream as usize]
        );
        assert_eq!(bounded[State::Free as usize], 0);
    }
}
