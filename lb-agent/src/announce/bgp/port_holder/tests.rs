use std::net::TcpListener;

use super::{TcpState, find, ip_address, parse};

const HEADER: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
const REST: &str = "00000000:00000000 00:00000000 00000000     0        0";

/// A table as a little-endian kernel writes it.
fn table(rows: &[(&str, &str, u64)]) -> String {
    let mut table = HEADER.to_owned();
    for (number, (local, state, inode)) in rows.iter().enumerate() {
        table += &format!(
            "   {number}: {local} 00000000:0000 {state} {REST} {inode} 1 0 100 0 0 10 0\n"
        );
    }
    table
}

#[test]
#[cfg(target_endian = "little")]
fn sockets_that_listen_or_are_connected_are_read() {
    let table = table(&[
        ("0B00000A:45EC", "0A", 1),
        ("0B00000A:45EC", "01", 2),
        ("0C00000A:00B3", "06", 3),
        ("0000000000000000FFFF00000B00000A:00B3", "01", 4),
    ]);
    let rows = parse(&table);
    let read: Vec<_> = rows.iter().map(|row| (row.state, row.inode)).collect();
    let (listen, established) = (TcpState::Listen, TcpState::Established);
    assert_eq!(read, [(listen, 1), (established, 2), (established, 4)]);
    assert_eq!(rows[0].local.to_string(), "10.0.0.11:17900");
    assert_eq!(
        rows[2].local.to_string(),
        "10.0.0.11:179",
        "IPv4 in IPv6 form"
    );
}

#[test]
#[cfg(target_endian = "little")]
fn ipv6_addresses_are_four_words() {
    let read = ip_address("000000FD000000000000000011000000");
    assert_eq!(read, Some("fd00::11".parse().unwrap()));
    assert_eq!(ip_address("000000FD"), Some("253.0.0.0".parse().unwrap()));
    assert_eq!(ip_address("00000"), None);
}

#[test]
fn the_holder_is_found_by_name_and_number() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let holder = find(listener.local_addr().unwrap()).expect("we hold it ourselves");
    let own = format!("(process {})", std::process::id());
    assert!(holder.ends_with(&own), "{holder}");
}
