//! Session affinity at the flow owner: which endpoint a client of a service has. Looked up when a flow may be new,
//! written when one is established, refreshed while it is used, at most once a tick. Entries are not claimed:
//! of two CPUs that write one at once, one is forgotten.

use lb_common::{
    Address,
    affinity::{self, AffinityEntry, ENTRIES_PER_LINE, Kept},
    config::Config,
    endpoint::{ENDPOINTS_PER_LINE, Endpoint},
    hash,
    service::{LocalView, ServiceCold, ServiceValue},
    verdict::Verdict,
    walk::Walk,
};

use crate::{count, flows, hook::Context, maps, ptr, rooms};

/// Hash of a client's address alone.
#[inline(always)]
pub(crate) fn client_hash<const V6: bool>(config: &Config, client: &Address) -> u64 {
    if V6 {
        hash::client_v6(&config.seed, client)
    } else {
        hash::client_v4(&config.seed, client[0])
    }
}

/// Index of the endpoint that a client of the service has here, if it is still one of the service's and not forgotten.
#[inline(always)]
pub(crate) fn kept(service: ServiceValue, client_hash: u64, now: u32) -> Option<u32> {
    let index = affinity_kept(service.0, client_hash, now);
    (index != NONE).then_some(index)
}

/// No endpoint has this index.
const NONE: u32 = u32::MAX;

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn affinity_kept(service: u64, client_hash: u64, now: u32) -> u32 {
    let service = ServiceValue(service);
    let (Some(config), Some(cold)) = (
        maps::config(),
        maps::SERVICE_COLD.get_ptr(u32::from(service.id())),
    ) else {
        return NONE;
    };
    let cold: &ServiceCold = ptr::by_ref(cold);
    let tag = affinity::tag(client_hash, service.id());
    for place in 0..ENTRIES_PER_LINE {
        let Some(entry) = entry(config, tag, place) else {
            return NONE;
        };
        if ptr::load_word(&raw const entry.tag) != tag {
            continue;
        }
        let kept = Kept(ptr::load_word(&raw const entry.kept));
        let places = Places::of(service, cold);
        let index = kept.endpoint(places.cluster, places.local);
        let is_young = kept.age(now) <= cold.affinity_ticks;
        if is_young && places.hold(index) && is_there(config, index, kept.check()) {
            return index;
        }
    }
    NONE
}

/// The program of the room: an established flow of the service has just been used.
#[inline(always)]
pub(crate) fn enter(_: &Context) -> u32 {
    if let (Some(walk), Some(config)) = (rooms::walk(), maps::config()) {
        note(config, walk);
    }
    count::pass(Verdict::Delivered)
}

#[inline(always)]
fn note(config: &Config, walk: &Walk) -> Option<()> {
    if flows::is_embryonic(config, walk.flow) {
        return None;
    }
    let flow = flows::record(walk.flow)?;
    let now = flows::now(config);
    let client_hash = if flow.family == 6 {
        client_hash::<true>(config, &flow.client)
    } else {
        client_hash::<false>(config, &flow.client)
    };
    let service = ServiceValue(walk.service);
    let cold: &ServiceCold = ptr::by_ref(maps::SERVICE_COLD.get_ptr(u32::from(service.id()))?);
    let places = Places::of(service, cold);
    let tag = affinity::tag(client_hash, service.id());
    let own = affinity::check(&flow.endpoint, flow.endpoint_port);
    let mut oldest = (0, 0);
    for place in 0..ENTRIES_PER_LINE {
        let entry = entry(config, tag, place)?;
        let (has, kept) = (
            ptr::load_word(&raw const entry.tag),
            Kept(ptr::load_word(&raw const entry.kept)),
        );
        if has == tag && kept.check() == own {
            ptr::store_word((&raw const entry.kept).cast_mut(), kept.used_at(now).0);
            return None;
        }
        let index = kept.endpoint(places.cluster, places.local);
        if has == tag && is_there(config, index, kept.check()) {
            // A flow from before the client's endpoint changed: newer ones decide.
            return None;
        }
        let age = if has == 0 || has == tag {
            u32::MAX
        } else {
            kept.age(now)
        };
        if age >= oldest.1 {
            oldest = (place, age);
        }
    }
    // The row's endpoint need not be the flow's own.
    if !is_there(config, walk.endpoint, own) {
        return None;
    }
    let kept = places.kept(walk.endpoint, own, now);
    let entry = entry(config, tag, oldest.0)?;
    let (tag_at, kept_at) = (&raw const entry.tag, &raw const entry.kept);
    ptr::store_word(tag_at.cast_mut(), 0);
    ptr::store_word(kept_at.cast_mut(), kept.0);
    ptr::store_word(tag_at.cast_mut(), tag);
    Some(())
}

#[inline(always)]
fn entry(config: &Config, tag: u64, place: u32) -> Option<&'static AffinityEntry> {
    let line = affinity::line(tag, config.affinity_mask);
    let line = maps::AFFINITY.get_ptr(line)?.cast::<AffinityEntry>();
    let within = ptr::opaque(place) & (ENTRIES_PER_LINE - 1);
    Some(ptr::by_ref(line.wrapping_add(within as usize)))
}

/// Where the endpoints of a service are: index of the first, of the cluster's and of the node-local view.
struct Places {
    cluster: u32,
    cluster_places: u32,
    local: u32,
    view: LocalView,
}

impl Places {
    #[inline(always)]
    fn of(service: ServiceValue, cold: &ServiceCold) -> Self {
        let view = LocalView(ptr::load_word(&raw const cold.local_view));
        Self {
            cluster: service.endpoint_line() * ENDPOINTS_PER_LINE,
            cluster_places: u32::from(cold.endpoint_lines) * ENDPOINTS_PER_LINE,
            local: view.endpoint_line() * ENDPOINTS_PER_LINE,
            view,
        }
    }

    /// Whether an index lies in one of the extents.
    #[inline(always)]
    fn hold(&self, index: u32) -> bool {
        index.wrapping_sub(self.cluster) < self.cluster_places || self.view.holds(index)
    }

    #[inline(always)]
    fn kept(&self, index: u32, check: u16, now: u32) -> Kept {
        let of_local_view = self.view.holds(index);
        let first = if of_local_view {
            self.local
        } else {
            self.cluster
        };
        Kept::new(index.wrapping_sub(first), of_local_view, check, now)
    }
}

/// Whether the endpoint that is meant is in this place, and on this node.
#[inline(always)]
fn is_there(config: &Config, index: u32, check: u16) -> bool {
    let Some(endpoint) = maps::ENDPOINTS.get_ptr(index) else {
        return false;
    };
    let endpoint: &Endpoint = ptr::by_ref(endpoint);
    endpoint.flags & Endpoint::IN_USE != 0
        && endpoint.node == config.own_node
        && affinity::check(&endpoint.address, endpoint.port) == check
}
