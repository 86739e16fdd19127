//! Which Service has which port of an address that several share. A port is a Service's from the moment its claim says
//! so until the claim no longer does; whoever asks later gets the rest.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Cluster, PortKey,
    ledger::{Entry, Ledger},
};

/// Gives each claim its ports.
pub(super) fn grant(cluster: &Cluster, ledger: &mut Ledger) {
    for index in 0..ledger.entries.len() {
        if !ledger.entries[index].is_live() {
            continue;
        }
        let ports = granted(cluster, ledger, index);
        if let Some(claim) = &mut ledger.entries[index].planned {
            claim.ports = ports;
        }
    }
}

fn granted(cluster: &Cluster, ledger: &Ledger, index: usize) -> BTreeSet<PortKey> {
    let entry = &ledger.entries[index];
    let observed = observed_ports(entry);
    let service = cluster.services.get(&entry.service);
    let Some(service) = service.filter(|service| service.is_served()) else {
        return observed;
    };
    let is_shown = |port: &PortKey| ledger.shows_port(entry.address, *port, &service.name);
    let is_kept = |port: &PortKey| service.ports.contains(port) || is_shown(port);
    let kept = observed.into_iter().filter(is_kept);
    let is_free = |port: &PortKey| holder_of(ledger, index, *port).is_none();
    let new = service.ports.iter().copied().filter(is_free);
    kept.chain(new).collect()
}

/// Who else has a port of a claim's address, before or after this pass, by a claim or by what a status says.
pub(super) fn holder_of(ledger: &Ledger, index: usize, port: PortKey) -> Option<&Arc<str>> {
    let own = &ledger.entries[index];
    let others = ledger
        .of_address(own.address)
        .map(|index| &ledger.entries[index]);
    let mut others = others.filter(|entry| entry.service != own.service);
    let by_claim = others.find(|entry| {
        let claims = [&entry.observed, &entry.planned].into_iter().flatten();
        let mut live = claims.filter(|claim| claim.state.is_live());
        live.any(|claim| claim.ports.contains(&port))
    });
    by_claim
        .map(|entry| &entry.service)
        .or_else(|| ledger.shown_by_another(own.address, port, &own.service))
}

fn observed_ports(entry: &Entry) -> BTreeSet<PortKey> {
    let live = entry.observed.as_ref().filter(|_| entry.was_live());
    live.map(|claim| claim.ports.clone()).unwrap_or_default()
}
