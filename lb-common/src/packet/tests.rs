//! The parser against every byte string (it must never read outside) and against etherparse.

extern crate std;

use core::cell::Cell;

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use proptest::prelude::*;

use super::*;

/// A frame that notices a load of what `has` did not vouch for.
struct Watched<'a> {
    bytes: &'a [u8],
    known: Cell<usize>,
}

impl Packet for Watched<'_> {
    fn has(&self, bytes: usize) -> bool {
        let has = self.bytes.len() >= bytes;
        if has {
            self.known.set(self.known.get().max(bytes));
        }
        has
    }
    fn is_as_long_as(&self, bytes: usize) -> bool {
        self.bytes.len() >= bytes
    }
    fn load_u8(&self, offset: usize) -> u8 {
        assert!(offset < self.known.get(), "byte {offset} was not asked for");
        self.bytes.load_u8(offset)
    }
    fn load_u16(&self, offset: usize) -> u16 {
        assert!(
            offset + 2 <= self.known.get(),
            "bytes at {offset} were not asked for"
        );
        self.bytes.load_u16(offset)
    }
    fn load_u32(&self, offset: usize) -> u32 {
        assert!(
            offset + 4 <= self.known.get(),
            "bytes at {offset} were not asked for"
        );
        self.bytes.load_u32(offset)
    }
    fn load_u64(&self, offset: usize) -> u64 {
        assert!(
            offset + 8 <= self.known.get(),
            "bytes at {offset} were not asked for"
        );
        self.bytes.load_u64(offset)
    }
}

fn parse_watched(bytes: &[u8]) {
    let frame = Watched {
        bytes,
        known: Cell::new(0),
    };
    if frame.has(Layout::transport(false)) {
        let _ = is_plain::<false, _>(&frame).then(|| fields::<false, _>(&frame));
    }
    let frame = Watched {
        bytes,
        known: Cell::new(0),
    };
    if frame.has(Layout::transport(true)) {
        let _ = is_plain::<true, _>(&frame).then(|| fields::<true, _>(&frame));
    }
}

#[test]
fn never_reads_what_it_did_not_ask_for() {
    bolero::check!()
        .with_iterations(20_000)
        .for_each(parse_watched);
}

/// What etherparse says of the same bytes, as far as this parser goes.
fn oracle(bytes: &[u8]) -> Option<(std::vec::Vec<u8>, std::vec::Vec<u8>, u16, u16)> {
    let sliced = SlicedPacket::from_ethernet(bytes).ok()?;
    let (source, destination) = match sliced.net? {
        NetSlice::Ipv4(ip) => (
            ip.header().source().to_vec(),
            ip.header().destination().to_vec(),
        ),
        NetSlice::Ipv6(ip) => (
            ip.header().source().to_vec(),
            ip.header().destination().to_vec(),
        ),
        NetSlice::Arp(_) => return None,
    };
    let (from, to) = match sliced.transport? {
        TransportSlice::Tcp(tcp) => (tcp.source_port(), tcp.destination_port()),
        TransportSlice::Udp(udp) => (udp.source_port(), udp.destination_port()),
        _ => return None,
    };
    Some((source, destination, from, to))
}

fn ours(bytes: &[u8]) -> Option<(std::vec::Vec<u8>, std::vec::Vec<u8>, u16, u16)> {
    let v6 = bytes.load_u16(12) == ETHERTYPE_IPV6;
    if !bytes.has(Layout::transport(v6)) {
        return None;
    }
    let header = if v6 {
        is_plain::<true, _>(bytes).then(|| fields::<true, _>(bytes))
    } else {
        is_plain::<false, _>(bytes).then(|| fields::<false, _>(bytes))
    }?;
    let octets = |address: Address| {
        let all: std::vec::Vec<u8> = address.iter().flat_map(|word| word.to_ne_bytes()).collect();
        all[..if v6 { 16 } else { 4 }].to_vec()
    };
    let (from, to) = (
        u16::from_be(header.source_port()),
        u16::from_be(header.destination_port()),
    );
    Some((octets(header.source), octets(header.destination), from, to))
}

fn frame(v6: bool, udp: bool, from: u16, to: u16, payload: &[u8]) -> std::vec::Vec<u8> {
    let ethernet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
    let ip = if v6 {
        ethernet.ipv6([1; 16], [2; 16], 64)
    } else {
        ethernet.ipv4([192, 0, 2, 1], [10, 99, 0, 1], 64)
    };
    let mut bytes = std::vec::Vec::new();
    if udp {
        ip.udp(from, to).write(&mut bytes, payload).unwrap();
    } else {
        ip.tcp(from, to, 1, 1000)
            .syn()
            .write(&mut bytes, payload)
            .unwrap();
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn agrees_with_etherparse_on_good_packets(
        v6 in any::<bool>(), udp in any::<bool>(), from in any::<u16>(), to in any::<u16>(),
        payload in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let bytes = frame(v6, udp, from, to, &payload);
        prop_assert!(ours(&bytes).is_some());
        prop_assert_eq!(ours(&bytes), oracle(&bytes));
    }

    /// Where both read a flow, it is the same flow; where etherparse finds no packet at all, we find no flow.
    #[test]
    fn agrees_with_etherparse_on_damaged_packets(
        v6 in any::<bool>(), udp in any::<bool>(), cut in 0usize..80, at in 14usize..60, value in any::<u8>(),
    ) {
        let mut bytes = frame(v6, udp, 1234, 80, b"payload");
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        bytes.truncate(bytes.len().saturating_sub(cut).max(14));
        if let (Some(ours), Some(oracle)) = (ours(&bytes), oracle(&bytes)) {
            prop_assert_eq!(ours, oracle);
        }
    }
}

#[test]
fn what_is_rare_or_wrong_is_not_plain() {
    let good = frame(false, false, 1, 2, b"");
    let is_plain_with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        is_plain::<false, _>(&bytes[..])
    };
    assert!(is_plain_with(14, 0x45));
    for (at, value) in [
        (14, 0x46),
        (14, 0x44),
        (14, 0x65),
        (17, 200),
        (17, 39),
        (20, 0x20),
        (21, 1),
        (23, 1),
        (46, 0x40),
        (46, 0x60),
    ] {
        assert!(!is_plain_with(at, value), "byte {at} as {value:#x}");
    }
    let good = frame(true, true, 1, 2, b"");
    let is_plain_with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        is_plain::<true, _>(&bytes[..])
    };
    assert!(is_plain_with(14, 0x60));
    for (at, value) in [
        (14, 0x45),
        (20, 44),
        (20, 60),
        (20, 58),
        (19, 9),
        (19, 7),
        (59, 7),
        (59, 9),
    ] {
        assert!(!is_plain_with(at, value), "byte {at} as {value:#x}");
    }
}

#[test]
fn a_length_beyond_16_bits_is_not_plain() {
    let mut bytes = frame(true, true, 1, 2, b"");
    bytes[18..20].copy_from_slice(&[0xff, 0xff]);
    bytes.resize(70_000, 0);
    assert!(!is_plain::<true, _>(&bytes[..]));
}
