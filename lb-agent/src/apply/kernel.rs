//! The kernel's data path as the executor sees it. Maps that were made by this start are taken away again if
//! the agent ends before they ever held a plan: a start that is refused leaves nothing behind. Maps that were
//! found stay, whatever happens.

use std::{path::PathBuf, time::Duration};

use lb_common::{
    counter::ServiceCounters,
    image::{Image, MapWrite},
    verdict::VERDICTS,
};
use lb_core::snapshot::{DatapathFacts, Link};
use lb_datapath::{Datapath, Error, Options, Uplink};

use super::Maps;

/// Maps, links and programs of this node.
pub struct Kernel {
    datapath: Datapath,
    made_for_nothing: Option<PathBuf>,
}

impl Kernel {
    /// Adopts what is pinned, or loads and pins anew; attaches nothing.
    ///
    /// # Errors
    /// If the kernel refuses, or what is pinned is not ours.
    pub fn open(options: &Options) -> Result<Self, Error> {
        let datapath = Datapath::open(options)?;
        for note in datapath.notes() {
            tracing::warn!("{note}");
        }
        let made_for_nothing = (!datapath.adopted())
            .then(|| options.pin_dir.clone())
            .flatten();
        Ok(Self {
            datapath,
            made_for_nothing,
        })
    }

    /// Whether the maps were found, not made.
    #[must_use]
    pub fn adopted(&self) -> bool {
        self.datapath.adopted()
    }

    /// What planning must know of it.
    #[must_use]
    pub fn facts(&self) -> DatapathFacts {
        let facts = self.datapath.facts();
        DatapathFacts {
            capacity: facts.capacity,
            tick_shift: facts.tick_shift,
            timeout_ticks: facts.timeout_ticks,
        }
    }
}

impl Maps for Kernel {
    type Error = Error;

    fn image(&self) -> Image {
        self.datapath.image()
    }

    fn apply(&mut self, writes: &[MapWrite]) -> Result<(), Error> {
        self.datapath.apply(writes)
    }

    fn attach(&mut self, links: &[Link]) -> Result<(), Error> {
        let uplink = |link: &Link| Uplink {
            slot: link.slot.into(),
            name: link.name.to_string(),
            ifindex: link.ifindex,
        };
        let uplinks: Vec<_> = links.iter().map(uplink).collect();
        self.datapath.attach(&uplinks)?;
        for removed in self.datapath.detach_others(&uplinks)? {
            tracing::info!("took away the {removed}: no uplink any more");
        }
        Ok(())
    }

    fn keep(&mut self) {
        self.made_for_nothing = None;
    }

    fn service_counters(&self) -> Vec<ServiceCounters> {
        self.datapath.service_counters()
    }

    fn verdicts(&self) -> [u64; VERDICTS] {
        self.datapath.verdicts()
    }

    fn stamp(&self, limit: Option<Duration>) -> Result<(), Error> {
        self.datapath.stamp(limit)
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
