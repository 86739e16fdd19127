//! What a lab asks of any router that speaks BGP, in words that all of them know: neighbours to have, sessions that are
//! up, routes as they were received. Each router is the real daemon in the router's namespace; what is asserted of a
//! session is what that daemon says, never what our own agent believes.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};

use crate::lab::Node;
use crate::netlink::Prefix;
use crate::process::Process;
use crate::topology::Pair;
use crate::wait::wait_until;

pub(crate) mod bird;
pub(crate) mod bird1;
pub(crate) mod exabgp;
pub(crate) mod frr;
pub(crate) mod gobgp;
pub(crate) mod openbgpd;

/// The router's AS number.
pub const ROUTER_ASN: u32 = 65_001;
/// The nodes' AS number.
pub const NODE_ASN: u32 = 65_000;
/// The port on which the nodes listen, PorterLB's.
pub const NODE_BGP_PORT: u16 = 17_900;
/// The router's hold time towards agents unless a lab says otherwise, in seconds.
const HOLD_TIME_S: u16 = 9;
/// The router's BGP identifier.
const ROUTER_ID: &str = "198.51.100.1";

/// A neighbour of a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// What it is called where the daemon gives names, such as BIRD's protocols.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// Its AS number; the router's own makes the session internal.
    pub asn: u32,
    /// The port that the router dials.
    pub port: u16,
    /// The router's own addresses on that segment: the session's source, and next hops.
    pub source: Pair,
    /// The hold time that the router proposes, in seconds.
    pub hold_time_s: u16,
    /// The key of TCP MD5 (RFC 2385).
    pub password: Option<String>,
    /// TTL security (RFC 5082).
    pub ttl_security: bool,
    /// The router only listens.
    pub passive: bool,
    /// The router takes several paths to one destination (RFC 7911).
    pub add_paths: bool,
    /// More lines in the daemon's own words, such as BIRD's `bfd on;`.
    pub options: String,
}

impl Neighbour {
    /// A node, dialled on the agents' port over IPv4.
    pub fn of(node: Node<'_>) -> Self {
        Self {
            name: node.name(),
            address: node.addresses().v4.into(),
            asn: NODE_ASN,
            port: NODE_BGP_PORT,
            source: node.router(),
            hold_time_s: HOLD_TIME_S,
            password: None,
            ttl_security: false,
            passive: false,
            add_paths: true,
            options: String::new(),
        }
    }

    /// A node of a cluster, dialled on BGP's own port, where agents listen unless they are told otherwise.
    pub fn of_cluster(node: Node<'_>) -> Self {
        Self {
            port: BGP_PORT,
            ..Self::of(node)
        }
    }
}

/// RFC 4271 section 4.
const BGP_PORT: u16 = 179;

/// A route as a router received it from a neighbour.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceivedRoute {
    /// Whom it is from; none: the daemon did not say.
    pub neighbour: Option<IpAddr>,
    /// The destination; none: the daemon's answer had none.
    pub prefix: Option<Prefix>,
    /// NEXT_HOP, or the one of MP_REACH_NLRI.
    pub next_hop: Option<IpAddr>,
    /// AS numbers of AS_PATH, the neighbour's first.
    pub as_path: Vec<u32>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF: the one received, or the daemon's own default.
    pub local_pref: Option<u32>,
    /// Communities of RFC 1997, `65000:100`.
    pub communities: BTreeSet<String>,
    /// Communities of RFC 8092, `65000:1:2`.
    pub large_communities: BTreeSet<String>,
    /// Communities of RFC 4360, each in the daemon's own words.
    pub extended_communities: BTreeSet<String>,
    /// Kept although its session is gone (RFC 4724).
    pub stale: bool,
}

/// A routing daemon.
pub trait Router {
    /// What people call it.
    fn name(&self) -> &'static str;
    /// Has exactly these neighbours from now on; sessions of those that stay as they are go on.
    fn configure(&mut self, neighbours: &[Neighbour]) -> Result<()>;
    /// The addresses of the neighbours whose sessions are established.
    fn established(&self) -> Result<BTreeSet<IpAddr>>;
    /// All routes that were received, of both families.
    fn routes(&self) -> Result<Vec<ReceivedRoute>>;
    /// How many UPDATEs a neighbour has sent so far in this session, or in BIRD's case how many routes.
    fn updates_received(&self, neighbour: &Neighbour) -> Result<u64>;
    /// Asks a neighbour to send everything again (RFC 2918).
    fn refresh(&self, neighbour: &Neighbour) -> Result<()>;
    /// How often a neighbour has marked the end of what it sent again (RFC 7313), by the daemon's log; `None`: the daemon
    /// knows no marks.
    fn marked_refreshes(&self) -> Result<Option<usize>> {
        Ok(None)
    }
    /// The process that speaks BGP.
    fn process(&mut self) -> &mut Process;
}

impl dyn Router + '_ {
    /// Polls until `check` gives a value; ends at once if the daemon does. The error has the end of its log.
    pub fn wait_for<T>(
        &mut self,
        limit: Duration,
        what: &str,
        mut check: impl FnMut(&Self) -> Result<Option<T>>,
    ) -> Result<T> {
        let name = self.name();
        let what = format!("{name}: {what}");
        let seen = wait_until(limit, &what, || match self.process().ended()? {
            Some(status) => Ok(Some(Err(anyhow!("{name} has ended: {status}")))),
            None => Ok(check(self)?.map(Ok)),
        });
        seen.flatten()
            .map_err(|error| self.process().failure(&error))
    }

    /// Waits until exactly these sessions are established.
    pub fn wait_established(&mut self, limit: Duration, neighbours: &[IpAddr]) -> Result<()> {
        let expected: BTreeSet<_> = neighbours.iter().copied().collect();
        self.wait_for(limit, &format!("sessions with {expected:?}"), |router| {
            let up = router.established()?;
            ensure!(up == expected, "established: {up:?}");
            Ok(Some(()))
        })
    }

    /// Waits until the routes of a neighbour to `prefix` pass `check`, which says what it does not like.
    pub fn wait_routes(
        &mut self,
        limit: Duration,
        (neighbour, prefix): (IpAddr, Prefix),
        what: &str,
        check: impl Fn(&[ReceivedRoute]) -> bool,
    ) -> Result<Vec<ReceivedRoute>> {
        let what = format!("{}/{} of {neighbour}: {what}", prefix.0, prefix.1);
        self.wait_for(limit, &what, |router| {
            let mut routes = router.routes()?;
            routes
                .retain(|route| route.prefix == Some(prefix) && route.neighbour == Some(neighbour));
            ensure!(check(&routes), "{routes:?}");
            Ok(Some(routes))
        })
    }
}

/// `10.99.0.1/32`.
pub(crate) fn parse_prefix(text: &str) -> Option<Prefix> {
    let (address, length) = text.split_once('/')?;
    Some((address.parse().ok()?, length.parse().ok()?))
}
