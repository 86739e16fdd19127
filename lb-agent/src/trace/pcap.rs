//! One frame out of a capture as `tcpdump -w` writes it: the classic format in either byte order, with micro- or
//! nanoseconds, of an Ethernet link. The newer pcapng is told apart and refused with what to do.

/// Why there is no frame.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Something else.
    #[error("it is no capture as `tcpdump -w` writes it")]
    Format,
    /// The newer format.
    #[error(
        "it is a pcapng file: convert it with `tcpdump -r FILE -w OTHER` or `editcap -F pcap FILE OTHER`"
    )]
    Pcapng,
    /// Another kind of link.
    #[error("its link type is {0}, not Ethernet (1): capture on the uplink itself, not on `any`")]
    LinkType(u32),
    /// It ends before.
    #[error("it has {0} packets")]
    TooFew(usize),
    /// Cut by the capture's snapshot length.
    #[error("packet {number} was cut to {kept} of {whole} bytes: capture with `tcpdump -s 0`")]
    Cut {
        /// Counted from one.
        number: usize,
        /// Bytes in the file.
        kept: u32,
        /// Bytes on the wire.
        whole: u32,
    },
}

/// LINKTYPE_ETHERNET.
const ETHERNET: u32 = 1;

/// The packet of this number, counted from one.
///
/// # Errors
/// The bytes are no such capture, or the packet is not in it whole.
pub fn packet(file: &[u8], number: usize) -> Result<&[u8], Error> {
    let swapped = match file.get(..4) {
        Some([0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1]) => false,
        Some([0xa1, 0xb2, 0xc3, 0xd4] | [0xa1, 0xb2, 0x3c, 0x4d]) => true,
        Some([0x0a, 0x0d, 0x0d, 0x0a]) => return Err(Error::Pcapng),
        _ => return Err(Error::Format),
    };
    let word = |at: usize| {
        let bytes: [u8; 4] = file.get(at..at + 4)?.try_into().ok()?;
        Some(if swapped {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        })
    };
    let link_type = word(20).ok_or(Error::Format)?;
    if link_type != ETHERNET {
        return Err(Error::LinkType(link_type));
    }
    let mut at = 24;
    for seen in 0.. {
        let (Some(kept), Some(whole)) = (word(at + 8), word(at + 12)) else {
            return Err(Error::TooFew(seen));
        };
        let bytes = file
            .get(at + 16..at + 16 + kept as usize)
            .ok_or(Error::TooFew(seen))?;
        if seen + 1 == number {
            return if kept == whole {
                Ok(bytes)
            } else {
                Err(Error::Cut {
                    number,
                    kept,
                    whole,
                })
            };
        }
        at += 16 + kept as usize;
    }
    unreachable!("a file ends")
}
