//! Users, up to two leaders, and an API server, driven by a seed, and then left alone until nothing changes any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use lb_core::allocate::{
    Allocations, Claim, ClaimState, Family, PoolStatus, PortState, Refused, Request, Service,
    StatusPlan, UnixTime,
};

use crate::{
    checks::{Past, check_ports, check_quiet, judge},
    leader::{Leader, Write},
    random::Random,
    store::{Refusal, Store},
    users,
};

const STEPS: usize = 400;
/// A deposed leader notices by then: its lease has run out, and its last request has timed out.
const DEPOSED_FOR: Duration = Duration::from_secs(30);

pub(crate) struct World {
    random: Random,
    store: Store,
    refused: Refused,
    leader: Leader,
    /// One that was deposed and does not know it, and until when.
    deposed: Option<(Leader, UnixTime)>,
    epoch: u64,
    past: Past,
    pub(crate) transitions: BTreeMap<String, u64>,
    /// Each write is printed: one seed is run.
    is_told: bool,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::seeded(seed);
        let mut store = Store::at(UnixTime(1_000_000));
        if random.chance(50) {
            users::leave_by_openelb(&mut store, &mut random);
        }
        let mut refused = Refused::default();
        let node = "an address of node n1".into();
        refused.addresses.insert("10.0.0.2".parse().unwrap(), node);
        let mut world = Self {
            random,
            store,
            refused,
            leader: Leader::elected(1),
            deposed: None,
            epoch: 1,
            past: Past::default(),
            transitions: BTreeMap::new(),
            is_told: std::env::var_os("FAIRLEAD_SEED").is_some(),
        };
        world.past.look(&world.store);
        world
    }

    pub(crate) fn run(&mut self) {
        for _ in 0..STEPS {
            self.step();
            self.past.look(&self.store);
            check_ports(&self.store);
        }
        self.calm_down();
        check_quiet(&self.store);
        self.fill_pools();
    }

    fn count(&mut self, transition: impl Into<String>) {
        *self.transitions.entry(transition.into()).or_default() += 1;
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..=14 => {
                let before = self.store.last_version();
                users::act(&mut self.store, &mut self.random);
                self.tell_since(before);
            }
            15..=24 => {
                let seconds = *self.random.pick(&[1, 1, 5, 11, 61]);
                self.store.now.0 += seconds;
                let now = self.store.now;
                self.deposed.take_if(|(_, until)| *until < now);
            }
            25..=44 => {
                let changes = 1 + self.random.below(6);
                let leader = &mut self.leader;
                if self.random.chance(50) {
                    leader.pools.advance(&self.store.pools, changes);
                } else {
                    leader.services.advance(&self.store.services, changes);
                }
            }
            45 => self.elect(),
            46 => {
                self.count("leader: dies");
                self.elect();
                self.deposed = None;
            }
            47 if self.random.chance(20) => self.lose_pool(),
            47..=60 => self.move_deposed(),
            _ => self.move_leader(),
        }
    }

    fn tell_since(&self, version: u64) {
        if !self.is_told {
            return;
        }
        for (_, name, object) in self
            .store
            .pools
            .history
            .iter()
            .filter(|item| item.0 > version)
        {
            println!("{} user {name} {object:?}", self.store.now.0);
        }
        let services = self.store.services.history.iter();
        for (_, name, object) in services.filter(|item| item.0 > version) {
            println!("{} user {name} {object:?}", self.store.now.0);
        }
    }

    /// The old leader goes on for a while.
    fn elect(&mut self) {
        self.epoch += 1;
        let old = std::mem::replace(&mut self.leader, Leader::elected(self.epoch));
        let until = self.store.now.plus(DEPOSED_FOR);
        self.deposed = Some((old, until));
    }

    /// Somebody strips a pool's finalizer, or deletes the CRD.
    fn lose_pool(&mut self) {
        let Some(name) = self.store.pools.objects.keys().next().cloned() else {
            return;
        };
        let pool = &self.store.pools.objects[&name].value;
        let claims = pool.status.claims.iter();
        let services = claims.map(|claim| Arc::clone(&claim.service));
        self.past.lost_claims.extend(services);
        self.store.delete_pool(&name, true);
        // Only one leader may still believe in what is lost.
        self.deposed = None;
        self.past.memory_lost_at = self.store.now;
    }

    fn move_leader(&mut self) {
        let mut leader = std::mem::take(&mut self.leader);
        self.act(&mut leader);
        self.leader = leader;
    }

    fn move_deposed(&mut self) {
        if let Some((mut leader, until)) = self.deposed.take() {
            self.act(&mut leader);
            if leader.epoch.is_some() {
                self.deposed = Some((leader, until));
            }
        }
    }

    fn act(&mut self, leader: &mut Leader) {
        if let Some(write) = leader.writes.pop_front() {
            let fate = self.random.below(100);
            if fate < 4 {
                self.count("write: lost");
                leader.writes.clear();
                self.begin_anew(leader);
                return;
            }
            self.execute(leader, write, fate >= 8);
            return;
        }
        let allocations = leader.decide(&self.store, &self.refused);
        self.note(leader, &allocations);
    }

    /// A leader that does not know how a write ended begins another term, which keeps that write out if it is still on
    /// its way. One that has been replaced does not know its term's end either, but that is soon.
    fn begin_anew(&mut self, leader: &mut Leader) {
        leader.epoch = (leader.epoch == Some(self.epoch)).then(|| {
            self.epoch += 1;
            self.epoch
        });
    }

    fn note(&mut self, leader: &mut Leader, allocations: &Allocations) {
        if allocations.is_deposed {
            self.count("leader: is deposed");
            self.begin_anew(leader);
        }
        if allocations.needs_fresh_look {
            self.count("leader: looks afresh");
            leader.look(&self.store);
        }
        for _ in &allocations.untouched {
            self.count("service: is not touched");
        }
    }

    fn execute(&mut self, leader: &mut Leader, write: Write, is_answered: bool) {
        if self.is_told {
            println!(
                "{} {:?} answered={is_answered} {write:?}",
                self.store.now.0, leader.epoch
            );
        }
        let store = &mut self.store;
        let refusal = match write {
            Write::Confirm(services) => {
                self.confirm(leader, &services);
                return;
            }
            Write::PoolFinalizer(name, version, finalizer) => {
                let answer = store.write_pool_finalizer(&name, version, finalizer);
                let which = if finalizer { "on" } else { "off" };
                if answer.is_ok() {
                    self.count(format!("pool: finalizer {which}"));
                }
                self.answer_pool(leader, &name, answer, is_answered)
            }
            Write::PoolStatus(name, version, status) => {
                let before = store.pools.get(&name).map(|pool| pool.status.clone());
                let answer = store.write_pool_status(&name, version, PoolStatus::clone(&status));
                if answer.is_ok() {
                    self.count_claims(&before.unwrap(), &status);
                }
                self.answer_pool(leader, &name, answer, is_answered)
            }
            Write::Metadata(name, version, plan) => {
                let before = store.services.get(&name).cloned();
                let answer = store.write_metadata(&name, version, &plan);
                if let (Ok(_), Some(before)) = (&answer, before) {
                    self.count_metadata(&before, plan.finalizer, plan.keeps_leave);
                }
                self.answer_service(leader, &name, answer, is_answered)
            }
            Write::ServiceStatus(name, version, plan) => {
                if store.services.version(&name) == Some(version) {
                    judge(store, &self.past, &name, &plan);
                    let before = Arc::clone(store.services.get(&name).unwrap());
                    self.count_status(&before, &plan);
                }
                let answer = self.store.write_service_status(&name, version, &plan);
                self.answer_service(leader, &name, answer, is_answered)
            }
        };
        if let Some(refusal) = refusal {
            self.count(match refusal {
                Refusal::Conflict => "write: conflict",
                Refusal::NotFound => "write: gone",
            });
            leader.writes.clear();
        } else if !is_answered {
            self.count("write: answer lost");
            leader.writes.clear();
            self.begin_anew(leader);
        }
    }

    fn confirm(&mut self, leader: &mut Leader, services: &[(Arc<str>, Option<u64>)]) {
        for (name, version) in services {
            let object = self.store.services.objects.get(name).cloned();
            if object.as_ref().map(|object| object.version) != *version {
                self.count("write: not confirmed");
                leader.learn_service(name, &self.store, object);
                leader.writes.clear();
                return;
            }
        }
    }

    fn answer_pool(
        &mut self,
        leader: &mut Leader,
        name: &Arc<str>,
        answer: Result<Option<crate::store::Object<lb_core::allocate::Pool>>, Refusal>,
        is_answered: bool,
    ) -> Option<Refusal> {
        match answer {
            Ok(object) if is_answered => leader.learn_pool(name, &self.store, object),
            Ok(_) => {}
            Err(refusal) => return Some(refusal),
        }
        None
    }

    fn answer_service(
        &mut self,
        leader: &mut Leader,
        name: &Arc<str>,
        answer: Result<Option<crate::store::Object<Service>>, Refusal>,
        is_answered: bool,
    ) -> Option<Refusal> {
        match answer {
            Ok(object) if is_answered => leader.learn_service(name, &self.store, object),
            Ok(_) => {}
            Err(refusal) => return Some(refusal),
        }
        None
    }

    fn count_claims(&mut self, before: &PoolStatus, after: &PoolStatus) {
        if before.epoch.is_some() && before.epoch != after.epoch {
            self.count("pool: taken over by a new leader");
        }
        let same = |a: &Claim, b: &Claim| a.address == b.address && a.service == b.service;
        for claim in &after.claims {
            let Some(old) = before.claims.iter().find(|old| same(old, claim)) else {
                let service = self.store.services.get(&claim.service);
                let is_shown = service.is_some_and(|service| service.shows(claim.address));
                let why = if is_shown {
                    " for what a Service shows"
                } else {
                    ""
                };
                self.count(format!("claim: made{why}"));
                continue;
            };
            let (from, to) = (state_name(old.state), state_name(claim.state));
            if from != to {
                self.count(format!("claim: {from} to {to}"));
            }
            if !claim.ports.is_subset(&old.ports) {
                self.count("claim: gets a port");
            }
            if !old.ports.is_subset(&claim.ports) {
                self.count("claim: loses a port");
            }
        }
        for old in &before.claims {
            if !after.claims.iter().any(|claim| same(old, claim)) {
                assert!(
                    !old.state.is_live(),
                    "{old:?} is forgotten before it rested"
                );
                self.count("claim: forgotten");
            }
        }
    }

    fn count_metadata(&mut self, before: &Service, finalizer: bool, keeps_leave: bool) {
        if before.has_finalizer != finalizer {
            let which = if finalizer { "on" } else { "off" };
            self.count(format!("service: finalizer {which}"));
        }
        if !before.leave.is_empty() && !keeps_leave && finalizer {
            self.count("service: leaves by reassign");
        }
    }

    fn count_status(&mut self, before: &Service, plan: &StatusPlan) {
        let has = |address| plan.ingress.iter().any(|entry| entry.address == address);
        let gained = plan
            .ingress
            .iter()
            .filter(|entry| !before.shows(entry.address));
        let gained: Vec<_> = gained.map(|entry| entry.address).collect();
        let lost = before.ingress.iter().any(|entry| !has(entry.address));
        match (before.ingress.is_empty(), gained.is_empty()) {
            (true, false) => self.count("service: gets its first address"),
            (false, false) if lost => self.count("service: moves"),
            (false, false) => self.count("service: gets a second family"),
            (false, true) if plan.ingress.is_empty() => self.count("service: is released"),
            _ => {}
        }
        for address in gained {
            let others = self.store.services.objects.values();
            if others.filter(|other| other.value.shows(address)).count() > 0 {
                let is_by_key = before.name.contains("key");
                let how = if is_by_key { " by key" } else { "" };
                self.count(format!("service: shares an address{how}"));
            }
        }
        let mut states = plan.ingress.iter().flat_map(|entry| entry.ports.values());
        if states.any(|state| *state == PortState::Conflict) {
            self.count("service: has a port conflict");
        }
        for condition in &plan.conditions {
            if condition.kind == "OutsidePool" {
                self.count("service: keeps an address outside its pool");
            } else if condition.kind != "LoadBalancerServing" {
                self.count(format!("reason: {}", condition.reason));
            }
        }
    }

    /// No faults and no users any more: everything must come to rest.
    fn calm_down(&mut self) {
        self.deposed = None;
        self.leader.writes.clear();
        for _ in 0..2000 {
            self.leader.look(&self.store);
            let mut leader = std::mem::take(&mut self.leader);
            let allocations = leader.decide(&self.store, &self.refused);
            assert!(!allocations.is_deposed);
            let has_work = !leader.writes.is_empty();
            while let Some(write) = leader.writes.pop_front() {
                self.execute(&mut leader, write, true);
            }
            self.leader = leader;
            self.past.look(&self.store);
            check_ports(&self.store);
            if has_work {
                continue;
            }
            match allocations.replan_at {
                Some(time) => self.store.now = self.store.now.max(time),
                None => return,
            }
        }
        panic!("does not come to rest");
    }

    /// Everything that is free can be had: as many Services as a pool has addresses fill it.
    fn fill_pools(&mut self) {
        let open = self
            .store
            .pools
            .objects
            .values()
            .map(|object| &object.value);
        let open = open.filter(|pool| pool.is_open() && !pool.is_fenced);
        let names: Vec<Arc<str>> = open.map(|pool| Arc::clone(&pool.name)).collect();
        for pool in &names {
            for number in 0..40 {
                let name = format!("b/fill-{pool}-{number}").into();
                let mut service = users::new_service(&self.store, &mut self.random, name);
                service.is_wanted = true;
                service.requires_all_families = false;
                let family = if number % 2 == 0 {
                    Family::Ipv4
                } else {
                    Family::Ipv6
                };
                service.families = vec![family];
                let pool = Some(Arc::clone(pool));
                service.request = Ok(Request {
                    pool,
                    ..Request::default()
                });
                self.store.put_service(service);
            }
        }
        self.calm_down();
        let taken: BTreeSet<_> = self
            .store
            .services
            .objects
            .values()
            .flat_map(|object| object.value.ingress.iter().map(|entry| entry.address))
            .collect();
        for name in &names {
            let pool = self.store.pools.get(name).unwrap();
            for range in &pool.ranges {
                let mut address = Some(range.first());
                while let Some(free) = address.filter(|address| range.contains(*address)) {
                    let is_buggy = pool.avoids_buggy
                        && matches!(free, std::net::IpAddr::V4(v4) if matches!(v4.octets()[3], 0 | 255));
                    let is_useless = is_buggy || self.refused.owner(free).is_some();
                    assert!(
                        is_useless || taken.contains(&free),
                        "{free} of {name} cannot be had"
                    );
                    address = successor(free);
                }
            }
        }
    }
}

fn successor(address: std::net::IpAddr) -> Option<std::net::IpAddr> {
    match address {
        std::net::IpAddr::V4(v4) => Some(std::net::Ipv4Addr::from(u32::from(v4) + 1).into()),
        std::net::IpAddr::V6(v6) => Some(std::net::Ipv6Addr::from(u128::from(v6) + 1).into()),
    }
}

fn state_name(state: ClaimState) -> &'static str {
    match state {
        ClaimState::Held => "Held",
        ClaimState::Unused { .. } => "Unused",
        ClaimState::Resting { .. } => "Resting",
    }
}
