//! Headers byte by byte, and every byte string: nothing outside is read (a slice would panic).

extern crate std;

use std::{vec, vec::Vec};

use super::*;

fn ipv4(ip: &&[u8]) -> Result<Ip, Verdict> {
    super::ipv4(ip, |at| beyond_option(ip, at))
}

fn ipv6(ip: &&[u8]) -> Result<Ip, Verdict> {
    super::ipv6(ip, |at, protocol| beyond_extension(ip, at, protocol))
}

fn v4(options: &[u8], payload: usize) -> Vec<u8> {
    let header = 20 + options.len();
    let total = (header + payload) as u16;
    let mut packet = vec![0; header + payload];
    packet[0] = 0x40 | (header / 4) as u8;
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    packet[9] = UDP;
    packet[20..header].copy_from_slice(options);
    packet
}

fn v6(first: u8, rest: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 40];
    packet[0] = 0x60;
    packet[4..6].copy_from_slice(&(rest.len() as u16).to_be_bytes());
    packet[6] = first;
    packet.extend(rest);
    packet
}

fn extension(next: u8, units: usize) -> Vec<u8> {
    let mut bytes = vec![0; 8 * (units + 1)];
    (bytes[0], bytes[1]) = (next, units as u8);
    bytes
}

fn fragment(next: u8, place: u16, id: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![next, 0];
    bytes.extend(place.to_be_bytes());
    bytes.extend(id);
    bytes
}

#[test]
fn tags_are_passed_over_up_to_two() {
    let frame = |tags: &[[u8; 4]]| {
        let mut frame = vec![0; 12];
        frame.extend(tags.concat());
        frame.extend([8, 0]);
        frame
    };
    let (inner, outer) = ([0x81, 0, 0, 7], [0x88, 0xa8, 0, 9]);
    let ip = 0x0800_u16.to_be();
    assert_eq!(network(&&frame(&[])[..]), Some((ip, 14)));
    assert_eq!(network(&&frame(&[inner])[..]), Some((ip, 18)));
    assert_eq!(network(&&frame(&[outer, inner])[..]), Some((ip, 22)));
    assert_eq!(network(&&frame(&[outer, inner, inner])[..]), None);
    assert_eq!(network(&&frame(&[inner])[..16]), None);
    assert_eq!(network(&&frame(&[outer, inner])[..21]), None);
}

#[test]
fn ipv4_options_are_passed_over_and_source_routes_refused() {
    let read = |options: &[u8]| ipv4(&&v4(options, 8)[..]);
    assert_eq!(read(&[]).map(|ip| ip.transport_at), Ok(20));
    // Router alert (RFC 2113), and padding.
    assert_eq!(
        read(&[148, 4, 0, 0, 1, 1, 0, 0]).map(|ip| ip.transport_at),
        Ok(28)
    );
    assert_eq!(read(&[131, 3, 4, 0]), Err(Verdict::HeaderOptions));
    assert_eq!(read(&[1, 137, 3, 4]), Err(Verdict::HeaderOptions));
    assert_eq!(read(&[7, 1, 0, 0]), Err(Verdict::Malformed));
    assert_eq!(read(&[1; 12]), Err(Verdict::HeaderOptions));
    assert_eq!(read(&[1; 8]).map(|ip| ip.transport_at), Ok(28));
}

#[test]
fn ipv4_lengths_must_agree() {
    let changed = |at: usize, to: u8| {
        let mut packet = v4(&[], 8);
        packet[at] = to;
        ipv4(&&packet[..]).map(|ip| ip.bytes)
    };
    assert_eq!(changed(0, 0x45), Ok(28));
    assert_eq!(changed(0, 0x44), Err(Verdict::Malformed));
    assert_eq!(changed(0, 0x48), Err(Verdict::Malformed));
    assert_eq!(changed(0, 0x55), Err(Verdict::Malformed));
    assert_eq!(changed(3, 29), Err(Verdict::Malformed));
    assert_eq!(changed(3, 19), Err(Verdict::Malformed));
}

#[test]
fn ipv4_fragments_have_the_place_that_ipv6_would_say() {
    let at = |place: [u8; 2]| {
        let mut packet = v4(&[], 8);
        packet[4..8].copy_from_slice(&[1, 2, place[0], place[1]]);
        ipv4(&&packet[..]).map(|ip| ip.fragment.map(|fragment| fragment.place))
    };
    assert_eq!(at([0x40, 0]), Ok(None));
    assert_eq!(at([0x20, 0]), Ok(Some(1)));
    assert_eq!(at([0x20, 3]), Ok(Some(3 << 3 | 1)));
    assert_eq!(at([0x1f, 0xff]), Ok(Some(0xfff8)));
}

#[test]
fn ipv6_extensions_are_passed_over_to_a_bound() {
    let chain = |kinds: &[u8]| {
        let mut rest = Vec::new();
        for next in kinds.iter().skip(1).chain(&[UDP]) {
            rest.extend(extension(*next, 0));
        }
        rest.extend([0; 8]);
        let first = kinds.first().copied().unwrap_or(UDP);
        ipv6(&&v6(first, &rest[..kinds.len() * 8 + 8])[..]).map(|ip| (ip.protocol, ip.transport_at))
    };
    assert_eq!(chain(&[]), Ok((UDP, 40)));
    assert_eq!(chain(&[0, 60, 43]), Ok((UDP, 64)));
    assert_eq!(chain(&[60; 6]), Ok((UDP, 88)));
    assert_eq!(chain(&[60; 7]), Err(Verdict::HeaderOptions));
    let long = [extension(UDP, 27), vec![0; 8]].concat();
    assert_eq!(ipv6(&&v6(0, &long)[..]), Err(Verdict::HeaderOptions));
    let mut route = [extension(UDP, 0), vec![0; 8]].concat();
    route[3] = 1;
    assert_eq!(ipv6(&&v6(43, &route)[..]), Err(Verdict::HeaderOptions));
    assert_eq!(ipv6(&&v6(59, &[0; 8])[..]), Err(Verdict::HeaderOptions));
    assert_eq!(
        ipv6(&&v6(60, &extension(UDP, 1)[..8])[..]),
        Err(Verdict::Malformed)
    );
    let authenticated = [extension(UDP, 4), vec![0; 8]].concat();
    assert_eq!(
        ipv6(&&v6(51, &authenticated)[..]).map(|ip| ip.transport_at),
        Ok(64)
    );
}

#[test]
fn ipv6_fragments() {
    let read = |place: u16, next: u8, rest: usize| {
        let packet = v6(
            44,
            &[fragment(next, place, [1, 2, 3, 4]), vec![0; rest]].concat(),
        );
        ipv6(&&packet[..]).map(|ip| (ip.protocol, ip.transport_at, ip.fragment))
    };
    let part = |place| {
        Some(Fragment {
            id: u32::from_ne_bytes([1, 2, 3, 4]),
            place,
        })
    };
    assert_eq!(read(0, UDP, 8), Ok((UDP, 48, None)));
    assert_eq!(read(1, UDP, 8), Ok((UDP, 48, part(1))));
    // Behind an extension header, the later parts do not say whose they are, so that the first is refused as well.
    assert_eq!(read(1, 60, 8), Err(Verdict::HeaderOptions));
    assert_eq!(read(8 << 3, 60, 8), Err(Verdict::HeaderOptions));
    assert_eq!(read(8 << 3, UDP, 8), Ok((UDP, 48, part(8 << 3))));
    let twice = [fragment(44, 1, [0; 4]), fragment(UDP, 1, [0; 4])].concat();
    assert_eq!(ipv6(&&v6(44, &twice)[..]), Err(Verdict::HeaderOptions));
}

#[test]
fn what_transport_headers_say_of_lengths_must_fit() {
    let tcp = |words: u8, bytes| {
        let mut header = [0u8; 40];
        header[12] = words << 4;
        tcp_ports(&&header[..], bytes).is_some()
    };
    assert!(tcp(5, 20) && tcp(10, 40));
    assert!(!tcp(4, 20) && !tcp(6, 20));
    let udp = |said: u8, bytes| {
        let header = [0, 0, 0, 0, 0, said, 0, 0];
        udp_ports(&&header[..], bytes, true).is_some()
    };
    assert!(udp(8, 8) && udp(8, 9));
    assert!(!udp(7, 8) && !udp(9, 8));
}

#[test]
fn never_reads_outside() {
    bolero::check!()
        .with_iterations(20_000)
        .for_each(|bytes: &[u8]| {
            if bytes.len() >= 14 {
                let _ = network(&bytes);
            }
            if bytes.len() >= 20 {
                let _ = ipv4(&bytes);
            }
            if bytes.len() >= 40 {
                let _ = ipv6(&bytes);
            }
        });
}
