//! A lab whose router has nothing but listeners, on as many addresses as a speaker on node 1 shall have peers.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use anyhow::Result;
use lb_lab::{Lab, Netlink, Profile, Sinks, router_link};

use crate::speakers::{self, Kind, Routes, Speaker};

/// Where the listeners are.
pub(crate) const PORT: u16 = 1790;
pub(crate) const ASN: u16 = 65_001;
/// Where GoBGP gets its routes from, which has no other source of ten thousand.
pub(crate) const SOURCE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
pub(crate) const SOURCE_PORT: u16 = 1791;
pub(crate) const SOURCE_ASN: u16 = 64_999;
/// Until all routes are there: GoBGP waits for up to ten seconds before it dials.
const LIMIT: Duration = Duration::from_secs(120);

/// The lab and its listeners.
pub(crate) struct Scene {
    // Before the lab that they listen in.
    pub(crate) sinks: Sinks,
    _source: Option<Sinks>,
    pub(crate) lab: Lab,
}

/// How long it took until the last listener had all routes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    /// From the establishment of its session.
    pub(crate) session_ms: f64,
    /// From the start of the process.
    pub(crate) start_ms: f64,
}

impl Scene {
    /// For a speaker with so many peers.
    pub(crate) fn new(kind: Kind, peers: u8) -> Result<Self> {
        let lab = Lab::build(&Profile::default())?;
        let namespace = lab.router_namespace();
        namespace.run(|| {
            let mut netlink = Netlink::open()?;
            let source = IpAddr::V4(SOURCE);
            for address in self::peers(peers).chain([source]) {
                netlink.add_address(&router_link(0), (address, 32))?;
            }
            Ok(())
        })?;
        let sinks = Sinks::listen(namespace, PORT, ASN)?;
        let source = (kind == Kind::GoBgp).then(|| {
            let routes = (0..crate::MANY).map(speakers::vip).collect();
            let announces = Some((SOURCE.into(), routes));
            Sinks::listen_and_announce(namespace, SOURCE_PORT, SOURCE_ASN, announces)
        });
        let source = source.transpose()?;
        Ok(Self {
            sinks,
            _source: source,
            lab,
        })
    }

    /// Starts a speaker and waits until every peer has all routes.
    pub(crate) fn start(
        &self,
        kind: Kind,
        routes: Routes,
        count: u32,
        peers: u8,
    ) -> Result<(Speaker, Took)> {
        let begin = Instant::now();
        let peers: Vec<_> = self::peers(peers).collect();
        let speaker = Speaker::start(&self.lab, kind, routes, count, &peers)?;
        let heard = self.sinks.wait_routes(LIMIT, &peers, count.into())?;
        let last = heard.iter().map(|heard| heard.last_update_at).max();
        let start_ms = last.map_or(0.0, |at| milliseconds(at - begin));
        let session_ms = self.all_routes(count)?.session_ms;
        let took = Took {
            session_ms,
            start_ms,
        };
        Ok((speaker, took))
    }

    /// Waits until the first peer has all routes.
    pub(crate) fn all_routes(&self, count: u32) -> Result<Took> {
        let first: Vec<_> = peers(1).collect();
        let heard = self.sinks.wait_routes(LIMIT, &first, count.into())?[0];
        let session_ms = milliseconds(heard.last_update_at - heard.established_at);
        Ok(Took {
            session_ms,
            start_ms: session_ms,
        })
    }

    /// Changes the number of VIPs and says how long it took until every peer knew.
    pub(crate) fn push(&self, speaker: &Speaker, count: u32, peers: u8) -> Result<f64> {
        let peers: Vec<_> = self::peers(peers).collect();
        let begin = Instant::now();
        speaker.edit(&self.lab, count, &peers)?;
        let heard = lb_lab::wait_until(LIMIT, "every peer has what is left", || {
            let heard: Option<Vec<_>> = peers.iter().map(|peer| self.sinks.heard(*peer)).collect();
            let is_done = |heard: &Vec<lb_lab::Heard>| {
                let mut heard = heard.iter();
                heard.all(|heard| heard.announced - heard.withdrawn == u64::from(count))
            };
            Ok(heard.filter(is_done))
        })?;
        let last = heard.iter().map(|heard| heard.last_update_at).max();
        Ok(last.map_or(0.0, |at| milliseconds(at - begin)))
    }
}

/// The addresses of the listeners.
fn peers(count: u8) -> impl Iterator<Item = IpAddr> {
    (0..count).map(|peer| IpAddr::from([10, 0, 0, 101 + peer]))
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
