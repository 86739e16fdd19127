//! BGP speakers that take routes from whoever dials them, and count: one on each address of a namespace, told apart by the
//! address that was dialled. They keep no route, answer keepalives with keepalives, and share no code with the agent's
//! speaker. One of them may announce IPv4 host routes itself, to be passed on by a daemon that has no other source.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use crate::{namespace::Namespace, wait::wait_until};

/// Message types of RFC 4271 section 4.1.
const OPEN: u8 = 1;
const UPDATE: u8 = 2;
const KEEPALIVE: u8 = 4;
const HEADER_LEN: usize = 19;
/// Attribute types of RFC 4760.
const MP_REACH_NLRI: u8 = 14;
const MP_UNREACH_NLRI: u8 = 15;
/// The attribute's length has two octets (RFC 4271 section 4.3).
const EXTENDED_LENGTH: u8 = 0x10;
const HOLD_TIME_S: u16 = 90;
/// What fits a message of 4096 octets.
const HOSTS_PER_UPDATE: usize = 800;

/// What was heard of one peer in its latest session.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// When the session was established.
    pub established_at: Instant,
    /// When the latest UPDATE came.
    pub last_update_at: Instant,
    /// UPDATEs, End-of-RIB included.
    pub updates: u64,
    /// Prefixes announced, those announced again counted again.
    pub announced: u64,
    /// Prefixes withdrawn.
    pub withdrawn: u64,
}

/// Speakers on all addresses of a namespace; gone when dropped.
pub struct Sinks {
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
    wake: Box<dyn Fn() + Send + Sync>,
}

struct Shared {
    asn: u16,
    /// Routes that the speaker on this address announces.
    announces: Option<(IpAddr, Vec<Ipv4Addr>)>,
    sessions: Mutex<Sessions>,
}

#[derive(Default)]
struct Sessions {
    is_over: bool,
    /// By the address that was dialled.
    heard: BTreeMap<IpAddr, Heard>,
    streams: Vec<TcpStream>,
}

impl Sinks {
    /// Listens on a port of all IPv4 addresses of a namespace, as AS `asn`.
    pub fn listen(namespace: &Arc<Namespace>, port: u16, asn: u16) -> Result<Self> {
        Self::listen_and_announce(namespace, port, asn, None)
    }

    /// As [`Sinks::listen`]; who dials the given address is announced these hosts.
    pub fn listen_and_announce(
        namespace: &Arc<Namespace>,
        port: u16,
        asn: u16,
        announces: Option<(IpAddr, Vec<Ipv4Addr>)>,
    ) -> Result<Self> {
        let listener = namespace.run(|| Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?))?;
        let shared = Arc::new(Shared {
            asn,
            announces,
            sessions: Mutex::default(),
        });
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        let namespace = Arc::clone(namespace);
        let wake = move || {
            // Whoever listens is told to look again whether it is over.
            let dial = || Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?);
            drop(namespace.run(dial));
        };
        Ok(Self {
            shared,
            acceptor: Some(acceptor),
            wake: Box::new(wake),
        })
    }

    /// What was heard on an address; none: no session yet.
    pub fn heard(&self, on: IpAddr) -> Option<Heard> {
        self.shared.sessions().heard.get(&on).copied()
    }

    /// Waits until each of these addresses has been told this many prefixes, withdrawn ones taken off.
    pub fn wait_routes(&self, limit: Duration, on: &[IpAddr], routes: u64) -> Result<Vec<Heard>> {
        wait_until(limit, &format!("{routes} routes each"), || {
            let heard = on.iter().map(|address| {
                let heard = self.heard(*address);
                heard.with_context(|| format!("no session on {address}"))
            });
            let heard = heard.collect::<Result<Vec<_>>>()?;
            let has_all = |heard: &Heard| heard.announced.saturating_sub(heard.withdrawn) >= routes;
            ensure!(heard.iter().all(has_all), "{heard:?}");
            Ok(Some(heard))
        })
    }

    /// Ends all sessions without a word, and forgets them; peers may dial again.
    pub fn hang_up(&self) {
        let mut sessions = self.shared.sessions();
        sessions.heard.clear();
        for stream in sessions.streams.drain(..) {
            // The peer may have gone first.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        self.shared.sessions().is_over = true;
        self.hang_up();
        (self.wake)();
        if let Some(acceptor) = self.acceptor.take() {
            // A thread that panicked has said so.
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One session, until either end closes.
    fn serve(&self, mut stream: TcpStream) -> Result<()> {
        let address = stream.local_addr()?.ip();
        stream.set_nodelay(true)?;
        stream.write_all(&self.open(address))?;
        ensure!(receive(&mut stream)?.0 == OPEN, "no OPEN");
        stream.write_all(&message(KEEPALIVE, &[]))?;
        ensure!(receive(&mut stream)?.0 == KEEPALIVE, "no KEEPALIVE");
        let now = Instant::now();
        let heard = Heard {
            established_at: now,
            last_update_at: now,
            updates: 0,
            announced: 0,
            withdrawn: 0,
        };
        self.sessions().heard.insert(address, heard);
        if let Some((_, hosts)) = self.announces.as_ref().filter(|(on, _)| *on == address) {
            self.announce(&mut stream, hosts)?;
        }
        loop {
            let (kind, body) = receive(&mut stream)?;
            match kind {
                KEEPALIVE => stream.write_all(&message(KEEPALIVE, &[]))?,
                UPDATE => self.hear(address, &body),
                _ => return Ok(()),
            }
        }
    }

    fn hear(&self, address: IpAddr, body: &[u8]) {
        let (announced, withdrawn) = count(body).unwrap_or_default();
        if let Some(heard) = self.sessions().heard.get_mut(&address) {
            heard.last_update_at = Instant::now();
            heard.updates += 1;
            heard.announced += announced;
            heard.withdrawn += withdrawn;
        }
    }

    fn announce(&self, stream: &mut TcpStream, hosts: &[Ipv4Addr]) -> Result<()> {
        let IpAddr::V4(next_hop) = stream.local_addr()?.ip() else {
            return Ok(());
        };
        // ORIGIN IGP, AS_PATH of one AS, NEXT_HOP (RFC 4271 section 5.1).
        let mut attributes = vec![0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0];
        attributes.extend(self.asn.to_be_bytes());
        attributes.extend([0x40, 3, 4]);
        attributes.extend(next_hop.octets());
        for some in hosts.chunks(HOSTS_PER_UPDATE) {
            let mut body = vec![0, 0];
            body.extend((attributes.len() as u16).to_be_bytes());
            body.extend(&attributes);
            for host in some {
                body.push(32);
                body.extend(host.octets());
            }
            stream.write_all(&message(UPDATE, &body))?;
        }
        Ok(stream.write_all(&message(UPDATE, &[0; 4]))?)
    }

    /// Both families (RFC 4760), route refresh (RFC 2918), AS numbers of four octets (RFC 6793).
    fn open(&self, address: IpAddr) -> Vec<u8> {
        let mut capabilities = vec![1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1, 2, 0, 65, 4, 0, 0];
        capabilities.extend(self.asn.to_be_bytes());
        // Each a router of its own: some pass on nothing to the router that it is from.
        let identifier = match address {
            IpAddr::V4(address) => address,
            IpAddr::V6(_) => Ipv4Addr::new(198, 51, 100, 1),
        };
        let length = capabilities.len() as u8;
        let mut body = vec![4];
        body.extend(self.asn.to_be_bytes());
        body.extend(HOLD_TIME_S.to_be_bytes());
        body.extend(identifier.octets());
        body.extend([length + 2, 2, length]);
        body.extend(capabilities);
        message(OPEN, &body)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        let mut sessions = shared.sessions();
        if sessions.is_over {
            return;
        }
        let Ok(stream) = stream else {
            continue;
        };
        let Ok(handle) = stream.try_clone() else {
            continue;
        };
        sessions.streams.push(handle);
        drop(sessions);
        let shared = Arc::clone(shared);
        // Ends with its connection; what was wrong with it shows as a session that is not there.
        thread::spawn(move || drop(shared.serve(stream)));
    }
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = (HEADER_LEN + body.len()) as u16;
    let mut message = vec![0xff; 16];
    message.extend(length.to_be_bytes());
    message.push(kind);
    message.extend(body);
    message
}

/// The next message: its type and body.
fn receive(stream: &mut TcpStream) -> Result<(u8, Vec<u8>)> {
    let mut header = [0; HEADER_LEN];
    stream.read_exact(&mut header)?;
    let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
    let mut body = vec![0; length.checked_sub(HEADER_LEN).context("too short")?];
    stream.read_exact(&mut body)?;
    Ok((header[18], body))
}

/// Prefixes that an UPDATE announces and withdraws; `None`: its lengths contradict each other.
fn count(body: &[u8]) -> Option<(u64, u64)> {
    let (withdrawn, rest) = counted_field(body)?;
    let (mut attributes, reached) = counted_field(rest)?;
    let (mut announced, mut gone) = (prefixes(reached)?, prefixes(withdrawn)?);
    while let [flags, kind, rest @ ..] = attributes {
        let (value, rest) = if flags & EXTENDED_LENGTH == 0 {
            let (length, rest) = rest.split_first()?;
            rest.split_at_checked(usize::from(*length))?
        } else {
            counted_field(rest)?
        };
        match *kind {
            MP_REACH_NLRI => {
                // AFI, SAFI, next hop with its length, one reserved octet.
                let next_hop_len = usize::from(*value.get(3)?);
                announced += prefixes(value.get(5 + next_hop_len..)?)?;
            }
            MP_UNREACH_NLRI => gone += prefixes(value.get(3..)?)?,
            _ => {}
        }
        attributes = rest;
    }
    Some((announced, gone))
}

/// A field behind its length of two octets, and what follows.
fn counted_field(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = octets.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

fn prefixes(mut octets: &[u8]) -> Option<u64> {
    let mut count = 0;
    while let Some((bits, rest)) = octets.split_first() {
        octets = rest.get(usize::from(bits.div_ceil(8))..)?;
        count += 1;
    }
    Some(count)
}
