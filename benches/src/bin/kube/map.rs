//! The pinned map of endpoints, as a process beside the agent reads it. A Service's endpoints lie together, so that to see
//! a change takes a look at a few slots, and not at all of them again and again.

use std::{
    net::Ipv4Addr,
    ops::Range,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use lb_common::{Address, endpoint::Endpoint};
use lb_datapath::EndpointReader;
use lb_lab::{AgentOptions, Lab};

use crate::cluster;

/// Between two looks into the map.
const LOOK_INTERVAL: Duration = Duration::from_micros(500);
/// Between two looks into all of it, in case that a Service was moved.
const LOOK_EVERYWHERE_INTERVAL: Duration = Duration::from_millis(100);
/// What a change may take before it counts as lost.
const LIMIT: Duration = Duration::from_secs(120);
/// Slots around an endpoint that has the same Service.
const NEAR: usize = 16;

/// The map of one node.
pub(crate) struct Map {
    reader: EndpointReader,
}

impl Map {
    /// Of a node whose agent has written it.
    pub(crate) fn open(lab: &Lab, node: u8) -> Result<Self> {
        let pins = AgentOptions::default().pin_dir;
        let namespace = lab.node(node).namespace();
        let reader = namespace.run(|| Ok(EndpointReader::open(&pins)?))?;
        Ok(Self { reader })
    }

    /// Where the endpoints of a Service are.
    pub(crate) fn place(&self, service: u32) -> Result<Range<usize>> {
        let port = cluster::port(service).to_be();
        let of_service = |endpoint: &Endpoint| endpoint.flags != 0 && endpoint.port == port;
        let slot = self.reader.find(0..self.reader.slots(), of_service);
        let slot = slot.with_context(|| format!("service {service} is not in the map"))?;
        Ok(slot.saturating_sub(NEAR)..slot + NEAR)
    }

    /// Waits until an address is there; when it was seen.
    pub(crate) async fn until(&self, place: &Range<usize>, address: Ipv4Addr) -> Result<Instant> {
        let wanted = in_map(address);
        let is_wanted = |endpoint: &Endpoint| endpoint.flags != 0 && endpoint.address == wanted;
        let begun = Instant::now();
        let mut everywhere_at = begun + LOOK_EVERYWHERE_INTERVAL;
        loop {
            if self.reader.find(place.clone(), is_wanted).is_some() {
                return Ok(Instant::now());
            }
            if Instant::now() >= everywhere_at {
                if self
                    .reader
                    .find(0..self.reader.slots(), is_wanted)
                    .is_some()
                {
                    return Ok(Instant::now());
                }
                everywhere_at = Instant::now() + LOOK_EVERYWHERE_INTERVAL;
            }
            ensure!(begun.elapsed() < LIMIT, "{address} never came into the map");
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}

/// As the map of endpoints has it.
fn in_map(address: Ipv4Addr) -> Address {
    [u32::from_ne_bytes(address.octets()), 0, 0, 0]
}
