//! What runs in a pod: an HTTP server over TCP and a UDP echo on port 8080, in IPv4 and IPv6. Each answer says which pod
//! gave it and which addresses it saw, so that a test can compare them with those of the client. The server is a thread
//! of the lab's process; it knows nothing of services or VIPs.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use socket2::SockRef;

use crate::builder::UPLINK;
use crate::client::PORT_FREE_AGAIN;
use crate::namespace::Namespace;
use crate::netlink::Netlink;
use crate::topology::{POD_PORT, Pair};
use crate::wait::wait_until;
use crate::xdp_verdict::{self, AttachedProgram, Verdict};

/// What a pod saw of a request; the JSON of its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The pod that answered.
    pub pod: String,
    /// The client's address and port, as the pod's socket saw them.
    pub client: SocketAddr,
    /// The pod's own address and port.
    pub local: SocketAddr,
    /// Bytes of request body received (of the datagram, for UDP).
    pub received: usize,
    /// As many characters as the path `/pad/N` asked for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub padding: String,
}

/// A pod with its servers.
pub struct Pod {
    name: String,
    addresses: Pair,
    namespace: Arc<Namespace>,
    servers: Option<Servers>,
}

struct Servers {
    stop: Arc<AtomicBool>,
    open: Arc<Open>,
    threads: Vec<JoinHandle<()>>,
}

/// The connections that are being served. Their threads wait without a time-out, so that ten thousand idle ones cost nothing;
/// who stops a server ends them.
#[derive(Default)]
struct Open(Mutex<Vec<Weak<TcpStream>>>);

impl Open {
    fn add(&self, stream: &Arc<TcpStream>) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() == open.capacity() {
            open.retain(|stream| stream.strong_count() > 0);
        }
        open.push(Arc::downgrade(stream));
    }

    fn end(&self) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in open.drain(..).filter_map(|stream| stream.upgrade()) {
            // One that its client has ended is what was wanted.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Pod {
    /// A pod whose servers are listening.
    pub(crate) fn start_new(
        name: String,
        addresses: Pair,
        namespace: Arc<Namespace>,
    ) -> Result<Self> {
        let mut pod = Self {
            name,
            addresses,
            namespace,
            servers: None,
        };
        pod.start()?;
        Ok(pod)
    }

    /// Its name, `pod1-2` for the second of node 1.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its addresses.
    pub fn addresses(&self) -> Pair {
        self.addresses
    }

    /// Its address and port in the family of `like`.
    pub fn socket(&self, like: IpAddr) -> SocketAddr {
        (self.addresses.like(like), POD_PORT).into()
    }

    /// Its namespace, for traffic that starts in the pod.
    pub fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    /// Makes the pod's link drop every frame before its stack sees it, until the returned program is dropped.
    pub fn discard(&self) -> Result<AttachedProgram> {
        self.namespace.run(|| {
            let index = Netlink::open()?.index(UPLINK)?;
            xdp_verdict::attach(index, Verdict::Drop).context("attaching the dropping program")
        })
    }

    /// Starts the servers; they listen when this returns.
    pub fn start(&mut self) -> Result<()> {
        if self.servers.is_some() {
            return Ok(());
        }
        let stop = Arc::new(AtomicBool::new(false));
        let open = Arc::new(Open::default());
        let sockets = self
            .namespace
            .run(|| self.open())
            .with_context(|| format!("listening in {}", self.name))?;
        let mut threads = Vec::new();
        for (listener, datagrams) in sockets {
            let serving = (self.name.clone(), Arc::clone(&stop), Arc::clone(&open));
            threads.push(thread::spawn(move || {
                accept(&listener, &serving.0, &serving.1, &serving.2)
            }));
            let echoing = (self.name.clone(), Arc::clone(&stop));
            threads.push(thread::spawn(move || {
                echo(&datagrams, &echoing.0, &echoing.1)
            }));
        }
        self.servers = Some(Servers {
            stop,
            open,
            threads,
        });
        Ok(())
    }

    /// Stops the servers, as if the process in the pod had ended: new connections are refused, open ones are closed.
    pub fn stop(&mut self) {
        let Some(servers) = self.servers.take() else {
            return;
        };
        servers.stop.store(true, Ordering::Relaxed);
        for thread in servers.threads {
            // A server that panicked has said so; there is nothing more to stop.
            let _ = thread.join();
        }
        servers.open.end();
    }

    /// Waits for the port of a pod that was just stopped, as clients do for theirs.
    fn open(&self) -> Result<Vec<(TcpListener, UdpSocket)>> {
        let sockets = self.addresses.both().map(|address| {
            wait_until(PORT_FREE_AGAIN, "the pod's port", || {
                match bind((address, POD_PORT).into()) {
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
                    bound => Ok(Some(bound)),
                }
            })?
            .map_err(Into::into)
        });
        sockets.into_iter().collect()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.stop();
    }
}

fn bind(address: SocketAddr) -> io::Result<(TcpListener, UdpSocket)> {
    let listener = TcpListener::bind(address)?;
    SockRef::from(&listener).set_read_timeout(Some(STOP_CHECK))?;
    let datagrams = UdpSocket::bind(address)?;
    datagrams.set_read_timeout(Some(STOP_CHECK))?;
    Ok((listener, datagrams))
}

fn accept(listener: &TcpListener, pod: &str, stop: &AtomicBool, open: &Open) {
    while !stop.load(Ordering::Relaxed) {
        // socket(7): a receive time-out holds for accept too, so that the flag is looked at again.
        let Ok((stream, client)) = listener.accept() else {
            continue;
        };
        let (pod, stream) = (pod.to_owned(), Arc::new(stream));
        open.add(&stream);
        let serve = move || serve(&stream, &pod, client);
        // A client that goes away in the middle is its own affair, and one too many is refused by closing.
        let _ = thread::Builder::new().stack_size(STACK_BYTES).spawn(serve);
    }
}

fn serve(stream: &TcpStream, pod: &str, client: SocketAddr) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // An accepted socket has its listener's.
    stream.set_read_timeout(None)?;
    let local = stream.local_addr()?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader)? {
        let seen = Seen {
            pod: pod.to_owned(),
            client,
            local,
            received: request.body_bytes,
            padding: "x".repeat(request.padding),
        };
        let body = serde_json::to_string(&seen)?;
        let connection = if request.close { "close" } else { "keep-alive" };
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: {connection}\r\n\r\n{body}"
        );
        (&mut &*stream).write_all(answer.as_bytes())?;
        if request.close {
            break;
        }
    }
    Ok(())
}

struct Request {
    padding: usize,
    body_bytes: usize,
    close: bool,
}

/// Reads one request with its body; `None` if the client has closed.
fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap_or_default();
    let padding = path
        .strip_prefix("/pad/")
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    let mut request = Request {
        padding,
        body_bytes: 0,
        close: false,
    };
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let header = line.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(length) = header.strip_prefix("content-length:") {
            request.body_bytes = length.trim().parse().map_err(io::Error::other)?;
        }
        request.close |= header == "connection: close";
    }
    let length = request.body_bytes as u64;
    let read = io::copy(&mut reader.take(length), &mut io::sink())?;
    if read < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(request))
}

fn echo(socket: &UdpSocket, pod: &str, stop: &AtomicBool) {
    let mut datagram = vec![0; usize::from(u16::MAX)];
    while !stop.load(Ordering::Relaxed) {
        let Ok((received, client)) = socket.recv_from(&mut datagram) else {
            continue;
        };
        let Ok(local) = socket.local_addr() else {
            continue;
        };
        let seen = Seen {
            pod: pod.to_owned(),
            client,
            local,
            received,
            padding: String::new(),
        };
        if let Ok(answer) = serde_json::to_vec(&seen) {
            // A client that is gone is noticed where it matters: there.
            let _ = socket.send_to(&answer, client);
        }
    }
}

/// How often a waiting server looks whether it shall end.
const STOP_CHECK: Duration = Duration::from_millis(100);
/// Of a connection's thread: ten thousand of them fit the memory.
const STACK_BYTES: usize = 128 << 10;
