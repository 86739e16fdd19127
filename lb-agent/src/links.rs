//! The source `links`: what the kernel says of the uplinks. It reads all interfaces again whenever the kernel
//! reports a change of a link or an address, and tells the engine only if an uplink became another one. It
//! never configures anything. rtnetlink(7).

pub mod events;
pub mod interface;
pub(crate) mod request;

use std::{io, sync::Arc};

use futures_util::TryStreamExt;
use lb_core::snapshot::Link;
use rtnetlink::{Handle, MulticastGroup};

use self::{
    events::Events,
    interface::{Interface, uplinks},
};
use crate::sources::{Change, ChangeSender};

const GROUPS: [MulticastGroup; 3] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
];

/// Why nothing is known of links, routes or neighbours.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel gives no netlink socket.
    #[error("cannot open a netlink socket: {0}")]
    Open(#[source] io::Error),
    /// A request failed.
    #[error("the kernel does not tell its {what}: {source}")]
    Request {
        /// What was asked for.
        what: &'static str,
        /// What it said.
        source: rtnetlink::Error,
    },
    /// The socket is gone.
    #[error("the kernel closed the netlink socket")]
    Closed,
}

/// Watches the named uplinks, whose place in `names` is their slot, until the engine is gone.
///
/// # Errors
/// If the kernel stops telling.
pub async fn run(names: Vec<Arc<str>>, changes: ChangeSender) -> Result<(), Error> {
    let mut events = Events::subscribe(&GROUPS)?;
    let mut told = None;
    loop {
        let interfaces = read(&events.handle).await?;
        let links = uplinks(&names, &interfaces);
        if told.as_ref() != Some(&links) {
            log(&names, &interfaces, &links);
            if changes.send(Change::Links(links.clone())).await.is_err() {
                return Ok(());
            }
            told = Some(links);
        }
        tokio::select! {
            settled = events.settle(|_| true) => {
                settled?;
            }
            () = changes.closed() => return Ok(()),
        }
    }
}

/// All interfaces of this host with their addresses.
///
/// # Errors
/// If the kernel does not tell.
pub async fn read(handle: &Handle) -> Result<Vec<Interface>, Error> {
    let failed = |what| move |source| Error::Request { what, source };
    let links = handle.link().get().execute();
    let links: Vec<_> = links.try_collect().await.map_err(failed("interfaces"))?;
    let addresses = handle.address().get().execute();
    let addresses: Vec<_> = addresses.try_collect().await.map_err(failed("addresses"))?;
    Ok(interface::from_messages(&links, &addresses))
}

fn log(names: &[Arc<str>], interfaces: &[Interface], links: &[Link]) {
    for link in links {
        tracing::info!(
            uplink = %link.name, mac = %link.mac, mtu = link.mtu_bytes, addresses = ?link.addresses,
            "uplink"
        );
    }
    for name in names {
        match interfaces.iter().find(|interface| interface.name == *name) {
            None => {
                tracing::error!(uplink = %name, "the uplink is gone; this node forwards nothing there")
            }
            Some(interface) if !interface.is_up => {
                tracing::warn!(uplink = %name, "the uplink is down")
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
