//! To another node, by its MAC or by GUE; and by way of a third where the MAC is not known.

use crate::{
    answers,
    cluster::Way,
    compare::{Action, Effect, Expected},
    learned::Secret,
    parse::Parsed,
    translate::{Visit, age},
    tunnel::{self, Arrival},
    wire::{ETHERNET, put},
};

impl super::Model {
    /// To another node, straight or by GUE.
    pub(super) fn forward(&self, visit: &Visit<'_>, parsed: &Parsed, to: usize) -> Vec<Expected> {
        if parsed.hop_limit <= 1 {
            return self.refuse(visit, "ttl-expired");
        }
        let Some(way) = &self.cluster.nodes[visit.own].ways[to] else {
            return Vec::new();
        };
        let Some(aged) = self.aged(visit, parsed, way) else {
            return self.detour(visit, parsed);
        };
        let mtu_bytes = usize::from(way.mtu_bytes);
        if way.on_link && !visit.steered && parsed.part.is_none() {
            if parsed.ip_bytes > mtu_bytes {
                return self.too_big(visit, mtu_bytes);
            }
            let mut direct = Expected::new(Action::Transmit, Some(aged), &["forwarded-direct"]);
            if visit.frame[12] == 8 {
                direct.checksums.push(24);
            }
            return vec![direct];
        }
        let most = match parsed.part {
            Some(_) => tunnel::HOPS_MAX_OF_PARTS,
            None => tunnel::HOPS_MAX,
        };
        let hop = match visit.arrival {
            Arrival::Gue { hop, .. } if hop >= most => {
                return self.refuse(visit, "hop-limit");
            }
            Arrival::Gue { hop, .. } => hop + 1,
            Arrival::Plain => u8::from(visit.steered),
        };
        self.in_gue(visit, parsed, way, &aged, hop)
    }

    /// By GUE, if it fits.
    pub(super) fn in_gue(
        &self,
        visit: &Visit<'_>,
        parsed: &Parsed,
        way: &Way,
        aged: &[u8],
        hop: u8,
    ) -> Vec<Expected> {
        let most_bytes = usize::from(way.mtu_bytes) - tunnel::overhead(way);
        if parsed.ip_bytes > most_bytes {
            return self.too_big(visit, most_bytes);
        }
        self.by_gue(visit, parsed, way, aged, hop)
    }

    /// The frame with the MACs of a way and one hop less; `None` if the way has no MAC.
    pub(super) fn aged(&self, visit: &Visit<'_>, parsed: &Parsed, way: &Way) -> Option<Vec<u8>> {
        let mut aged = visit.frame.to_vec();
        put(&mut aged, 0, &way.mac?);
        put(&mut aged, 6, &self.cluster.nodes[visit.own].mac);
        age(&mut aged, visit.frame[12] != 8, parsed.hop_limit);
        Some(aged)
    }

    /// The node has no MAC: what no other has steered goes to any that has one, by GUE.
    fn detour(&self, visit: &Visit<'_>, parsed: &Parsed) -> Vec<Expected> {
        let ways = self.cluster.nodes[visit.own].ways.iter().flatten();
        let mut outcomes = Vec::new();
        for way in ways.filter(|way| way.mac.is_some() && !visit.steered) {
            let Some(aged) = self.aged(visit, parsed, way) else {
                continue;
            };
            let sent = self.in_gue(visit, parsed, way, &aged, 0);
            outcomes.extend(sent.into_iter().map(|one| one.also("detoured")));
        }
        // Some are asked, not all.
        outcomes.extend(self.refuse(visit, "node-unresolved"));
        outcomes
    }

    fn by_gue(
        &self,
        visit: &Visit<'_>,
        parsed: &Parsed,
        way: &Way,
        aged: &[u8],
        hop: u8,
    ) -> Vec<Expected> {
        let Some(mut secrets) = tunnel::read_secrets(way, visit.observed) else {
            return Vec::new();
        };
        if let Arrival::Gue { ingress, .. } = visit.arrival {
            secrets.ingress = ingress;
        }
        let gue_port = self.cluster.gue_port;
        let made = tunnel::encapsulate(gue_port, way, aged, parsed.ip_bytes, hop, secrets);
        let Some((frame, over_v6)) = made else {
            return Vec::new();
        };
        let tuple = parsed.tagged_for();
        let mut expected = Expected::new(Action::Transmit, Some(frame), &["forwarded-gue"])
            .with(Effect::Learn(
                Secret::Tag(tuple, hop, 0, secrets.ingress),
                secrets.tag.into(),
            ))
            .with(Effect::Learn(
                Secret::Entropy(tuple),
                secrets.source_port.into(),
            ));
        if matches!(visit.arrival, Arrival::Plain) {
            expected = expected.with(Effect::Learn(
                Secret::NodeId(visit.own),
                secrets.ingress.into(),
            ));
        }
        if over_v6 {
            tunnel::outer_checksum(
                &mut expected,
                aged,
                !parsed.is_plain(),
                parsed.transport,
                self.cluster.gue_port,
            );
        }
        let inner = ETHERNET + tunnel::overhead(way);
        if visit.frame[12] == 8 {
            expected.checksums.push(inner + 10);
        }
        if !over_v6 {
            expected.checksums.push(24);
        }
        vec![expected]
    }

    /// It does not fit into what the way carries.
    fn too_big(&self, visit: &Visit<'_>, most_bytes: usize) -> Vec<Expected> {
        if visit.steered {
            return vec![Expected::drop("too-big")];
        }
        answers::answered(visit.frame, "too-big", most_bytes as u16)
    }
}
