//! Brings the data path to the desired state and reports what it holds. Runs on a thread of its own, because
//! a map write may have to wait for every CPU to leave the programs. Decides nothing: `image` says which words
//! to store in which order, and what did not fit.

pub mod kernel;
pub mod reading;

use std::{collections::BTreeSet, mem, ops::RangeInclusive, sync::Arc, time::Duration};

use lb_common::{
    abi::MapId,
    image::{MapWrite, Memory},
    limits::Capacity,
    source::TrieRange,
};
use lb_core::{
    DesiredState,
    image::{self, ImageOutcome, Placements, Unplaced, image_in_pieces},
    model::ServicePort,
    ord_map::OrdMap,
    snapshot::{Link, Neighbours, PortFeedback, Takeover},
};
use lb_datapath::Attached;
use tokio::sync::{mpsc, oneshot, watch};

use self::reading::{Observe, Reading};
use crate::{
    engine::feedback::{Applied, Feedback, FeedbackSender},
    failure::chain,
};

/// After this long without a sign of life the data path takes the agent for dead (`deadAgentLimit`).
pub const DEAD_AGENT_LIMIT: Duration = Duration::from_secs(120);
/// Signs of life of the engine, one a second, from one look at XDP hooks that were taken to the next.
const BEATS_BETWEEN_LOOKS: u32 = 2;
/// Lines of log that one plan may give to what does not fit.
const UNPLACED_LOGGED_MAX: usize = 10;

/// The maps and links of a data path: the kernel's, or a test's. What they hold is read where it is.
pub trait Maps: Memory {
    /// Why a change failed.
    type Error: std::error::Error + 'static;
    /// Whether they were there before this agent.
    fn adopted(&self) -> bool;
    /// Carries writes out, in order.
    fn apply(&mut self, writes: &[MapWrite]) -> Result<(), Self::Error>;
    /// Attaches the programs to these uplinks, or replaces those that are attached.
    fn attach(&mut self, links: &[Link]) -> Result<(), Self::Error>;
    /// Whether programs of an earlier agent are on all of these uplinks.
    fn are_on(&self, links: &[Link]) -> bool;
    /// Takes the programs to XDP where somebody else's program was in the way and is gone.
    fn return_to_xdp(&mut self, links: &[Link]) -> Result<(), Self::Error>;
    /// Where the programs are.
    fn attached(&self) -> Vec<Attached>;
    /// From now on the maps outlive this process, whatever becomes of it.
    fn keep(&mut self);
    /// Who reads what they count.
    fn observer(&self) -> Box<dyn Observe>;
    /// Gives a sign of life, good for `limit`; `None`: for ever.
    fn stamp(&self, limit: Option<Duration>) -> Result<(), Self::Error>;
}

/// What the executor follows.
#[derive(Debug)]
pub struct Inputs {
    /// What this node shall do.
    pub desired: watch::Receiver<Arc<DesiredState>>,
    /// The ways to other nodes.
    pub neighbours: watch::Receiver<Arc<Neighbours>>,
    /// The engine's signs of life.
    pub beat: watch::Receiver<()>,
    /// Who wants to read counters.
    pub counters: mpsc::Receiver<oneshot::Sender<Reading>>,
}

/// A data path and what is known of it.
#[derive(Debug)]
pub struct Executor<M> {
    maps: M,
    placements: Placements,
    attached: Vec<(u8, u32)>,
    /// What was reported last.
    feedback: OrdMap<ServicePort, PortFeedback>,
    unplaced: BTreeSet<Unplaced>,
    takeover: Option<Takeover>,
}

/// Why an attempt failed: the maps or links are as the last good write left them.
#[derive(Debug, thiserror::Error)]
pub enum Error<E: std::error::Error + 'static> {
    /// A map could not be written.
    #[error("a map could not be written")]
    Write(#[source] E),
    /// A program could not be attached.
    #[error("the programs cannot be attached")]
    Attach(#[source] E),
    /// The sign of life could not be left.
    #[error("the agent's sign of life could not be left")]
    Stamp(#[source] E),
}

impl<M: Maps> Executor<M> {
    /// The maps.
    #[must_use]
    pub fn maps(&self) -> &M {
        &self.maps
    }

    /// Starts from what the maps hold.
    pub fn new(maps: M) -> Self {
        Self {
            maps,
            placements: Placements::default(),
            attached: Vec::new(),
            feedback: OrdMap::default(),
            unplaced: BTreeSet::new(),
            takeover: None,
        }
    }

    /// Brings maps and links to what shall be. What it reports is true whether it failed or not: a service
    /// port that was taken earlier and did not change since is still there.
    pub fn apply(
        &mut self,
        desired: &DesiredState,
        neighbours: &Neighbours,
    ) -> (Applied, Result<(), Error<M::Error>>) {
        let outcome = self.write(desired, neighbours).and_then(|ports| {
            self.attach(desired)?;
            self.maps.keep();
            Ok(ports)
        });
        let (ports, result) = match outcome {
            Ok(ports) => (ports, Ok(())),
            Err(error) => (self.still_there(desired, &error), Err(error)),
        };
        self.feedback.clone_from(&ports);
        (
            Applied {
                generation: desired.generation,
                ports,
                takeover: self.takeover,
            },
            result,
        )
    }

    /// What the data path has counted, to be read by the caller.
    #[must_use]
    pub fn reading(&self) -> Reading {
        let applied = self.feedback.iter();
        let applied = applied.filter(|(_, feedback)| generation(feedback).is_some());
        let id = |port: &ServicePort| self.placements.id(*port).map(usize::from);
        Reading {
            observer: self.maps.observer(),
            ids: applied
                .filter_map(|(port, _)| Some((*port, id(port)?)))
                .collect(),
            attached: self.maps.attached(),
        }
    }

    /// Gives a sign of life, good for `limit`; `None`: for ever.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn stamp(&self, limit: Option<Duration>) -> Result<(), Error<M::Error>> {
        self.maps.stamp(limit).map_err(Error::Stamp)
    }

    /// Looks whether an uplink's XDP hook, which somebody else's program had, is free.
    ///
    /// # Errors
    /// If the kernel refuses for another reason; the programs stay where they are.
    pub fn return_to_xdp(&mut self, desired: &DesiredState) -> Result<(), Error<M::Error>> {
        let links = links(desired);
        self.maps.return_to_xdp(links).map_err(Error::Attach)
    }

    fn write(
        &mut self,
        desired: &DesiredState,
        neighbours: &Neighbours,
    ) -> Result<OrdMap<ServicePort, PortFeedback>, Error<M::Error>> {
        let placements = mem::take(&mut self.placements);
        let mut pieces = Pieces {
            maps: &mut self.maps,
            error: None,
        };
        let outcome = image_in_pieces(desired, neighbours, &mut pieces, placements);
        let written = match pieces.error {
            None => self.maps.apply(&outcome.writes),
            Some(error) => Err(error),
        };
        // If it fails, the maps say how far it came, and what is placed where is found from that.
        written.map_err(Error::Write)?;
        let writes = outcome.carried_out + outcome.writes.len();
        if self.takeover.is_none() {
            self.takeover = Some(self.how_it_came(desired));
        }
        self.tell_of_unplaced(&outcome);
        tracing::debug!(generation = desired.generation, writes, "maps written");
        let ports = outcome.feedback();
        self.placements = outcome.placements;
        Ok(ports)
    }

    /// Asked before the first attempt to attach: what is attached now was so while no agent was there.
    fn how_it_came(&self, desired: &DesiredState) -> Takeover {
        match self.maps.adopted() {
            false => Takeover::New,
            true if self.maps.are_on(links(desired)) => Takeover::Preserved,
            true => Takeover::Interrupted,
        }
    }

    /// Logs what newly does not fit: once, and not every line of a flood.
    fn tell_of_unplaced(&mut self, outcome: &ImageOutcome) {
        let now: BTreeSet<_> = outcome.unplaced.keys().copied().collect();
        let new: Vec<_> = now.difference(&self.unplaced).collect();
        for what in new.iter().take(UNPLACED_LOGGED_MAX) {
            let reason = &outcome.unplaced[what];
            match what {
                Unplaced::Port(port) => {
                    tracing::warn!(%port, %reason, "a service port is left out")
                }
                Unplaced::Vip(vip) => {
                    tracing::warn!(%vip, %reason, "a VIP has no entry of its own")
                }
                Unplaced::Node(index) => tracing::warn!(index, %reason, "a node is not recognised"),
            }
        }
        if new.len() > UNPLACED_LOGGED_MAX {
            tracing::warn!(
                "and {} more that do not fit",
                new.len() - UNPLACED_LOGGED_MAX
            );
        }
        self.unplaced = now;
    }

    fn attach(&mut self, desired: &DesiredState) -> Result<(), Error<M::Error>> {
        let links = links(desired);
        let wanted: Vec<_> = links.iter().map(|link| (link.slot, link.ifindex)).collect();
        if wanted != self.attached {
            self.maps.attach(links).map_err(Error::Attach)?;
            let names: Vec<_> = links.iter().map(|link| &*link.name).collect();
            tracing::info!(uplinks = names.join(","), "programs attached");
            self.attached = wanted;
        }
        Ok(())
    }

    fn still_there(
        &self,
        desired: &DesiredState,
        error: &Error<M::Error>,
    ) -> OrdMap<ServicePort, PortFeedback> {
        let reason = chain(error);
        let feedback = |port, planned| match self.feedback.get(&port).and_then(generation) {
            Some(generation) if generation >= planned => PortFeedback::Applied { generation },
            _ => PortFeedback::Failed {
                reason: reason.clone(),
            },
        };
        desired
            .ports()
            .map(|plan| (plan.port, feedback(plan.port, plan.generation)))
            .collect()
    }
}

/// Maps that are written while the image is being made.
struct Pieces<'a, M: Maps> {
    maps: &'a mut M,
    error: Option<M::Error>,
}

impl<M: Maps> image::Maps for Pieces<'_, M> {
    fn carry_out(&mut self, writes: &[MapWrite]) -> bool {
        self.error = self.maps.apply(writes).err();
        self.error.is_none()
    }
}

impl<M: Maps> Memory for Pieces<'_, M> {
    fn capacity(&self) -> Capacity {
        self.maps.capacity()
    }

    fn word(&self, map: MapId, at: usize) -> u64 {
        self.maps.word(map, at)
    }

    fn ranges_of(&self, services: RangeInclusive<u16>) -> Vec<TrieRange> {
        self.maps.ranges_of(services)
    }

    fn range_count(&self) -> usize {
        self.maps.range_count()
    }
}

fn links(desired: &DesiredState) -> &[Link] {
    let cluster = desired.cluster.as_ref();
    cluster.map_or(&[][..], |cluster| &cluster.links)
}

const fn generation(feedback: &PortFeedback) -> Option<u64> {
    match feedback {
        PortFeedback::Applied { generation } => Some(*generation),
        PortFeedback::Failed { .. } => None,
    }
}

/// Follows the desired state until the engine is gone; what fails is tried again with its next sign of life.
///
/// # Errors
/// If the very first attempt fails: then this agent never worked, and whoever started it must know.
pub async fn follow<M: Maps>(
    executor: &mut Executor<M>,
    mut inputs: Inputs,
    feedback: FeedbackSender,
) -> Result<(), Error<M::Error>> {
    let mut done = Done::default();
    let mut beats = 0_u32;
    loop {
        let changed = tokio::select! {
            changed = inputs.desired.changed() => changed,
            changed = inputs.neighbours.changed() => changed,
            Some(counters) = inputs.counters.recv() => {
                // Whoever asked may be gone.
                let _ = counters.send(executor.reading());
                continue;
            }
            changed = inputs.beat.changed() => {
                if let Err(error) = executor.stamp(Some(DEAD_AGENT_LIMIT)) {
                    tracing::error!("{}", chain(&error));
                }
                beats = beats.wrapping_add(1);
                if done.ever && beats.is_multiple_of(BEATS_BETWEEN_LOOKS) {
                    let desired = inputs.desired.borrow().clone();
                    if let Err(error) = executor.return_to_xdp(&desired) {
                        tracing::warn!("{}; trying again", chain(&error));
                    }
                }
                changed
            }
        };
        if changed.is_err() {
            return Ok(());
        }
        let desired = inputs.desired.borrow_and_update().clone();
        let neighbours = inputs.neighbours.borrow_and_update().clone();
        if desired.cluster.is_none() || done.covers(&desired, &neighbours) {
            continue;
        }
        let (applied, result) = executor.apply(&desired, &neighbours);
        match result {
            Ok(()) => done.set(&desired, &neighbours),
            Err(error) if !done.ever => return Err(error),
            Err(error) => tracing::error!("{}; trying again", chain(&error)),
        }
        if feedback.send(Feedback::Applied(applied)).is_err() {
            return Ok(());
        }
    }
}

/// What the maps are known to hold.
#[derive(Debug, Default)]
struct Done {
    ever: bool,
    generation: u64,
    neighbours: Arc<Neighbours>,
}

impl Done {
    fn covers(&self, desired: &DesiredState, neighbours: &Arc<Neighbours>) -> bool {
        self.ever && self.generation == desired.generation && *self.neighbours == **neighbours
    }

    fn set(&mut self, desired: &DesiredState, neighbours: &Arc<Neighbours>) {
        *self = Self {
            ever: true,
            generation: desired.generation,
            neighbours: Arc::clone(neighbours),
        };
    }
}

#[cfg(test)]
mod tests;
