//! Whether the host's firewall lets traffic between clients and pods through. Pure. Rules are walked as the
//! kernel would, with three answers to each match: yes, no, perhaps. Only a drop that is certain is reported:
//! a rule that perhaps accepts is given the benefit of the doubt, because an operator who is told to add a
//! rule that is not needed stops believing.

use std::net::IpAddr;

/// Deepest nesting of chains (NFT_JUMP_STACK_SIZE, include/net/netfilter/nf_tables.h).
const JUMPS_MAX: usize = 16;

/// All chains that forwarded packets may come through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// In any order; names are unique in a table.
    pub chains: Vec<Chain>,
}

/// A chain of rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its table.
    pub table: Table,
    /// Its name.
    pub name: String,
    /// At the forward hook: whether it drops what no rule decides. `None`: it is only jumped to.
    pub forward_policy_drops: Option<bool>,
    /// In order.
    pub rules: Vec<Rule>,
}

/// A table, by family and name: `ip filter`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// `ip`, `ip6` or `inet`.
    pub family: String,
    /// Its name.
    pub name: String,
}

/// What must hold, and what is done then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// All of them.
    pub matches: Vec<Match>,
    /// What is done.
    pub verdict: Verdict,
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// The source is in one of these networks, or in none if negated.
    Source(Vec<Network>, bool),
    /// The destination is.
    Destination(Vec<Network>, bool),
    /// The interface that it came by has this name (`*` at the end: begins with it), or has not if negated.
    Inbound(String, bool),
    /// The interface that it leaves by has.
    Outbound(String, bool),
    /// The connection is in one of these states, or in none if negated.
    State(Vec<String>, bool),
    /// Something that is not looked into.
    Other,
}

/// An address and the length of its prefix.
pub type Network = (IpAddr, u8);

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Lets it pass this hook's chain.
    Accept,
    /// Drops or rejects it.
    Drop,
    /// Goes on where the chain was jumped to.
    Return,
    /// Goes through a chain and comes back.
    Jump(String),
    /// Goes through a chain and does not come back.
    Goto(String),
    /// Goes on: a counter, a log.
    Continue,
    /// Something that is not looked into.
    Other,
}

/// A forwarded packet between a client, who may be anywhere, and a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Which way.
    pub direction: Direction,
    /// The pod.
    pub pod: IpAddr,
    /// The uplink that it comes or goes by.
    pub uplink: &'a str,
}

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The first of a connection, from an uplink to a pod.
    ToPod,
    /// An answer, from a pod to an uplink.
    FromPod,
}

/// Where a packet is certainly dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped<'a> {
    /// The chain at the hook.
    pub chain: &'a Chain,
    /// By its policy, because no rule accepts; else by a rule.
    pub by_policy: bool,
}

impl Ruleset {
    /// The first chain that certainly drops a packet.
    #[must_use]
    pub fn drops(&self, packet: Packet<'_>) -> Option<Dropped<'_>> {
        let of_family = |chain: &&Chain| match packet.pod {
            IpAddr::V4(_) => chain.table.family != "ip6",
            IpAddr::V6(_) => chain.table.family != "ip",
        };
        let hooked = self.chains.iter().filter(of_family);
        hooked
            .filter_map(|chain| self.hook_drops(chain, packet))
            .next()
    }

    fn hook_drops<'a>(&'a self, chain: &'a Chain, packet: Packet<'_>) -> Option<Dropped<'a>> {
        let policy_drops = chain.forward_policy_drops?;
        let mut walk = Walk {
            ruleset: self,
            packet,
            perhaps_accepted: false,
        };
        let (accepted, by_policy) = match walk.chain(chain, true, 0) {
            Some(accepted) => (accepted, false),
            None => (!policy_drops, true),
        };
        (!accepted && !walk.perhaps_accepted).then_some(Dropped { chain, by_policy })
    }

    fn chain(&self, table: &Table, name: &str) -> Option<&Chain> {
        self.chains
            .iter()
            .find(|chain| chain.table == *table && chain.name == name)
    }
}

struct Walk<'a> {
    ruleset: &'a Ruleset,
    packet: Packet<'a>,
    perhaps_accepted: bool,
}

impl<'a> Walk<'a> {
    /// Whether the packet is accepted; `None`: no rule decides.
    fn chain(&mut self, chain: &'a Chain, certain: bool, depth: usize) -> Option<bool> {
        for rule in &chain.rules {
            let answer = rule.matches(self.packet);
            if answer == Answer::No {
                continue;
            }
            let certain = certain && answer == Answer::Yes;
            let decided = match &rule.verdict {
                Verdict::Accept => self.accept(certain),
                Verdict::Drop => certain.then_some(false),
                Verdict::Return if certain => return None,
                Verdict::Goto(target) if certain => {
                    return self.target(chain, target, certain, depth);
                }
                Verdict::Jump(target) | Verdict::Goto(target) => {
                    self.target(chain, target, certain, depth)
                }
                Verdict::Return | Verdict::Continue => None,
                Verdict::Other => self.accept(false),
            };
            if decided.is_some() {
                return decided;
            }
        }
        None
    }

    fn accept(&mut self, certain: bool) -> Option<bool> {
        self.perhaps_accepted |= !certain;
        certain.then_some(true)
    }

    fn target(&mut self, from: &Chain, name: &str, certain: bool, depth: usize) -> Option<bool> {
        if depth == JUMPS_MAX {
            return None;
        }
        let chain = self.ruleset.chain(&from.table, name)?;
        self.chain(chain, certain, depth + 1)
    }
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    No,
    Perhaps,
    Yes,
}

impl Rule {
    fn matches(&self, packet: Packet<'_>) -> Answer {
        let answers = self.matches.iter().map(|condition| condition.holds(packet));
        answers.min().unwrap_or(Answer::Yes)
    }
}

impl Match {
    fn holds(&self, packet: Packet<'_>) -> Answer {
        let (source, destination) = packet.addresses();
        let (inbound, outbound) = packet.interfaces();
        match self {
            Self::Source(networks, negated) => answer(is_in(source, networks), *negated),
            Self::Destination(networks, negated) => answer(is_in(destination, networks), *negated),
            Self::Inbound(name, negated) => is_interface(inbound, name, *negated),
            Self::Outbound(name, negated) => is_interface(outbound, name, *negated),
            Self::State(states, negated) => {
                answer(states.iter().any(|state| state == packet.state()), *negated)
            }
            Self::Other => Answer::Perhaps,
        }
    }
}

impl Packet<'_> {
    /// Source and destination; `None`: the client's, which may be any.
    fn addresses(self) -> (Option<IpAddr>, Option<IpAddr>) {
        match self.direction {
            Direction::ToPod => (None, Some(self.pod)),
            Direction::FromPod => (Some(self.pod), None),
        }
    }

    /// Where it came from and where it goes; `None`: the pod's device, whose name is not known.
    fn interfaces(&self) -> (Option<&str>, Option<&str>) {
        match self.direction {
            Direction::ToPod => (Some(self.uplink), None),
            Direction::FromPod => (None, Some(self.uplink)),
        }
    }

    fn state(self) -> &'static str {
        match self.direction {
            Direction::ToPod => "new",
            Direction::FromPod => "established",
        }
    }
}

fn answer(holds: bool, negated: bool) -> Answer {
    match holds != negated {
        true => Answer::Yes,
        false => Answer::No,
    }
}

/// A client may be anywhere, so that only a rule for everybody is one for it.
fn is_in(address: Option<IpAddr>, networks: &[Network]) -> bool {
    networks.iter().any(|&(network, bits)| match address {
        None => bits == 0,
        Some(address) => contains(network, bits, address),
    })
}

fn contains(network: IpAddr, bits: u8, address: IpAddr) -> bool {
    let differ = |difference: u128, width: u8| match width.checked_sub(bits) {
        Some(host_bits) => difference.checked_shr(host_bits.into()).unwrap_or(0) != 0,
        None => true,
    };
    match (network, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => !differ(u128::from(u32::from(a) ^ u32::from(b)), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => !differ(u128::from(a) ^ u128::from(b), 128),
        _ => false,
    }
}

fn is_interface(interface: Option<&str>, name: &str, negated: bool) -> Answer {
    let Some(interface) = interface else {
        return Answer::Perhaps;
    };
    let is_it = match name.strip_suffix('*') {
        Some(start) => interface.starts_with(start),
        None => interface == name,
    };
    answer(is_it, negated)
}

#[cfg(test)]
mod tests;
