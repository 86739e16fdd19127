//! A client: HTTP requests and UDP datagrams from a namespace, with chosen source addresses and ports. Every request
//! yields a [`Record`]; nothing is retried and nothing is averaged away. It works from any namespace: the lab's client,
//! a pod, a node.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use socket2::{Domain, Socket, Type};

use crate::datagrams::DatagramLoad;
use crate::namespace::Namespace;
use crate::pod::Seen;
use crate::wait::{patience, wait_until};

/// Sends requests from one namespace.
#[derive(Clone)]
pub struct Client {
    namespace: Arc<Namespace>,
}

/// One HTTP request on a connection of its own.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where to.
    pub target: SocketAddr,
    /// The source address; the kernel's choice if absent.
    pub source_address: Option<IpAddr>,
    /// The source port; the kernel's choice if 0.
    pub source_port: u16,
    /// Bytes of body to send.
    pub upload_bytes: usize,
    /// Bytes to ask for on top of the answer itself.
    pub download_bytes: usize,
    /// Limit for connecting, and for each wait for more of the answer.
    pub time_limit: Duration,
}

impl Request {
    /// A small request from a port of the kernel's choice.
    pub fn to(target: SocketAddr) -> Self {
        Self {
            target,
            source_address: None,
            source_port: 0,
            upload_bytes: 0,
            download_bytes: 0,
            time_limit: Duration::from_secs(5) * patience(),
        }
    }

    /// The same from a chosen port.
    pub fn from_port(self, source_port: u16) -> Self {
        Self {
            source_port,
            ..self
        }
    }
}

/// What became of one request.
#[derive(Debug)]
pub struct Record {
    /// The client's own address and port; those asked for, if it never got as far as a socket's.
    pub source: SocketAddr,
    /// What the pod saw, or what went wrong.
    pub result: Result<Seen>,
    /// From start to end.
    pub took: Duration,
}

impl Record {
    /// Whether a pod answered and saw the client's own address and port.
    pub fn address_kept(&self) -> bool {
        self.result
            .as_ref()
            .is_ok_and(|seen| seen.client == self.source)
    }
}

/// How many requests each pod answered; failed ones are not in it.
pub fn per_pod(records: &[Record]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for seen in records.iter().flat_map(|record| &record.result) {
        *counts.entry(seen.pod.clone()).or_default() += 1;
    }
    counts
}

/// The failed requests, one line each.
pub fn failures(records: &[Record]) -> Vec<String> {
    let failed = |record: &Record| {
        let error = record.result.as_ref().err()?;
        Some(format!("from {}: {error:#}", record.source))
    };
    records.iter().filter_map(failed).collect()
}

impl Client {
    /// A client in a namespace.
    pub fn new(namespace: &Arc<Namespace>) -> Self {
        Self {
            namespace: Arc::clone(namespace),
        }
    }

    /// Does something where the client is.
    pub(crate) fn in_namespace<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T> + Send,
    ) -> Result<T> {
        self.namespace.run(work)
    }

    /// One small request; an error if it fails.
    pub fn http_get(&self, target: SocketAddr) -> Result<Seen> {
        self.http(&Request::to(target)).result
    }

    /// One request.
    pub fn http(&self, request: &Request) -> Record {
        let sent = self.namespace.run(|| Ok(perform(request)));
        sent.unwrap_or_else(|error| failed(request, error))
    }

    /// One request from each source port, at most `concurrency` at a time; the records are in the order of the ports.
    pub fn http_from_ports(
        &self,
        target: SocketAddr,
        source_ports: Range<u16>,
        concurrency: usize,
    ) -> Result<Vec<Record>> {
        let ports: Vec<u16> = source_ports.collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            while let Some(&port) = ports.get(next.fetch_add(1, Ordering::Relaxed)) {
                done.push((port, perform(&Request::to(target).from_port(port))));
            }
            Ok(done)
        };
        let done: Result<Vec<_>> = thread::scope(|scope| {
            let workers: Vec<_> = (0..concurrency)
                .map(|_| scope.spawn(|| self.namespace.run(work)))
                .collect();
            let join = |worker: thread::ScopedJoinHandle<'_, Result<Vec<_>>>| match worker.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            workers.into_iter().map(join).collect()
        });
        let mut done: Vec<_> = done?.into_iter().flatten().collect();
        done.sort_by_key(|(port, _)| *port);
        Ok(done.into_iter().map(|(_, record)| record).collect())
    }

    /// Sends one datagram of `bytes` and waits for the pod's answer; nothing is sent again.
    pub fn udp(
        &self,
        target: SocketAddr,
        source_port: u16,
        bytes: usize,
        time_limit: Duration,
    ) -> Result<(SocketAddr, Seen)> {
        self.namespace.run(|| {
            let socket: UdpSocket = bound(Type::DGRAM, target, None, source_port)?.into();
            socket.connect(target)?;
            socket.set_read_timeout(Some(time_limit * patience()))?;
            socket.send(&vec![b'x'; bytes])?;
            let mut answer = [0; 2048];
            let length = socket
                .recv(&mut answer)
                .context("no answer to the datagram")?;
            Ok((
                socket.local_addr()?,
                serde_json::from_slice(&answer[..length])?,
            ))
        })
    }

    /// Starts a steady stream of datagrams, one flow from each port.
    pub fn start_datagrams(&self, target: SocketAddr, source_ports: Range<u16>) -> DatagramLoad {
        DatagramLoad::start(&self.namespace, target, source_ports)
    }

    /// Keeps `workers` busy with requests until the load is stopped. Each worker uses its own part of the source ports,
    /// again and again, a new connection for each request.
    pub fn start_load(&self, target: SocketAddr, source_ports: Range<u16>, workers: u16) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let share = (source_ports.end - source_ports.start) / workers;
        let start = |worker: u16| {
            let first = source_ports.start + worker * share;
            let (namespace, stop) = (Arc::clone(&self.namespace), Arc::clone(&stop));
            thread::spawn(move || {
                namespace.run(|| Ok(request_until(target, first..first + share, &stop)))
            })
        };
        let workers = (0..workers).map(start).collect();
        Load { stop, workers }
    }
}

/// Requests that go on in the background.
pub struct Load {
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<Result<Vec<Record>>>>,
}

impl Load {
    /// Lets the requests under way end and returns the records of all.
    pub fn stop(mut self) -> Result<Vec<Record>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut records = Vec::new();
        for worker in self.workers.drain(..) {
            records.extend(
                worker
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?,
            );
        }
        Ok(records)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn request_until(target: SocketAddr, ports: Range<u16>, stop: &AtomicBool) -> Vec<Record> {
    let mut records = Vec::new();
    for port in ports.cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        records.push(perform(&Request::to(target).from_port(port)));
        thread::sleep(LOAD_PAUSE);
    }
    records
}

/// Between two requests of a load's worker, so that a load never starves what it measures.
const LOAD_PAUSE: Duration = Duration::from_millis(5);

/// Performs a request from the namespace of the calling thread.
fn perform(request: &Request) -> Record {
    let started = Instant::now();
    let mut record = match connect(request) {
        Ok((source, stream)) => Record {
            source,
            result: exchange(request, &stream),
            took: Duration::ZERO,
        },
        Err(error) => failed(request, error),
    };
    record.took = started.elapsed();
    record
}

fn failed(request: &Request, error: anyhow::Error) -> Record {
    let any = if request.target.is_ipv4() {
        IpAddr::from([0; 4])
    } else {
        IpAddr::from([0; 16])
    };
    Record {
        source: (request.source_address.unwrap_or(any), request.source_port).into(),
        result: Err(error),
        took: Duration::ZERO,
    }
}

/// A connection to a request's target, and its own end.
pub(crate) fn connect(request: &Request) -> Result<(SocketAddr, TcpStream)> {
    let stream: TcpStream = connected(request)?.into();
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(request.time_limit))?;
    stream.set_write_timeout(Some(request.time_limit))?;
    Ok((stream.local_addr()?, stream))
}

/// As with [`bind`], the last connection from this port to the target may not be gone at once.
fn connected(request: &Request) -> Result<Socket> {
    let Request {
        target,
        source_address,
        source_port,
        ..
    } = *request;
    wait_until(PORT_FREE_AGAIN, "a free port", || {
        let socket = bound(Type::STREAM, target, source_address, source_port)?;
        match socket.connect_timeout(&target.into(), request.time_limit) {
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => Ok(None),
            result => Ok(Some(result.map(|()| socket))),
        }
    })?
    .with_context(|| format!("connecting to {target}"))
}

/// A socket with this source; a port that was just given back is waited for.
pub(crate) fn bound(
    kind: Type,
    target: SocketAddr,
    address: Option<IpAddr>,
    port: u16,
) -> Result<Socket> {
    let socket = Socket::new(Domain::for_address(target), kind, None)?;
    if address.is_some() || port != 0 {
        // The last connection from this port may still be in TIME_WAIT.
        socket.set_reuse_address(kind == Type::STREAM)?;
        let any = if target.is_ipv4() {
            IpAddr::from([0; 4])
        } else {
            IpAddr::from([0; 16])
        };
        let source = SocketAddr::from((address.unwrap_or(any), port));
        bind(&socket, source).with_context(|| format!("binding to {source}"))?;
    }
    Ok(socket)
}

/// Binds, and waits a moment for a port that was just given back: a child that another thread has forked holds copies of
/// all sockets until it has become its program.
fn bind(socket: &Socket, source: SocketAddr) -> Result<()> {
    wait_until(PORT_FREE_AGAIN, "a free port", || {
        match socket.bind(&source.into()) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
            bound => Ok(Some(bound)),
        }
    })?
    .map_err(Into::into)
}

/// How long a port that was given back may stay busy.
pub(crate) const PORT_FREE_AGAIN: Duration = Duration::from_secs(10);

/// One exchange on a fresh connection; the server closes it, so that the client's port is free again at once.
fn exchange(request: &Request, mut stream: &TcpStream) -> Result<Seen> {
    let (padding, upload) = (request.download_bytes, request.upload_bytes);
    let method = if upload == 0 { "GET" } else { "POST" };
    let head = format!(
        "{method} /pad/{padding} HTTP/1.1\r\nHost: lab\r\nConnection: close\r\nContent-Length: {upload}\r\n\r\n"
    );
    stream
        .write_all(head.as_bytes())
        .context("sending the request")?;
    stream
        .write_all(&vec![b'x'; upload])
        .context("sending the body")?;
    let mut reader = BufReader::new(stream);
    let seen = read_answer(&mut reader)?;
    // The pod closes; waiting for it leaves TIME_WAIT on its side.
    ensure!(reader.read(&mut [0])? == 0, "more than the answer came");
    Ok(seen)
}

/// One answer, to the last byte of its body.
pub(crate) fn read_answer(reader: &mut impl BufRead) -> Result<Seen> {
    let mut line = String::new();
    reader
        .read_line(&mut line)
        .context("waiting for the answer")?;
    ensure!(
        line.starts_with("HTTP/1.1 200 "),
        "answer was not 200 but {line:?}"
    );
    let mut length = None;
    while line.trim() != "" {
        line.clear();
        ensure!(
            reader.read_line(&mut line)? > 0,
            "answer ended in its header"
        );
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = Some(value.trim().parse()?);
        }
    }
    let Some(length) = length else {
        bail!("answer has no length");
    };
    let mut body = vec![0; length];
    reader
        .read_exact(&mut body)
        .context("reading the answer's body")?;
    Ok(serde_json::from_slice(&body)?)
}
