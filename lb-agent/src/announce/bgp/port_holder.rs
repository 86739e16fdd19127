//! Which process listens on a TCP port, for a log line: from the socket's inode in `/proc/net/tcp` and `tcp6`
//! to the process that has it open (proc(5)). Best effort: without the right to look into other processes
//! there is no answer.

use std::{fs, path::Path};

/// State of a listening socket in `/proc/net/tcp` (TCP_LISTEN, include/net/tcp_states.h).
const LISTEN: &str = "0A";

/// The holder, as "bird (process 123)".
pub(super) fn find(port: u16) -> Option<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inodes = tables
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| listening_inodes(&table, port));
    let sockets: Vec<_> = inodes.map(|inode| format!("socket:[{inode}]")).collect();
    let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    let holder = processes
        .map(|entry| entry.path())
        .find(|process| has_open(process, &sockets))?;
    let name = fs::read_to_string(holder.join("comm")).ok()?;
    let id = holder.file_name()?.to_str()?.to_owned();
    Some(format!("{} (process {id})", name.trim_end()))
}

/// Inodes of sockets that listen on a port, from the text of a table.
fn listening_inodes(table: &str, port: u16) -> Vec<u64> {
    let of_line = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
        let is_it = *fields.get(3)? == LISTEN && u16::from_str_radix(local_port, 16) == Ok(port);
        is_it.then(|| fields.get(9)?.parse().ok()).flatten()
    };
    table.lines().skip(1).filter_map(of_line).collect()
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
