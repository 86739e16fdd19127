//! From `nft -j list ruleset` (libnftables-json(5)) to chains and rules. Pure. It sees what iptables-nft makes
//! as well. What it does not know becomes "perhaps": it never makes a rule stricter or looser than it is.

use std::net::IpAddr;

use serde_json::Value;

use super::firewall::{Chain, Match, Network, Rule, Ruleset, Table, Verdict};

/// Statements that neither match nor decide.
const NEUTRAL: [&str; 8] = [
    "counter",
    "log",
    "comment",
    "mangle",
    "notrack",
    "ct helper",
    "flow",
    "set",
];

/// Chains at the forward hook and those without a hook; `None` if the text is not what nft writes.
#[must_use]
pub fn parse(json: &str) -> Option<Ruleset> {
    let document: Value = serde_json::from_str(json).ok()?;
    let objects = document.get("nftables")?.as_array()?;
    let mut chains: Vec<_> = objects
        .iter()
        .filter_map(|object| chain(object.get("chain")?))
        .collect();
    for object in objects {
        let Some(found) = object.get("rule") else {
            continue;
        };
        let (Some(table), Some(name)) = (table(found), text(found, "chain")) else {
            continue;
        };
        let of_rule = |chain: &&mut Chain| chain.table == table && chain.name == name;
        if let Some(chain) = chains.iter_mut().find(of_rule) {
            chain.rules.push(rule(found));
        }
    }
    Some(Ruleset { chains })
}

fn chain(object: &Value) -> Option<Chain> {
    let forward_policy_drops = match text(object, "hook") {
        None => None,
        Some(hook) if hook == "forward" => Some(text(object, "policy").as_deref() == Some("drop")),
        // Packets that are forwarded do not come through it as such.
        Some(_) => return None,
    };
    Some(Chain {
        table: table(object)?,
        name: text(object, "name")?,
        forward_policy_drops,
        rules: Vec::new(),
    })
}

fn table(object: &Value) -> Option<Table> {
    let family = text(object, "family")?;
    let is_ip = ["ip", "ip6", "inet"].contains(&family.as_str());
    is_ip.then_some(Table {
        family,
        name: text(object, "table")?,
    })
}

fn rule(object: &Value) -> Rule {
    let mut rule = Rule {
        matches: Vec::new(),
        verdict: Verdict::Continue,
    };
    let statements = object.get("expr").and_then(Value::as_array);
    for statement in statements.into_iter().flatten() {
        let Some((kind, content)) = statement.as_object().and_then(|map| map.iter().next()) else {
            continue;
        };
        match kind.as_str() {
            "match" => rule
                .matches
                .push(condition(content).unwrap_or(Match::Other)),
            "accept" => rule.verdict = Verdict::Accept,
            "drop" | "reject" => rule.verdict = Verdict::Drop,
            "return" => rule.verdict = Verdict::Return,
            "jump" => rule.verdict = target(content, Verdict::Jump),
            "goto" => rule.verdict = target(content, Verdict::Goto),
            "vmap" | "queue" => rule.verdict = Verdict::Other,
            // An extension of iptables, as a match or as a target.
            "xt" => {
                rule.matches.push(Match::Other);
                rule.verdict = match rule.verdict {
                    Verdict::Continue => Verdict::Other,
                    verdict => verdict,
                };
            }
            kind if NEUTRAL.contains(&kind) => {}
            _ => rule.matches.push(Match::Other),
        }
    }
    rule
}

fn target(content: &Value, verdict: fn(String) -> Verdict) -> Verdict {
    text(content, "target").map_or(Verdict::Other, verdict)
}

fn condition(content: &Value) -> Option<Match> {
    let negated = match content.get("op")?.as_str()? {
        "==" | "in" => false,
        "!=" => true,
        _ => return None,
    };
    let (left, right) = (content.get("left")?, content.get("right")?);
    if let Some(payload) = left.get("payload") {
        let networks = networks(right)?;
        return match (
            text(payload, "protocol")?.as_str(),
            text(payload, "field")?.as_str(),
        ) {
            ("ip" | "ip6", "saddr") => Some(Match::Source(networks, negated)),
            ("ip" | "ip6", "daddr") => Some(Match::Destination(networks, negated)),
            _ => None,
        };
    }
    if let Some(meta) = left.get("meta") {
        let name = right.as_str()?.to_owned();
        return match text(meta, "key")?.as_str() {
            "iif" | "iifname" => Some(Match::Inbound(name, negated)),
            "oif" | "oifname" => Some(Match::Outbound(name, negated)),
            _ => None,
        };
    }
    let is_state = text(left.get("ct")?, "key")? == "state";
    is_state.then(|| Some(Match::State(words(right)?, negated)))?
}

fn networks(value: &Value) -> Option<Vec<Network>> {
    match value.get("set") {
        Some(set) => set.as_array()?.iter().map(network).collect(),
        None => Some(vec![network(value)?]),
    }
}

fn network(value: &Value) -> Option<Network> {
    if let Some(prefix) = value.get("prefix") {
        let bits = u8::try_from(prefix.get("len")?.as_u64()?).ok()?;
        return Some((text(prefix, "addr")?.parse().ok()?, bits));
    }
    let address: IpAddr = value.as_str()?.parse().ok()?;
    Some((address, if address.is_ipv4() { 32 } else { 128 }))
}

fn words(value: &Value) -> Option<Vec<String>> {
    let list = value.as_array().or_else(|| value.get("set")?.as_array());
    match list {
        Some(list) => list
            .iter()
            .map(|word| word.as_str().map(str::to_owned))
            .collect(),
        None => Some(vec![value.as_str()?.to_owned()]),
    }
}

fn text(object: &Value, key: &str) -> Option<String> {
    Some(object.get(key)?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests;
