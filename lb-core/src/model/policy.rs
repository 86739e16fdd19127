//! What becomes of routes on their way to a peer: statements in order, each for some prefixes. One that matches changes
//! what the route says; the first that matches and has a verdict ends the search. Without a verdict a route goes out.
//! These are GoBGP's export policies, as far as one who only announces has a use for them; to which peers a statement
//! applies is resolved by whoever makes it.

use std::{collections::BTreeSet, ops::RangeInclusive};

use super::{Community, Prefix, RouteSettings};

/// A step of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    /// Which prefixes it is for; `None`: all.
    pub prefixes: Option<PrefixMatch>,
    /// What it changes.
    pub changes: Vec<RouteChange>,
    /// Whether routes go out, and no later statement is asked; `None`: the next one is.
    pub accepts: Option<bool>,
}

/// A set of prefixes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixMatch {
    /// Networks, and how long a prefix within each may be.
    pub within: Vec<(Prefix, RangeInclusive<u8>)>,
    /// All others are meant.
    pub is_inverted: bool,
}

/// A change of what a route says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteChange {
    /// These communities as well.
    Add(Vec<Community>),
    /// Without these.
    Remove(Vec<Community>),
    /// These, and no others of their kind.
    Replace(Vec<Community>),
    /// MULTI_EXIT_DISC.
    Med(u32),
    /// MULTI_EXIT_DISC, more or less by this.
    MedBy(i64),
    /// LOCAL_PREF.
    LocalPref(u32),
    /// Our AS number so many times more.
    Prepend(u8),
}

impl PrefixMatch {
    fn includes(&self, prefix: Prefix) -> bool {
        let mut within = self.within.iter();
        let is_within = within.any(|(network, lengths)| {
            network.contains(prefix.address()) && lengths.contains(&prefix.bits())
        });
        is_within != self.is_inverted
    }
}

/// What a route to a prefix says after a policy; `None`: it does not go out.
#[must_use]
pub fn applied(
    policy: &[Statement],
    prefix: Prefix,
    says: &RouteSettings,
) -> Option<RouteSettings> {
    let mut says = says.clone();
    let is_meant = |statement: &&Statement| {
        let prefixes = statement.prefixes.as_ref();
        prefixes.is_none_or(|prefixes| prefixes.includes(prefix))
    };
    for statement in policy.iter().filter(is_meant) {
        if statement.accepts == Some(false) {
            return None;
        }
        for change in &statement.changes {
            change.make(&mut says);
        }
        if statement.accepts.is_some() {
            break;
        }
    }
    Some(says)
}

impl RouteChange {
    fn make(&self, says: &mut RouteSettings) {
        match self {
            Self::Add(communities) => communities.iter().for_each(|one| add(says, *one)),
            Self::Remove(communities) => communities.iter().for_each(|one| remove(says, *one)),
            Self::Replace(communities) => {
                for one in communities {
                    clear_kind(says, *one);
                }
                if communities.is_empty() {
                    says.communities = BTreeSet::new();
                }
                communities.iter().for_each(|one| add(says, *one));
            }
            Self::Med(med) => says.med = Some(*med),
            Self::MedBy(by) => {
                let med = i64::from(says.med.unwrap_or(0)).saturating_add(*by);
                says.med = Some(med.clamp(0, u32::MAX.into()) as u32);
            }
            Self::LocalPref(preference) => says.local_pref = Some(*preference),
            Self::Prepend(times) => {
                says.prepend = Some(says.prepend.unwrap_or(0).saturating_add(*times));
            }
        }
    }
}

fn add(says: &mut RouteSettings, community: Community) {
    match community {
        Community::Standard(value) => _ = says.communities.insert(value),
        Community::Large(value) => _ = says.large_communities.insert(value),
        Community::Extended(value) => _ = says.extended_communities.insert(value),
    }
}

fn remove(says: &mut RouteSettings, community: Community) {
    match community {
        Community::Standard(value) => _ = says.communities.remove(&value),
        Community::Large(value) => _ = says.large_communities.remove(&value),
        Community::Extended(value) => _ = says.extended_communities.remove(&value),
    }
}

fn clear_kind(says: &mut RouteSettings, community: Community) {
    match community {
        Community::Standard(_) => says.communities.clear(),
        Community::Large(_) => says.large_communities.clear(),
        Community::Extended(_) => says.extended_communities.clear(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Community = Community::Standard(0xfde8_0001);
    const B: Community = Community::Standard(0xfde8_0002);

    fn prefix(text: &str) -> Prefix {
        let (address, bits) = text.split_once('/').unwrap();
        Prefix::new(address.parse().unwrap(), bits.parse().unwrap()).unwrap()
    }

    fn within(text: &str, lengths: RangeInclusive<u8>, is_inverted: bool) -> Option<PrefixMatch> {
        Some(PrefixMatch {
            within: vec![(prefix(text), lengths)],
            is_inverted,
        })
    }

    #[test]
    fn the_first_verdict_ends_the_search_and_changes_add_up_until_then() {
        let policy = [
            Statement {
                prefixes: within("10.99.0.0/24", 32..=32, false),
                changes: vec![RouteChange::Add(vec![A]), RouteChange::Med(200)],
                accepts: None,
            },
            Statement {
                prefixes: within("10.99.0.128/25", 25..=32, false),
                changes: vec![RouteChange::MedBy(-50), RouteChange::Prepend(2)],
                accepts: Some(true),
            },
            Statement {
                prefixes: within("10.0.0.0/8", 8..=32, true),
                accepts: Some(false),
                ..Statement::default()
            },
            Statement {
                changes: vec![RouteChange::LocalPref(7), RouteChange::Replace(vec![B])],
                ..Statement::default()
            },
        ];
        let says = |text| applied(&policy, prefix(text), &RouteSettings::default());
        let high = says("10.99.0.200/32").unwrap();
        assert_eq!((high.med, high.prepend), (Some(150), Some(2)));
        assert_eq!((high.communities.len(), high.local_pref), (1, None));
        let low = says("10.99.0.1/32").unwrap();
        assert_eq!((low.med, low.prepend), (Some(200), None));
        assert_eq!(low.communities, BTreeSet::from([0xfde8_0002]));
        assert_eq!(low.local_pref, Some(7));
        let aggregate = says("10.99.0.0/24").unwrap();
        assert_eq!(aggregate.med, None, "it is shorter than the set's");
        assert_eq!(says("192.0.2.1/32"), None);
        assert_eq!(says("fd99::1/128"), None);
    }

    #[test]
    fn bounds_hold_and_what_is_removed_is_only_that() {
        let changes = vec![
            RouteChange::Add(vec![A, B]),
            RouteChange::Remove(vec![A]),
            RouteChange::MedBy(-1),
            RouteChange::Prepend(250),
            RouteChange::Prepend(250),
        ];
        let policy = [Statement {
            changes,
            ..Statement::default()
        }];
        let says = applied(&policy, prefix("10.0.0.1/32"), &RouteSettings::default());
        let says = says.unwrap();
        assert_eq!(says.communities, BTreeSet::from([0xfde8_0002]));
        assert_eq!((says.med, says.prepend), (Some(0), Some(255)));
    }
}
