//! Finds routers by interface, for sessions without configured addresses (unnumbered): router advertisements are
//! sent and heard (RFC 4861 section 4.2), as FRR and others do for it. Ours have lifetime zero: nobody takes this
//! node for a default router. One heard says where the router is: its link-local address, which no router forwards
//! packets of (RFC 4291 section 2.5.6), and it was sent with the highest hop limit, so it is on this link. The kernel
//! lets through nothing else.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv6Addr, SocketAddr, SocketAddrV6},
    sync::Arc,
    time::Duration,
};

use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::{
    net::UdpSocket,
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::{Instant, interval, sleep},
};

use super::socket;

/// Time between advertisements: a router that waits for ours begins within it.
const SEND_INTERVAL: Duration = Duration::from_secs(1);
/// Time between attempts to use an interface.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// A router that was silent for so long gives way to another one on the link.
const ROUTER_LIFETIME: Duration = Duration::from_secs(60);
/// All nodes on a link (RFC 4291 section 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Neighbour discovery is heard only from so near (RFC 4861 section 6.1.2).
const HOP_LIMIT: u32 = 255;
/// ICMPv6 type of a router advertisement.
const ROUTER_ADVERTISEMENT: u8 = 134;
/// Type, code, checksum (which the kernel fills in), hop limit unspecified, no flags, and lifetime, reachable time
/// and retransmission timer of zero: nothing that a host would act on (RFC 4861 section 4.2).
const ADVERTISEMENT: [u8; 16] = [
    ROUTER_ADVERTISEMENT,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
];
/// Of include/uapi/linux/icmpv6.h: which types a raw socket does not get, one bit each.
const ICMPV6_FILTER: libc::c_int = 1;

/// Where classic BPF finds the network header (`SKF_NET_OFF` of include/uapi/linux/filter.h), and in it the hop limit of
/// IPv6 (RFC 8200 section 3).
const HOP_LIMIT_AT: u32 = (-0x10_0000_i32 + 7) as u32;
/// Takes what no router has forwarded, and drops the rest (RFC 4861 section 6.1.2).
const UNFORWARDED: [SockFilter; 4] = [
    // BPF_LD | BPF_B | BPF_ABS
    SockFilter::new(0x30, 0, 0, HOP_LIMIT_AT),
    // BPF_JMP | BPF_JEQ | BPF_K
    SockFilter::new(0x15, 0, 1, HOP_LIMIT),
    // BPF_RET | BPF_K: all of it, none of it
    SockFilter::new(0x06, 0, 0, u32::MAX),
    SockFilter::new(0x06, 0, 0, 0),
];

/// What was heard on an interface.
#[derive(Debug)]
pub(super) enum Heard {
    /// A router, with the interface as scope; its port is still to be said.
    Router(Arc<str>, SocketAddrV6),
    /// Why none can be.
    Problem(Arc<str>, String),
}

/// The interfaces that are listened on.
#[derive(Debug)]
pub(super) struct Routers {
    interfaces: BTreeMap<Arc<str>, AbortHandle>,
    tasks: JoinSet<()>,
    heard: mpsc::Sender<Heard>,
    hearing: mpsc::Receiver<Heard>,
}

impl Default for Routers {
    fn default() -> Self {
        let (heard, hearing) = mpsc::channel(16);
        Self {
            interfaces: BTreeMap::new(),
            tasks: JoinSet::new(),
            heard,
            hearing,
        }
    }
}

impl Routers {
    /// Listens on these interfaces and no other.
    pub(super) fn follow(&mut self, interfaces: impl Iterator<Item = Arc<str>>) {
        let mut before = std::mem::take(&mut self.interfaces);
        for name in interfaces {
            let task = before.remove(&name).unwrap_or_else(|| {
                let listening = listen(Arc::clone(&name), self.heard.clone());
                self.tasks.spawn(listening)
            });
            self.interfaces.insert(name, task);
        }
        before.into_values().for_each(|task| task.abort());
    }

    /// The next news. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Heard {
        match self.hearing.recv().await {
            Some(heard) => heard,
            None => std::future::pending().await,
        }
    }
}

/// Sends and listens for ever; an interface that is not there may come.
async fn listen(name: Arc<str>, heard: mpsc::Sender<Heard>) {
    let mut told = None;
    loop {
        let problem = match open(&name) {
            Ok((socket, ifindex)) => exchange(&name, &socket, ifindex, &heard).await,
            Err(error) => error,
        };
        let problem = format!(
            "cannot send and hear router advertisements on {name}: {problem} (needs the interface, \
             IPv6 on it, and CAP_NET_RAW)"
        );
        if told.as_ref() != Some(&problem) {
            let _ = heard
                .send(Heard::Problem(Arc::clone(&name), problem.clone()))
                .await;
            told = Some(problem);
        }
        sleep(RETRY_INTERVAL).await;
    }
}

/// Until the socket breaks; gives the reason.
async fn exchange(
    name: &Arc<str>,
    socket: &UdpSocket,
    ifindex: u32,
    heard: &mpsc::Sender<Heard>,
) -> io::Error {
    let mut beat = interval(SEND_INTERVAL);
    let to = SocketAddrV6::new(ALL_NODES, 0, 0, ifindex);
    let mut router: Option<(Ipv6Addr, Instant)> = None;
    loop {
        let from = tokio::select! {
            _ = beat.tick() => {
                // A full queue or an address that is still checked: the next one comes soon.
                let _ = socket.send_to(&ADVERTISEMENT, to).await;
                continue;
            }
            from = receive(socket) => match from {
                Ok(from) => from,
                Err(error) => return error,
            },
        };
        if !from.is_unicast_link_local() {
            continue;
        }
        let now = Instant::now();
        let is_known = router.is_some_and(|(known, _)| known == from);
        if !is_known && router.is_some_and(|(_, at)| at + ROUTER_LIFETIME > now) {
            continue;
        }
        router = Some((from, now));
        if !is_known {
            let router = SocketAddrV6::new(from, 0, 0, ifindex);
            let _ = heard.send(Heard::Router(Arc::clone(name), router)).await;
        }
    }
}

/// Who sent the next advertisement. What it says does not matter, and the kernel passes nothing else.
async fn receive(socket: &UdpSocket) -> io::Result<Ipv6Addr> {
    let mut buffer = [0; 64];
    let (_, from) = socket.recv_from(&mut buffer).await?;
    Ok(match from {
        SocketAddr::V6(from) => *from.ip(),
        SocketAddr::V4(_) => Ipv6Addr::UNSPECIFIED,
    })
}

/// A raw socket of ICMPv6, which reads and writes datagrams as one of UDP does.
fn open(interface: &str) -> io::Result<(UdpSocket, u32)> {
    let ifindex = socket::interface_index(interface)?;
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    socket.bind_device(Some(interface.as_bytes()))?;
    let mut blocked = [u32::MAX; 8];
    blocked[usize::from(ROUTER_ADVERTISEMENT >> 5)] &= !(1 << (ROUTER_ADVERTISEMENT & 31));
    socket::set_option(&socket, libc::IPPROTO_ICMPV6, ICMPV6_FILTER, &blocked)?;
    socket.set_multicast_hops_v6(HOP_LIMIT)?;
    socket.set_unicast_hops_v6(HOP_LIMIT)?;
    socket.set_multicast_loop_v6(false)?;
    socket.set_multicast_if_v6(ifindex)?;
    socket.attach_filter(&UNFORWARDED)?;
    socket.set_nonblocking(true)?;
    Ok((UdpSocket::from_std(socket.into())?, ifindex))
}
