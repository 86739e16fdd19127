//! The flows of a pinned data path, read as they are: loads from mapped memory, which no program notices. Needs no agent.
//! A record that changes while it is read is read again; one that goes meanwhile is left out.

use std::path::Path;

use lb_common::{
    abi::{MapId, data},
    config::Config,
    flow::{FLOWS_PER_LINE, Flow, IndexLine, Meta, State},
};

use crate::{
    Error, facts,
    load::Instance,
    memory::Arena,
    pins,
    trace::{nothing_pinned, pinned, pinned_part},
};

/// How often a record that changes is read again.
const READS_MAX: usize = 4;

/// The flow tables of a data path, and its clock.
pub struct FlowTable {
    index: Arena,
    flows: Arena,
    config: Config,
    now_tick: u32,
    jiffies_per_second: u64,
}

/// A flow that has not timed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveFlow {
    /// What it has come to.
    pub state: State,
    /// Seconds since its first packet.
    pub age_seconds: u64,
    /// Seconds since its last packet.
    pub idle_seconds: u64,
    /// Seconds until it is no more, unless a packet comes.
    pub expires_in_seconds: u64,
    /// Its record.
    pub record: Flow,
}

impl FlowTable {
    /// The flow tables that are pinned below the folder.
    ///
    /// # Errors
    /// Nothing, or nothing of this version, is pinned there, or the kernel refused.
    pub fn open(pin_dir: &Path) -> Result<Self, Error> {
        let folder = pins::versioned(pin_dir);
        let capacity = pins::capacity(&folder).ok_or_else(|| nothing_pinned(pin_dir))?;
        let flows = capacity.flows();
        let map = |name: &str, elements, bytes| pinned(&pins::map(&folder, name), elements, bytes);
        let config = pinned_part(&folder, MapId::Config)?.element::<Config>(0);
        let clock = Instance::clock()?;
        Ok(Self {
            index: map(
                data::FLOW_INDEX,
                flows / FLOWS_PER_LINE,
                size_of::<IndexLine>(),
            )?,
            flows: map(data::FLOWS, flows, size_of::<Flow>())?,
            config,
            now_tick: (facts::jiffies(&clock)? >> config.tick_shift) as u32,
            jiffies_per_second: facts::measure_hz(&clock)?,
        })
    }

    /// Every flow that was alive when the table was opened.
    pub fn live(&self) -> impl Iterator<Item = LiveFlow> {
        let places = self.index.elements::<u64>();
        (0..places).filter_map(|number| self.at(number))
    }

    fn at(&self, number: usize) -> Option<LiveFlow> {
        for _ in 0..READS_MAX {
            let meta = self.meta(number);
            let state = State::of(meta.state()).filter(|state| *state > State::Claimed)?;
            let record: Flow = self.flows.element(number);
            if self.is_same_flow(meta, self.meta(number)) {
                return self.live_flow(meta, state, record);
            }
        }
        None
    }

    fn meta(&self, number: usize) -> Meta {
        Meta(self.index.element(number))
    }

    /// A packet in between changes the age alone.
    fn is_same_flow(&self, before: Meta, after: Meta) -> bool {
        (before.state(), before.tag()) == (after.state(), after.tag())
    }

    fn live_flow(&self, meta: Meta, state: State, record: Flow) -> Option<LiveFlow> {
        let timeout = u32::from(self.config.timeout_ticks[state as usize]);
        // Another CPU may have noted a packet a tick ahead of the clock.
        let idle = self.now_tick.wrapping_sub(meta.tick()).cast_signed().max(0);
        let left = timeout.checked_sub(idle.cast_unsigned())?;
        let age = self
            .now_tick
            .wrapping_sub(record.created)
            .cast_signed()
            .max(0);
        Some(LiveFlow {
            state,
            age_seconds: self.seconds(age.cast_unsigned()),
            idle_seconds: self.seconds(idle.cast_unsigned()),
            expires_in_seconds: self.seconds(left),
            record,
        })
    }

    fn seconds(&self, ticks: u32) -> u64 {
        (u64::from(ticks) << self.config.tick_shift) / self.jiffies_per_second
    }
}
