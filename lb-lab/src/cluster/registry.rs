//! A registry of images on the lab's router, for what a manual tells its reader to pull from one that is not reachable here:
//! each node's containerd asks this one in place of `docker.io`. It answers the two questions that a pull has, for a
//! manifest and for a blob (OCI distribution specification 1.1), and takes nothing.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::lab::Lab;
use crate::oci::{self, Blobs, Image};

/// Where it listens, on every address of the router.
pub(super) const PORT: u16 = 5000;
/// Whom it stands in for.
pub(super) const INSTEAD_OF: &str = "docker.io";

/// A running registry; gone when dropped.
pub struct Registry {
    is_over: Arc<AtomicBool>,
    listens: Option<JoinHandle<()>>,
    wake: Box<dyn Fn() + Send + Sync>,
}

/// Manifests by `name/tag` and by digest, and blobs.
#[derive(Default)]
struct Shelf {
    tags: BTreeMap<String, String>,
    blobs: BTreeMap<String, Vec<u8>>,
}

/// How long a client may be silent in mid-request.
const PATIENCE: Duration = Duration::from_secs(5);

impl Registry {
    pub(super) fn start(lab: &Lab, images: &[Image]) -> Result<Self> {
        let mut shelf = Shelf::default();
        for image in images {
            shelf.put(image)?;
        }
        let namespace = Arc::clone(lab.router_namespace());
        let listener = namespace.run(|| Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT))?));
        let listener = listener.context("listening for the registry")?;
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        let listens = thread::spawn(move || serve(&listener, &Arc::new(shelf), &ends));
        let wake = move || {
            let dials = || Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, PORT))?);
            // Who listens may have ended by itself.
            let _ = namespace.run(dials);
        };
        Ok(Self {
            is_over,
            listens: Some(listens),
            wake: Box::new(wake),
        })
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        (self.wake)();
        if let Some(listens) = self.listens.take() {
            // It has nothing to tell.
            let _ = listens.join();
        }
    }
}

impl Shelf {
    fn put(&mut self, image: &Image) -> Result<()> {
        let Blobs {
            manifest,
            by_digest,
        } = image.blobs()?;
        let name = image
            .name
            .strip_prefix(INSTEAD_OF)
            .unwrap_or(&image.name)
            .trim_start_matches('/');
        self.tags.insert(name.replacen(':', "/", 1), manifest);
        self.blobs.extend(by_digest);
        Ok(())
    }

    /// The kind and the content of what a path names: `/v2/NAME/manifests/TAG-OR-DIGEST`, `/v2/NAME/blobs/DIGEST`.
    fn find(&self, path: &str) -> Option<(&'static str, &str, &[u8])> {
        let path = path.split('?').next()?.strip_prefix("/v2/")?;
        if path.is_empty() {
            return Some(("application/json", "", b"{}"));
        }
        if let Some((name, reference)) = path.split_once("/manifests/") {
            let digest = self.tags.get(&format!("{name}/{reference}"));
            let digest = digest.map_or(reference, String::as_str);
            let (digest, content) = self.blobs.get_key_value(digest)?;
            return Some((oci::MANIFEST, digest, content));
        }
        let (_, digest) = path.split_once("/blobs/")?;
        let (digest, content) = self.blobs.get_key_value(digest)?;
        Some(("application/octet-stream", digest, content))
    }
}

fn serve(listener: &TcpListener, shelf: &Arc<Shelf>, is_over: &AtomicBool) {
    for stream in listener.incoming() {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let shelf = Arc::clone(shelf);
        // A client that goes away in the middle asks again.
        thread::spawn(move || answer(stream, &shelf));
    }
}

/// One request a connection.
fn answer(mut stream: TcpStream, shelf: &Shelf) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next());
    let Some((kind, digest, content)) = path.and_then(|path| shelf.find(path)) else {
        return stream.write_all(
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
    };
    let mut head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n",
        content.len()
    );
    if !digest.is_empty() {
        head.push_str(&format!("Docker-Content-Digest: {digest}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    if method == "GET" {
        stream.write_all(content)?;
    }
    Ok(())
}
