//! What an API server says, without one: lists and watches of objects that it was given, as HTTP on loopback or in a lab,
//! and events as fast as whoever watches reads them. One kube-apiserver with its database does not say ten thousand
//! things a second on a small machine; this is for what happens behind it then. It keeps no history: a watch gets what is
//! told after it began. It takes any writing and forgets it, asks nobody who he is, and has no other side of the API.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::Result;
use serde_json::{Value, json};

/// Events of a watch that wait for its reader.
const WAITING_MAX: usize = 1024;
/// Bytes of events that are written at once.
const WRITE_BYTES: usize = 64 << 10;

/// A line of a watch.
pub type Line = Arc<str>;

/// The server. It answers until the process ends.
#[derive(Clone)]
pub struct Replay {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    kinds: BTreeMap<String, Kind>,
    /// Watches by path.
    watches: Vec<(String, SyncSender<Line>)>,
}

/// The objects below a path such as `/api/v1/services`.
struct Kind {
    version: u64,
    items: Vec<Value>,
}

impl Replay {
    /// Answers on a listener.
    pub fn start(listener: TcpListener) -> Result<Self> {
        let replay = Self {
            address: listener.local_addr()?,
            shared: Arc::default(),
        };
        let shared = Arc::clone(&replay.shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                // A connection that breaks is its client's business.
                thread::spawn(move || drop(serve(&stream, &shared)));
            }
        });
        Ok(replay)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A kubeconfig, as JSON.
    pub fn kubeconfig(&self) -> String {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "replay",
            "clusters": [{"name": "replay", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "replay", "user": {}}],
            "contexts": [{"name": "replay", "context": {"cluster": "replay", "user": "replay"}}],
        });
        config.to_string()
    }

    /// Serves a list as an API server gave it, or one made by hand, below `path`.
    pub fn put(&self, path: &str, list: &Value) {
        let version = list["metadata"]["resourceVersion"].as_str();
        let kind = Kind {
            version: version.and_then(|text| text.parse().ok()).unwrap_or(1),
            items: list["items"].as_array().cloned().unwrap_or_default(),
        };
        lock(&self.shared).kinds.insert(path.to_owned(), kind);
    }

    /// How many watch a path.
    pub fn watches(&self, path: &str) -> usize {
        let shared = lock(&self.shared);
        let of_path = shared.watches.iter().filter(|(of, _)| of == path);
        of_path.count()
    }

    /// Tells an event to all who watch `path`, waiting for those who are slow.
    pub fn tell(&self, path: &str, line: &Line) {
        for watch in self.watching(path) {
            if watch.send(Arc::clone(line)).is_err() {
                self.forget_gone();
            }
        }
    }

    /// The same without waiting: false if somebody has not read enough of what was told before.
    pub fn try_tell(&self, path: &str, line: &Line) -> bool {
        let mut all_took = true;
        for watch in self.watching(path) {
            match watch.try_send(Arc::clone(line)) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => all_took = false,
                Err(TrySendError::Disconnected(_)) => self.forget_gone(),
            }
        }
        all_took
    }

    fn watching(&self, path: &str) -> Vec<SyncSender<Line>> {
        let shared = lock(&self.shared);
        let of_path = shared.watches.iter().filter(|(of, _)| of == path);
        of_path.map(|(_, watch)| watch.clone()).collect()
    }

    /// Takes out those whose reader is gone. An empty line is not written.
    fn forget_gone(&self) {
        let nothing: Line = Arc::from("");
        let is_there = |watch: &SyncSender<Line>| {
            !matches!(
                watch.try_send(Arc::clone(&nothing)),
                Err(TrySendError::Disconnected(_))
            )
        };
        lock(&self.shared)
            .watches
            .retain(|(_, watch)| is_there(watch));
    }
}

/// The JSON line of a changed object, its type first as an API server writes it.
pub fn modified(object: &Value) -> Line {
    format!("{{\"type\":\"MODIFIED\",\"object\":{object}}}\n").into()
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers the requests of a connection, one after the other.
fn serve(stream: &TcpStream, shared: &Mutex<Shared>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = Request::read(&mut reader)? {
        if request.is("watch", "true") {
            return watch(stream, &request.path, shared);
        }
        let (status, body) = match request.method.as_str() {
            "GET" => list(&request, shared),
            _ => not_found(),
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = stream;
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
    }
    Ok(())
}

struct Request {
    method: String,
    path: String,
    query: Vec<(String, String)>,
}

impl Request {
    /// `None` at the end of the connection. Its body is read and forgotten.
    fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(None);
        }
        let mut body_bytes = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            let length = line
                .split_once(':')
                .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            if let Some((_, value)) = length {
                body_bytes = value.trim().parse().unwrap_or(0);
            }
        }
        io::copy(&mut reader.take(body_bytes), &mut io::sink())?;
        let mut words = first.split_whitespace();
        let method = words.next().unwrap_or_default().to_owned();
        let target = words.next().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        Ok(Some(Self {
            method,
            path: path.to_owned(),
            query: pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        }))
    }

    fn value(&self, name: &str) -> Option<&str> {
        let mut pairs = self.query.iter();
        let pair = pairs.find(|(found, _)| found == name)?;
        Some(&pair.1)
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.value(name) == Some(value)
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.value(name)?.parse().ok()
    }

    /// The only field that is selected by: `metadata.name%3DNAME`.
    fn name(&self) -> Option<&str> {
        let selector = self.value("fieldSelector")?;
        selector.rsplit_once("%3D").map(|(_, name)| name)
    }
}

/// A page of a list; where the next one begins is its continue token.
fn list(request: &Request, shared: &Mutex<Shared>) -> (&'static str, String) {
    let shared = lock(shared);
    let Some(kind) = shared.kinds.get(&request.path) else {
        return not_found();
    };
    let is_wanted = |item: &&Value| match request.name() {
        Some(name) => item["metadata"]["name"] == name,
        None => true,
    };
    let items: Vec<_> = kind.items.iter().filter(is_wanted).collect();
    let first = request.number("continue").unwrap_or(0).min(items.len());
    let limit = request.number("limit").unwrap_or(items.len());
    let end = (first + limit).min(items.len());
    let next = if end < items.len() {
        end.to_string()
    } else {
        String::new()
    };
    let page = json!({
        "kind": "List", "apiVersion": "v1",
        "metadata": {"resourceVersion": kind.version.to_string(), "continue": next},
        "items": items[first..end],
    });
    ("200 OK", page.to_string())
}

fn not_found() -> (&'static str, String) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound",
        "message": "there is no such object here", "code": 404,
    });
    ("404 Not Found", status.to_string())
}

/// Writes what is told until the client goes.
fn watch(mut stream: &TcpStream, path: &str, shared: &Mutex<Shared>) -> io::Result<()> {
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes())?;
    let (sender, lines) = sync_channel(WAITING_MAX);
    lock(shared).watches.push((path.to_owned(), sender));
    while let Some(lines) = next_lines(&lines) {
        let chunk = format!("{:x}\r\n{lines}\r\n", lines.len());
        stream.write_all(chunk.as_bytes())?;
    }
    Ok(())
}

/// All lines that wait, up to [`WRITE_BYTES`].
fn next_lines(lines: &Receiver<Line>) -> Option<String> {
    let mut text = String::new();
    while text.is_empty() {
        text.push_str(&lines.recv().ok()?);
    }
    while text.len() < WRITE_BYTES
        && let Ok(line) = lines.try_recv()
    {
        text.push_str(&line);
    }
    Some(text)
}
