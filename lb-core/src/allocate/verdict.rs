//! What is said of a Service: conditions by the names of KEP-4631, and an event for each that became worse.

use super::{
    Cluster, Condition, DEGRADED, Event, Ingress, OUTSIDE_POOL, PROVISIONING, SERVING, Service,
    StatusPlan,
    ledger::Ledger,
    services::View,
    serving::serving,
    settle::Decision,
    words::{Obstacle, condition},
};

/// Why one Service is not served while others are.
const OF_ONE_SERVICE: [&str; 2] = ["NoEndpoints", "NoEligibleNode"];

/// Status of a Service that is to have addresses.
pub(super) fn of_served(
    cluster: &Cluster,
    ledger: &Ledger,
    service: &Service,
    decision: &Decision,
    view: View,
) -> StatusPlan {
    let mut troubles = view.obstacles.clone();
    let mut notes = Vec::new();
    if view.ingress.is_empty() || service.requires_all_families {
        troubles.extend(decision.missing.iter().cloned());
    } else {
        notes.extend(decision.missing.iter().map(|item| item.message.as_str()));
    }
    let mut conditions = Vec::new();
    if view.ingress.is_empty() {
        let (reason, message) = summary(&troubles).unwrap_or(("Provisioning", String::new()));
        conditions.push(condition(SERVING, false, reason, message.clone()));
        conditions.push(condition(PROVISIONING, true, reason, message));
    } else {
        conditions.push(serving(cluster, ledger, service, &view.claims));
        conditions.push(condition(
            PROVISIONING,
            false,
            "Provisioned",
            notes.join("; "),
        ));
        if let Some((reason, message)) = summary(&troubles) {
            conditions.push(condition(DEGRADED, true, reason, message));
        }
    }
    if !view.outside.is_empty() {
        let addresses: Vec<String> = view.outside.iter().map(ToString::to_string).collect();
        let text = format!(
            "{} is in no Eip any more; the Service keeps it as it was announced: put it back into an Eip, or move the \
             Service by `lb-agent reassign`",
            addresses.join(", ")
        );
        conditions.push(condition(OUTSIDE_POOL, true, "NotInPool", text));
    }
    let events = events(ledger, service, &view, &conditions);
    StatusPlan {
        ingress: view.ingress,
        conditions,
        events,
    }
}

/// The first reason, and all that there is to say, each once.
fn summary(troubles: &[Obstacle]) -> Option<(&'static str, String)> {
    let first = troubles.first()?;
    let mut texts: Vec<&str> = Vec::new();
    for trouble in troubles {
        if !texts.contains(&trouble.message.as_str()) {
            texts.push(&trouble.message);
        }
    }
    Some((first.reason, texts.join("; ")))
}

/// What changed, in the order in which a person wants to hear it.
fn events(ledger: &Ledger, service: &Service, view: &View, conditions: &[Condition]) -> Vec<Event> {
    let mut events = Vec::new();
    for entry in &view.ingress {
        if service.shows(entry.address) {
            continue;
        }
        let claim = ledger.live_claim(&service.name, entry.address);
        let pool = claim.map_or("no Eip", |index| &ledger.entries[index].pool);
        events.push(normal(
            "AddressAssigned",
            format!("{} from Eip {pool}", entry.address),
        ));
    }
    let stays = |address| {
        view.ingress
            .iter()
            .any(|entry: &Ingress| entry.address == address)
    };
    for entry in service.ingress.iter().filter(|entry| !stays(entry.address)) {
        events.push(normal("AddressReleased", entry.address.to_string()));
    }
    for condition in conditions {
        let before = |known: &&Condition| known.kind == condition.kind;
        let before = service.conditions.iter().find(before);
        let is_known = before.is_some_and(|known| {
            known.status == condition.status && known.reason == condition.reason
        });
        let is_bad = match condition.kind {
            // What is wrong with routers is wrong with every Service: the condition is enough.
            SERVING => {
                let was_serving = before.is_some_and(|known| known.status == Some(true));
                was_serving && OF_ONE_SERVICE.contains(&condition.reason.as_str())
            }
            _ => condition.status == Some(true),
        };
        if is_bad && !is_known {
            events.push(Event {
                is_warning: true,
                reason: condition.reason.clone(),
                message: condition.message.clone(),
            });
        }
    }
    events
}

/// What to tell of a Service that is ours no more.
pub(super) fn release_events(service: &Service, kept: &[Ingress]) -> Vec<Event> {
    let lost = service.ingress.iter().filter(|entry| !kept.contains(entry));
    lost.map(|entry| normal("AddressReleased", entry.address.to_string()))
        .collect()
}

fn normal(reason: &str, message: String) -> Event {
    Event {
        is_warning: false,
        reason: reason.to_owned(),
        message,
    }
}
