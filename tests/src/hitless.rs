//! Whether anything is lost while something happens: datagrams at a rate at which a gap of a millisecond shows, counted
//! by the sockets at both ends and by nobody in between. Neither time-outs nor the agents' counters judge.

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use lb_lab::{Lab, Pod, wait_until};

/// Flows of the stream: enough to enter by every node and to meet every pod.
const FLOWS: usize = 24;
/// Between two datagrams: 10,000 a second.
const INTERVAL: Duration = Duration::from_micros(100);
/// How long the last datagrams may be on their way.
const ON_THE_WAY: Duration = Duration::from_secs(3);

/// A stream of datagrams from the client to one IPv4 address and port, and what came back.
pub struct Stream {
    stop: Arc<AtomicBool>,
    worker: JoinHandle<Result<Flows>>,
    before: Pods,
    started: Instant,
}

/// What the sockets of the client did.
struct Flows {
    sockets: Vec<UdpSocket>,
    sent: u64,
    answered: u64,
}

/// What the sockets of all pods did with datagrams (`Udp` of `/proc/net/snmp`, RFC 4113).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pods {
    received: u64,
    answered: u64,
}

impl Stream {
    /// Starts sending.
    ///
    /// # Errors
    /// The client has no sockets, or counters cannot be read.
    pub fn start(lab: &Lab, target: SocketAddr) -> Result<Self> {
        let open = || {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.connect(target)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let open_all = || (0..FLOWS).map(|_| open()).collect::<Result<Vec<_>>>();
        let mut flows = Flows {
            sockets: lab.client_namespace().run(open_all)?,
            sent: 0,
            answered: 0,
        };
        let before = Pods::of(lab)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let worker = thread::spawn(move || flows.run(&stopped).map(|()| flows));
        Ok(Self {
            stop,
            worker,
            before,
            started: Instant::now(),
        })
    }

    /// Stops sending. Every datagram must have met a pod, and every answer of a pod the client.
    ///
    /// # Errors
    /// Something was lost, on the way there or back.
    pub fn nothing_is_lost(self, lab: &Lab) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let flows = self.worker.join();
        let mut flows = flows.unwrap_or_else(|panic| resume_unwind(panic))?;
        let took = self.started.elapsed();
        let rate = flows.sent as f64 / took.as_secs_f64();
        println!("{} datagrams in {took:?}, {rate:.0} a second", flows.sent);
        wait_until(
            ON_THE_WAY,
            "every datagram there, every answer back",
            || {
                flows.take_answers()?;
                let pods = Pods::of(lab)?;
                let received = pods.received - self.before.received;
                let answered = pods.answered - self.before.answered;
                ensure!(
                    (received, answered) == (flows.sent, flows.answered),
                    "client: {} sent, {} answers; pods: {received} received, {answered} answered",
                    flows.sent,
                    flows.answered
                );
                Ok(Some(()))
            },
        )
    }
}

impl Flows {
    fn run(&mut self, stop: &AtomicBool) -> Result<()> {
        let started = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let due = started.elapsed().as_micros() / INTERVAL.as_micros();
            while u128::from(self.sent) < due {
                let place = self.sent as usize % self.sockets.len();
                let sent = self.sockets[place].send(b"probe");
                sent.context("the answer to a datagram was an error")?;
                self.sent += 1;
            }
            self.take_answers()?;
            thread::sleep(INTERVAL);
        }
        Ok(())
    }

    fn take_answers(&mut self) -> Result<()> {
        let mut answer = [0; 2048];
        for socket in &self.sockets {
            loop {
                match socket.recv(&mut answer) {
                    Ok(_) => self.answered += 1,
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error).context("the answer was an error"),
                }
            }
        }
        Ok(())
    }
}

impl Pods {
    fn of(lab: &Lab) -> Result<Self> {
        lab.pods().try_fold(Self::default(), |sum, pod| {
            let own = Self::of_one(pod)?;
            Ok(Self {
                received: sum.received + own.received,
                answered: sum.answered + own.answered,
            })
        })
    }

    fn of_one(pod: &Pod) -> Result<Self> {
        let read = || Ok(fs::read_to_string("/proc/thread-self/net/snmp")?);
        let text = pod.namespace().run(read)?;
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp:"));
        let (names, values) = (lines.next(), lines.next());
        let (names, values) = names.zip(values).context("no counters of UDP")?;
        let value = |wanted: &str| -> Result<u64> {
            let mut pairs = names.split_whitespace().zip(values.split_whitespace());
            let pair = pairs.find(|(name, _)| *name == wanted);
            Ok(pair
                .with_context(|| format!("no counter {wanted}"))?
                .1
                .parse()?)
        };
        Ok(Self {
            // Those for which a busy pod had no room were received all the same.
            received: value("InDatagrams")? + value("RcvbufErrors")?,
            answered: value("OutDatagrams")?,
        })
    }
}
