//! From the text of `iptables-save` and `ip6tables-save`, of either variant, to chains and rules. Pure. Unlike
//! nft, it knows what iptables' own extensions mean, so it sees more of rules that iptables made.

use std::net::IpAddr;

use super::firewall::{Chain, Match, Network, Rule, Ruleset, Table, Verdict};

/// The chains of the table `filter`. `family` is `ip` or `ip6`.
#[must_use]
pub fn parse(text: &str, family: &str) -> Ruleset {
    let table = Table {
        family: family.to_owned(),
        name: "filter".to_owned(),
    };
    let mut chains = Vec::new();
    let filter = text
        .lines()
        .skip_while(|line| *line != "*filter")
        .take_while(|line| *line != "COMMIT");
    for line in filter {
        if let Some(declaration) = line.strip_prefix(':') {
            chains.extend(chain(declaration, &table));
        } else if let Some(added) = line.strip_prefix("-A ") {
            let words = words(added);
            let Some((name, options)) = words.split_first() else {
                continue;
            };
            if let Some(chain) = chains.iter_mut().find(|chain| chain.name == *name) {
                chain.rules.push(rule(options));
            }
        }
    }
    Ruleset { chains }
}

/// `FORWARD DROP [0:0]`; the policy of a user's chain is `-`.
fn chain(declaration: &str, table: &Table) -> Option<Chain> {
    let mut words = declaration.split(' ');
    let (name, policy) = (words.next()?, words.next()?);
    let forward_policy_drops = match (name, policy) {
        ("FORWARD", policy) => Some(policy == "DROP"),
        (_, "-") => None,
        _ => return None,
    };
    Some(Chain {
        table: table.clone(),
        name: name.to_owned(),
        forward_policy_drops,
        rules: Vec::new(),
    })
}

fn rule(options: &[String]) -> Rule {
    let mut rule = Rule {
        matches: Vec::new(),
        verdict: Verdict::Continue,
    };
    let mut negated = false;
    let mut rest = options;
    while let Some((option, after)) = rest.split_first() {
        let value = after.first().map_or("", String::as_str);
        let mut values = 1;
        match option.as_str() {
            "!" => {
                negated = true;
                rest = after;
                continue;
            }
            "-s" => rule.matches.push(addresses(value, negated, Match::Source)),
            "-d" => rule
                .matches
                .push(addresses(value, negated, Match::Destination)),
            "-i" => rule.matches.push(Match::Inbound(interface(value), negated)),
            "-o" => rule
                .matches
                .push(Match::Outbound(interface(value), negated)),
            "--ctstate" | "--state" => rule.matches.push(Match::State(states(value), negated)),
            "-j" => rule.verdict = verdict(value),
            "-g" => rule.verdict = Verdict::Goto(value.to_owned()),
            // Says which extension follows; the options that it has are looked at themselves.
            "-m" | "--comment" | "--reject-with" => {}
            option if option.starts_with("--log") => {}
            option if option.starts_with('-') => rule.matches.push(Match::Other),
            _ => values = 0,
        }
        negated = false;
        rest = after.get(values..).unwrap_or_default();
    }
    rule
}

fn verdict(target: &str) -> Verdict {
    match target {
        "ACCEPT" => Verdict::Accept,
        "DROP" | "REJECT" => Verdict::Drop,
        "RETURN" => Verdict::Return,
        "LOG" | "NFLOG" | "MARK" | "CONNMARK" => Verdict::Continue,
        "QUEUE" | "NFQUEUE" => Verdict::Other,
        chain => Verdict::Jump(chain.to_owned()),
    }
}

fn addresses(value: &str, negated: bool, condition: fn(Vec<Network>, bool) -> Match) -> Match {
    network(value).map_or(Match::Other, |network| condition(vec![network], negated))
}

fn network(value: &str) -> Option<Network> {
    let (address, bits) = value.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    Some((address, bits.parse().ok()?))
}

/// iptables writes `cali+` for names that begin so.
fn interface(value: &str) -> String {
    value
        .strip_suffix('+')
        .map_or_else(|| value.to_owned(), |start| format!("{start}*"))
}

fn states(value: &str) -> Vec<String> {
    value.split(',').map(str::to_lowercase).collect()
}

/// Words of a line; what is in double quotes is one.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for character in line.chars() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            _ => {}
        }
        if quoted || !matches!(character, ' ' | '"') {
            words
                .last_mut()
                .expect("there is always one")
                .push(character);
        }
    }
    words
}

#[cfg(test)]
mod tests;
