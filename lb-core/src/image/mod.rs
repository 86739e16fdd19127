//! From the desired state to bytes in maps. [`image()`] compares what shall be with what the maps hold and
//! returns the stores that lead there, in an order in which every packet between any two of them finds the
//! old answer or the new one: first what others will point to, then what points, then (after an RCU grace)
//! what nobody points to any more is given back. Ids, slots, extents and buckets are this node's own and
//! sticky; they are recovered from the maps themselves ([`recover`]), [`Placements`] only remembers them.

mod draft;
mod encode;
mod entries;
mod extents;
mod filters;
mod machine;
mod owned;
mod placement;
mod ports;
mod recover;
mod sources;
mod tags;
mod view;
mod wanted;

use std::{collections::BTreeMap, fmt, net::IpAddr, sync::Arc};

use lb_common::{
    config::Config,
    image::{MapWrite, Memory},
};

pub(crate) use machine::id as node_id;
pub use placement::{Entry, Placement, Placements};
pub use recover::recover;
pub use view::Extents;

use crate::{
    DesiredState,
    desired::ClusterPlan,
    model::ServicePort,
    ord_map::OrdMap,
    snapshot::{Neighbours, PortFeedback},
};
use draft::Draft;
use wanted::{Seen, Wanted};

/// Walks over an arena that is full, where each makes room for the next. Far more than were ever seen; what is left
/// then waits for the next call.
const WALKS_MAX: usize = 16;
/// Words that wait to be carried out: half a megabyte, which a change of a few Services never comes to.
const PIECE_WORDS: usize = 1 << 16;

/// Maps that are changed while the writes are being made.
pub trait Maps: Memory {
    /// Carries writes out, in order. False if not all of them were: no more are asked for.
    fn carry_out(&mut self, writes: &[MapWrite]) -> bool;
}

/// What [`image()`] comes to.
#[derive(Clone, Debug)]
pub struct ImageOutcome {
    /// The stores and graces that are to be carried out, in order.
    pub writes: Vec<MapWrite>,
    /// How many were carried out before them, by [`Maps`].
    pub carried_out: usize,
    /// What does not fit, and why. A service port that is new is left out, one that is there stays as it was.
    pub unplaced: BTreeMap<Unplaced, NoRoom>,
    /// For the next call, if all writes were carried out; otherwise drop it and read the maps back.
    pub placements: Placements,
}

impl ImageOutcome {
    /// What the data path is to report once the writes are carried out: the facts of the announcement gate.
    #[must_use]
    pub fn feedback(&self) -> OrdMap<ServicePort, PortFeedback> {
        self.placements.feedback.clone()
    }
}

/// Something that did not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unplaced {
    /// A service port.
    Port(ServicePort),
    /// The entry that marks a VIP: packets to ports that it does not have reach the host instead.
    Vip(IpAddr),
    /// Index of a node whose MAC or addresses the data path cannot recognise.
    Node(u16),
}

/// Why something did not fit. Sizes of the arenas are fixed while the maps live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoRoom {
    /// All service ids are taken.
    Ids(u32),
    /// No run of free row units is long enough.
    Rows(u32),
    /// No run of free endpoint lines is long enough.
    Endpoints(u32),
    /// No run of free lines is long enough for the ranges of clients beside the service.
    SourceLines(u32),
    /// The trie has as many ranges of clients as it can.
    SourceRanges(u32),
    /// No seed was found with which all entries find a place in their buckets.
    Buckets,
    /// Another entry has the same key.
    SameKey,
    /// Both lines of the tag are full.
    Tags,
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ids(all) => write!(f, "all {all} service ids of the data path are taken"),
            Self::Rows(units) => write!(f, "no {units} units in a row are free of the table arena"),
            Self::Endpoints(lines) => {
                write!(
                    f,
                    "no {lines} lines in a row are free of the endpoint arena"
                )
            }
            Self::SourceLines(lines) => {
                write!(
                    f,
                    "no {lines} lines in a row are free for loadBalancerSourceRanges"
                )
            }
            Self::SourceRanges(all) => write!(
                f,
                "all services together have more than the {all} loadBalancerSourceRanges that the data path takes"
            ),
            Self::Buckets => f.write_str("the table of service ports is too full"),
            Self::SameKey => f.write_str("another Service has the same VIP, protocol and port"),
            Self::Tags => f.write_str("the table of node addresses is too full"),
        }
    }
}

/// The writes that bring the maps to `desired`, given the ways to the other nodes.
///
/// Pure: nothing is carried out. `placements` saves work if it is what the previous call for this image returned: what that call saw as it is
/// now is not looked at. The default makes the call recover them and look at everything, with the same result up to which
/// free places are taken.
#[must_use]
pub fn image(
    desired: &DesiredState,
    neighbours: &Neighbours,
    memory: &dyn Memory,
    placements: Placements,
) -> ImageOutcome {
    change(Draft::new(memory), desired, neighbours, placements)
}

/// As [`image()`], in pieces: of what makes many writes, all but the last are carried out on the way. If that fails, the
/// maps are to be read again, and the outcome counts for nothing.
#[must_use]
pub fn image_in_pieces(
    desired: &DesiredState,
    neighbours: &Neighbours,
    maps: &mut dyn Maps,
    placements: Placements,
) -> ImageOutcome {
    let draft = Draft::live(maps, PIECE_WORDS);
    change(draft, desired, neighbours, placements)
}

fn change(
    mut draft: Draft<'_>,
    desired: &DesiredState,
    neighbours: &Neighbours,
    placements: Placements,
) -> ImageOutcome {
    let Some(cluster) = &desired.cluster else {
        return ImageOutcome {
            writes: Vec::new(),
            carried_out: 0,
            unplaced: BTreeMap::new(),
            placements,
        };
    };
    let mut placements = start(&mut draft, cluster, placements);
    let seen = std::mem::take(&mut placements.seen);
    let seed = cluster.keys.seed[0];
    let steps = Steps {
        machine: (!seen.has_machine(cluster, neighbours))
            .then(|| machine::Machine::new(cluster, neighbours)),
        filters: filters::Filters::of(seed, &mut placements.tallies, &seen, desired),
        wanted: Wanted::new(desired, cluster, &seen, &placements),
        homeless: seen.homeless(),
    };
    let mut unplaced = BTreeMap::new();
    let mut is_last = false;
    // What one walk gives back, the next may hand out: until one writes nothing, and then once more as the last.
    for _ in 0..WALKS_MAX {
        let before = draft.write_count();
        unplaced = steps.pass(&mut draft, &mut placements, is_last);
        let is_settled = draft.write_count() == before;
        if unplaced.is_empty() || is_settled && is_last {
            break;
        }
        is_last |= is_settled;
    }
    report(&mut placements, &steps.wanted, &seen, &unplaced);
    placements.seen = Seen::of(desired, neighbours, unplaced.clone());
    let (writes, carried_out) = draft.finish();
    ImageOutcome {
        writes,
        carried_out,
        unplaced,
        placements,
    }
}

/// Brings the maps into a state that can be changed in place: of this version and this seed, all of it
/// accounted for.
fn start(draft: &mut Draft<'_>, cluster: &Arc<ClusterPlan>, placements: Placements) -> Placements {
    let config: Config = draft.element(lb_common::abi::MapId::Config, 0);
    if !machine::speaks_the_same(&config, cluster) {
        recover::erase(draft);
        return Placements::known(draft.capacity());
    }
    if placements.is_known() {
        return placements;
    }
    recover::adopt(draft)
}

/// What one walk goes through.
struct Steps<'a> {
    /// `None`: all of it is there.
    machine: Option<machine::Machine>,
    filters: filters::Filters,
    wanted: Wanted<'a>,
    /// Nodes that are not recognised, should the machine be there.
    homeless: BTreeMap<Unplaced, NoRoom>,
}

impl Steps<'_> {
    /// One walk up (what is new) and down (what is no more). Says what did not fit.
    fn pass(
        &self,
        draft: &mut Draft<'_>,
        placements: &mut Placements,
        is_last: bool,
    ) -> BTreeMap<Unplaced, NoRoom> {
        let Self {
            machine,
            filters,
            wanted,
            homeless,
        } = self;
        let mut unplaced = BTreeMap::new();
        match machine {
            Some(machine) => machine.raise(draft, &mut unplaced),
            None => unplaced.clone_from(homeless),
        }
        filters.raise(draft);
        let mut change = ports::Change::default();
        ports::prepare(draft, wanted, placements, &mut change, &mut unplaced);
        ports::mark_vips(
            draft,
            wanted,
            placements,
            &mut change,
            &mut unplaced,
            is_last,
        );
        entries::publish(draft, wanted, placements, &mut change, &mut unplaced);
        owned::write(draft, wanted, placements, &unplaced);
        let gives_nodes_back = machine
            .as_ref()
            .is_some_and(|machine| machine.gives_back(draft));
        ports::give_back(draft, placements, change, gives_nodes_back);
        if let Some(machine) = machine {
            machine.lower(draft);
        }
        filters.lower(draft);
        unplaced
    }
}

/// Brings the facts of the announcement gate to what the image now holds.
fn report(
    placements: &mut Placements,
    wanted: &Wanted<'_>,
    seen: &Seen,
    unplaced: &BTreeMap<Unplaced, NoRoom>,
) {
    let feedback = &mut placements.feedback;
    for vip in &wanted.touched {
        let before = seen
            .by_vip
            .get(vip)
            .into_iter()
            .flat_map(|ports| ports.iter());
        for plan in before.filter(|plan| !wanted.ports.contains_key(&plan.port)) {
            feedback.remove(&plan.port);
        }
    }
    let applied = wanted.ports.iter().map(|(&port, plan)| {
        let generation = plan.generation;
        (port, PortFeedback::Applied { generation })
    });
    let failed = unplaced.iter().filter_map(|(what, why)| match what {
        Unplaced::Port(port) => {
            let reason = why.to_string();
            Some((*port, PortFeedback::Failed { reason }))
        }
        Unplaced::Vip(_) | Unplaced::Node(_) => None,
    });
    for (port, fact) in applied.chain(failed) {
        if feedback.get(&port) != Some(&fact) {
            feedback.insert(port, fact);
        }
    }
}

#[cfg(test)]
mod tests;
