//! The kernel's data path as the executor sees it. Maps that were made by this start are taken away again if
//! the agent ends before they ever held a plan: a start that is refused leaves nothing behind. Maps that were
//! found stay, whatever happens.

use std::{
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use lb_common::{
    abi::MapId,
    counter::ServiceCounters,
    image::{MapWrite, Memory},
    limits::Capacity,
    source::TrieRange,
    verdict::VERDICTS,
};
use lb_core::{
    model::UplinkMode,
    snapshot::{DatapathFacts, Link},
};
use lb_datapath::{
    Attached, Datapath, Error, IngressHook, Mode, Observer, Options, Samples, Uplink,
};

use super::{Maps, reading::Observe};
use crate::pin_lock::{self, PinLock};

/// Maps, links and programs of this node.
pub struct Kernel {
    datapath: Datapath,
    made_for_nothing: Option<PathBuf>,
    _lock: PinLock,
}

/// Why there is no data path. What ran before is as it was.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The pins are another agent's.
    #[error(transparent)]
    Pins(#[from] pin_lock::Error),
    /// The kernel refuses.
    #[error(transparent)]
    Datapath(#[from] Error),
}

impl Kernel {
    /// Adopts what is pinned below the folder, or loads and pins anew; attaches nothing.
    ///
    /// # Errors
    /// If the kernel refuses, or another agent has the folder.
    pub fn open(pin_dir: &Path, mode: UplinkMode, capacity: Capacity) -> Result<Self, OpenError> {
        let lock = pin_dir
            .exists()
            .then(|| PinLock::take(pin_dir))
            .transpose()?;
        let options = Options {
            mode: match mode {
                UplinkMode::Auto => Mode::Auto,
                UplinkMode::Native => Mode::Native,
                UplinkMode::Generic => Mode::Generic,
                UplinkMode::Tc => Mode::Tc,
            },
            capacity,
            ..Options::pinned(pin_dir)
        };
        let datapath = Datapath::open(&options)?;
        tracing::info!("this kernel has {}", datapath.abilities());
        let lock = match lock {
            Some(lock) => lock,
            None => PinLock::take(pin_dir)?,
        };
        for note in datapath.notes() {
            tracing::warn!("{note}");
        }
        let made_for_nothing = (!datapath.adopted()).then(|| pin_dir.to_owned());
        Ok(Self {
            datapath,
            made_for_nothing,
            _lock: lock,
        })
    }

    /// What planning must know of it.
    #[must_use]
    pub fn facts(&self) -> DatapathFacts {
        let facts = self.datapath.facts();
        DatapathFacts {
            capacity: facts.capacity,
            jiffies_per_second: facts.jiffies_per_second,
            tick_shift: facts.tick_shift,
            timeout_ticks: facts.timeout_ticks,
        }
    }
}

impl Maps for Kernel {
    type Error = Error;

    fn adopted(&self) -> bool {
        self.datapath.adopted()
    }

    fn apply(&mut self, writes: &[MapWrite]) -> Result<(), Error> {
        self.datapath.apply(writes)
    }

    fn attach(&mut self, links: &[Link]) -> Result<(), Error> {
        let uplinks: Vec<_> = links.iter().map(uplink).collect();
        self.datapath.attach(&uplinks)?;
        for attached in self.datapath.attached() {
            tell(attached);
        }
        for removed in self.datapath.detach_others(&uplinks)? {
            tracing::info!("took away the {removed}: no uplink any more");
        }
        Ok(())
    }

    fn are_on(&self, links: &[Link]) -> bool {
        let mut uplinks = links.iter().map(uplink);
        uplinks.all(|uplink| self.datapath.is_on(&uplink))
    }

    fn return_to_xdp(&mut self, links: &[Link]) -> Result<(), Error> {
        let uplinks: Vec<_> = links.iter().map(uplink).collect();
        for interface in self.datapath.return_to_xdp(&uplinks)? {
            tracing::info!(%interface, "the other XDP program is gone: back from tc's ingress");
        }
        Ok(())
    }

    fn attached(&self) -> Vec<Attached> {
        self.datapath.attached().to_vec()
    }

    fn keep(&mut self) {
        self.made_for_nothing = None;
    }

    fn observer(&self) -> Box<dyn Observe> {
        Box::new(self.datapath.observer())
    }

    fn stamp(&self, limit: Option<Duration>) -> Result<(), Error> {
        self.datapath.stamp(limit)
    }
}

impl Memory for Kernel {
    fn capacity(&self) -> Capacity {
        self.datapath.capacity()
    }

    fn word(&self, map: MapId, at: usize) -> u64 {
        self.datapath.word(map, at)
    }

    fn ranges_of(&self, services: RangeInclusive<u16>) -> Vec<TrieRange> {
        self.datapath.ranges_of(services)
    }

    fn range_count(&self) -> usize {
        self.datapath.range_count()
    }
}

impl Observe for Observer {
    fn service_counters(&self) -> Vec<ServiceCounters> {
        self.service_counters()
    }

    fn verdicts(&self) -> [u64; VERDICTS] {
        self.verdicts()
    }

    fn active_flows(&self) -> Vec<u32> {
        self.active_flows()
    }

    fn samples(&self) -> Samples {
        self.samples()
    }
}

fn uplink(link: &Link) -> Uplink {
    Uplink {
        slot: link.slot.into(),
        name: link.name.to_string(),
        ifindex: link.ifindex,
    }
}

/// Where the programs are, and what that costs.
fn tell(attached: &Attached) {
    let Attached {
        interface,
        ingress,
        egress,
        refusal,
    } = attached;
    match (refusal, ingress) {
        (None, _) => tracing::info!(%interface, xdp = %ingress, %egress, "attached"),
        (Some(refusal), IngressHook::Tc) => tracing::warn!(
            %interface, xdp = %ingress, %egress,
            "attached to tc's ingress, behind the other program, at several times the cost of a packet: {refusal}"
        ),
        (Some(refusal), _) => tracing::warn!(
            %interface, xdp = %ingress, %egress,
            "attached in the network stack, at several times the cost of a packet: {refusal}"
        ),
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        if let Some(pin_dir) = self.made_for_nothing.take()
            && let Err(error) = lb_datapath::cleanup(&pin_dir)
        {
            tracing::warn!(%error, "what this start has pinned is still there; `lb-agent cleanup` removes it");
        }
    }
}
