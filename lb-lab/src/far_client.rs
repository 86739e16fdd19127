//! A client far away: behind the router, but by a link that takes half a round trip in each direction. The link is two TUN
//! devices (kernel: `Documentation/networking/tuntap.rst`) and a thread between them that holds every packet back; its
//! ends are ordinary stacks with ordinary sockets.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    net::IpAddr,
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{
    client::Client,
    lab::Lab,
    namespace::Namespace,
    netlink::{Netlink, Prefix},
};

/// The name of both ends.
const LINK: &str = "far0";
/// The client's addresses and the router's on the link (RFC 5737, RFC 3849).
const CLIENT: [Prefix; 2] = [
    (IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2)), 24),
    (
        IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2)),
        64,
    ),
];
const ROUTER: [Prefix; 2] = [
    (IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 24),
    (
        IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1)),
        64,
    ),
];
/// Largest packet of a TUN device.
const PACKET_BYTES_MAX: usize = 1500;
/// Longest sleep of the thread between, so that it ends soon.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// The client and its link, as long as this lives.
pub struct FarClient {
    namespace: Arc<Namespace>,
    stop: Arc<AtomicBool>,
    link: Option<JoinHandle<()>>,
}

impl Lab {
    /// A client with this round trip time to the router.
    pub fn far_client(&self, round_trip: Duration) -> Result<FarClient> {
        let namespace = Arc::new(Namespace::new("far")?);
        let here = namespace.run(|| end(&CLIENT)).context("the client's end")?;
        namespace.run(|| {
            let mut netlink = Netlink::open()?;
            netlink.add_link_route((IpAddr::from([0; 4]), 0), LINK)?;
            Ok(netlink.add_link_route((IpAddr::from([0_u16; 8]), 0), LINK)?)
        })?;
        let router = self.router_namespace();
        let there = router.run(|| end(&ROUTER)).context("the router's end")?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let link = thread::spawn(move || carry([here, there], round_trip / 2, &stopped));
        Ok(FarClient {
            namespace,
            stop,
            link: Some(link),
        })
    }
}

impl FarClient {
    /// Sends requests.
    pub fn client(&self) -> Client {
        Client::new(&self.namespace)
    }
}

impl Drop for FarClient {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(link) = self.link.take() {
            let _ = link.join();
        }
    }
}

/// A TUN device in the calling thread's namespace, up and with addresses.
fn end(addresses: &[Prefix]) -> Result<File> {
    let device = tun().context("making a TUN device")?;
    let mut netlink = Netlink::open()?;
    netlink.set_up(LINK, true)?;
    for &address in addresses {
        netlink.add_address(LINK, address)?;
    }
    Ok(device)
}

/// `struct ifreq` with flags, 40 bytes on 64-bit machines.
#[repr(C)]
struct InterfaceRequest {
    name: [u8; libc::IFNAMSIZ],
    flags: libc::c_short,
    _rest: [u8; 22],
}

fn tun() -> io::Result<File> {
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    let mut request = InterfaceRequest {
        name: [0; libc::IFNAMSIZ],
        flags: (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short,
        _rest: [0; 22],
    };
    request.name[..LINK.len()].copy_from_slice(LINK.as_bytes());
    // SAFETY: the request has the size of `struct ifreq` and outlives the call.
    let code = unsafe {
        libc::ioctl(
            device.as_raw_fd(),
            libc::TUNSETIFF as libc::Ioctl,
            &raw mut request,
        )
    };
    if code < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(device)
}

/// Packets on their way, the oldest first.
type Underway = VecDeque<(Instant, Vec<u8>)>;

/// Takes what one end sends to the other, `delay` later.
fn carry(mut ends: [File; 2], delay: Duration, stop: &AtomicBool) {
    let mut underway = [Underway::new(), Underway::new()];
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        for (from, queue) in underway.iter_mut().enumerate() {
            take(&mut ends[from], queue, now + delay);
            give(&mut ends[1 - from], queue, now);
        }
        let due = underway
            .iter()
            .filter_map(|queue| queue.front())
            .map(|(due, _)| *due);
        let sleep = due
            .min()
            .map_or(LOOK_INTERVAL, |due| due.saturating_duration_since(now));
        wait(&ends, sleep.min(LOOK_INTERVAL));
    }
}

fn take(end: &mut File, queue: &mut Underway, due: Instant) {
    let mut packet = [0; PACKET_BYTES_MAX];
    while let Ok(bytes) = end.read(&mut packet) {
        queue.push_back((due, packet[..bytes].to_vec()));
    }
}

/// A device whose queue is full loses the packet, as a link does.
fn give(end: &mut File, queue: &mut Underway, now: Instant) {
    while queue.front().is_some_and(|(due, _)| *due <= now) {
        let Some((_, packet)) = queue.pop_front() else {
            return;
        };
        let _ = end.write(&packet);
    }
}

fn wait(ends: &[File; 2], limit: Duration) {
    let mut polled = ends.each_ref().map(|end| libc::pollfd {
        fd: end.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    });
    let limit_ms = limit.as_millis().max(1) as libc::c_int;
    // SAFETY: the array and its length belong together, and outlive the call.
    unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, limit_ms) };
}
