//! One case of the fixtures: what was before, a packet, and everything that must come of it. A case knows nothing
//! of how it is run: the same list ([`crate::cases`]) drives the functional run here and in guest kernels.

use anyhow::{Context as _, Result, ensure};
use lb_common::{
    abi::MapId,
    flow::{Flow, State},
    image::MapWrite,
    limits::Capacity,
    verdict::Verdict,
};

use crate::world::{CAPACITY, CLUSTER, Hook, SERVICES, World, XDP_REDIRECT, XDP_TX};

/// `TCX_NEXT` (linux/bpf.h), as a test run returns it.
pub const TCX_NEXT: u32 = u32::MAX;

/// A frame, and the program that sees it.
#[derive(Clone, Debug)]
pub enum Run {
    /// It comes in on the uplink.
    Ingress(Vec<u8>),
    /// It leaves by the uplink.
    Egress(Vec<u8>),
}

/// The data path that a case starts from. Cases share one a ground, and keep apart by their clients' ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ground {
    /// That of a node of [`CLUSTER`].
    Node(u8),
    /// That of `node1` with room for sixteen embryonic flows.
    Narrow,
    /// That of `node1` of [`SERVICES`].
    Services,
    /// That of `node1` with a table that names an endpoint which is not there.
    Inconsistent,
}

/// What a packet must come to.
#[derive(Clone, Debug)]
pub struct Case {
    /// A sentence.
    pub description: &'static str,
    /// Where it runs.
    pub ground: Ground,
    /// What ran before; results do not matter.
    pub before: Vec<Run>,
    /// The packet.
    pub packet: Run,
    /// `XDP_*`, or [`TCX_NEXT`].
    pub action: u32,
    /// The frame afterwards, byte for byte.
    pub out: Vec<u8>,
    /// Verdicts that this packet is counted under, once each; no other may change.
    pub counted: &'static [Verdict],
    /// Port of the client whose flow `flow` is.
    pub client_port: u16,
    /// The flow's state after the packet; `None`: there is no such flow.
    pub flow: Option<State>,
}

impl Run {
    /// The frame.
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        match self {
            Self::Ingress(frame) | Self::Egress(frame) => frame,
        }
    }

    fn on(&self, world: &World) -> Result<(u32, Vec<u8>)> {
        let outcome = match self {
            Self::Ingress(frame) => return world.receive(frame),
            Self::Egress(frame) => world.datapath.run_egress(frame),
        };
        let outcome = outcome.context("the kernel refused the run")?;
        Ok((outcome.action, outcome.frame))
    }
}

impl Ground {
    /// Makes it.
    ///
    /// # Errors
    /// As [`World::new`].
    pub fn make(self, hook: Hook) -> Result<World> {
        let options = hook.options(CAPACITY);
        match self {
            Self::Node(number) => World::with(number, CLUSTER, &options),
            Self::Narrow => {
                let capacity = Capacity {
                    embryonic_flows: 16,
                    ..CAPACITY
                };
                let mut world = World::with(1, CLUSTER, &hook.options(capacity))?;
                // Time stands still: no flow is older than another, and none gives way.
                world.snapshot.datapath.tick_shift = 31;
                world.apply()?;
                Ok(world)
            }
            Self::Services => World::with(1, SERVICES, &options),
            Self::Inconsistent => {
                let mut world = World::with(1, CLUSTER, &options)?;
                for map in [MapId::EndpointNodes, MapId::Endpoints] {
                    let values = vec![0; world.datapath.image().words(map).len()];
                    let cleared = MapWrite::Store {
                        map,
                        word: 0,
                        values,
                    };
                    world.datapath.apply(&[cleared])?;
                }
                Ok(world)
            }
        }
    }
}

impl Case {
    /// Runs it and compares all that it says.
    ///
    /// # Errors
    /// What differs, with the frames in hex.
    pub fn check(&self, world: &World) -> Result<()> {
        for run in &self.before {
            run.on(world)?;
        }
        let before = world.datapath.verdicts();
        let (action, out) = self.packet.on(world)?;
        let counted = changed(&before, &world.datapath.verdicts());
        let due = match (world.hook, self.action) {
            // tc has no way back of its own.
            (Hook::Tc, XDP_TX) => XDP_REDIRECT,
            (_, action) => action,
        };
        ensure!(
            action == due,
            "action {action}, not {due}: counted {counted:?}"
        );
        ensure!(
            out == self.out,
            "in  {}\nout {}\nnot {}",
            hex(self.packet.frame()),
            hex(&out),
            hex(&self.out)
        );
        let mut wanted: Vec<_> = self.counted.iter().map(|verdict| (*verdict, 1)).collect();
        wanted.sort_unstable();
        ensure!(counted == wanted, "counted {counted:?}, not {wanted:?}");
        let flow = self.flow_of(world);
        let wanted = self.flow.map(|state| state as u32);
        ensure!(
            flow == wanted,
            "the flow's state is {flow:?}, not {wanted:?}"
        );
        Ok(())
    }

    fn flow_of(&self, world: &World) -> Option<u32> {
        let is_ours = |flow: &Flow| u16::from_be(flow.client_port) == self.client_port;
        let flows = world.datapath.flows();
        let found = flows.iter().find(|(_, flow)| is_ours(flow));
        found.map(|(meta, _)| meta.state())
    }
}

/// Verdicts that were counted between, and how often.
fn changed(before: &[u64], after: &[u64]) -> Vec<(Verdict, u64)> {
    let change = |verdict: &Verdict| {
        let number = *verdict as usize;
        (*verdict, after[number] - before[number])
    };
    let all = Verdict::ALL.iter().map(change);
    all.filter(|(_, count)| *count > 0).collect()
}

/// A frame for a failure's text.
#[must_use]
pub fn hex(frame: &[u8]) -> String {
    frame.iter().map(|byte| format!("{byte:02x}")).collect()
}
