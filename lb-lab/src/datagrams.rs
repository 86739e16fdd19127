//! A steady stream of datagrams, each answered before the next of its flow is sent: the judge of loss. TCP repairs what
//! is lost and sends again what is only overtaken; here every packet that goes missing, in either direction, is one
//! missing answer, and a path that changes under way costs nothing.

use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Result;
use socket2::Type;

use crate::client::bound;
use crate::namespace::Namespace;
use crate::pod::Seen;

/// Datagrams that go on in the background, one flow a source port.
pub struct DatagramLoad {
    stop: Arc<AtomicBool>,
    progress: Arc<Progress>,
    flows: Vec<JoinHandle<Result<DatagramCount>>>,
}

/// How far all flows together are.
#[derive(Default)]
struct Progress {
    answered: AtomicU64,
    unanswered: AtomicU64,
}

/// What became of the datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatagramCount {
    /// Datagrams sent.
    pub sent: u64,
    /// Those without an answer within three seconds.
    pub unanswered: u64,
    /// Answers that saw another client address or port than the flow's own.
    pub address_changed: u64,
    /// The longest time from one answer to the next of the same flow.
    pub longest_gap: Duration,
}

impl DatagramLoad {
    /// Starts one flow from each port.
    pub(crate) fn start(
        namespace: &Arc<Namespace>,
        target: SocketAddr,
        source_ports: Range<u16>,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let progress = Arc::new(Progress::default());
        let start = |port: u16| {
            let (namespace, stop) = (Arc::clone(namespace), Arc::clone(&stop));
            let progress = Arc::clone(&progress);
            thread::spawn(move || {
                let socket = namespace.run(|| open(target, port))?;
                ask_until(&socket, &stop, &progress)
            })
        };
        let flows = source_ports.map(start).collect();
        Self {
            stop,
            progress,
            flows,
        }
    }

    /// Datagrams answered so far, and those that were not.
    pub fn so_far(&self) -> (u64, u64) {
        let Progress {
            answered,
            unanswered,
        } = &*self.progress;
        (
            answered.load(Ordering::Relaxed),
            unanswered.load(Ordering::Relaxed),
        )
    }

    /// Waits for the answers under way and returns the sum over all flows.
    pub fn stop(mut self) -> Result<DatagramCount> {
        self.stop.store(true, Ordering::Relaxed);
        let mut sum = DatagramCount::default();
        for flow in self.flows.drain(..) {
            let own = flow.join().unwrap_or_else(|panic| resume_unwind(panic))?;
            sum.sent += own.sent;
            sum.unanswered += own.unanswered;
            sum.address_changed += own.address_changed;
            sum.longest_gap = sum.longest_gap.max(own.longest_gap);
        }
        Ok(sum)
    }
}

impl Drop for DatagramLoad {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn open(target: SocketAddr, source_port: u16) -> Result<UdpSocket> {
    let socket: UdpSocket = bound(Type::DGRAM, target, None, source_port)?.into();
    socket.connect(target)?;
    Ok(socket)
}

fn ask_until(socket: &UdpSocket, stop: &AtomicBool, progress: &Progress) -> Result<DatagramCount> {
    let own = socket.local_addr()?;
    let mut count = DatagramCount::default();
    let mut last_answer = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        // The length tells the answers apart: a late one must not pass for the next.
        let bytes = usize::try_from(count.sent % LENGTHS)? + 1;
        count.sent += 1;
        match ask(socket, bytes)? {
            Some(seen) => {
                count.address_changed += u64::from(seen.client != own);
                count.longest_gap = count.longest_gap.max(last_answer.elapsed());
                last_answer = Instant::now();
                progress.answered.fetch_add(1, Ordering::Relaxed);
            }
            None => {
                count.unanswered += 1;
                progress.unanswered.fetch_add(1, Ordering::Relaxed);
            }
        }
        thread::sleep(PAUSE);
    }
    Ok(count)
}

/// Sends one datagram and waits for its own answer.
fn ask(socket: &UdpSocket, bytes: usize) -> Result<Option<Seen>> {
    let deadline = Instant::now() + ANSWER_LIMIT;
    // An ICMP error about an earlier datagram may surface here; what it cost is counted by the missing answer.
    let sent = socket.send(&vec![b'x'; bytes]);
    let mut answer = [0; 1024];
    while sent.is_ok() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        socket.set_read_timeout(Some(left))?;
        let Ok(length) = socket.recv(&mut answer) else {
            continue;
        };
        let seen: Seen = serde_json::from_slice(&answer[..length])?;
        if seen.received == bytes {
            return Ok(Some(seen));
        }
    }
    Ok(None)
}

/// A datagram without an answer for so long is lost: the way there and back takes well under a millisecond, but a busy
/// machine may keep a pod waiting.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// Between an answer and the next datagram of its flow, so that the load never starves what it measures.
const PAUSE: Duration = Duration::from_micros(500);
const LENGTHS: u64 = 1000;
