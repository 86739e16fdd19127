//! Link offloads by the ethtool ioctl (include/uapi/linux/ethtool.h), in the namespace of the calling thread. A lab with
//! a veth's default offloads cannot see a checksum fault: frames travel with only a promise of a checksum, which an XDP
//! program changes unseen and no stack ever verifies.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

/// Turns a link's transmit checksum offload on or off: off, the frames it sends carry whole checksums.
pub fn set_transmit_checksum(link: &str, on: bool) -> io::Result<()> {
    set(link, ETHTOOL_STXCSUM, on)
}

/// Turns generic receive offload on or off; on a veth with XDP it also makes the peer's `XDP_REDIRECT` arrive.
pub(crate) fn set_receive_merging(link: &str, on: bool) -> io::Result<()> {
    set(link, ETHTOOL_SGRO, on)
}

fn set(link: &str, command: u32, on: bool) -> io::Result<()> {
    let mut value = EthtoolValue {
        command,
        data: u32::from(on),
    };
    let mut request = InterfaceRequest {
        name: [0; libc::IFNAMSIZ],
        data: &raw mut value,
        _rest: [0; 2],
    };
    let name = link.as_bytes();
    if name.len() >= libc::IFNAMSIZ {
        return Err(io::Error::other(format!("link name too long: {link}")));
    }
    request.name[..name.len()].copy_from_slice(name);
    let any = UdpSocket::bind(("127.0.0.1", 0))?;
    // SAFETY: the request has the size of `struct ifreq` and points to a value that outlives the call.
    let code = unsafe {
        libc::ioctl(
            any.as_raw_fd(),
            libc::SIOCETHTOOL as libc::Ioctl,
            &raw mut request,
        )
    };
    if code < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// `struct ethtool_value`.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// `struct ifreq` with its union as a pointer, 40 bytes on 64-bit machines.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; libc::IFNAMSIZ],
    data: *mut EthtoolValue,
    _rest: [u64; 2],
}

const ETHTOOL_STXCSUM: u32 = 0x17;
const ETHTOOL_SGRO: u32 = 0x2c;
