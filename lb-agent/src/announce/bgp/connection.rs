//! One TCP connection: octets in and out, no meaning. What the machine sends is queued here and reported once
//! the kernel has taken it; the machine itself holds back when too much waits. A connection that is closed
//! writes what is left and reads until the peer closes too: with unread octets the kernel would reset it, and
//! the peer might lose the NOTIFICATION that says why.

use std::{
    io,
    net::{IpAddr, Shutdown},
    sync::Arc,
    time::Duration,
};

use lb_bgp::ConnId;
use socket2::SockRef;
use tokio::{
    net::TcpStream,
    sync::mpsc::{Sender, UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
    time::timeout,
};

use super::socket::{self, Distance};

/// How long a closed connection may take to write the rest and to see the peer's end.
pub(super) const GOODBYE_MAX: Duration = Duration::from_secs(1);
/// Octets read at once: several of the longest messages.
const READ_OCTETS: usize = 16 * 1024;
/// Messages are put together until they are as many octets.
const WRITE_OCTETS: usize = 32 * 1024;

/// What happened on a connection.
#[derive(Debug)]
pub(super) enum Happening {
    /// A dialled connection is up.
    Connected(ConnId, TcpStream),
    /// A dialled connection did not come up.
    ConnectFailed(ConnId, io::Error),
    /// Octets came in.
    Received(ConnId, Vec<u8>),
    /// The kernel took so many octets.
    Sent(ConnId, usize),
    /// It is over; with an error if it was one.
    Closed(ConnId, Option<io::Error>),
}

/// A running connection. Dropping it closes it in good order.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Arc<TcpStream>,
    outbound: UnboundedSender<Vec<u8>>,
}

impl Connection {
    /// Starts reading and writing.
    pub(super) fn start(
        id: ConnId,
        stream: TcpStream,
        happenings: Sender<Happening>,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let stream = Arc::new(stream);
        let (outbound, queue) = unbounded_channel();
        tasks.spawn(serve(id, Arc::clone(&stream), queue, happenings));
        Self { stream, outbound }
    }

    /// Queues octets.
    pub(super) fn send(&self, octets: Vec<u8>) {
        // The task is gone only after it reported the end.
        let _ = self.outbound.send(octets);
    }

    /// Limits how far away the peer may be, from now on.
    pub(super) fn prepare(
        &self,
        remote: IpAddr,
        hold_time: Duration,
        distance: Distance,
    ) -> io::Result<()> {
        socket::prepare(&self.stream, remote, hold_time, distance)
    }

    /// Whether the peer has acknowledged all that was written; one that is broken never will.
    pub(super) fn is_acknowledged(&self) -> bool {
        socket::unacknowledged(&self.stream).is_ok_and(|octets| octets == 0)
    }
}

async fn serve(
    id: ConnId,
    stream: Arc<TcpStream>,
    mut queue: UnboundedReceiver<Vec<u8>>,
    happenings: Sender<Happening>,
) {
    let ended = tokio::select! {
        ended = read_all(id, &stream, &happenings) => ended,
        written = write_all(id, &stream, &mut queue, &happenings) => match written {
            Ok(()) => return say_goodbye(&stream).await,
            Err(error) => Err(error),
        },
    };
    let _ = happenings.send(Happening::Closed(id, ended.err())).await;
}

/// Reads until the peer closes.
async fn read_all(
    id: ConnId,
    stream: &TcpStream,
    happenings: &Sender<Happening>,
) -> io::Result<()> {
    let mut buffer = vec![0; READ_OCTETS];
    loop {
        match read(stream, &mut buffer).await? {
            0 => return Ok(()),
            count => {
                let happening = Happening::Received(id, buffer[..count].to_vec());
                if happenings.send(happening).await.is_err() {
                    // The session is over; the writer says goodbye.
                    return std::future::pending().await;
                }
            }
        }
    }
}

/// Writes until the queue is closed and empty; what waits goes out together.
async fn write_all(
    id: ConnId,
    stream: &TcpStream,
    queue: &mut UnboundedReceiver<Vec<u8>>,
    happenings: &Sender<Happening>,
) -> io::Result<()> {
    while let Some(mut octets) = queue.recv().await {
        while octets.len() < WRITE_OCTETS
            && let Ok(more) = queue.try_recv()
        {
            octets.extend(more);
        }
        let mut rest = &octets[..];
        while !rest.is_empty() {
            stream.writable().await?;
            match stream.try_write(rest) {
                Ok(count) => {
                    rest = &rest[count..];
                    let _ = happenings.send(Happening::Sent(id, count)).await;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

async fn say_goodbye(stream: &TcpStream) {
    if SockRef::from(stream).shutdown(Shutdown::Write).is_err() {
        return;
    }
    let peer_closes = async {
        let mut buffer = vec![0; READ_OCTETS];
        while matches!(read(stream, &mut buffer).await, Ok(1..)) {}
    };
    // A peer that does not close is left alone with a reset.
    let _ = timeout(GOODBYE_MAX, peer_closes).await;
}

async fn read(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
    }
}
