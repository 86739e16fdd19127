//! What the agent keeps in this host's network configuration, so that it holds without a living agent: routes of type
//! `unreachable` for what is for no VIP of ours, the rules that lead packets from the uplinks to them, and the
//! solicited-node groups of the IPv6 VIPs that this node answers for. Every entry bears [`MARK`]; others' are never
//! touched. What is there is read from the kernel each time, so a restart changes nothing; `cleanup` takes it away.

mod kernel;
mod wanted;

use std::{collections::BTreeSet, net::Ipv6Addr, sync::Arc};

use lb_core::{DesiredState, model::Prefix};
use rtnetlink::{Handle, MulticastGroup, new_connection_with_strict_check};
use tokio::sync::watch;

use crate::links::{self, Error, events::Events};
use wanted::Wish;

/// The protocol number of our entries: one of those that rtnetlink.h leaves to users and iproute2's
/// `rt_protos` does not name.
pub(crate) const MARK: u8 = 0x6c;

const GROUPS: [MulticastGroup; 2] = [MulticastGroup::Link, MulticastGroup::Ipv6Ifaddr];

/// Something of ours in the kernel. In the order in which they are made; they go in reverse.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Entry {
    /// `ip route add unreachable PREFIX table TABLE`.
    Route { table: u32, prefix: Prefix },
    /// `ip rule add iif INTERFACE lookup TABLE`.
    Rule {
        is_v4: bool,
        interface: Arc<str>,
        table: u32,
    },
    /// `ip address add GROUP dev INTERFACE autojoin`.
    Group { ifindex: u32, group: Ipv6Addr },
}

/// Keeps what the desired state wants, until the engine is gone.
///
/// # Errors
/// If the kernel stops telling.
pub async fn run(mut desired: watch::Receiver<Arc<DesiredState>>) -> Result<(), Error> {
    let mut events = Events::subscribe(&GROUPS)?;
    let kernel = Connection::open()?;
    let mut wish = Wish::default();
    loop {
        if wish.is_known() {
            let interfaces = links::read(&events.handle).await?;
            let wanted = wish.entries(&interfaces);
            let present = kernel::ours(&kernel.handle).await?;
            bring(&kernel.handle, &present, &wanted).await;
        }
        tokio::select! {
            settled = events.settle(|_| true) => {
                settled?;
            }
            other = other_wish(&mut desired, &wish) => match other {
                Some(other) => wish = other,
                None => return Ok(()),
            },
        }
    }
}

/// Brings the host once to what the desired state wants.
///
/// # Errors
/// If the kernel does not tell what there is.
pub async fn keep_once(desired: &DesiredState) -> Result<(), Error> {
    let kernel = Connection::open()?;
    let interfaces = links::read(&kernel.handle).await?;
    let present = kernel::ours(&kernel.handle).await?;
    let wanted = Wish::of(desired).entries(&interfaces);
    bring(&kernel.handle, &present, &wanted).await;
    Ok(())
}

/// Takes away everything that bears our mark; says what it was.
///
/// # Errors
/// If the kernel does not tell what there is.
pub async fn remove_all() -> Result<Vec<String>, Error> {
    let kernel = Connection::open()?;
    let present = kernel::ours(&kernel.handle).await?;
    let mut removed = Vec::new();
    for entry in present.iter().rev() {
        match kernel::remove(&kernel.handle, entry).await {
            Ok(()) => removed.push(entry.to_string()),
            Err(error) => tracing::warn!(%entry, error, "cannot be removed"),
        }
    }
    Ok(removed)
}

/// Waits for a desired state that wants something else; `None`: the engine is gone.
async fn other_wish(desired: &mut watch::Receiver<Arc<DesiredState>>, wish: &Wish) -> Option<Wish> {
    loop {
        desired.changed().await.ok()?;
        let now = Wish::of(&desired.borrow_and_update());
        if now != *wish {
            return Some(now);
        }
    }
}

async fn bring(handle: &Handle, present: &BTreeSet<Entry>, wanted: &BTreeSet<Entry>) {
    for entry in wanted.difference(present) {
        match kernel::add(handle, entry).await {
            Ok(()) => tracing::info!(%entry, "made"),
            Err(error) => tracing::warn!(%entry, error, "the kernel refuses what this node needs"),
        }
    }
    for entry in present
        .difference(wanted)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
    {
        match kernel::remove(handle, entry).await {
            Ok(()) => tracing::info!(%entry, "removed"),
            // It may have gone with its interface.
            Err(error) => tracing::debug!(%entry, error, "gone already"),
        }
    }
}

/// A socket on which the kernel heeds what a dump asks for, so that a full table of routes is not read for a few.
struct Connection {
    handle: Handle,
    task: tokio::task::AbortHandle,
}

impl Connection {
    fn open() -> Result<Self, Error> {
        let (connection, handle, _) = new_connection_with_strict_check().map_err(Error::Open)?;
        let task = tokio::spawn(connection).abort_handle();
        Ok(Self { handle, task })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Route { table, prefix } => write!(f, "route unreachable {prefix} table {table}"),
            Self::Rule {
                is_v4,
                interface,
                table,
            } => {
                let family = if *is_v4 { 4 } else { 6 };
                write!(
                    f,
                    "rule from all iif {interface} lookup {table} (IPv{family})"
                )
            }
            Self::Group { ifindex, group } => write!(f, "group {group} on interface {ifindex}"),
        }
    }
}
