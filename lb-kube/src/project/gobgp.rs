//! A policy as GoBGP writes it (TOML, key `gobgp.conf` of the ConfigMap that a BgpConf names), as far as one who only
//! announces has a use for it: prefix sets, neighbour sets, communities, MED, LOCAL_PREF, prepending, and which routes go
//! out. Every clause that is left out is a finding that names it. A statement with a condition that is not understood is
//! left out whole: without the condition it would be for everybody.

mod sets;

use std::{ops::RangeInclusive, sync::Arc};

use lb_core::model::{Community, PrefixMatch, Remote, RouteChange, Statement};
use toml::{Table, Value};

use self::sets::{Neighbours, Sets};
use super::bgp::Findings;

/// Key of the ConfigMap.
pub const POLICY_KEY: &str = "gobgp.conf";
/// Field of the BgpConf that names it.
pub const POLICY_FIELD: &str = "policy";

/// More copies of an AS number than any path needs.
const PREPEND_MAX: RangeInclusive<i64> = 1..=100;

/// A policy for all peers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    statements: Vec<(Option<Neighbours>, Statement)>,
}

impl Policy {
    /// Reads the text. What is left out of it is said in the findings.
    ///
    /// # Errors
    /// If it is no TOML: where, and what is wrong.
    pub fn read(text: &str) -> Result<(Self, Findings), String> {
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            let error = error.to_string();
            error.trim_end().replace('\n', " ")
        })?;
        let mut reader = Reader::default();
        let policy = reader.policy(&table);
        Ok((policy, reader.findings))
    }

    /// What becomes of routes to a peer.
    #[must_use]
    pub fn towards(&self, peer: &Remote) -> Arc<[Statement]> {
        let of_peer = self.statements.iter().filter(|(neighbours, _)| {
            let neighbours = neighbours.as_ref();
            neighbours.is_none_or(|neighbours| neighbours.include(peer))
        });
        of_peer.map(|(_, statement)| statement.clone()).collect()
    }
}

/// Walks through the text; knows where it is, and what was left out.
#[derive(Default)]
struct Reader {
    findings: Findings,
}

/// Clauses that are GoBGP's own business, or that its manager's objects have: nothing is lost with them.
const SAID_ELSEWHERE: [&str; 4] = ["neighbors", "peer-groups", "dynamic-neighbors", "zebra"];

impl Reader {
    fn policy(&mut self, root: &Table) -> Policy {
        let mut policy = Policy::default();
        for key in root.keys() {
            match key.as_str() {
                "defined-sets" | "policy-definitions" | "global" => {}
                key if SAID_ELSEWHERE.contains(&key) => {
                    self.ignore(key, "peers are said by BgpPeers");
                }
                key => self.ignore(key, "it has no meaning here"),
            }
        }
        let sets = Sets::read(table(root, "defined-sets"), self);
        let global = table(root, "global");
        for key in global.into_iter().flat_map(Table::keys) {
            if key != "apply-policy" {
                self.ignore(&format!("global.{key}"), "the BgpConf says it");
            }
        }
        let apply = global.and_then(|global| table(global, "apply-policy"));
        let apply = apply.and_then(|apply| table(apply, "config"));
        let apply = apply.cloned().unwrap_or_default();
        for key in apply.keys() {
            if key.contains("import") || key.contains("-in-") || key.starts_with("in-") {
                let clause = format!("global.apply-policy.config.{key}");
                self.ignore(&clause, "nothing is learnt from routers");
            }
        }
        let definitions = items(root, "policy-definitions");
        for name in strings(apply.get("export-policy-list")) {
            let named = |definition: &&Table| text(definition, "name") == Some(&name);
            match definitions.iter().copied().find(named) {
                Some(definition) => self.definition(&name, definition, &sets, &mut policy),
                None => {
                    let clause = format!("global.apply-policy.config.export-policy-list {name}");
                    self.ignore(&clause, "there is no such policy");
                }
            }
        }
        if text(&apply, "default-export-policy") == Some("reject-route") {
            let statement = Statement {
                accepts: Some(false),
                ..Statement::default()
            };
            policy.statements.push((None, statement));
        }
        policy
    }

    fn definition(&mut self, name: &str, definition: &Table, sets: &Sets, policy: &mut Policy) {
        for (index, statement) in items(definition, "statements").into_iter().enumerate() {
            let own = text(statement, "name").map(str::to_owned);
            let own = own.unwrap_or_else(|| format!("number {}", index + 1));
            let place = format!("policy {name}, statement {own}");
            let conditions = table(statement, "conditions");
            let Some(Conditions {
                neighbours,
                mut made,
            }) = self.conditions(&place, conditions, sets)
            else {
                continue;
            };
            if let Some(actions) = table(statement, "actions") {
                self.actions(&place, actions, &mut made);
            }
            policy.statements.push((neighbours, made));
        }
    }

    /// `None`: a condition is not understood.
    fn conditions(
        &mut self,
        place: &str,
        conditions: Option<&Table>,
        sets: &Sets,
    ) -> Option<Conditions> {
        let mut all = Conditions::default();
        for (key, value) in conditions.into_iter().flatten() {
            let clause = format!("{place}: conditions.{key}");
            let options = value.get("match-set-options").and_then(Value::as_str);
            let is_inverted = match options.unwrap_or("any").to_lowercase().as_str() {
                "any" => false,
                "invert" => true,
                other => {
                    self.leave_out(&clause, &format!("match-set-options {other} is not known"));
                    return None;
                }
            };
            let set = |name: &str| value.get(name).and_then(Value::as_str);
            let is_known = match key.as_str() {
                "match-prefix-set" => {
                    let prefixes = set("prefix-set").and_then(|name| sets.prefixes.get(name));
                    all.made.prefixes = prefixes.cloned().map(|within| PrefixMatch {
                        within,
                        is_inverted,
                    });
                    prefixes.is_some()
                }
                "match-neighbor-set" => {
                    let found = set("neighbor-set").and_then(|name| sets.neighbours.get(name));
                    all.neighbours = found.cloned().map(|networks| Neighbours {
                        networks,
                        is_inverted,
                    });
                    found.is_some()
                }
                _ => {
                    self.leave_out(&clause, "the condition is not supported");
                    return None;
                }
            };
            if !is_known {
                self.leave_out(&clause, "there is no such set");
                return None;
            }
        }
        Some(all)
    }

    fn actions(&mut self, place: &str, actions: &Table, made: &mut Statement) {
        for (key, value) in actions {
            let clause = format!("{place}: actions.{key}");
            match (key.as_str(), value.as_str()) {
                ("route-disposition", Some("accept-route")) => made.accepts = Some(true),
                ("route-disposition", Some("reject-route")) => made.accepts = Some(false),
                ("route-disposition", Some("none" | "")) => {}
                ("bgp-actions", _) => {
                    for (key, value) in value.as_table().into_iter().flatten() {
                        let change = change(key, value);
                        match change {
                            Ok(change) => made.changes.push(change),
                            Err(why) => self.ignore(&format!("{clause}.{key}"), &why),
                        }
                    }
                }
                _ => self.ignore(&clause, "the action is not supported"),
            }
        }
    }

    fn ignore(&mut self, clause: &str, why: &str) {
        self.findings
            .ignore(POLICY_FIELD, format!("{clause}: {why}"));
    }

    fn leave_out(&mut self, clause: &str, why: &str) {
        self.ignore(
            clause,
            &format!("{why}, so the whole statement is left out"),
        );
    }
}

#[derive(Default)]
struct Conditions {
    neighbours: Option<Neighbours>,
    made: Statement,
}

/// One of the actions on attributes.
fn change(key: &str, value: &Value) -> Result<RouteChange, String> {
    let wrong = || format!("{value} makes no sense");
    match key {
        "set-med" => med(value).ok_or_else(wrong),
        "set-local-pref" => {
            let preference = value.as_integer().and_then(|number| number.try_into().ok());
            preference.map(RouteChange::LocalPref).ok_or_else(wrong)
        }
        "set-as-path-prepend" => {
            let asn = value.get("as").map(ToString::to_string);
            let asn = asn.unwrap_or_default();
            if asn.trim_matches('"') != "last-as" {
                return Err(format!(
                    "only as = \"last-as\", our own AS number, can be prepended, not {asn}"
                ));
            }
            let times = value.get("repeat-n").and_then(Value::as_integer);
            let times = times.filter(|times| PREPEND_MAX.contains(times));
            let times = times.and_then(|times| times.try_into().ok());
            times.map(RouteChange::Prepend).ok_or_else(wrong)
        }
        "set-community" | "set-ext-community" | "set-large-community" => communities(key, value),
        _ => Err("the action is not supported".to_owned()),
    }
}

/// A number sets it; one with a sign, as text, changes it.
fn med(value: &Value) -> Option<RouteChange> {
    let text = match value {
        Value::Integer(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return None,
    };
    match text.starts_with(['+', '-']) {
        true => text.parse().ok().map(RouteChange::MedBy),
        false => text.parse().ok().map(RouteChange::Med),
    }
}

fn communities(key: &str, value: &Value) -> Result<RouteChange, String> {
    let method = value.get(format!("{key}-method"));
    let list = method.and_then(|method| method.get("communities-list"));
    let read = strings(list).into_iter().map(|text| {
        let community = Community::parse(&text);
        community.ok_or_else(|| format!("{text} is no community; patterns are not supported"))
    });
    let communities = read.collect::<Result<Vec<_>, _>>()?;
    let options = value.get("options").and_then(Value::as_str);
    match options.unwrap_or_default().to_lowercase().as_str() {
        "add" => Ok(RouteChange::Add(communities)),
        "remove" => Ok(RouteChange::Remove(communities)),
        "replace" => Ok(RouteChange::Replace(communities)),
        other => Err(format!("options {other} is not ADD, REMOVE or REPLACE")),
    }
}

fn table<'a>(of: &'a Table, key: &str) -> Option<&'a Table> {
    of.get(key).and_then(Value::as_table)
}

fn items<'a>(of: &'a Table, key: &str) -> Vec<&'a Table> {
    let items = of.get(key).and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_table).collect()
}

fn text<'a>(of: &'a Table, key: &str) -> Option<&'a str> {
    of.get(key).and_then(Value::as_str)
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
