//! Sockets as BGP wants them: no delay, DSCP CS6 (RFC 4594 section 3.2), and given up when the peer's TCP has
//! been silent for the hold time; from the address and interface that the peer knows, as far away as it may be
//! (RFC 5082), and signed from the first SYN on. The one place that asks the kernel how much the peer has
//! acknowledged.

mod sign;

use std::{
    collections::BTreeMap,
    ffi::CString,
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
    sync::Arc,
    time::Duration,
};

use lb_core::model::Prefix;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

pub(super) use sign::knows_tcp_ao;

use super::password::Signature;

/// DSCP CS6, network control, in the upper six bits of the former TOS octet (RFC 2474).
const TOS_CS6: u32 = 48 << 2;
/// Peers that may wait to be accepted.
const BACKLOG: i32 = 128;
/// What a neighbour's packet arrives with if nobody was in between (RFC 5082).
const TTL_MAX: u8 = 255;

/// How connections with one peer are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Transport {
    /// Where to dial.
    pub(super) peer: SocketAddr,
    /// From where; `None`: as the kernel's routes say.
    pub(super) source: Option<IpAddr>,
    /// Interface or VRF to bind to.
    pub(super) interface: Option<Arc<str>>,
    /// How far away the peer may be.
    pub(super) distance: Distance,
    /// How segments are signed.
    pub(super) signature: Option<Signature>,
}

/// How far away a peer may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Distance {
    /// Most hops; `None`: as far as packets go.
    pub(super) hops: Option<u8>,
    /// Drop what comes from farther away.
    pub(super) gtsm: bool,
}

impl Distance {
    /// Whether packets that were taken before may be dropped now.
    pub(super) fn is_nearer_than(self, before: Self) -> bool {
        let hops = |of: Self| of.hops.unwrap_or(1);
        self.gtsm && (!before.gtsm || hops(self) < hops(before))
    }
}

/// Whom a listener is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Callers {
    /// Those whose segments are signed.
    pub(super) signatures: BTreeMap<Prefix, Signature>,
    /// Whether any of them checks how far away we are.
    pub(super) gtsm: bool,
}

/// Dials a peer.
pub(super) async fn dial(transport: &Transport) -> io::Result<TcpStream> {
    let peer = transport.peer;
    let socket = match peer {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    let options = SockRef::from(&socket);
    mark(&options, peer.ip())?;
    limit_distance(&options, peer.ip(), transport.distance)?;
    if let Some(interface) = &transport.interface {
        options.bind_device(Some(interface.as_bytes()))?;
    }
    if let Some(signature) = &transport.signature {
        sign::sign(&socket, Prefix::host(peer.ip()), signature)?;
    }
    if let Some(source) = transport.source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    socket.connect(peer).await
}

/// Listens on one address of this node, even if it is not there yet (as an IPv6 address that is still checked
/// for duplicates). Peers that sign are heard only if they do.
pub(super) fn listen(address: SocketAddr, callers: &Callers) -> io::Result<TcpListener> {
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
    let options = SockRef::from(&socket);
    mark(&options, address.ip())?;
    if callers.gtsm {
        // The answer to a SYN goes before anybody could tell for whom.
        set_ttl(&options, address.ip(), TTL_MAX)?;
    }
    for (peers, signature) in &callers.signatures {
        if peers.address().is_ipv4() == address.is_ipv4() {
            sign::sign(&socket, *peers, signature)?;
        }
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Readies a connection for a session. A hold time of zero sets no limit.
pub(super) fn prepare(
    stream: &TcpStream,
    remote: IpAddr,
    hold_time: Duration,
    distance: Distance,
) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout((!hold_time.is_zero()).then_some(hold_time))?;
    limit_distance(&socket, remote, distance)?;
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

/// With GTSM what we send could not have come from farther away, and what has is dropped by the kernel.
fn limit_distance(socket: &SockRef<'_>, remote: IpAddr, distance: Distance) -> io::Result<()> {
    let hops = distance.hops.unwrap_or(1).max(1);
    if !distance.gtsm {
        return distance
            .hops
            .map_or(Ok(()), |hops| set_ttl(socket, remote, hops));
    }
    set_ttl(socket, remote, TTL_MAX)?;
    let least = libc::c_int::from(TTL_MAX - (hops - 1));
    let (level, option) = match remote {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_MINTTL),
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT),
    };
    set_option(&**socket, level, option, &least)
}

fn set_ttl(socket: &SockRef<'_>, address: IpAddr, ttl: u8) -> io::Result<()> {
    match address {
        IpAddr::V4(_) => socket.set_ttl_v4(ttl.into()),
        IpAddr::V6(_) => socket.set_unicast_hops_v6(ttl.into()),
    }
}

fn mark(socket: &SockRef<'_>, address: IpAddr) -> io::Result<()> {
    match address {
        IpAddr::V4(_) => socket.set_tos_v4(TOS_CS6),
        IpAddr::V6(_) => socket.set_tclass_v6(TOS_CS6),
    }
}

/// The kernel's index of an interface in this network namespace (if_nametoindex(3)).
pub(super) fn interface_index(name: &str) -> io::Result<u32> {
    let name = CString::new(name)?;
    // SAFETY: the pointer is that of a live string with its end mark, and is not kept.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// setsockopt(2) with a value of a C type.
pub(super) fn set_option<T>(
    socket: &impl AsRawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: &T,
) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes from the address given, which is that of a live value of this
    // length, and keeps no reference; the descriptor is open as long as `socket` is borrowed.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(value).cast(),
            length,
        )
    };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
