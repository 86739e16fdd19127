//! All kinds together, and what has changed of the model since it was last asked for. One object that changes costs
//! its own Service anew and no other; a pool or this node costs all of them. Before every first list is complete there
//! is no change to tell, unless an earlier agent left its last known state and the API server stays away. Pure.

mod announcements;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use lb_core::model::{Node, Prefix, Service, Unfit};

use super::{
    speaker::Speaker,
    store::Changed,
    stores::{Heard, Stores},
};
use crate::{
    crd::BGP_CONF_NAME,
    project::{
        bgp,
        claim::{Claim, ClassRules},
        hints::Here,
        join::{self, Announcement},
        node::{NodeRules, ZONE},
        pool::Pool,
    },
};

/// How long the API server may stay away at the start before the last known state counts.
pub const RECOVER_AFTER: Duration = Duration::from_secs(5);

/// What a node says in its key of the BgpConf while it is taken out of service.
pub const DRAINING: &str = "Draining";

/// What this agent is to do with what it reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Name of this node.
    pub node: Arc<str>,
    /// Which Services are ours.
    pub class: ClassRules,
    /// What takes a node out of service.
    pub nodes: NodeRules,
    /// Topology hints count.
    pub topology_hints: bool,
    /// Our namespace.
    pub namespace: String,
    /// Where passwords are put.
    pub password_folder: PathBuf,
    /// Announce what others have allocated, within these ranges; empty: our own pools.
    pub allowed_ranges: BTreeSet<Prefix>,
}

/// What of the model has changed.
#[derive(Clone, Debug, Default)]
pub struct Delta {
    /// Services by name; `None`: no longer served.
    pub services: Vec<(Arc<str>, Option<Arc<Service>>)>,
    /// Why a Service is not served, or what of it is not, by name; empty: nothing to say.
    pub notes: Vec<(Arc<str>, Vec<String>)>,
    /// All nodes.
    pub nodes: Option<Vec<Arc<Node>>>,
    /// Networks that VIPs are taken from.
    pub pools: Option<BTreeSet<Prefix>>,
    /// The speaker.
    pub speaker: Option<Arc<Speaker>>,
}

impl Delta {
    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
            && self.notes.is_empty()
            && self.nodes.is_none()
            && self.pools.is_none()
            && self.speaker.is_none()
    }
}

/// What has changed since the last delta.
#[derive(Clone, Debug, Default)]
struct Dirty {
    services: BTreeSet<Arc<str>>,
    all_services: bool,
    nodes: bool,
    pools: bool,
    speaker: bool,
}

/// The cluster as the API server tells it.
#[derive(Clone, Debug)]
pub struct Cluster {
    settings: Settings,
    stores: Stores,
    pools: BTreeMap<Arc<str>, (Pool, Announcement)>,
    /// Keys of slices by Service.
    slices_of: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// Service by key of slice.
    service_of: BTreeMap<Arc<str>, Arc<str>>,
    /// Nodes by address.
    node_addresses: BTreeMap<IpAddr, Arc<str>>,
    here: Option<Here>,
    served: BTreeMap<Arc<str>, Arc<Service>>,
    noted: BTreeMap<Arc<str>, Vec<String>>,
    told_nodes: Vec<Arc<Node>>,
    speaker: Option<Arc<Speaker>>,
    dirty: Dirty,
    /// Whether the state of an earlier agent is complete.
    is_recovered: bool,
}

impl Cluster {
    /// Knows nothing, or what an earlier agent knew.
    #[must_use]
    pub fn new(settings: Settings, recovered: Option<Stores>) -> Self {
        let is_recovered = recovered.is_some();
        let mut cluster = Self {
            settings,
            stores: recovered.unwrap_or_default(),
            pools: BTreeMap::new(),
            slices_of: BTreeMap::new(),
            service_of: BTreeMap::new(),
            node_addresses: BTreeMap::new(),
            here: None,
            served: BTreeMap::new(),
            noted: BTreeMap::new(),
            told_nodes: Vec::new(),
            speaker: None,
            dirty: Dirty::default(),
            is_recovered,
        };
        let slices: Vec<_> = cluster
            .stores
            .slices
            .iter()
            .map(|(key, _)| key.clone())
            .collect();
        cluster.slices_changed(slices);
        cluster.pools_changed();
        cluster.nodes_changed();
        cluster.dirty = Dirty {
            all_services: true,
            nodes: true,
            pools: true,
            speaker: true,
            ..cluster.dirty
        };
        cluster
    }

    /// The objects.
    #[must_use]
    pub fn stores(&self) -> &Stores {
        &self.stores
    }

    /// Whether there is enough to plan with, `since_start`.
    #[must_use]
    pub fn is_complete(&self, since_start: Duration) -> bool {
        self.stores.are_listed() || (self.is_recovered && since_start >= RECOVER_AFTER)
    }

    /// Takes what was heard.
    pub fn take(&mut self, heard: Heard, now: Duration) {
        match heard {
            Heard::Service(event) => {
                let changed = self.stores.services.take(event, now);
                self.dirty.services.extend(changed);
            }
            Heard::Slice(event) => {
                let changed = self.stores.slices.take(event, now);
                self.slices_changed(changed);
            }
            Heard::Node(event) => {
                if !self.stores.nodes.take(event, now).is_empty() {
                    self.nodes_changed();
                }
            }
            Heard::Pool(event) => {
                if !self.stores.pools.take(event, now).is_empty() {
                    self.pools_changed();
                }
            }
            Heard::Speaker(event) => {
                if !self.stores.speakers.take(event, now).is_empty() {
                    self.dirty.speaker = true;
                    self.dirty.nodes = true;
                }
            }
            Heard::Peer(event) => {
                self.dirty.speaker |= !self.stores.peers.take(event, now).is_empty();
            }
            Heard::Secret(event) => {
                self.dirty.speaker |= !self.stores.secrets.take(event, now).is_empty();
            }
            Heard::Policy(event) => {
                self.dirty.speaker |= !self.stores.policies.take(event, now).is_empty();
            }
        }
    }

    /// Lets held removals take effect whose time has come, or all if somebody `accepts` them.
    pub fn release(&mut self, now: Duration, accepts: bool) {
        let stores = &mut self.stores;
        self.dirty
            .services
            .extend(stores.services.release(now, accepts));
        let slices = stores.slices.release(now, accepts);
        let nodes = !stores.nodes.release(now, accepts).is_empty();
        let pools = !stores.pools.release(now, accepts).is_empty();
        let speakers = !stores.speakers.release(now, accepts).is_empty();
        let peers = !stores.peers.release(now, accepts).is_empty();
        let secrets = !stores.secrets.release(now, accepts).is_empty();
        self.slices_changed(slices);
        if nodes {
            self.nodes_changed();
        }
        if pools {
            self.pools_changed();
        }
        self.dirty.nodes |= speakers;
        self.dirty.speaker |= speakers || peers || secrets;
    }

    /// What has changed since this was last asked.
    pub fn delta(&mut self) -> Delta {
        let mut delta = Delta::default();
        if self.dirty.nodes {
            let nodes = self.nodes();
            if nodes != self.told_nodes {
                self.told_nodes.clone_from(&nodes);
                delta.nodes = Some(nodes);
            }
        }
        if self.dirty.speaker || delta.nodes.is_some() {
            delta.speaker = self.renew_speaker();
        }
        if delta.speaker.is_some() || delta.nodes.is_some() {
            self.renew_announcements();
        }
        let dirty = std::mem::take(&mut self.dirty);
        if dirty.pools {
            delta.pools = Some(self.networks());
        }
        let names = match dirty.all_services {
            true => {
                let known = self.stores.services.iter().map(|(key, _)| key);
                known.chain(self.served.keys()).cloned().collect()
            }
            false => dirty.services,
        };
        for name in names {
            self.renew(&name, &mut delta);
        }
        delta
    }

    /// The speaker, if it is another one than before.
    fn renew_speaker(&mut self) -> Option<Arc<Speaker>> {
        let own = self.own_node();
        let (namespace, folder) = (&self.settings.namespace, &self.settings.password_folder);
        let speaker = own.map(|own| Speaker::of(&self.stores, own, namespace, folder));
        let speaker = Arc::new(speaker.unwrap_or_default());
        let is_new = self.speaker.as_ref() != Some(&speaker);
        is_new.then(|| {
            self.speaker = Some(Arc::clone(&speaker));
            speaker
        })
    }

    fn own_node(&self) -> Option<&Arc<Node>> {
        let mut nodes = self.told_nodes.iter();
        nodes.find(|node| node.name == self.settings.node)
    }

    /// What somebody should look at, a sentence each.
    #[must_use]
    pub fn alarms(&self) -> Vec<String> {
        let mut alarms = self.stores.alarms();
        alarms.extend(
            self.speaker
                .iter()
                .flat_map(|speaker| speaker.problems.clone()),
        );
        alarms
    }

    /// Names of the Secrets with passwords of peers.
    #[must_use]
    pub fn password_secrets(&self) -> BTreeSet<String> {
        let speaker = self.speaker.as_ref();
        speaker.map_or_else(BTreeSet::new, |speaker| speaker.secrets.clone())
    }

    /// Name of the ConfigMap with the speaker's policy.
    #[must_use]
    pub fn policy_name(&self) -> Option<&str> {
        let speaker = self.stores.speakers.get(BGP_CONF_NAME)?;
        bgp::policy_name(&speaker.spec)
    }

    fn renew(&mut self, name: &Arc<str>, delta: &mut Delta) {
        let (service, notes) = self.service(name);
        let known = self.served.get(name);
        if known.map(|known| &**known) != service.as_ref() {
            let service = service.map(Arc::new);
            match &service {
                Some(service) => _ = self.served.insert(Arc::clone(name), Arc::clone(service)),
                None => _ = self.served.remove(name),
            }
            delta.services.push((Arc::clone(name), service));
        }
        if self.noted.get(name).is_some_and(|known| *known == notes) {
            return;
        }
        let had_notes = match notes.is_empty() {
            true => self.noted.remove(name).is_some(),
            false => {
                self.noted.insert(Arc::clone(name), notes.clone());
                true
            }
        };
        if had_notes {
            delta.notes.push((Arc::clone(name), notes));
        }
    }

    /// A Service as it is to be served, if it is, and what is to be said of it.
    fn service(&self, name: &Arc<str>) -> (Option<Service>, Vec<String>) {
        let Some(record) = self.stores.services.get(name) else {
            return (None, Vec::new());
        };
        let Some(balanced) = &record.balanced else {
            return (None, Vec::new());
        };
        let mut notes = balanced.problems.clone();
        if self.settings.allowed_ranges.is_empty() && !record.claim.is_ours() {
            notes.push(not_ours(record.claim, &self.settings.class.class));
            return (None, notes);
        }
        if balanced.vips.is_empty() {
            notes.push("its status has no address yet: the controller gives it one".to_owned());
            return (None, notes);
        }
        let mut announcement: Option<Announcement> = None;
        let mut vips = Vec::new();
        for &vip in &balanced.vips {
            match self.announcement_of(vip, record, balanced) {
                Ok(of_pool) => {
                    let first = announcement.get_or_insert_with(|| of_pool.clone());
                    if first.announce != of_pool.announce {
                        notes.push(format!(
                            "{vip} is of a pool that is announced by {}: it is announced by {} like the others",
                            of_pool.announce, first.announce
                        ));
                    }
                    vips.push(vip);
                }
                Err(why) => notes.push(why),
            }
        }
        let Some(announcement) = announcement else {
            return (None, notes);
        };
        let slices = self.slices_of.get(name).into_iter().flatten();
        let slices = slices.filter_map(|key| self.stores.slices.get(key));
        let here = self.here.as_ref();
        let service = join::service(name, record, vips, &announcement, slices, here);
        (service, notes)
    }

    fn slices_changed(&mut self, changed: Changed) {
        for key in changed {
            let service = self
                .stores
                .slices
                .get(&key)
                .map(|slice| Arc::clone(&slice.service));
            if let Some(before) = self.service_of.remove(&key)
                && service.as_ref() != Some(&before)
            {
                if let Some(keys) = self.slices_of.get_mut(&before) {
                    keys.remove(&key);
                    if keys.is_empty() {
                        self.slices_of.remove(&before);
                    }
                }
                self.dirty.services.insert(before);
            }
            if let Some(service) = service {
                let keys = self.slices_of.entry(Arc::clone(&service)).or_default();
                keys.insert(Arc::clone(&key));
                self.dirty.services.insert(Arc::clone(&service));
                self.service_of.insert(key, service);
            }
        }
    }

    fn pools_changed(&mut self) {
        self.renew_announcements();
    }

    fn nodes_changed(&mut self) {
        self.dirty.nodes = true;
        let own = self.stores.nodes.get(&self.settings.node);
        let zone = own
            .and_then(|own| own.labels.get(ZONE))
            .map(|zone| zone.as_str().into());
        let here = self.settings.topology_hints.then(|| Here {
            node: Arc::clone(&self.settings.node),
            zone,
        });
        let nodes = self.stores.nodes.iter();
        let addresses = nodes.flat_map(|(name, node)| {
            let addresses = node.addresses.iter();
            addresses.map(move |&address| (address, Arc::clone(name)))
        });
        let addresses: BTreeMap<_, _> = addresses.collect();
        if here != self.here || addresses != self.node_addresses {
            self.here = here;
            self.node_addresses = addresses;
            self.dirty.all_services = true;
            self.dirty.pools = true;
        }
    }

    /// The nodes as this one sees them: what it says of others only counts where nothing graver is known.
    fn nodes(&self) -> Vec<Arc<Node>> {
        let speaker = self.stores.speakers.get(BGP_CONF_NAME);
        let says = |name: &str| {
            let said = speaker.and_then(|speaker| speaker.nodes.get(name));
            said.is_some_and(|said| said.state.as_deref() != Some(DRAINING))
        };
        let rules = self.node_rules();
        let own = self.stores.nodes.get(&self.settings.node);
        let own = own.map(|own| own.node(&self.settings.node, &rules));
        let is_of_other_rack = |node: &Node| match (speaker, &own) {
            (Some(speaker), Some(own)) => bgp::is_of_other_rack(&speaker.spec, own, node),
            _ => false,
        };
        let nodes = self.stores.nodes.iter().map(|(name, record)| {
            let mut node = record.node(name, &rules);
            if *name != self.settings.node && !says(name) {
                node.unfit.get_or_insert(Unfit::NotServing);
            }
            if is_of_other_rack(&node) {
                node.unfit.get_or_insert(Unfit::OtherRack);
            }
            Arc::new(node)
        });
        nodes.collect()
    }

    /// The rules of the settings, but for taints that the speaker's object lists.
    fn node_rules(&self) -> NodeRules {
        let mut rules = self.settings.nodes.clone();
        let speaker = self.stores.speakers.get(BGP_CONF_NAME);
        let drain = speaker.and_then(|speaker| speaker.spec.drain.as_ref());
        if let Some(taints) = drain.and_then(|drain| drain.taints.as_ref()) {
            rules.drain_taints.clone_from(taints);
        }
        rules
    }

    /// What keeps this node from serving, as its object has it.
    #[must_use]
    pub fn own_unfit(&self) -> Option<Unfit> {
        let own = self.stores.nodes.get(&self.settings.node)?;
        own.unfit(&self.node_rules())
    }
}

fn not_ours(claim: Claim, class: &str) -> String {
    match claim {
        Claim::OtherClass => format!("its loadBalancerClass is not {class}: it is somebody else's"),
        _ => format!(
            "nobody gave it to us: it has neither loadBalancerClass {class} nor the annotation lb.kubesphere.io/v1alpha1"
        ),
    }
}

#[cfg(test)]
mod tests;
