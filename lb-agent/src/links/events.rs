//! Netlink notifications as a mere hint that something changed. What changed is always read anew, so that a
//! notification that was lost (the socket's buffer is finite) costs at most [`REREAD_INTERVAL`]. Requests go
//! by a socket of their own: on this one their answers could be lost among notifications.

use std::{pin::Pin, time::Duration};

use futures_util::{Stream, StreamExt};
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::{
    Handle, MulticastGroup, new_connection, new_multicast_connection,
    packet_core::{NetlinkMessage, NetlinkPayload},
    sys::SocketAddr,
};
use tokio::{
    task::AbortHandle,
    time::{Instant, timeout_at},
};

use super::Error;

/// What was read is read again after this time even if nothing was reported.
pub const REREAD_INTERVAL: Duration = Duration::from_secs(15);
/// Changes come in bursts; they are taken as one after this time.
const BURST: Duration = Duration::from_millis(20);

type Messages = dyn Stream<Item = (NetlinkMessage<RouteNetlinkMessage>, SocketAddr)> + Send;

/// Notifications of some multicast groups, and a handle for requests.
pub struct Events {
    /// For requests; works as long as this lives.
    pub handle: Handle,
    messages: Pin<Box<Messages>>,
    connections: [AbortHandle; 2],
    reread_at: Instant,
}

impl Events {
    /// Subscribes.
    ///
    /// # Errors
    /// If the kernel gives no socket.
    pub fn subscribe(groups: &[MulticastGroup]) -> Result<Self, Error> {
        let (listening, _, messages) = new_multicast_connection(groups).map_err(Error::Open)?;
        let (asking, handle, _) = new_connection().map_err(Error::Open)?;
        Ok(Self {
            handle,
            messages: Box::pin(messages),
            connections: [listening, asking]
                .map(|connection| tokio::spawn(connection).abort_handle()),
            reread_at: Instant::now() + REREAD_INTERVAL,
        })
    }

    /// Waits for a change that matters and for the burst that it is part of, or until everything is to be read
    /// again anyway. True if something changed. May be dropped and called again.
    ///
    /// # Errors
    /// If the kernel closed the socket.
    pub async fn settle(
        &mut self,
        matters: impl Fn(&RouteNetlinkMessage) -> bool,
    ) -> Result<bool, Error> {
        if !self.change_before(self.reread_at, &matters).await? {
            self.reread_at = Instant::now() + REREAD_INTERVAL;
            return Ok(false);
        }
        let burst_ends = Instant::now() + BURST;
        while self.change_before(burst_ends, &matters).await? {}
        Ok(true)
    }

    async fn change_before(
        &mut self,
        deadline: Instant,
        matters: impl Fn(&RouteNetlinkMessage) -> bool,
    ) -> Result<bool, Error> {
        loop {
            let Ok(message) = timeout_at(deadline, self.messages.next()).await else {
                return Ok(false);
            };
            let (message, _) = message.ok_or(Error::Closed)?;
            match message.payload {
                NetlinkPayload::InnerMessage(message) if matters(&message) => return Ok(true),
                // Notifications were lost; any of them may have mattered.
                NetlinkPayload::Overrun(_) => return Ok(true),
                _ => {}
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        for connection in &self.connections {
            connection.abort();
        }
    }
}
