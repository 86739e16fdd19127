//! What an object says that is not done, by field, for its conditions.

use std::fmt;

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// It has no meaning here, or not in this version.
    Ignored,
    /// It makes no sense; the message says what is done instead.
    Wrong,
}

/// A field that is not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its path below `spec`.
    pub field: String,
    /// What becomes of it.
    pub kind: FindingKind,
    /// Why, without a final dot.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spec.{}: {}", self.field, self.message)
    }
}

/// All findings of an object, in the order of its fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    /// Whether every field is followed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fields that are ignored and why, as one sentence; `None` if there is none.
    #[must_use]
    pub fn ignored(&self) -> Option<String> {
        self.sentence(FindingKind::Ignored)
    }

    /// What is wrong, as one sentence; `None` if nothing is.
    #[must_use]
    pub fn wrong_ones(&self) -> Option<String> {
        self.sentence(FindingKind::Wrong)
    }

    fn sentence(&self, kind: FindingKind) -> Option<String> {
        let of_kind = self.0.iter().filter(|finding| finding.kind == kind);
        let parts: Vec<String> = of_kind.map(Finding::to_string).collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    pub(in crate::project) fn ignore(&mut self, field: &str, message: impl Into<String>) {
        self.push(field, FindingKind::Ignored, message.into());
    }

    pub(super) fn wrong(&mut self, field: &str, message: impl Into<String>) {
        self.push(field, FindingKind::Wrong, message.into());
    }

    /// Ignores each of the fields that is there.
    pub(super) fn ignore_given(&mut self, fields: &[(&str, bool, &str)]) {
        for (field, is_given, message) in fields {
            if *is_given {
                self.ignore(field, *message);
            }
        }
    }

    /// The number if it lies between the limits, which the message names.
    pub(super) fn number<T: TryFrom<i64>>(
        &mut self,
        field: &str,
        value: i64,
        (least, most): (i64, i64),
    ) -> Option<T> {
        let number = (least..=most)
            .contains(&value)
            .then(|| T::try_from(value).ok());
        if number.is_none() {
            let message = format!("{value} is not a number from {least} to {most}; not used");
            self.wrong(field, message);
        }
        number.flatten()
    }

    fn push(&mut self, field: &str, kind: FindingKind, message: String) {
        let field = field.to_owned();
        self.0.push(Finding {
            field,
            kind,
            message,
        });
    }
}
