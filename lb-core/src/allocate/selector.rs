//! Kubernetes' label selectors (metav1.LabelSelector): every label and every expression must match.

use std::collections::BTreeSet;

use super::Labels;

/// Labels and expressions that must all match; none: everything does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    /// Labels that must be there.
    pub labels: Labels,
    /// Conditions on labels.
    pub expressions: Vec<LabelExpression>,
}

/// A condition on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelExpression {
    /// Key of the label.
    pub key: String,
    /// What its value must be.
    pub operator: LabelOperator,
}

/// What a label's value must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelOperator {
    /// One of these.
    In(BTreeSet<String>),
    /// None of these; a missing label is fine.
    NotIn(BTreeSet<String>),
    /// Any.
    Exists,
    /// The label must be missing.
    DoesNotExist,
}

impl LabelSelector {
    /// Whether an object with these labels is meant.
    #[must_use]
    pub fn selects(&self, labels: &Labels) -> bool {
        let has = |(key, value): (&String, &String)| labels.get(key) == Some(value);
        self.labels.iter().all(has) && self.expressions.iter().all(|item| item.holds(labels))
    }
}

impl LabelExpression {
    fn holds(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match &self.operator {
            LabelOperator::In(values) => value.is_some_and(|value| values.contains(value)),
            LabelOperator::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            LabelOperator::Exists => value.is_some(),
            LabelOperator::DoesNotExist => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_those_of_kubernetes() {
        let labels = Labels::from([("team".to_owned(), "a".to_owned())]);
        let values = || BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let selects = |key: &str, operator| {
            let key = key.to_owned();
            let selector = LabelSelector {
                labels: Labels::new(),
                expressions: vec![LabelExpression { key, operator }],
            };
            selector.selects(&labels)
        };
        assert!(selects("team", LabelOperator::In(values())));
        assert!(!selects("tier", LabelOperator::In(values())));
        assert!(!selects("team", LabelOperator::NotIn(values())));
        assert!(selects("tier", LabelOperator::NotIn(values())));
        assert!(selects("team", LabelOperator::Exists));
        assert!(selects("tier", LabelOperator::DoesNotExist));
        assert!(!selects("team", LabelOperator::DoesNotExist));
        assert!(LabelSelector::default().selects(&labels));
    }
}
