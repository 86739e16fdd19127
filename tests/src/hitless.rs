//! Whether anything is lost while something happens: datagrams at a rate at which a gap of a millisecond shows, counted
//! by the sockets at both ends and by nobody in between. Neither time-outs nor the agents' counters judge.

use std::{
    fs,
    io::ErrorKind,
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
use lb_lab::{Lab, Namespace, wait_until};

/// Flows of the stream: enough to enter by every node and to meet every pod.
const FLOWS: usize = 24;
/// Between two datagrams: 10,000 a second.
const INTERVAL: Duration = Duration::from_micros(100);
/// A sender that the machine held up for longer goes on from there, instead of sending all that is due at once.
const BEHIND_MAX: u64 = 50;
/// How long a sender may take that shares its CPU with many: a hundred times less is usual.
const SENDING: Duration = Duration::from_secs(30);
/// How long the last datagrams may be on their way.
const ON_THE_WAY: Duration = Duration::from_secs(3);

/// A stream of datagrams from the client to one IPv4 address and port, whose answers it takes.
pub struct Stream {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<Result<Sender>>,
    before: Ends,
    started: Instant,
}

/// The client's end of the stream.
struct Sender {
    sockets: Vec<UdpSocket>,
    sent: u64,
}

/// Datagrams of a namespace's sockets since it was made (`Udp` of `/proc/net/snmp`, RFC 4113).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counters {
    sent: u64,
    /// Also those that a busy reader had no room for: they arrived.
    received: u64,
}

/// Both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ends {
    client: Counters,
    pods: Counters,
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
        let sockets = lab.client_namespace().run(open_all)?;
        let before = Ends::of(lab)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let mut sender = Sender { sockets, sent: 0 };
        Ok(Self {
            stop,
            sender: thread::spawn(move || sender.run(&stopped).map(|()| sender)),
            before,
            started: Instant::now(),
        })
    }

    /// Waits until the client has sent this many more.
    ///
    /// # Errors
    /// It does not within some seconds.
    pub fn wait_sent(&self, lab: &Lab, more: u64) -> Result<()> {
        let sent = || -> Result<u64> { Ok(Counters::of(lab.client_namespace())?.sent) };
        let goal = sent()? + more;
        wait_until(SENDING, "more datagrams are sent", || {
            Ok((sent()? >= goal).then_some(()))
        })
    }

    /// Stops sending. Every datagram must have met a pod, and every answer of a pod the client.
    ///
    /// # Errors
    /// Something was lost, on the way there or back.
    pub fn nothing_is_lost(self, lab: &Lab) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let sender = self.sender.join();
        let mut sender = sender.unwrap_or_else(|panic| resume_unwind(panic))?;
        let took = self.started.elapsed();
        let rate = sender.sent as f64 / took.as_secs_f64();
        println!("{} datagrams in {took:?}, {rate:.0} a second", sender.sent);
        let what = "every datagram there, every answer back";
        wait_until(ON_THE_WAY, what, || {
            sender.take_answers()?;
            let ends = Ends::of(lab)?;
            let client = ends.client.since(self.before.client);
            let pods = ends.pods.since(self.before.pods);
            ensure!(
                (client.sent, client.received) == (pods.received, pods.sent),
                "client: {client:?}, pods: {pods:?}"
            );
            Ok(Some(()))
        })
    }
}

impl Sender {
    fn run(&mut self, stop: &AtomicBool) -> Result<()> {
        let started = Instant::now();
        let mut skipped = 0;
        while !stop.load(Ordering::Relaxed) {
            let passed = (started.elapsed().as_micros() / INTERVAL.as_micros()) as u64;
            if passed > self.sent + skipped + BEHIND_MAX {
                skipped = passed - self.sent;
            }
            while self.sent + skipped < passed {
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
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error).context("the answer was an error"),
                }
            }
        }
        Ok(())
    }
}

impl Ends {
    fn of(lab: &Lab) -> Result<Self> {
        let mut pods = Counters::default();
        for pod in lab.pods() {
            let own = Counters::of(pod.namespace())?;
            pods.sent += own.sent;
            pods.received += own.received;
        }
        let client = Counters::of(lab.client_namespace())?;
        Ok(Self { client, pods })
    }
}

impl Counters {
    fn of(namespace: &Namespace) -> Result<Self> {
        let read = || Ok(fs::read_to_string("/proc/thread-self/net/snmp")?);
        let text = namespace.run(read)?;
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp:"));
        let (names, values) = (lines.next(), lines.next());
        let (names, values) = names.zip(values).context("no counters of UDP")?;
        let value = |wanted: &str| -> Result<u64> {
            let mut pairs = names.split_whitespace().zip(values.split_whitespace());
            let pair = pairs.find(|(name, _)| *name == wanted);
            let (_, value) = pair.with_context(|| format!("no counter {wanted}"))?;
            Ok(value.parse()?)
        };
        Ok(Self {
            sent: value("OutDatagrams")?,
            received: value("InDatagrams")? + value("RcvbufErrors")?,
        })
    }

    fn since(self, earlier: Self) -> Self {
        Self {
            sent: self.sent - earlier.sent,
            received: self.received - earlier.received,
        }
    }
}
