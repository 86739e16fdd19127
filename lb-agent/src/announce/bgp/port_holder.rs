//! The kernel's tables of TCP sockets, `/proc/net/tcp` and `tcp6`, and which process has one open, for a log line
//! (proc(5)). Best effort: without the right to look into other processes nobody is found.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
};

/// A socket, as far as anybody asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// What it is doing.
    pub(super) state: TcpState,
    /// Its own end; IPv4 in IPv6 form is told as IPv4.
    pub(super) local: SocketAddr,
    /// The far end.
    pub(super) remote: SocketAddr,
    /// By which a process has it open.
    pub(super) inode: u64,
}

/// States that matter here (include/net/tcp_states.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TcpState {
    /// TCP_ESTABLISHED, 1.
    Established,
    /// TCP_LISTEN, 10.
    Listen,
}

/// All sockets of this network namespace that listen or are connected.
pub(super) fn rows() -> Vec<Row> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let texts = tables
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok());
    texts.flat_map(|text| parse(&text)).collect()
}

/// The holder of an address or of its wildcard, as "bird (process 123)".
pub(crate) fn find(address: SocketAddr) -> Option<String> {
    let rows = rows().into_iter().filter(|row| {
        let ip = row.local.ip();
        row.state == TcpState::Listen
            && row.local.port() == address.port()
            && (ip == address.ip() || ip.is_unspecified())
    });
    let sockets: Vec<_> = rows.map(|row| format!("socket:[{}]", row.inode)).collect();
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

/// The rows of a table's text.
fn parse(table: &str) -> Vec<Row> {
    let row = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        Some(Row {
            state: match *fields.get(3)? {
                "01" => TcpState::Established,
                "0A" => TcpState::Listen,
                _ => return None,
            },
            local: socket_address(fields.get(1)?)?,
            remote: socket_address(fields.get(2)?)?,
            inode: fields.get(9)?.parse().ok()?,
        })
    };
    table.lines().skip(1).filter_map(row).collect()
}

fn socket_address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.rsplit_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(SocketAddr::new(ip_address(ip)?.to_canonical(), port))
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
