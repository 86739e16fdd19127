//! Where a test runs: what the data path keeps per CPU can be judged exactly by a thread that stays on one.

use anyhow::{Result, ensure};

/// Keeps the calling thread on the CPU that it is on.
///
/// # Errors
/// The kernel refused.
pub fn stay() -> Result<()> {
    // SAFETY: no arguments, no memory.
    let cpu = unsafe { libc::sched_getcpu() };
    ensure!(
        cpu >= 0,
        "no CPU number: {}",
        std::io::Error::last_os_error()
    );
    // SAFETY: a plain bit set, for which all zero is valid.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is live and the number is the kernel's own, within the set.
    unsafe { libc::CPU_SET(cpu as usize, &mut set) };
    // SAFETY: `set` is a live cpu_set_t of the size given; 0 is the calling thread.
    let refused = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
    ensure!(
        refused == 0,
        "cannot stay: {}",
        std::io::Error::last_os_error()
    );
    Ok(())
}
