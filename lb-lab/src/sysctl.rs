//! Kernel settings of a namespace: `/proc/sys/net` shows the namespace of the thread that opens it.

use std::fs;

use anyhow::{Context, Result};

/// Sets `net.<key>`, written with slashes, in the namespace of the calling thread.
pub(crate) fn set(key: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/net/{key}");
    fs::write(&path, value).with_context(|| format!("writing {value} to {path}"))
}

/// What every host of a lab has: usable IPv6 addresses at once, and no address but those the lab gives.
pub(crate) fn as_host() -> Result<()> {
    for scope in ["all", "default"] {
        set(&format!("ipv6/conf/{scope}/accept_dad"), "0")?;
        set(&format!("ipv6/conf/{scope}/accept_ra"), "0")?;
        set(&format!("ipv6/conf/{scope}/router_solicitations"), "0")?;
    }
    set("ipv6/conf/default/dad_transmits", "0")
}

/// Forwarding, as nodes and routers have it.
pub(crate) fn as_forwarder() -> Result<()> {
    set("ipv4/ip_forward", "1")?;
    set("ipv6/conf/default/forwarding", "1")?;
    set("ipv6/conf/all/forwarding", "1")
}

/// Multipath by the five-tuple, as routers hash (kernel: `Documentation/networking/ip-sysctl.rst`).
pub(crate) fn as_multipath_router() -> Result<()> {
    set("ipv4/fib_multipath_hash_policy", "1")?;
    set("ipv6/fib_multipath_hash_policy", "1")
}

/// Strict reverse path filtering (RFC 3704), on all links of now and later.
pub(crate) fn strict_reverse_path() -> Result<()> {
    set("ipv4/conf/all/rp_filter", "1")?;
    set("ipv4/conf/default/rp_filter", "1")
}
