//! What is known of every kind that the agent reads, and what is heard of it. How much an object stands for, and what
//! of it a newer version has lost, is said here for each kind.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::store::{Event, Guarded, Store};
use crate::{
    crd::{BgpConfSpec, BgpPeerSpec, EipSpec, NodeConfStatus},
    project::{node::NodeRecord, service::ServiceRecord, slice::SliceRecord},
};

/// The speaker as its object has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SpeakerRecord {
    /// What it is to be.
    pub spec: BgpConfSpec,
    /// What each node says of itself.
    pub nodes: BTreeMap<String, NodeConfStatus>,
}

/// A Secret's values.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SecretRecord(pub BTreeMap<String, Vec<u8>>);

/// Says nothing of the values.
impl std::fmt::Debug for SecretRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretRecord({} keys)", self.0.len())
    }
}

impl Guarded for ServiceRecord {
    fn lost_in(&self, newer: &Self) -> usize {
        let has_vips = |record: &Self| record.balanced.as_ref().is_some_and(|b| !b.vips.is_empty());
        usize::from(has_vips(self) && !has_vips(newer))
    }
}

impl Guarded for SliceRecord {
    fn weight(&self) -> usize {
        self.endpoints.len()
    }

    fn lost_in(&self, newer: &Self) -> usize {
        let kept: BTreeSet<_> = newer.endpoints.iter().map(|e| e.address).collect();
        let lost = self.endpoints.iter().filter(|e| !kept.contains(&e.address));
        lost.count()
    }
}

/// The text of a policy that the speaker's object names. It can be read ([`crate::project::gobgp`]).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PolicyRecord(pub String);

impl Guarded for PolicyRecord {}
impl Guarded for NodeRecord {}
impl Guarded for EipSpec {}
impl Guarded for Arc<BgpPeerSpec> {}
impl Guarded for SecretRecord {}

impl Guarded for SpeakerRecord {
    fn lost_in(&self, newer: &Self) -> usize {
        usize::from(!self.nodes.is_empty() && newer.nodes.is_empty())
    }
}

/// Something about one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A Service.
    Service(Event<ServiceRecord>),
    /// An EndpointSlice.
    Slice(Event<SliceRecord>),
    /// A Node.
    Node(Event<NodeRecord>),
    /// A pool.
    Pool(Event<EipSpec>),
    /// The speaker.
    Speaker(Event<SpeakerRecord>),
    /// A peer.
    Peer(Event<Arc<BgpPeerSpec>>),
    /// A Secret that is named somewhere.
    Secret(Event<SecretRecord>),
    /// A policy that is named somewhere.
    Policy(Event<PolicyRecord>),
}

/// The objects of every kind.
#[derive(Clone, Debug, Default)]
pub struct Stores {
    /// Services.
    pub services: Store<ServiceRecord>,
    /// EndpointSlices.
    pub slices: Store<SliceRecord>,
    /// Nodes.
    pub nodes: Store<NodeRecord>,
    /// Pools.
    pub pools: Store<EipSpec>,
    /// The speaker.
    pub speakers: Store<SpeakerRecord>,
    /// Peers.
    pub peers: Store<Arc<BgpPeerSpec>>,
    /// Secrets.
    pub secrets: Store<SecretRecord>,
    /// Policies.
    pub policies: Store<PolicyRecord>,
}

impl Stores {
    /// Whether every kind was listed once.
    #[must_use]
    pub fn are_listed(&self) -> bool {
        self.services.is_listed()
            && self.slices.is_listed()
            && self.nodes.is_listed()
            && self.pools.is_listed()
            && self.speakers.is_listed()
            && self.peers.is_listed()
            && self.secrets.is_listed()
    }

    /// Whether the API server does not answer for some kind.
    #[must_use]
    pub fn is_away(&self) -> bool {
        let away = [
            self.services.away(),
            self.slices.away(),
            self.nodes.away(),
            self.pools.away(),
            self.speakers.away(),
            self.peers.away(),
            self.secrets.away(),
            self.policies.away(),
        ];
        away.iter().any(Option::is_some)
    }

    /// What is held or refused, or why a kind cannot be read, a sentence each.
    #[must_use]
    pub fn alarms(&self) -> Vec<String> {
        let mut alarms = Vec::new();
        tell(&mut alarms, "Services", &self.services);
        tell(&mut alarms, "EndpointSlices", &self.slices);
        tell(&mut alarms, "Nodes", &self.nodes);
        tell(&mut alarms, "Eips", &self.pools);
        tell(&mut alarms, "BgpConfs", &self.speakers);
        tell(&mut alarms, "BgpPeers", &self.peers);
        tell(&mut alarms, "Secrets", &self.secrets);
        tell(&mut alarms, "ConfigMaps", &self.policies);
        alarms
    }
}

fn tell<R: Clone + PartialEq + Guarded>(alarms: &mut Vec<String>, kind: &str, store: &Store<R>) {
    if let Some((count, doubt, until)) = store.held() {
        let how_long = match until {
            Some(_) => "for 5 minutes",
            None => "until it does again",
        };
        alarms.push(format!(
            "{kind}: {doubt}; {count} removals are held {how_long}, `lb-agent accept` lets them take effect now"
        ));
    }
    for (key, why) in store.refused() {
        alarms.push(format!(
            "{kind}: {key} is not understood, what it said before is in force: {why}"
        ));
    }
    if let Some(why) = store.away() {
        alarms.push(format!(
            "{kind}: the API server does not answer, nothing changes meanwhile: {why}"
        ));
    }
}
