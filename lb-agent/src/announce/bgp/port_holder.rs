//! Which process listens where we want to, for a log line: from the socket's inode in `/proc/net/tcp` and `tcp6`
//! to the process that has it open (proc(5)). Best effort: without the right to look into other processes
//! there is no answer.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
};

/// State of a listening socket in `/proc/net/tcp` (TCP_LISTEN, include/net/tcp_states.h).
const LISTEN: &str = "0A";

/// The holder of an address or of its wildcard, as "bird (process 123)".
pub(super) fn find(address: SocketAddr) -> Option<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inodes = tables
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| listening_inodes(&table, address));
    let sockets: Vec<_> = inodes.map(|inode| format!("socket:[{inode}]")).collect();
    let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    let (id, holder) = processes
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse::<u32>().ok()?,
                entry.path(),
            ))
        })
        .find(|(_, process)| has_open(process, &sockets))?;
    let name = fs::read_to_string(holder.join("comm")).ok()?;
    Some(format!("{} (process {id})", name.trim_end()))
}

/// Inodes of sockets that listen on an address or its wildcard, from the text of a table.
fn listening_inodes(table: &str, address: SocketAddr) -> Vec<u64> {
    let of_line = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (local_ip, local_port) = fields.get(1)?.rsplit_once(':')?;
        let local_ip = ip_address(local_ip)?;
        let is_it = *fields.get(3)? == LISTEN
            && u16::from_str_radix(local_port, 16) == Ok(address.port())
            && (local_ip == address.ip() || local_ip.is_unspecified());
        is_it.then(|| fields.get(9)?.parse().ok()).flatten()
    };
    table.lines().skip(1).filter_map(of_line).collect()
}

/// The kernel writes addresses as words in its own byte order.
fn ip_address(digits: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(digits.get(at..at + 8)?, 16).ok()?;
        Some(Ipv4Addr::from(word.to_ne_bytes()))
    };
    match digits.len() {
        8 => word(0).map(IpAddr::V4),
        32 => {
            let mut octets = [0; 16];
            for (index, part) in octets.chunks_mut(4).enumerate() {
                part.copy_from_slice(&word(index * 8)?.octets());
            }
            Some(IpAddr::from(octets))
        }
        _ => None,
    }
}

fn has_open(process: &Path, sockets: &[String]) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else {
        return false;
    };
    descriptors.filter_map(Result::ok).any(|descriptor| {
        let target = fs::read_link(descriptor.path());
        target.is_ok_and(|target| sockets.iter().any(|socket| target == Path::new(socket)))
    })
}

#[cfg(test)]
mod tests;
