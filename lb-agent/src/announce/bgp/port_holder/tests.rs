use std::net::TcpListener;

use super::{find, listening_inodes};

const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0B00000A:45EC 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0
   1: 0B00000A:45EC 0100000A:00B3 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0000000000000000 20 4 30 10 -1
   2: 0B00000A:00B3 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0000000000000000 100 0 0 10 0
";

#[test]
fn only_listening_sockets_of_the_port_count() {
    assert_eq!(listening_inodes(TABLE, 17900), [4711]);
    assert_eq!(listening_inodes(TABLE, 179), [4713]);
    assert!(listening_inodes(TABLE, 180).is_empty());
}

#[test]
fn the_holder_is_found_by_name_and_number() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let holder = find(listener.local_addr().unwrap().port()).expect("we hold it ourselves");
    let own = format!("(process {})", std::process::id());
    assert!(holder.ends_with(&own), "{holder}");
}
