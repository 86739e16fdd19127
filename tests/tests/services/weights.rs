//! Endpoints' weights: shares of real connections and datagrams. The cluster's key and the client's ports are always the
//! same, so that a run that holds holds again.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::{Result, ensure};
use fairlead_tests::{steered::Steered, steering::datagrams_are_answered};
use lb_lab::{Profile, per_pod};

use crate::{ECHO, HTTP, Service, answered, here, take};

/// By pod; none is the mean, so that equal shares are wrong everywhere.
const WEIGHTS: [(&str, u16); 6] = [
    ("pod1-1", 1),
    ("pod1-2", 2),
    ("pod2-1", 6),
    ("pod2-2", 1),
    ("pod3-1", 12),
    ("pod3-2", 2),
];
/// Rows of a table of a few endpoints.
const ROWS: f64 = 4096.0;
/// Standard deviations that a share may be off: one in 16,000 is further off by chance.
const DEVIATIONS: f64 = 4.0;

#[test]
fn connections_are_shared_by_weight() -> Result<()> {
    let mut steered = Steered::start_hostile(&Profile::default())?;
    shares_are_as_weighted(&mut steered, "forth", &WEIGHTS, 20_000)?;
    let mut turned = WEIGHTS;
    let weights = WEIGHTS.map(|(_, weight)| weight);
    for (place, weight) in turned.iter_mut().zip(weights.iter().rev()) {
        place.1 = *weight;
    }
    // From other ports: flows that there are stay with their pods.
    shares_are_as_weighted(&mut steered, "back", &turned, 24_000)
}

fn shares_are_as_weighted(
    steered: &mut Steered,
    name: &str,
    weights: &[(&str, u16)],
    first_port: u16,
) -> Result<()> {
    let service = Service {
        name,
        field: "",
        ports: &[HTTP, ECHO],
    };
    let text = service.text(steered, |pod| {
        let (_, weight) = weights.iter().find(|(name, _)| *name == pod.name())?;
        Some(format!("{}, weight: {weight}", here(pod)))
    });
    take(steered, &text, name, 4)?;
    for target in Steered::targets() {
        let connections = per_pod(&answered(steered, target, first_port..first_port + 2400)?);
        judge("connections", target, weights, &connections)?;
        let mut datagrams = BTreeMap::new();
        let ports = first_port..first_port + 600;
        for pod in datagrams_are_answered(steered, target, ports)?.into_values() {
            *datagrams.entry(pod).or_default() += 1;
        }
        judge("datagrams", target, weights, &datagrams)?;
    }
    Ok(())
}

/// A row of the table falls to an endpoint by its weight, and a flow to a row, each by a hash: the variances of both draws.
fn judge(
    what: &str,
    target: SocketAddr,
    weights: &[(&str, u16)],
    counts: &BTreeMap<String, usize>,
) -> Result<()> {
    let flows = counts.values().sum::<usize>() as f64;
    let total: u16 = weights.iter().map(|(_, weight)| weight).sum();
    for (pod, weight) in weights {
        let share = f64::from(*weight) / f64::from(total);
        let spread = share * (1.0 - share);
        let deviation = (flows * spread + flows * flows * spread / ROWS).sqrt();
        let (due, most) = (flows * share, DEVIATIONS * deviation);
        let count = counts.get(*pod).copied().unwrap_or(0) as f64;
        ensure!(
            (count - due).abs() <= most,
            "{target}: {count} of {flows} {what} at {pod} of weight {weight}, where {due:.0} ± {most:.0} are due: {counts:?}"
        );
        println!("{target}: {count} {what} at {pod}, due are {due:.0} ± {most:.0}");
    }
    Ok(())
}
