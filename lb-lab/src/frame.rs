//! Raw Ethernet frames on a link, for what no socket can send or see: a frame for another host's MAC, a wrong checksum,
//! an encapsulated packet. Frames are bytes in and bytes out; building and parsing them is the test's business.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use crate::namespace::Namespace;
use crate::netlink::Netlink;
use crate::wait::patience;

/// A packet socket on one link; it sees what the link sends and receives.
pub struct FrameSocket {
    socket: Socket,
}

impl FrameSocket {
    /// Opens a packet socket on a link of a namespace.
    pub fn open(namespace: &Namespace, link: &str) -> Result<Self> {
        namespace.run(|| {
            let index = Netlink::open()?.index(link)?;
            let all = Protocol::from(i32::from(ALL_PROTOCOLS.to_be()));
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(all))?;
            socket
                .bind(&link_address(index)?)
                .with_context(|| format!("binding a packet socket to {link}"))?;
            Ok(Self { socket })
        })
    }

    /// Sends a whole frame, from its destination MAC on.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        (&self.socket).write_all(frame).context("sending a frame")
    }

    /// The first frame that `wanted` takes, at most for `limit`; `None` if none came.
    pub fn receive(
        &self,
        limit: Duration,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<Vec<u8>>> {
        let deadline = Instant::now() + limit * patience();
        let mut buffer = vec![0; MAX_FRAME_BYTES];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.socket.set_read_timeout(Some(left))?;
            match (&self.socket).read(&mut buffer) {
                Ok(length) if wanted(&buffer[..length]) => {
                    return Ok(Some(buffer[..length].to_vec()));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error).context("receiving a frame"),
            }
        }
    }
}

fn link_address(index: u32) -> Result<SockAddr> {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: the storage is large enough for every kind of socket address, and all its bytes are zero.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = u16::try_from(libc::AF_PACKET)?;
    address.sll_protocol = ALL_PROTOCOLS.to_be();
    address.sll_ifindex = i32::try_from(index)?;
    let length = u32::try_from(size_of::<libc::sockaddr_ll>())?;
    // SAFETY: the address above is complete and has this length.
    Ok(unsafe { SockAddr::new(storage, length) })
}

/// `ETH_P_ALL` of include/uapi/linux/if_ether.h.
const ALL_PROTOCOLS: u16 = 3;
/// A merged IPv4 packet of GRO with its Ethernet header.
const MAX_FRAME_BYTES: usize = 65_535 + 14;
