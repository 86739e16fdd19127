//! A datagram in parts: to its home, which alone hears of all of them, and from there on by what the first part said.

use crate::{
    compare::{Effect, Expected},
    learned::{Draw, Secret},
    parse::{self, Parsed, Part},
    parts::Known,
    translate::Visit,
    tunnel::Arrival,
};

/// Headers that a later part must not reach into.
const TCP_BYTES: usize = 20;
const UDP_BYTES: usize = 8;
/// Longest datagram.
const DATAGRAM_BYTES_MAX: usize = 0xffff;

impl super::Model {
    /// What becomes of a part that is for a VIP. What a node has sent is not sent home again.
    pub(super) fn part(&self, visit: &Visit<'_>, parsed: Parsed, part: Part) -> Vec<Expected> {
        let pair = parsed.tagged_for();
        if let Arrival::Gue {
            hop,
            flags,
            ingress,
            tag,
        } = visit.arrival
        {
            let known = self.secrets.get(&Secret::Tag(pair, hop, flags, ingress));
            if known != Some(&u64::from(tag)) {
                return vec![Expected::drop("gue-bad-tag")];
            }
            return self.known_part(visit, parsed, part);
        }
        let draw = Draw::Home(pair);
        let remain = self.choices.get(&draw).copied().unwrap_or(u64::MAX);
        let ways = self.cluster.nodes[visit.own].ways.iter().enumerate();
        let open = ways.filter(|(node, _)| remain >> node & 1 != 0);
        let outcomes = open.flat_map(|(node, way)| {
            let is_reached = way.as_ref().is_some_and(|way| way.mac.is_some());
            let outcomes = match is_reached && node != visit.own {
                true => self.send_home(visit, &parsed, node),
                false => self.known_part(visit, parsed, part),
            };
            let drawn = Effect::Choose(draw, node as u32);
            outcomes.into_iter().map(move |one| one.with(drawn.clone()))
        });
        outcomes.collect()
    }

    /// A part whose first may have been here.
    fn known_part(&self, visit: &Visit<'_>, parsed: Parsed, part: Part) -> Vec<Expected> {
        let is_odd = part.more && !part.bytes.is_multiple_of(8);
        let reaches = part.offset * 8 + part.bytes;
        if part.bytes == 0 || is_odd || reaches > DATAGRAM_BYTES_MAX {
            return self.refuse(visit, "malformed");
        }
        let datagram = (parsed.tagged_for(), part.id);
        let end = part.offset + part.bytes.div_ceil(8);
        if !part.is_later() {
            let Some((client_port, vip_port)) = parse::first_ports(visit.frame, &parsed) else {
                return self.refuse(visit, "fragment-tiny");
            };
            let known = Known {
                client_port,
                vip_port,
                end,
                begun: visit.now,
            };
            let outcomes = self.of_known(visit, parsed, &known).into_iter();
            let learned = Effect::Part(datagram, known);
            return outcomes.map(|one| one.with(learned.clone())).collect();
        }
        let header = if parsed.tuple.udp {
            UDP_BYTES
        } else {
            TCP_BYTES
        };
        if part.offset * 8 < header {
            return self.refuse(visit, "fragment-overlap");
        }
        let found = self.parts[visit.own].find(&datagram, visit.now).into_iter();
        let outcomes = found.flat_map(|known| match known {
            None => self.refuse(visit, "fragment-unknown"),
            Some(known) if part.offset < known.end => self.refuse(visit, "fragment-overlap"),
            Some(known) => {
                let outcomes = self.of_known(visit, parsed, &known);
                if part.offset != known.end {
                    return outcomes;
                }
                let learned = Effect::Part(datagram, Known { end, ..known });
                let outcomes = outcomes.into_iter();
                outcomes.map(|one| one.with(learned.clone())).collect()
            }
        });
        outcomes.collect()
    }

    /// As a packet of the flow that the first part named.
    fn of_known(&self, visit: &Visit<'_>, mut parsed: Parsed, known: &Known) -> Vec<Expected> {
        parsed.tuple.client_port = known.client_port;
        parsed.tuple.vip_port = known.vip_port;
        self.of_service(visit, &parsed)
    }

    fn send_home(&self, visit: &Visit<'_>, parsed: &Parsed, home: usize) -> Vec<Expected> {
        if parsed.hop_limit <= 1 {
            return self.refuse(visit, "ttl-expired");
        }
        let way = self.cluster.nodes[visit.own].ways[home].as_ref();
        let aged = way.and_then(|way| Some((way, self.aged(visit, parsed, way)?)));
        let Some((way, aged)) = aged else {
            return Vec::new();
        };
        let mut sent = self.in_gue(visit, parsed, way, &aged, 0);
        for one in &mut sent {
            for label in &mut one.counted {
                if *label == "forwarded-gue" {
                    *label = "fragment-sent-home";
                }
            }
        }
        sent
    }
}
