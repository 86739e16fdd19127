//! `run --once`: brings maps and links to what the file says and leaves them to themselves, with a sign of
//! life that is good for ever. For whoever wants to look at the data path with `bpftool`: nothing is announced,
//! nobody probes, and no later change of a neighbour is followed.

use std::{sync::Arc, time::Duration};

use lb_core::DesiredState;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout_at},
};

use crate::{
    agent::Setup, apply::Maps, engine::state::State, failure::Failure, hostnet, links, neighbours,
    sources::CHANGES_WAITING_MAX,
};

/// How long the kernel may take to tell its links and routes: no time but on a machine that is very busy.
const LINKS_MAX: Duration = Duration::from_secs(30);
/// How long the neighbours' MACs are waited for, once the links are known.
const RESOLVE_MAX: Duration = Duration::from_secs(3);

/// Does it.
///
/// # Errors
/// If the kernel does not tell its links, or refuses the data path.
pub async fn run<M: Maps>(mut setup: Setup<M>) -> Result<(), Failure> {
    let (changes, mut heard) = mpsc::channel(CHANGES_WAITING_MAX);
    let (_engine, desired) = watch::channel(Arc::default());
    let uplinks = setup.uplinks.clone();
    let links = tokio::spawn(links::run(uplinks.clone(), changes.clone()));
    let ways = tokio::spawn(neighbours::run(uplinks, setup.nodes(), desired, changes));
    let links_by = Instant::now() + LINKS_MAX;
    let mut resolved_by = None;
    while !setup.state.is_complete() || is_unresolved(&setup.state) {
        let deadline = match setup.state.is_complete() {
            true => *resolved_by.get_or_insert_with(|| Instant::now() + RESOLVE_MAX),
            false => links_by,
        };
        match timeout_at(deadline, heard.recv()).await {
            Ok(Some(change)) => {
                setup.state.take(change);
            }
            Ok(None) | Err(_) => break,
        }
    }
    links.abort();
    ways.abort();
    if !setup.state.is_complete() {
        return Err(Failure::Failed(
            "the kernel does not tell its links and routes".to_owned(),
        ));
    }
    let desired = bring_about(setup)?;
    let kept = hostnet::keep_once(&desired).await;
    kept.map_err(|error| Failure::from_error(&error))?;
    tracing::info!(
        "the data path is in place and goes on without an agent; `lb-agent cleanup` takes it away"
    );
    Ok(())
}

fn bring_about<M: Maps>(mut setup: Setup<M>) -> Result<Arc<DesiredState>, Failure> {
    setup.state.plan(Duration::ZERO);
    let (_, applied) = setup
        .executor
        .apply(&setup.state.desired(), &setup.state.neighbours());
    applied
        .and_then(|()| setup.executor.stamp(None))
        .map_err(|error| Failure::from_error(&error))?;
    Ok(setup.state.desired())
}

fn is_unresolved(state: &State) -> bool {
    state.neighbours().values().any(|way| way.mac.is_none())
}
