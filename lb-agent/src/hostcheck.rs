//! What of this host stands in the way, one sentence each with what to do about it. Nothing is changed: sysctls
//! and firewall belong to the operator. Facts are gathered in one place, what they mean is decided in others
//! that never look at the host.

pub mod firewall;
mod gather;
pub mod iptables;
pub mod nft;
pub mod routes;
pub mod settings;
pub mod ways;

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use lb_core::config::Config;

use self::{
    firewall::{Direction, Dropped, Packet, Ruleset},
    routes::PodRoute,
    settings::Settings,
};

/// Everything that is looked at.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Kernel and sysctls.
    pub settings: Settings,
    /// The firewall's rules, by every tool that can tell them; they may overlap.
    pub firewall: Vec<Ruleset>,
    /// Why rules could not be read.
    pub firewall_unread: Option<String>,
    /// Routes to this node's pods, as far as they could be read.
    pub pod_routes: Vec<PodRoute>,
}

/// What is to work on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Names of the uplinks.
    pub uplinks: Vec<Arc<str>>,
    /// Pods of this node.
    pub pods: BTreeSet<IpAddr>,
    /// Addresses of all nodes.
    pub node_addresses: Vec<IpAddr>,
}

impl Needs {
    /// What a configuration needs of its node.
    #[must_use]
    pub fn of(config: &Config, uplinks: &[Arc<str>]) -> Self {
        let endpoints = config
            .services
            .iter()
            .flat_map(|service| &service.endpoints);
        let own = endpoints.filter(|endpoint| endpoint.node.as_ref() == Some(&config.node));
        let addresses = config.nodes.iter().flat_map(|node| &node.addresses);
        Self {
            uplinks: uplinks.to_vec(),
            pods: own.map(|endpoint| endpoint.address).collect(),
            node_addresses: addresses.copied().collect(),
        }
    }

    /// Whether there are nodes or pods of a family.
    fn has_family(&self, is_ipv4: bool) -> bool {
        let addresses = self.pods.iter().chain(&self.node_addresses);
        addresses
            .into_iter()
            .any(|address| address.is_ipv4() == is_ipv4)
    }
}

/// Looks at this host and says what stands in the way. Blocks while tools run, well under a second.
#[must_use]
pub fn check(needs: &Needs) -> Vec<String> {
    judge(&gather::facts(needs), needs)
}

/// What stands in the way, given the facts.
#[must_use]
pub fn judge(facts: &Facts, needs: &Needs) -> Vec<String> {
    let mut sentences = facts.settings.judge(needs);
    sentences.extend(routes::judge(&facts.pod_routes, &needs.uplinks));
    let mut told = BTreeSet::new();
    for ruleset in &facts.firewall {
        for sentence in firewall_sentences(ruleset, needs) {
            if told.insert(sentence.clone()) {
                sentences.push(sentence);
            }
        }
    }
    sentences.extend(facts.firewall_unread.clone());
    sentences
}

/// One sentence for each chain, direction and family, with all pods that it concerns.
fn firewall_sentences(ruleset: &Ruleset, needs: &Needs) -> Vec<String> {
    let mut sentences = Vec::new();
    for uplink in &needs.uplinks {
        for direction in [Direction::ToPod, Direction::FromPod] {
            let concerned = concerned(ruleset, &needs.pods, direction, uplink);
            let told = concerned
                .iter()
                .map(|(dropped, pods)| sentence(dropped, direction, pods));
            sentences.extend(told);
        }
    }
    sentences
}

/// Pods of one family that the same chain cuts off.
fn concerned<'a>(
    ruleset: &'a Ruleset,
    pods: &BTreeSet<IpAddr>,
    direction: Direction,
    uplink: &str,
) -> Vec<(Dropped<'a>, Vec<IpAddr>)> {
    let mut concerned: Vec<(Dropped<'_>, Vec<IpAddr>)> = Vec::new();
    for &pod in pods {
        let packet = Packet {
            direction,
            pod,
            uplink,
        };
        let Some(dropped) = ruleset.drops(packet) else {
            continue;
        };
        let is_alike = |(known, others): &&mut (Dropped<'_>, Vec<IpAddr>)| {
            *known == dropped && others.iter().all(|other| other.is_ipv4() == pod.is_ipv4())
        };
        match concerned.iter_mut().find(is_alike) {
            Some((_, pods)) => pods.push(pod),
            None => concerned.push((dropped, vec![pod])),
        }
    }
    concerned
}

fn sentence(dropped: &Dropped<'_>, direction: Direction, pods: &[IpAddr]) -> String {
    let (table, chain) = (&dropped.chain.table, &dropped.chain.name);
    let place = format!("the {chain} chain of table {} {}", table.family, table.name);
    let listed: Vec<_> = pods.iter().map(ToString::to_string).collect();
    let traffic = match direction {
        Direction::ToPod => format!("traffic to {}", listed.join(", ")),
        Direction::FromPod => format!("traffic from {}", listed.join(", ")),
    };
    let rule = accepting_rule(dropped, direction, pods);
    if dropped.by_policy {
        format!("{place} drops by policy and no rule accepts {traffic}: {rule}")
    } else {
        format!("a rule of {place} drops {traffic}: accept it before that rule, {rule}")
    }
}

/// The command that adds the missing rule, for the tool whose table it is.
fn accepting_rule(dropped: &Dropped<'_>, direction: Direction, pods: &[IpAddr]) -> String {
    let (table, chain) = (&dropped.chain.table, &dropped.chain.name);
    let (option, field) = match direction {
        Direction::ToPod => ("-d", "daddr"),
        Direction::FromPod => ("-s", "saddr"),
    };
    let (iptables, family) = match pods.iter().all(IpAddr::is_ipv4) {
        true => ("iptables", "ip"),
        false => ("ip6tables", "ip6"),
    };
    let listed: Vec<_> = pods.iter().map(ToString::to_string).collect();
    if table.family != "inet" && table.name == "filter" && chain == "FORWARD" {
        return format!(
            "{iptables} -I FORWARD {option} {} -j ACCEPT",
            listed.join(",")
        );
    }
    let place = format!("{} {} {chain}", table.family, table.name);
    format!(
        "nft insert rule {place} {family} {field} '{{ {} }}' accept",
        listed.join(", ")
    )
}

#[cfg(test)]
mod tests;
