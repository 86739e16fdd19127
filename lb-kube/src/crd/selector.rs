//! Label selectors as Kubernetes writes them (metav1.LabelSelector), in the schema and against labels.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Selects objects by their labels; all that is said must hold. An empty one selects everything.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels with exactly these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Requirements on labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<Requirement>,
}

/// One requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// In, NotIn, Exists or DoesNotExist.
    pub operator: String,
    /// Values for In and NotIn; none for the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

impl LabelSelector {
    /// Whether an object with these labels is meant. An operator that does not exist selects nothing.
    #[must_use]
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        let equal = |(key, value): (&String, &String)| labels.get(key) == Some(value);
        self.match_labels.iter().all(equal)
            && self.match_expressions.iter().all(|one| one.holds(labels))
    }

    /// The first operator that does not exist.
    #[must_use]
    pub fn unknown_operator(&self) -> Option<&str> {
        let operators = self
            .match_expressions
            .iter()
            .map(|one| one.operator.as_str());
        operators.into_iter().find(|word| !OPERATORS.contains(word))
    }
}

const OPERATORS: [&str; 4] = ["In", "NotIn", "Exists", "DoesNotExist"];

impl Requirement {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let listed = value.is_some_and(|value| self.values.contains(value));
        match self.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    fn requirement(operator: &str, values: &[&str]) -> LabelSelector {
        LabelSelector {
            match_labels: BTreeMap::new(),
            match_expressions: vec![Requirement {
                key: "rack".into(),
                operator: operator.into(),
                values: values.iter().map(|value| (*value).to_owned()).collect(),
            }],
        }
    }

    #[test]
    fn each_operator_selects_as_kubernetes_says() {
        let (in_a, bare) = (labels(&[("rack", "a")]), labels(&[]));
        let cases = [
            (requirement("In", &["a", "b"]), true, false),
            (requirement("In", &["b"]), false, false),
            (requirement("NotIn", &["b"]), true, true),
            (requirement("NotIn", &["a"]), false, true),
            (requirement("Exists", &[]), true, false),
            (requirement("DoesNotExist", &[]), false, true),
            (requirement("Near", &["a"]), false, false),
            (LabelSelector::default(), true, true),
        ];
        for (selector, of_a, of_bare) in cases {
            assert_eq!(selector.selects(&in_a), of_a, "{selector:?}");
            assert_eq!(selector.selects(&bare), of_bare, "{selector:?}");
        }
    }

    #[test]
    fn labels_and_expressions_must_both_hold() {
        let mut selector = requirement("Exists", &[]);
        selector.match_labels = labels(&[("zone", "1")]);
        assert!(selector.selects(&labels(&[("rack", "a"), ("zone", "1")])));
        assert!(!selector.selects(&labels(&[("rack", "a"), ("zone", "2")])));
        assert!(!selector.selects(&labels(&[("zone", "1")])));
    }

    #[test]
    fn an_unknown_operator_is_named() {
        assert_eq!(requirement("Near", &[]).unknown_operator(), Some("Near"));
        assert_eq!(requirement("In", &["a"]).unknown_operator(), None);
    }
}
