//! Conditions as objects have them. Ours on Services bear our prefix; those of other controllers are kept as they are. The
//! time of a condition moves only when its status does.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition as ConditionObject, Time},
    jiff::Timestamp,
};
use lb_core::allocate::{Condition, DEGRADED, OUTSIDE_POOL, PROVISIONING, SERVING};

use crate::crd;

/// Before the names of conditions on Services.
pub(super) const PREFIX: &str = "fairlead.io/";
/// Conditions on Services.
const SERVICE_KINDS: [&str; 4] = [SERVING, PROVISIONING, DEGRADED, OUTSIDE_POOL];
/// Conditions on Eips.
const POOL_KINDS: [&str; 5] = [
    "Ready",
    "FieldIgnored",
    "Exhausted",
    "Overlapping",
    "SeveralDefaults",
];
/// Longest message of a condition (metav1.Condition).
const MESSAGE_MAX: usize = 32_768;

/// A condition of ours on a Service, by its full name.
pub(super) fn service_kind(name: &str) -> Option<&'static str> {
    let name = name.strip_prefix(PREFIX)?;
    SERVICE_KINDS.into_iter().find(|kind| *kind == name)
}

/// A condition of ours on an Eip.
pub(super) fn pool_kind(name: &str) -> Option<&'static str> {
    POOL_KINDS.into_iter().find(|kind| *kind == name)
}

pub(super) fn parse(status: &str) -> Option<bool> {
    match status {
        "True" => Some(true),
        "False" => Some(false),
        _ => None,
    }
}

fn text(status: Option<bool>) -> &'static str {
    match status {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    }
}

/// All conditions of a Service: others' as they are, and these of ours.
pub(super) fn of_service(
    before: &[ConditionObject],
    ours: &[Condition],
    generation: Option<i64>,
) -> Vec<ConditionObject> {
    let others = before
        .iter()
        .filter(|known| !known.type_.starts_with(PREFIX));
    let mut all: Vec<_> = others.cloned().collect();
    for condition in ours {
        let type_ = format!("{PREFIX}{}", condition.kind);
        let status = text(condition.status).to_owned();
        let mut same = before.iter();
        let same = same.find(|known| known.type_ == type_ && known.status == status);
        let since = same.map(|known| known.last_transition_time.clone());
        all.push(ConditionObject {
            type_,
            status,
            last_transition_time: since.unwrap_or_else(|| Time(Timestamp::now())),
            message: shortened(condition.message.clone(), MESSAGE_MAX),
            observed_generation: generation,
            reason: condition.reason.clone(),
        });
    }
    all
}

/// The conditions of an Eip, which are all ours.
pub(super) fn of_pool(before: &[crd::Condition], ours: &[Condition]) -> Vec<crd::Condition> {
    let convert = |condition: &Condition| {
        let status = text(condition.status).to_owned();
        let mut same = before.iter();
        let same = same.find(|known| known.type_ == condition.kind && known.status == status);
        let since = same.map(|known| known.last_transition_time.clone());
        crd::Condition {
            type_: condition.kind.to_owned(),
            status,
            observed_generation: None,
            last_transition_time: since.unwrap_or_else(|| super::time::text(super::time::now())),
            reason: condition.reason.clone(),
            message: shortened(condition.message.clone(), MESSAGE_MAX),
        }
    };
    ours.iter().map(convert).collect()
}

/// As much of a text as so many bytes hold.
pub(super) fn shortened(mut text: String, bytes: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes));
    text
}
