//! A connection that stays open for many requests (HTTP keep-alive), as most clients have them. It never connects anew: a
//! connection that breaks is what a test wants to see.

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result};

use crate::client::{Client, Request, connect, read_answer};
use crate::pod::Seen;

/// An open connection to a pod.
pub struct Connection {
    source: SocketAddr,
    reader: BufReader<TcpStream>,
}

impl Client {
    /// Opens a connection; of the request count target, source and time limit.
    pub fn open(&self, request: &Request) -> Result<Connection> {
        self.in_namespace(|| Connection::open(request))
    }
}

impl Connection {
    /// As [`Client::open`], from the namespace of the calling thread.
    pub fn open(request: &Request) -> Result<Self> {
        let (source, stream) = connect(request)?;
        Ok(Self {
            source,
            reader: BufReader::new(stream),
        })
    }

    /// The client's end.
    pub fn source(&self) -> SocketAddr {
        self.source
    }

    /// One more request; the pod's answer brings `padding` bytes with it.
    pub fn get(&mut self, padding: usize) -> Result<Seen> {
        let head =
            format!("GET /pad/{padding} HTTP/1.1\r\nHost: lab\r\nConnection: keep-alive\r\n\r\n");
        let mut stream = self.reader.get_ref();
        let sent = stream.write_all(head.as_bytes());
        sent.with_context(|| format!("sending a request from {}", self.source))?;
        read_answer(&mut self.reader).with_context(|| format!("an answer to {}", self.source))
    }
}
