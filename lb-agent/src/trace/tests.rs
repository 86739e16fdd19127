use std::net::SocketAddr;

use super::{
    decode,
    packet::{self, Description, Kind},
    pcap,
};

fn description(source: &str, destination: &str, kind: Kind) -> Description {
    let end = |text: &str| text.parse::<SocketAddr>().expect("an address");
    Description {
        source: end(source),
        destination: end(destination),
        kind,
        hop_limit: 64,
        payload_bytes: 5,
        source_mac: [2; 6],
        destination_mac: [4; 6],
    }
}

#[test]
fn a_described_packet_reads_as_it_was_described() {
    let v4 = description("198.51.100.2:40000", "10.99.0.1:80", Kind::Tcp { flags: 2 });
    assert_eq!(
        decode::frame(&packet::frame(&v4)),
        "TCP 198.51.100.2:40000 > 10.99.0.1:80 [SYN] ttl 64, 59 bytes"
    );
    let v6 = description("[2001:db8::2]:7", "[fd99::1]:53", Kind::Udp);
    assert_eq!(
        decode::frame(&packet::frame(&v6)),
        "UDP [2001:db8::2]:7 > [fd99::1]:53 ttl 64, 67 bytes"
    );
    let echo = description("[2001:db8::2]:7", "[fd99::1]:0", Kind::Echo);
    assert_eq!(
        decode::frame(&packet::frame(&echo)),
        "ICMPv6 2001:db8::2 > fd99::1 type 128 code 0 ttl 64, 67 bytes"
    );
}

/// Headers and segment add up to zero with the pseudo-header, as a receiver checks it (RFC 1071).
#[test]
fn every_checksum_of_a_described_packet_is_right() {
    for (source, destination) in [
        ("198.51.100.2:40000", "10.99.0.1:80"),
        ("[2001:db8::2]:40000", "[fd99::1]:80"),
    ] {
        for kind in [Kind::Tcp { flags: 16 }, Kind::Udp, Kind::Echo] {
            let frame = packet::frame(&description(source, destination, kind));
            let headers = etherparse::SlicedPacket::from_ethernet(&frame).expect("a frame");
            let (expected, found) = match (headers.net, headers.transport) {
                (Some(etherparse::NetSlice::Ipv4(ip)), Some(transport)) => {
                    let header = ip.header().to_header();
                    assert_eq!(header.calc_header_checksum(), header.header_checksum);
                    checksums_v4(&header, &transport)
                }
                (Some(etherparse::NetSlice::Ipv6(ip)), Some(transport)) => {
                    checksums_v6(&ip.header().to_header(), &transport)
                }
                other => panic!("{other:?}"),
            };
            assert_eq!(expected, found, "{source} {kind:?}");
        }
    }
}

fn checksums_v4(
    ip: &etherparse::Ipv4Header,
    transport: &etherparse::TransportSlice<'_>,
) -> (u16, u16) {
    use etherparse::TransportSlice::{Icmpv4, Tcp, Udp};
    match transport {
        Tcp(tcp) => {
            let header = tcp.to_header();
            let expected = header.calc_checksum_ipv4(ip, tcp.payload());
            (expected.expect("short"), header.checksum)
        }
        Udp(udp) => {
            let header = udp.to_header();
            let expected = header.calc_checksum_ipv4(ip, udp.payload());
            (expected.expect("short"), header.checksum)
        }
        Icmpv4(icmp) => {
            let header = icmp.header();
            (
                header.icmp_type.calc_checksum(icmp.payload()),
                header.checksum,
            )
        }
        other => panic!("{other:?}"),
    }
}

fn checksums_v6(
    ip: &etherparse::Ipv6Header,
    transport: &etherparse::TransportSlice<'_>,
) -> (u16, u16) {
    use etherparse::TransportSlice::{Icmpv6, Tcp, Udp};
    match transport {
        Tcp(tcp) => {
            let header = tcp.to_header();
            let expected = header.calc_checksum_ipv6(ip, tcp.payload());
            (expected.expect("short"), header.checksum)
        }
        Udp(udp) => {
            let header = udp.to_header();
            let expected = header.calc_checksum_ipv6(ip, udp.payload());
            (expected.expect("short"), header.checksum)
        }
        Icmpv6(icmp) => {
            let header = icmp.header();
            let expected =
                header
                    .icmp_type
                    .calc_checksum(ip.source, ip.destination, icmp.payload());
            (expected.expect("short"), header.checksum)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn whatever_the_bytes_are_they_are_described() {
    let frame = packet::frame(&description(
        "198.51.100.2:40000",
        "10.99.0.1:6080",
        Kind::Udp,
    ));
    assert!(decode::frame(&frame).contains("GUE (cut short)"));
    for end in 0..frame.len() {
        assert!(decode::frame(&frame[..end]).ends_with(&format!("{end} bytes")));
    }
}

fn capture(magic: [u8; 4], link_type: u32, packets: &[(&[u8], u32)]) -> Vec<u8> {
    let mut file = magic.to_vec();
    file.extend([0; 16]);
    file.extend(link_type.to_le_bytes());
    for (bytes, whole) in packets {
        file.extend([0; 8]);
        file.extend((bytes.len() as u32).to_le_bytes());
        file.extend(whole.to_le_bytes());
        file.extend(*bytes);
    }
    file
}

const MICROSECONDS: [u8; 4] = [0xd4, 0xc3, 0xb2, 0xa1];

#[test]
fn a_capture_gives_its_packets_by_number() {
    let file = capture(MICROSECONDS, 1, &[(b"one", 3), (b"four", 4)]);
    assert_eq!(pcap::packet(&file, 1), Ok(&b"one"[..]));
    assert_eq!(pcap::packet(&file, 2), Ok(&b"four"[..]));
    assert_eq!(pcap::packet(&file, 3), Err(pcap::Error::TooFew(2)));
}

#[test]
fn what_is_no_whole_packet_of_an_ethernet_link_is_refused() {
    let cut = capture(MICROSECONDS, 1, &[(b"on", 3)]);
    let cut_short = pcap::Error::Cut {
        number: 1,
        kept: 2,
        whole: 3,
    };
    assert_eq!(pcap::packet(&cut, 1), Err(cut_short));
    let any = capture(MICROSECONDS, 113, &[]);
    assert_eq!(pcap::packet(&any, 1), Err(pcap::Error::LinkType(113)));
    assert_eq!(
        pcap::packet(&[0x0a, 0x0d, 0x0d, 0x0a], 1),
        Err(pcap::Error::Pcapng)
    );
    assert_eq!(pcap::packet(b"text", 1), Err(pcap::Error::Format));
    assert_eq!(pcap::packet(b"", 1), Err(pcap::Error::Format));
}
