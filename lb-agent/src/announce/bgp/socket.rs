//! Sockets as BGP wants them: no delay, DSCP CS6 (RFC 4594 section 3.2), and given up when the peer's TCP has
//! been silent for the hold time; with a key, where a peer has a password, before the first SYN goes or comes
//! (RFC 2385). The one place that asks the kernel how much the peer has acknowledged.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
    time::Duration,
};

use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::password::{PASSWORD_LEN_MAX, Password};

/// DSCP CS6, network control, in the upper six bits of the former TOS octet (RFC 2474).
const TOS_CS6: u32 = 48 << 2;
/// Peers that may wait to be accepted.
const BACKLOG: i32 = 128;

/// Dials a peer.
pub(super) async fn dial(peer: SocketAddr, password: Option<&Password>) -> io::Result<TcpStream> {
    let socket = match peer {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    mark(&SockRef::from(&socket), peer.ip())?;
    if let Some(password) = password {
        sign(&socket, peer.ip(), password)?;
    }
    socket.connect(peer).await
}

/// Listens on one address of this node, even if it is not there yet (as an IPv6 address that is still checked
/// for duplicates). Peers that have a password are heard only with it.
pub(super) fn listen(
    address: SocketAddr,
    passwords: &BTreeMap<IpAddr, Password>,
) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => {
            socket.set_freebind_v6(true)?;
            socket.set_only_v6(true)?;
        }
    }
    // Or a restarted agent would wait for the sessions of the one before to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    mark(&SockRef::from(&socket), address.ip())?;
    for (peer, password) in passwords {
        if peer.is_ipv4() == address.is_ipv4() {
            sign(&socket, *peer, password)?;
        }
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Readies a connection for a session. A hold time of zero sets no limit.
pub(super) fn prepare(stream: &TcpStream, remote: IpAddr, hold_time: Duration) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout((!hold_time.is_zero()).then_some(hold_time))?;
    mark(&socket, remote)
}

/// Octets that were written and that the peer's TCP has not acknowledged (SIOCOUTQ, tcp(7)).
pub(super) fn unacknowledged(stream: &TcpStream) -> io::Result<usize> {
    let mut octets: libc::c_int = 0;
    // SAFETY: SIOCOUTQ (TIOCOUTQ by its other name) writes one int to the address given, which is that of a
    // live local; the descriptor is open as long as `stream` is borrowed.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut octets) };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(octets).unwrap_or_default())
}

/// `struct tcp_md5sig` of include/uapi/linux/tcp.h.
#[repr(C)]
struct TcpMd5Sig {
    /// Transparent around `struct sockaddr_storage`.
    address: SockAddrStorage,
    flags: u8,
    prefix_bits: u8,
    key_len: u16,
    interface_index: libc::c_int,
    key: [u8; PASSWORD_LEN_MAX],
}

/// From now on, segments from and to this peer carry a signature, and those without are dropped.
fn sign(socket: &impl AsRawFd, peer: IpAddr, password: &Password) -> io::Result<()> {
    let mut key = [0; PASSWORD_LEN_MAX];
    let bytes = password.bytes();
    key[..bytes.len()].copy_from_slice(bytes);
    let signature = TcpMd5Sig {
        address: SockAddr::from(SocketAddr::new(peer, 0)).as_storage(),
        flags: 0,
        prefix_bits: 0,
        key_len: bytes.len() as u16,
        interface_index: 0,
        key,
    };
    let length = size_of::<TcpMd5Sig>() as libc::socklen_t;
    // SAFETY: TCP_MD5SIG reads one `struct tcp_md5sig` from the address given, which is that of a live local of
    // this layout and length; the descriptor is open as long as `socket` is borrowed.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_MD5SIG,
            (&raw const signature).cast(),
            length,
        )
    };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn mark(socket: &SockRef<'_>, address: IpAddr) -> io::Result<()> {
    match address {
        IpAddr::V4(_) => socket.set_tos_v4(TOS_CS6),
        IpAddr::V6(_) => socket.set_tclass_v6(TOS_CS6),
    }
}

#[cfg(test)]
mod tests;
