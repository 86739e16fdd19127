//! What the data path has counted, read by whoever asked for it: reading takes milliseconds for thousands of services
//! and a million flows, and the executor has maps to write meanwhile. It only says where each service port's counters are.

use lb_common::{
    counter::ServiceCounters,
    verdict::{VERDICTS, Verdict},
};
use lb_core::model::ServicePort;
use lb_datapath::{Attached, Samples};

use crate::answers::Counters;

/// The counters of a data path: the kernel's, or a test's.
pub trait Observe: Send {
    /// Counters by service id.
    fn service_counters(&self) -> Vec<ServiceCounters>;
    /// Packets by verdict.
    fn verdicts(&self) -> [u64; VERDICTS];
    /// Flows alive, by service id.
    fn active_flows(&self) -> Vec<u32>;
    /// Sampled packets, by endpoint and by node.
    fn samples(&self) -> Samples;
}

/// A reading that is still to be made.
pub struct Reading {
    pub(super) observer: Box<dyn Observe>,
    /// Service ports that are in the data path, with their ids.
    pub(super) ids: Vec<(ServicePort, usize)>,
    pub(super) attached: Vec<Attached>,
}

impl Reading {
    /// Reads. Blocks for as long as that takes.
    #[must_use]
    pub fn take(self) -> Counters {
        let counted = self.observer.service_counters();
        let active = self.observer.active_flows();
        let ids = self.ids.iter();
        let services = ids
            .clone()
            .filter_map(|&(port, id)| Some((port, *counted.get(id)?)));
        let flows = ids.filter_map(|&(port, id)| Some((port, *active.get(id)?)));
        let verdicts = Verdict::ALL.iter().copied().zip(self.observer.verdicts());
        Counters {
            attached: self.attached,
            services: services.collect(),
            active_flows: flows.filter(|&(_, flows)| flows > 0).collect(),
            samples: self.observer.samples(),
            verdicts: verdicts.filter(|&(_, packets)| packets > 0).collect(),
        }
    }
}
