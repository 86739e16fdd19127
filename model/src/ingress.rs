//! The walk of a packet that comes in, as the design tells it, and the model's memory.

mod forward;
mod parts;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    time::Duration,
};

use crate::{
    answers,
    cluster::{Cluster, Endpoint, ServicePort},
    compare::{Action, Effect, Expected, Observed, hex},
    counters::{self, Key, Range, Tally},
    flows::{Flow, FlowView, Flows, Tuple},
    learned::{Draw, Row, Secret},
    neighbours,
    parse::{self, Parsed},
    parts::Parts,
    replies::{Datagram, Sending},
    tags,
    translate::{Visit, deliver, related},
    tunnel::{self, Arrival},
    wire::{self, ETHERNET},
};

/// Answers a second that a data path may surely give, and surely not exceed, on one CPU.
const ANSWERS: std::ops::Range<usize> = 700..2100;

/// The cluster's data paths, as they should be.
#[derive(Clone, Debug)]
pub struct Model {
    cluster: Cluster,
    flows: Vec<Flows>,
    secrets: HashMap<Secret, u64>,
    /// Which of its list something may be, one bit each.
    choices: HashMap<Draw, u64>,
    answers: Vec<VecDeque<Duration>>,
    /// By node: the flow of a reply's first fragment, by what later ones have of it.
    fragments: Vec<HashMap<Datagram, (Tuple, Duration)>>,
    parts: Vec<Parts>,
    counts: Vec<BTreeMap<Key, Range>>,
    taken: BTreeMap<Vec<&'static str>, u64>,
}

impl Model {
    /// Of data paths that have seen nothing.
    #[must_use]
    pub fn new(cluster: Cluster) -> Self {
        let nodes = cluster.nodes.len();
        Self {
            cluster,
            flows: vec![Flows::default(); nodes],
            secrets: HashMap::new(),
            choices: HashMap::new(),
            answers: vec![VecDeque::new(); nodes],
            fragments: vec![HashMap::new(); nodes],
            parts: vec![Parts::default(); nodes],
            counts: vec![BTreeMap::new(); nodes],
            taken: BTreeMap::new(),
        }
    }

    /// How often each set of verdicts was met.
    #[must_use]
    pub fn taken(&self) -> &BTreeMap<Vec<&'static str>, u64> {
        &self.taken
    }

    /// A node's flows: those that must be there, and (`false`) those that may be.
    #[must_use]
    pub fn flows(&self, node: usize, now: Duration) -> Vec<(FlowView, bool)> {
        self.flows[node].views(now).collect()
    }

    /// What a node has counted for a service port.
    #[must_use]
    pub fn counted(&self, node: usize, key: &Key) -> Range {
        self.counts[node].get(key).copied().unwrap_or_default()
    }

    /// A frame comes in at a node; what was made of it must be what the design says.
    ///
    /// # Errors
    /// Everything that it could have come to.
    pub fn ingress(
        &mut self,
        node: usize,
        now: Duration,
        frame: &[u8],
        observed: &Observed,
    ) -> Result<(), String> {
        let (bare, tags) = tags::taken_off(frame);
        let seen = tags::taken_off(&observed.frame).0;
        let mut expected: Vec<_> = neighbours::heard(&self.cluster, node, &bare)
            .into_iter()
            .collect();
        // To this node alone, it may also be no more than a packet for a VIP that is broken.
        if expected.is_empty() || bare[0] & 1 == 0 {
            expected.extend(self.walk(node, now, &bare, &seen, tags.len()));
        }
        let expected = expected.into_iter();
        let expected = expected.map(|one| tags::put_back(one, &tags));
        self.settle(node, now, frame, observed, expected.collect())
    }

    /// A frame leaves a node by its uplink.
    ///
    /// # Errors
    /// As [`Model::ingress`].
    pub fn egress(
        &mut self,
        node: usize,
        now: Duration,
        frame: &[u8],
        observed: &Observed,
    ) -> Result<(), String> {
        let site = &self.cluster.nodes[node];
        let expected = Sending {
            own: node,
            node: site,
            flows: &self.flows[node],
            fragments: &self.fragments[node],
            now,
        }
        .sent(frame);
        self.settle(node, now, frame, observed, expected)
    }

    fn settle(
        &mut self,
        node: usize,
        now: Duration,
        frame: &[u8],
        observed: &Observed,
        expected: Vec<Expected>,
    ) -> Result<(), String> {
        let (mut right, mut differences) = (Vec::new(), Vec::new());
        for one in expected {
            let difference = one.difference(observed);
            match difference.or_else(|| self.forbids(node, now, &one)) {
                None => right.push(one),
                Some(difference) => differences.push(difference),
            }
        }
        let Some(first) = right.first() else {
            return Err(format!(
                "is  {:?} {:?}: {}\nnot {}",
                observed.action,
                observed.counted,
                hex(&observed.frame),
                differences.join("\nnor ")
            ));
        };
        let was_right = wire::verify(frame, self.cluster.gue_port).is_ok();
        if was_right && first.action != Action::Drop {
            wire::verify(&observed.frame, self.cluster.gue_port)?;
        }
        *self.taken.entry(first.counted.clone()).or_default() += 1;
        for effect in first.effects.clone() {
            self.learn(node, now, effect);
        }
        counters::add(&mut self.counts[node], &right);
        self.parts[node].learn(&right);
        self.narrow(&right);
        Ok(())
    }

    /// Of what a keyed hash may lead to, that remains which explains what was seen, if nothing explains it without the
    /// hash: a forwarded packet names a node only, and one that has no hop left might have gone anywhere.
    fn narrow(&mut self, right: &[Expected]) {
        let mut remain: HashMap<Draw, (u64, usize)> = HashMap::new();
        for one in right {
            let drawn: HashSet<_> = one
                .effects
                .iter()
                .filter_map(|effect| match effect {
                    Effect::Choose(draw, number) => Some((*draw, *number)),
                    _ => None,
                })
                .collect();
            for (draw, number) in drawn {
                let (bits, times) = remain.entry(draw).or_default();
                *bits |= 1 << number;
                *times += 1;
            }
        }
        let explained = remain
            .into_iter()
            .filter(|(_, (_, times))| *times == right.len());
        let explained = explained.map(|(draw, (bits, _))| (draw, bits));
        self.choices.extend(explained);
    }

    /// Why something that looks right cannot be: it contradicts what was seen before.
    fn forbids(&self, node: usize, now: Duration, expected: &Expected) -> Option<String> {
        for effect in &expected.effects {
            if let Effect::Learn(secret, value) = effect {
                let known = self.secrets.get(secret);
                if known.is_some_and(|known| known != value) {
                    return Some(format!("{secret:?} was {known:?}, is {value}"));
                }
            }
        }
        let recent = self.answers[node].iter();
        let recent = recent
            .filter(|at| now - **at < Duration::from_secs(1))
            .count();
        let is_answer = expected
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::Answer));
        if is_answer && recent >= ANSWERS.end {
            return Some(format!("{recent} answers within a second"));
        }
        if expected.counted.contains(&"answer-limited") && recent < ANSWERS.start {
            return Some(format!("only {recent} answers within a second"));
        }
        None
    }

    fn learn(&mut self, node: usize, now: Duration, effect: Effect) {
        match effect {
            Effect::Learn(secret, value) => {
                self.secrets.insert(secret, value);
            }
            // Of these, all that is right counts.
            Effect::Choose(..) | Effect::Count(..) | Effect::Part(..) => {}
            Effect::Flow(change) => self.flows[change.node].apply(&change),
            Effect::Fragment(datagram, tuple) => {
                self.fragments[node].insert(datagram, (tuple, now));
            }
            Effect::Answer => {
                self.answers[node].push_back(now);
                if self.answers[node].len() > ANSWERS.end {
                    self.answers[node].pop_front();
                }
            }
        }
    }

    fn walk(
        &self,
        own: usize,
        now: Duration,
        frame: &[u8],
        observed: &[u8],
        tag_bytes: usize,
    ) -> Vec<Expected> {
        let site = &self.cluster.nodes[own];
        let untouched = || vec![Expected::untouched(frame)];
        if frame.get(..6) != Some(&site.mac[..]) {
            return untouched();
        }
        let Some(destination) = parse::destination(frame) else {
            return untouched();
        };
        let mut visit = Visit {
            own,
            now,
            frame,
            arrival: Arrival::Plain,
            steered: self.cluster.is_node_mac(own, &frame[6..12]),
            observed,
            tag_bytes,
        };
        if self.cluster.is_vip(destination) {
            return self.serve(&visit);
        }
        if !tunnel::is_for(site, &self.cluster, frame, destination) {
            return untouched();
        }
        let (inner, arrival) = match tunnel::decapsulate(&self.cluster, own, frame) {
            Ok(inside) => inside,
            Err(reason) => return vec![Expected::drop(reason)],
        };
        let is_ours = parse::destination(&inner).is_some_and(|vip| self.cluster.is_vip(vip));
        if !is_ours {
            return vec![Expected::drop("gue-malformed")];
        }
        (visit.frame, visit.arrival, visit.steered) = (&inner, arrival, true);
        self.serve(&visit)
    }

    /// A packet whose destination is a VIP.
    fn serve(&self, visit: &Visit<'_>) -> Vec<Expected> {
        match parse::parse(visit.frame) {
            Err(reason) => self.refuse(visit, reason),
            Ok(parsed) => match parsed.part {
                Some(part) => self.part(visit, parsed, part),
                None => self.of_service(visit, &parsed),
            },
        }
    }

    /// A packet of a flow, for the service port that it dials, if there is one.
    fn of_service(&self, visit: &Visit<'_>, parsed: &Parsed) -> Vec<Expected> {
        let tuple = &parsed.tuple;
        let Some(port) = self.cluster.port(tuple.vip, tuple.vip_port, tuple.udp) else {
            return self.refuse(visit, "no-such-port");
        };
        if let Arrival::Gue {
            hop,
            flags,
            ingress,
            tag,
        } = visit.arrival
        {
            // Of a part, it was judged before.
            let known = self.secrets.get(&Secret::Tag(*tuple, hop, flags, ingress));
            if parsed.part.is_none() && known != Some(&u64::from(tag)) {
                return vec![Expected::drop("gue-bad-tag")];
            }
        }
        let bytes = ETHERNET + visit.tag_bytes + parsed.ip_bytes;
        let outcomes = self.at_port(visit, parsed, port).into_iter();
        let counted = outcomes.map(|one| {
            let tally = counters::received(&one, bytes);
            one.with(Effect::Count(counters::key(tuple), tally))
        });
        counted.collect()
    }

    fn at_port(&self, visit: &Visit<'_>, parsed: &Parsed, port: &ServicePort) -> Vec<Expected> {
        let tuple = &parsed.tuple;
        if !port.admits(tuple.client) {
            return self.refuse(visit, "source-refused");
        }
        let here = port.local.get(visit.own).map_or(&[][..], Vec::as_slice);
        // Parts, which may have been to another node, follow the rows of the cluster.
        let is_new = !parsed.is_error
            && parsed.part.is_none()
            && parsed
                .segment(visit.frame)
                .is_none_or(|segment| segment.syn && !segment.ack);
        let stays = is_new && !visit.steered && !here.is_empty();
        let candidates = if stays { here } else { &port.endpoints };
        if candidates.is_empty() {
            if port.outside {
                let passed = Some(visit.frame.to_vec());
                return vec![Expected::new(Action::Pass, passed, &["left-to-kernel"])];
            }
            return self.refuse(visit, "no-endpoint");
        }
        // Flows of a Local service may have begun here, whatever the rows of the cluster say.
        let may_know = visit.steered || !here.is_empty();
        let client_port = if port.by_client { 0 } else { tuple.client_port };
        let row = Row {
            flow: Tuple {
                client_port,
                ..*tuple
            },
            of_node: stays.then_some(visit.own),
        };
        let draw = Draw::Endpoint(row);
        let remain = self.choices.get(&draw).copied().unwrap_or(u64::MAX);
        let all = candidates.iter().enumerate();
        let open = all.filter(|(number, _)| remain >> number & 1 != 0);
        let steered = open.flat_map(|(number, endpoint)| {
            let outcomes = self.steer(visit, parsed, endpoint, may_know).into_iter();
            outcomes.map(move |outcome| outcome.with(Effect::Choose(draw, number as u32)))
        });
        steered.collect()
    }

    fn steer(
        &self,
        visit: &Visit<'_>,
        parsed: &Parsed,
        endpoint: &Endpoint,
        may_know: bool,
    ) -> Vec<Expected> {
        let is_local = endpoint.node == visit.own;
        let may_know = is_local || may_know;
        let known = self.flows[visit.own].find(&parsed.tuple, visit.now);
        let outcomes = known.into_iter().map(|flow| {
            let flow = flow.filter(|_| may_know);
            if parsed.is_error {
                return match flow {
                    Some(flow) => vec![related(visit, parsed, &flow)],
                    None if is_local => vec![Expected::drop("icmp-error-of-no-flow")],
                    None => self.forward(visit, parsed, endpoint.node),
                };
            }
            let segment = parsed.segment(visit.frame);
            match flow.filter(|flow| !flow.is_over_by(segment)) {
                Some(flow) => vec![deliver(
                    visit,
                    parsed,
                    flow.after_client(segment, visit.now),
                )],
                None if is_local => self.begin(visit, parsed, endpoint),
                None => self.forward(visit, parsed, endpoint.node),
            }
        });
        outcomes.flatten().collect()
    }

    /// A flow that is not known here, at its row's endpoint; if the pod could not tell it from another, at another of
    /// the node's pods, or from another port of the client's.
    fn begin(&self, visit: &Visit<'_>, parsed: &Parsed, row: &Endpoint) -> Vec<Expected> {
        let tuple = &parsed.tuple;
        let counted = Tally {
            new_flows: 1,
            ..Tally::default()
        };
        let to = |endpoint: &Endpoint, port: u16| {
            let segment = parsed.segment(visit.frame);
            let flow = Flow::begin(*endpoint, port, segment, visit.now);
            deliver(visit, parsed, flow).with(Effect::Count(counters::key(tuple), counted))
        };
        if self.is_free(visit, tuple, row, tuple.client_port) {
            return vec![to(row, tuple.client_port)];
        }
        let service = self.cluster.port(tuple.vip, tuple.vip_port, tuple.udp);
        let pods = service.map_or(&[][..], |service| &service.endpoints);
        let others = pods
            .iter()
            .filter(|pod| pod.node == visit.own && *pod != row);
        let free = others.filter(|pod| self.is_free(visit, tuple, pod, tuple.client_port));
        let mut outcomes: Vec<_> = free
            .map(|pod| to(pod, tuple.client_port).also("reverse-clash"))
            .collect();
        if outcomes.is_empty() {
            let mapped = visit.observed.get(parsed.transport..parsed.transport + 2);
            let mapped = mapped.map_or(0, |bytes| wire::half(bytes, 0));
            if mapped >= crate::flows::LOWEST_MAPPED_PORT && self.is_free(visit, tuple, row, mapped)
            {
                let translated = to(row, mapped).also("reverse-clash");
                outcomes.push(translated.also("client-port-translated"));
            }
        }
        outcomes
    }

    /// Whether a pod could tell the flow from every other.
    fn is_free(&self, visit: &Visit<'_>, tuple: &Tuple, pod: &Endpoint, port: u16) -> bool {
        let flows = &self.flows[visit.own];
        let other = flows.find_reply(&crate::flows::reverse(tuple, pod, port));
        other.is_none_or(|other| {
            other == *tuple || flows.find(&other, visit.now).iter().all(Option::is_none)
        })
    }

    /// It goes nowhere: nothing that a node has steered draws an answer.
    fn refuse(&self, visit: &Visit<'_>, reason: &'static str) -> Vec<Expected> {
        if visit.steered {
            return vec![Expected::drop(reason)];
        }
        answers::answered(visit.frame, reason, 0)
    }
}
