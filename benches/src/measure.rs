//! CPU time, not wall time: the machine is shared. Subject and floor run in turn, so that a drift of the
//! machine's speed meets both; what is reported is the median of the differences and half the distance between
//! their quartiles.

use std::{io, mem::MaybeUninit};

/// Median and spread of a series, in the unit of its values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Median.
    pub median: f64,
    /// Half the distance between the quartiles.
    pub spread: f64,
}

impl Summary {
    /// Of a value that comes out the same every time.
    #[must_use]
    pub const fn exact(value: f64) -> Self {
        Self {
            median: value,
            spread: 0.0,
        }
    }

    /// Of a series that is not empty.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let place = part * (values.len() - 1) as f64;
            let (low, high) = (
                values[place.floor() as usize],
                values[place.ceil() as usize],
            );
            low + (high - low) * place.fract()
        };
        Self {
            median: at(0.5),
            spread: (at(0.75) - at(0.25)) / 2.0,
        }
    }
}

/// CPU time that this thread has used, in nanoseconds.
///
/// # Panics
/// If the kernel has no such clock.
#[must_use]
pub fn thread_cpu_ns() -> u64 {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: room for the result.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, time.as_mut_ptr()) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    // SAFETY: filled in, since the call succeeded.
    let time = unsafe { time.assume_init() };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Keeps this thread on one CPU, so that its caches are its own.
///
/// # Errors
/// The kernel refused.
pub fn pin_to_cpu(cpu: usize) -> io::Result<()> {
    pin_thread_to_cpu(0, cpu)
}

/// Keeps a thread, by its id, on one CPU; 0 is the calling thread.
///
/// # Errors
/// The kernel refused.
pub fn pin_thread_to_cpu(thread: u32, cpu: usize) -> io::Result<()> {
    // SAFETY: a plain bit set, filled in before it is read.
    let set = unsafe {
        let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed().assume_init();
        libc::CPU_SET(cpu, &mut set);
        set
    };
    let thread = thread.cast_signed();
    // SAFETY: a number, and a set of its size.
    if unsafe { libc::sched_setaffinity(thread, size_of_val(&set), &raw const set) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Has a thread, by its id, run as soon as it can, before all others of its CPU that are not told the same with a higher
/// number; 0 is the calling thread. What it starts runs as everything does.
///
/// # Errors
/// The kernel refused.
pub fn prefer_thread(thread: u32, priority: i32) -> io::Result<()> {
    let parameters = libc::sched_param {
        sched_priority: priority,
    };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: numbers, and a structure that outlives the call.
    if unsafe { libc::sched_setscheduler(thread.cast_signed(), policy, &raw const parameters) } != 0
    {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_quartiles() {
        let summary = Summary::of(vec![5.0, 1.0, 3.0, 2.0, 4.0]);
        assert_eq!(
            summary,
            Summary {
                median: 3.0,
                spread: 1.0
            }
        );
        assert_eq!(
            Summary::of(vec![7.0]),
            Summary {
                median: 7.0,
                spread: 0.0
            }
        );
    }
}
