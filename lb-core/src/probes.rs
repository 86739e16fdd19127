//! Health probes: which there are to run, and what their results come to. An endpoint goes down after as many
//! failures in a row as its Service says and comes up with one success; before the first result it is up. No
//! socket and no clock here: the agent dials and tells.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use crate::model::{Endpoint, HealthCheck, Service};

/// One probe; Services that ask the same of the same endpoint share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Probe {
    /// What to dial.
    pub address: SocketAddr,
    /// Time from one to the next, and the most that one may take.
    pub interval: Duration,
    /// Failures in a row that count.
    pub failures: u32,
}

impl Probe {
    /// The probe that a health check means for an endpoint.
    #[must_use]
    pub fn of(check: &HealthCheck, endpoint: &Endpoint) -> Self {
        Self {
            address: SocketAddr::new(endpoint.address, check.tcp_port),
            interval: check.interval,
            failures: check.failures,
        }
    }
}

/// All probes that the Services ask for.
#[must_use]
pub fn wanted<'a>(services: impl IntoIterator<Item = &'a Arc<Service>>) -> BTreeSet<Probe> {
    services
        .into_iter()
        .filter_map(|service| Some((service, service.health_check.as_ref()?)))
        .flat_map(|(service, check)| {
            let endpoints = service.endpoints.iter();
            endpoints.map(move |endpoint| Probe::of(check, endpoint))
        })
        .collect()
}

/// Damped results.
#[derive(Clone, Debug, Default)]
pub struct Probes {
    failures_in_a_row: BTreeMap<Probe, u32>,
    down: BTreeSet<Probe>,
}

impl Probes {
    /// Takes a result in. True if it changed what [`Probes::down`] says.
    pub fn record(&mut self, probe: Probe, succeeded: bool) -> bool {
        if succeeded {
            self.failures_in_a_row.remove(&probe);
            return self.down.remove(&probe);
        }
        let failures = self.failures_in_a_row.entry(probe).or_default();
        *failures = failures.saturating_add(1);
        *failures >= probe.failures && self.down.insert(probe)
    }

    /// Forgets probes that nobody asks for any more. True if it changed what [`Probes::down`] says.
    pub fn retain(&mut self, wanted: &BTreeSet<Probe>) -> bool {
        let before = self.down.len();
        self.failures_in_a_row
            .retain(|probe, _| wanted.contains(probe));
        self.down.retain(|probe| wanted.contains(probe));
        self.down.len() != before
    }

    /// What has failed and not come back.
    #[must_use]
    pub fn down(&self) -> &BTreeSet<Probe> {
        &self.down
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe() -> Probe {
        Probe {
            address: "10.1.1.2:8080".parse().unwrap(),
            interval: Duration::from_secs(1),
            failures: 3,
        }
    }

    #[test]
    fn only_failures_in_a_row_count_and_one_success_raises() {
        let mut probes = Probes::default();
        let changes: Vec<_> = [false, false, true, false, false, false, false, true, true]
            .into_iter()
            .map(|result| probes.record(probe(), result))
            .collect();
        let third_failure_and_success =
            [false, false, false, false, false, true, false, true, false];
        assert_eq!(changes, third_failure_and_success);
        assert!(probes.down().is_empty());
    }

    #[test]
    fn a_probe_that_nobody_wants_is_forgotten() {
        let mut probes = Probes::default();
        for _ in 0..3 {
            probes.record(probe(), false);
        }
        assert!(!probes.retain(&BTreeSet::from([probe()])));
        assert!(probes.retain(&BTreeSet::new()));
        assert!(!probes.record(probe(), false), "the count starts again");
    }
}
