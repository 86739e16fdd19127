//! The source `neighbours`: the way to every other node, kept resolved, and to the gateways while replies go back by them. XDP traffic does not refresh ARP, so
//! each next hop gets a neighbour entry that the kernel manages by itself (NTF_EXT_MANAGED, 5.16); older
//! kernels are asked to use the entry every 15 s, which makes them probe it. Nothing is remembered here but
//! what was told: routes and entries are read from the kernel anew, and our entries bear a mark by which a
//! later agent knows them. They stay when the agent goes, because the data path stays.

mod gateways;
mod kernel;
mod route;
mod way;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use lb_core::{
    DesiredState,
    model::Node,
    snapshot::{Link, Neighbours},
};
use netlink_packet_route::{RouteNetlinkMessage, neighbour::NeighbourMessage};
use rtnetlink::{Handle, MulticastGroup};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use self::{
    kernel::NextHop,
    route::Route,
    way::{Candidate, Uplink},
};
use crate::{
    hostcheck,
    links::{self, Error, events::Events},
    sources::{Change, ChangeSender},
};

/// How long next hops may take to answer before their nodes are told as unresolved, at the start.
pub const FIRST_RESOLUTION: Duration = Duration::from_millis(500);

const GROUPS: [MulticastGroup; 6] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
];

/// Between whom ways are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nodes {
    /// Name of this node.
    pub own: Arc<str>,
    /// All nodes, this one included.
    pub all: Vec<Arc<Node>>,
    /// Replies of pods on other nodes go back through this one (`return: ingress`): its gateways are to be known.
    pub returns: bool,
}

impl Nodes {
    /// The nodes of a desired state; `None` before the first plan.
    #[must_use]
    pub fn of(desired: &DesiredState) -> Option<Self> {
        let cluster = desired.cluster.as_ref()?;
        Some(Self {
            own: Arc::clone(&cluster.own()?.name),
            all: cluster.nodes.values().cloned().collect(),
            returns: desired.ports().any(|plan| plan.returns_by_ingress),
        })
    }

    fn own_addresses(&self) -> &[IpAddr] {
        let own = self.all.iter().find(|node| node.name == self.own);
        own.map_or(&[], |node| &node.addresses)
    }

    fn others(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.all.iter().filter(|node| node.name != self.own)
    }
}

/// Keeps the ways from the named uplinks to `nodes`, later to those of the desired state, until the engine is
/// gone. The first word waits up to [`FIRST_RESOLUTION`] for next hops to answer.
///
/// # Errors
/// If the kernel stops telling.
pub async fn run(
    uplinks: Vec<Arc<str>>,
    mut nodes: Nodes,
    mut desired: watch::Receiver<Arc<DesiredState>>,
    changes: ChangeSender,
) -> Result<(), Error> {
    let mut events = Events::subscribe(&GROUPS)?;
    let mut keeper = Keeper::new(&events.handle).await?;
    let patience_ends = Instant::now() + FIRST_RESOLUTION;
    let mut told: Option<Neighbours> = None;
    loop {
        let survey = survey(&events.handle, &uplinks, &nodes).await?;
        keeper.keep(&events.handle, survey.next_hops()).await;
        let neighbours = survey.neighbours(&events.handle, &nodes).await;
        let wait_for_first = told.is_none() && is_unresolved(&neighbours);
        if wait_for_first && Instant::now() < patience_ends {
            let change = events.settle(|message| matters(message, &keeper.kept));
            if let Ok(settled) = timeout_at(patience_ends, change).await {
                settled?;
            }
            continue;
        }
        if told.as_ref() != Some(&neighbours) {
            log(told.as_ref(), &neighbours, &nodes);
            log_tight(told.as_ref(), &neighbours, &survey.links);
            if changes
                .send(Change::Neighbours(neighbours.clone()))
                .await
                .is_err()
            {
                return Ok(());
            }
            told = Some(neighbours);
        }
        tokio::select! {
            settled = events.settle(|message| matters(message, &keeper.kept)) => {
                keeper.is_due = !settled?;
            }
            other = other_nodes(&mut desired, &nodes) => match other {
                Some(other) => nodes = other,
                None => return Ok(()),
            },
        }
    }
}

/// Takes away every entry that bears our mark; says what it was.
///
/// # Errors
/// If the kernel does not tell what there is.
pub async fn remove_all() -> Result<Vec<String>, Error> {
    let events = Events::subscribe(&[])?;
    let mut removed = Vec::new();
    for next_hop in kernel::marked(&events.handle).await? {
        kernel::release(&events.handle, next_hop).await;
        let NextHop { ifindex, address } = next_hop;
        removed.push(format!("neighbour {address} on interface {ifindex}"));
    }
    Ok(removed)
}

/// Waits for a desired state with other nodes; `None`: the engine is gone.
async fn other_nodes(
    desired: &mut watch::Receiver<Arc<DesiredState>>,
    nodes: &Nodes,
) -> Option<Nodes> {
    loop {
        desired.changed().await.ok()?;
        let now = Nodes::of(&desired.borrow_and_update());
        if let Some(now) = now.filter(|now| now != nodes) {
            return Some(now);
        }
    }
}

/// The entries that are ours.
struct Keeper {
    kept: BTreeSet<NextHop>,
    /// The kernel is to be asked again for all of them: it may be too old to manage them, and whoever took one
    /// away did not ask.
    is_due: bool,
}

impl Keeper {
    async fn new(handle: &Handle) -> Result<Self, Error> {
        Ok(Self {
            kept: kernel::marked(handle).await?,
            is_due: true,
        })
    }

    async fn keep(&mut self, handle: &Handle, wanted: BTreeSet<NextHop>) {
        for &next_hop in &wanted {
            if self.is_due || !self.kept.contains(&next_hop) {
                kernel::keep(handle, next_hop).await;
            }
        }
        for &next_hop in self.kept.difference(&wanted) {
            kernel::release(handle, next_hop).await;
        }
        self.kept = wanted;
        self.is_due = false;
    }
}

/// Routes to every address of the other nodes, and gateways that are wanted, as far as they lead over an uplink.
struct Survey {
    links: Vec<Link>,
    uplinks: Vec<Uplink>,
    routes: BTreeMap<Arc<str>, Vec<(IpAddr, Route)>>,
    gateways: BTreeSet<NextHop>,
}

async fn survey(handle: &Handle, names: &[Arc<str>], nodes: &Nodes) -> Result<Survey, Error> {
    let interfaces = links::read(handle).await?;
    let links = links::interface::uplinks(names, &interfaces);
    let uplinks = way::uplinks(&links, &interfaces);
    let mut routes = BTreeMap::new();
    for node in nodes.others() {
        let mut found = Vec::new();
        for &address in &node.addresses {
            let route = kernel::route_to(handle, address).await;
            let leads_over_uplink = |route: &Route| way::uplink_of(route, &uplinks).is_some();
            found.extend(
                route
                    .filter(leads_over_uplink)
                    .map(|route| (address, route)),
            );
        }
        routes.insert(Arc::clone(&node.name), found);
    }
    let mut gateways = match nodes.returns {
        true => gateways::read(handle).await?,
        false => BTreeSet::new(),
    };
    gateways.retain(|gateway| way::is_uplink(gateway.ifindex, &uplinks));
    Ok(Survey {
        links,
        uplinks,
        routes,
        gateways,
    })
}

impl Survey {
    fn next_hops(&self) -> BTreeSet<NextHop> {
        let routes = self.routes.values().flatten();
        let to_nodes = routes.map(|(destination, route)| next_hop(*destination, route));
        to_nodes.chain(self.gateways.iter().copied()).collect()
    }

    async fn neighbours(&self, handle: &Handle, nodes: &Nodes) -> Neighbours {
        let mut neighbours = Neighbours::new();
        for (name, routes) in &self.routes {
            let mut candidates = Vec::new();
            for (destination, route) in routes {
                let mac = kernel::mac_of(handle, next_hop(*destination, route)).await;
                candidates.push(Candidate {
                    destination: *destination,
                    route: *route,
                    mac,
                });
            }
            let way = way::choose(&candidates, nodes.own_addresses(), &self.uplinks);
            neighbours.extend(way.map(|way| (Arc::clone(name), way)));
        }
        neighbours
    }
}

fn next_hop(destination: IpAddr, route: &Route) -> NextHop {
    NextHop {
        ifindex: route.egress_ifindex,
        address: route.gateway.unwrap_or(destination),
    }
}

/// Whether a notification can change a way: any of routes, links and addresses, but of neighbours only those
/// of next hops, because on a busy link others change all the time.
fn matters(message: &RouteNetlinkMessage, kept: &BTreeSet<NextHop>) -> bool {
    let is_next_hop = |entry: &NeighbourMessage| {
        kernel::next_hop_of(entry).is_some_and(|next_hop| kept.contains(&next_hop))
    };
    match message {
        RouteNetlinkMessage::NewNeighbour(entry) | RouteNetlinkMessage::DelNeighbour(entry) => {
            is_next_hop(entry)
        }
        _ => true,
    }
}

fn is_unresolved(neighbours: &Neighbours) -> bool {
    neighbours.values().any(|way| way.mac.is_none())
}

fn log(before: Option<&Neighbours>, now: &Neighbours, nodes: &Nodes) {
    for node in nodes.others() {
        let name = &node.name;
        let (before, now) = (before.map(|before| before.get(name)), now.get(name));
        if before == Some(now) {
            continue;
        }
        let Some(way) = now else {
            tracing::warn!(node = %name, "no route over an uplink leads to the node; what goes there is dropped");
            continue;
        };
        let address = way.outer_destination;
        match way.mac {
            Some(mac) => tracing::info!(
                node = %name, %address, %mac, on_link = way.on_link, mtu = way.mtu_bytes,
                "the way to the node is resolved"
            ),
            None => tracing::warn!(
                node = %name, %address,
                "the next hop to the node has no MAC yet; what goes there is dropped until it answers"
            ),
        }
    }
}

/// Logs what does not fit into GUE, as far as it is news.
fn log_tight(before: Option<&Neighbours>, now: &Neighbours, links: &[Link]) {
    let known = before.map_or_else(Vec::new, |before| hostcheck::ways::judge(before, links));
    for sentence in hostcheck::ways::judge(now, links) {
        if !known.contains(&sentence) {
            tracing::warn!("{sentence}");
        }
    }
}

#[cfg(test)]
mod tests;
