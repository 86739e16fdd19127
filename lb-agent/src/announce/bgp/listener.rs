//! Where peers dial us: a socket for each address of this node, no wildcard, so that no VIP or pod address
//! answers. A port that is taken is no reason to stop: we dial, say who holds it, and try again. Connections
//! from anybody but a peer are counted and closed.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, sleep_until},
};

use super::{
    port_holder,
    socket::{self, Callers},
};
use crate::engine::feedback::Feedback;

/// Time between two attempts to listen.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// Rest after the kernel failed to give a connection, as when there are too many open files.
const REST_AFTER_FAILURE: Duration = Duration::from_millis(100);
/// Strangers that are logged, each once.
const STRANGERS_TOLD_MAX: usize = 32;

/// What a listener has to say.
#[derive(Debug)]
pub(super) enum Next {
    /// Somebody dialled.
    Accepted(TcpStream, SocketAddr),
    /// Whether it listens changed.
    Listening(Feedback),
}

/// What to listen on, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    port: u16,
    addresses: BTreeSet<IpAddr>,
    callers: Callers,
}

/// The listening sockets.
#[derive(Debug, Default)]
pub(super) struct Listener {
    wanted: Option<Wanted>,
    sockets: BTreeMap<IpAddr, TcpListener>,
    /// When to try the addresses that failed.
    retry_at: Option<Instant>,
    problem: Option<String>,
    news: Option<Feedback>,
    strangers_count: u64,
    strangers_told: BTreeSet<IpAddr>,
}

impl Listener {
    /// Listens on a port of these addresses, and no other. Where a signature changes, the sockets are made anew:
    /// a connection waiting there was let in under the old ones.
    pub(super) fn follow(&mut self, port: u16, addresses: &[IpAddr], callers: Callers) {
        let wanted = Wanted {
            port,
            addresses: addresses.iter().copied().collect(),
            callers,
        };
        if self.wanted.as_ref() == Some(&wanted) {
            return;
        }
        self.close();
        self.wanted = Some(wanted);
        self.open();
        self.tell(port);
    }

    /// Stops listening.
    pub(super) fn close(&mut self) {
        *self = Self {
            strangers_count: self.strangers_count,
            strangers_told: std::mem::take(&mut self.strangers_told),
            ..Self::default()
        };
    }

    /// The next connection or change. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Next {
        loop {
            if let Some(news) = self.news.take() {
                return Next::Listening(news);
            }
            let retry_at = self.retry_at;
            tokio::select! {
                accepted = accept(&self.sockets) => match accepted {
                    Ok((stream, remote)) => return Next::Accepted(stream, remote),
                    Err(error) => {
                        tracing::warn!(%error, "the kernel gives no connection that a BGP peer dialled");
                        sleep(REST_AFTER_FAILURE).await;
                    }
                },
                () = wait_until(retry_at) => self.retry(),
            }
        }
    }

    /// A connection from nobody we know, which was closed.
    pub(super) fn count_stranger(&mut self, remote: SocketAddr) {
        self.strangers_count += 1;
        let is_new = self.strangers_told.len() < STRANGERS_TOLD_MAX
            && self.strangers_told.insert(remote.ip());
        if is_new {
            tracing::warn!(
                from = %remote, strangers = self.strangers_count,
                "closed a connection to the BGP port from an address that is no peer's"
            );
        }
    }

    /// Opens what is missing.
    fn open(&mut self) {
        let Some(wanted) = &self.wanted else {
            return;
        };
        let mut failure = None;
        for address in &wanted.addresses {
            if self.sockets.contains_key(address) {
                continue;
            }
            let end = SocketAddr::new(*address, wanted.port);
            match socket::listen(end, &wanted.callers) {
                Ok(socket) => {
                    self.sockets.insert(*address, socket);
                }
                Err(error) => failure = Some((end, error)),
            }
        }
        self.retry_at = failure.as_ref().map(|_| Instant::now() + RETRY_INTERVAL);
        match failure {
            None => self.problem = None,
            // Who holds it is looked up once: it means reading all of /proc.
            Some((address, error)) => {
                self.problem.get_or_insert_with(|| problem(address, &error));
            }
        }
    }

    fn retry(&mut self) {
        let before = self.problem.clone();
        self.open();
        if let Some(port) = self.wanted.as_ref().map(|wanted| wanted.port)
            && self.problem != before
        {
            self.tell(port);
        }
    }

    fn tell(&mut self, port: u16) {
        match &self.problem {
            Some(problem) => tracing::warn!("{problem}"),
            None => tracing::info!(port, "listening for BGP peers"),
        }
        let problem = self.problem.clone();
        self.news = Some(Feedback::Listening { port, problem });
    }
}

fn problem(address: SocketAddr, error: &io::Error) -> String {
    let holder = (error.kind() == io::ErrorKind::AddrInUse)
        .then(|| port_holder::find(address))
        .flatten();
    let reason = holder.map_or_else(
        || error.to_string(),
        |holder| format!("{holder} holds the port"),
    );
    format!(
        "cannot listen for BGP peers on {address}: {reason}; we only dial them: \
         free the port, or choose another `bgp.listenPort`"
    )
}

/// The first connection on any of the sockets.
async fn accept(sockets: &BTreeMap<IpAddr, TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    let poll_all = |context: &mut Context<'_>| {
        let mut polls = sockets.values().map(|socket| socket.poll_accept(context));
        polls.find(Poll::is_ready).unwrap_or(Poll::Pending)
    };
    std::future::poll_fn(poll_all).await
}

pub(super) async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
