//! Which interfaces are the uplinks: those that the file names, or else the interface of the default route.
//! Read from `/proc/net` once, to refuse a name that is not there with the names that are; what happens to
//! the interfaces later is told by `links`.

use std::{fs, io, sync::Arc};

use lb_core::model::Layer2;

/// Why there are no uplinks. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file names an interface that is not there.
    #[error("node.uplinks: there is no interface {missing} on this host; it has {}", existing.join(", "))]
    NoSuchInterface {
        /// The name.
        missing: String,
        /// Names that could be meant.
        existing: Vec<String>,
    },
    /// The file names none, and there is nothing to go by.
    #[error("this host has no default route to tell the uplink by; set `node.uplinks` to some of {}", existing.join(", "))]
    NoDefaultRoute {
        /// Names that could be meant.
        existing: Vec<String>,
    },
    /// The file answers for VIPs on an interface that is no uplink.
    #[error("layer2.interfaces: {interface} is not an uplink of this host; these are: {}", uplinks.join(", "))]
    NotAnUplink {
        /// The interface.
        interface: String,
        /// The uplinks.
        uplinks: Vec<String>,
    },
    /// The kernel does not tell.
    #[error("cannot read {path}: {reason}")]
    Unreadable {
        /// The file.
        path: &'static str,
        /// What the kernel says.
        reason: String,
    },
}

/// The uplinks of this host, given what the file names.
///
/// # Errors
/// If there are none, or one of them is not there.
pub fn choose(configured: &[String]) -> Result<Vec<String>, Error> {
    let existing = interfaces(&read("/proc/net/dev")?);
    if configured.is_empty() {
        let v4 = default_route_v4(&read("/proc/net/route")?);
        // Without IPv6 in the kernel there is no such file.
        let default = v4.or_else(|| default_route_v6(&read("/proc/net/ipv6_route").ok()?));
        return default
            .map(|name| vec![name])
            .ok_or(Error::NoDefaultRoute { existing });
    }
    match configured.iter().find(|name| !existing.contains(name)) {
        Some(missing) => Err(Error::NoSuchInterface {
            missing: missing.clone(),
            existing,
        }),
        None => Ok(configured.to_vec()),
    }
}

/// Refuses a section `layer2` that names an interface which is none of the uplinks: the file need not name those.
///
/// # Errors
/// The first such interface.
pub fn check_layer2(layer2: Option<&Layer2>, uplinks: &[String]) -> Result<(), Error> {
    let named = layer2.map_or(&[][..], |layer2| &layer2.interfaces);
    let is_other = |interface: &&Arc<str>| !uplinks.iter().any(|uplink| **uplink == ***interface);
    match named.iter().find(is_other) {
        None => Ok(()),
        Some(interface) => Err(Error::NotAnUplink {
            interface: interface.to_string(),
            uplinks: uplinks.to_vec(),
        }),
    }
}

fn read(path: &'static str) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|error: io::Error| Error::Unreadable {
        path,
        reason: error.to_string(),
    })
}

/// Names in `/proc/net/dev`, the loopback left out.
fn interfaces(dev: &str) -> Vec<String> {
    dev.lines()
        .filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()))
        .filter(|name| name != "lo")
        .collect()
}

/// Interface of the default route with the lowest metric in `/proc/net/route`.
fn default_route_v4(route: &str) -> Option<String> {
    let defaults = route.lines().skip(1).filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let is_default = *fields.get(1)? == "00000000" && *fields.get(7)? == "00000000";
        let metric: u32 = fields.get(6)?.parse().ok()?;
        is_default.then(|| (metric, fields[0].to_owned()))
    });
    defaults.min().map(|(_, name)| name)
}

/// As [`default_route_v4`], from `/proc/net/ipv6_route`, whose numbers are hexadecimal. The kernel's own
/// unreachable default stands on the loopback.
fn default_route_v6(route: &str) -> Option<String> {
    let defaults = route.lines().filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (destination, prefix, name) = (fields.first()?, fields.get(1)?, fields.get(9)?);
        let is_default = destination.bytes().all(|digit| digit == b'0') && *prefix == "00";
        let metric = u32::from_str_radix(fields.get(5)?, 16).ok()?;
        (is_default && *name != "lo").then(|| (metric, (*name).to_owned()))
    });
    defaults.min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests;
