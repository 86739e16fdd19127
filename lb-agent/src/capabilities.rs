//! Which capabilities the process lacks, read from the kernel's own account in `/proc/self/status`: asked
//! before anything is touched, so that a refusal names the capability instead of a failed system call.

/// A capability that `run` needs (numbers: `include/uapi/linux/capability.h`).
const NEEDED: [(&str, u32); 3] = [("CAP_NET_ADMIN", 12), ("CAP_PERFMON", 38), ("CAP_BPF", 39)];

/// Holds all rights of the two above it on kernels that know them, and before.
const CAP_SYS_ADMIN: u32 = 21;

/// Names of the capabilities that `run` needs and this process lacks.
pub fn missing() -> std::io::Result<Vec<&'static str>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    Ok(missing_in(&status).unwrap_or_default())
}

/// As [`missing`], from the text of a `status` file; `None` if it has no `CapEff` line.
fn missing_in(status: &str) -> Option<Vec<&'static str>> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    let effective = u64::from_str_radix(line.trim(), 16).ok()?;
    let has = |bit: u32| effective >> bit & 1 == 1;
    let lacks = |&(name, bit): &(&'static str, u32)| {
        // The kernel takes CAP_SYS_ADMIN for CAP_BPF and CAP_PERFMON (capability.h, bpf_capable).
        let stands_in = bit > 37 && has(CAP_SYS_ADMIN);
        (!has(bit) && !stands_in).then_some(name)
    };
    Some(NEEDED.iter().filter_map(lacks).collect())
}

#[cfg(test)]
mod tests;
