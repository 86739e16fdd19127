//! What this node says of itself in the API server: the speaker's key once the data path is loaded, and each session.
//! The states between two attempts to dial are told as one, so that a router that is away costs one writing and not one
//! an attempt.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use lb_core::model::{Peer, Remote, Unfit};
use lb_kube::{
    crd::{NodeConfStatus, NodePeerStatus, PeerState, TimersState},
    reflect::cluster::DRAINING,
    status::{Report, Writer, rfc3339},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval},
};

use crate::engine::{
    feedback::{PeerSession, SessionState},
    state::View,
};

/// Time between two looks at what is to be told.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Tells until the engine is gone.
pub async fn run(mut writer: Writer, views: mpsc::Sender<oneshot::Sender<View>>) {
    let mut reporter = Reporter::default();
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told_failure = None;
    loop {
        looks.tick().await;
        let (sender, answer) = oneshot::channel();
        if views.send(sender).await.is_err() {
            return;
        }
        let Ok(view) = answer.await else { return };
        let Some(report) = reporter.report(&view, SystemTime::now()) else {
            continue;
        };
        match writer.write(&report).await {
            Ok(_) => told_failure = None,
            Err(error) => {
                let error = error.to_string();
                if told_failure.as_ref() != Some(&error) {
                    tracing::warn!(%error, "the API server does not take this node's status; it is tried again");
                    told_failure = Some(error);
                }
            }
        }
    }
}

/// Remembers since when each part is as it is.
#[derive(Debug, Default)]
struct Reporter {
    since: BTreeMap<String, (String, SystemTime)>,
}

impl Reporter {
    /// What is to be told now; `None` before the API server has told of speaker and peers.
    fn report(&mut self, view: &View, now: SystemTime) -> Option<Report> {
        let told = view.told.speaker.as_ref()?;
        let speaker =
            (told.is_there && view.snapshot.takeover.is_some()).then(|| self.speaker(view, now));
        let peers = told.remotes.iter().map(|(name, remote)| {
            let status = self.peer(view, name, remote, now);
            (name.clone(), status)
        });
        Some(Report {
            peers: peers.collect(),
            speaker,
        })
    }

    fn speaker(&mut self, view: &View, now: SystemTime) -> NodeConfStatus {
        let plan = view.desired.bgp.as_ref();
        let (state, reason) = speaker_state(view);
        NodeConfStatus {
            router_id: plan.map(|plan| plan.router_id.to_string()),
            asn: plan.map(|plan| plan.asn.into()),
            state: Some(state.to_owned()),
            since: self.since("", state, now),
            reason,
        }
    }

    /// `None`: this node has no session with it.
    fn peer(
        &mut self,
        view: &View,
        name: &str,
        remote: &Remote,
        now: SystemTime,
    ) -> Option<NodePeerStatus> {
        let plan = view.desired.bgp.as_ref()?;
        let peer = plan.peers.iter().find(|peer| peer.remote == *remote)?;
        let session = view.told.sessions.get(remote);
        let state = state_of(session);
        let local_asn = peer.local_asn.unwrap_or(plan.asn);
        Some(NodePeerStatus {
            peer_state: Some(peer_state(peer, session, state, local_asn)),
            timers_state: session.and_then(timers),
            since: self.since(name, state, now),
            reason: session
                .filter(|session| session.state != SessionState::Established)
                .and_then(|session| session.last_error.clone()),
        })
    }

    fn since(&mut self, part: &str, state: &str, now: SystemTime) -> Option<String> {
        let known = self.since.entry(part.to_owned());
        let known = known.or_insert_with(|| (state.to_owned(), now));
        if known.0 != state {
            *known = (state.to_owned(), now);
        }
        rfc3339(known.1)
    }
}

/// In one word whether this node announces, and if not, or not as it should, why.
fn speaker_state(view: &View) -> (&'static str, Option<String>) {
    let own = view.desired.cluster.as_ref().and_then(|c| c.own());
    let unfit = own.and_then(|own| own.unfit);
    let forbidden = unfit.filter(|unfit| unfit.forbids_announcing());
    let state = match (forbidden, &view.snapshot.drain, &view.told.listen_problem) {
        (Some(Unfit::Deleted), _, _) => "Deleted",
        (Some(Unfit::Excluded), _, _) => "Excluded",
        (Some(_), _, _) => "NetworkUnavailable",
        (None, Some(_), _) => DRAINING,
        (None, None, Some(problem)) => return ("Degraded", Some(problem.clone())),
        (None, None, None) => "Ready",
    };
    (state, forbidden.map(|unfit| unfit.to_string()))
}

/// OpenELB's words; what comes before a session is ACTIVE.
fn state_of(session: Option<&PeerSession>) -> &'static str {
    match session.map(|session| session.state) {
        Some(SessionState::Established) => "ESTABLISHED",
        Some(SessionState::Idle) if session.is_some_and(|s| s.address.is_none()) => "IDLE",
        None => "IDLE",
        Some(_) => "ACTIVE",
    }
}

fn peer_state(
    peer: &Peer,
    session: Option<&PeerSession>,
    state: &str,
    local_asn: u32,
) -> PeerState {
    let agreed = session.and_then(|session| session.agreed.as_ref());
    PeerState {
        session_state: Some(state.to_owned()),
        neighbor_address: Some(peer.remote.to_string()),
        peer_as: Some(peer.asn.into()),
        local_as: Some(local_asn.into()),
        router_id: agreed.map(|agreed| agreed.identifier.clone()),
    }
}

fn timers(session: &PeerSession) -> Option<TimersState> {
    let agreed = session.agreed.as_ref()?;
    Some(TimersState {
        negotiated_hold_time: Some(agreed.hold_time.as_secs().to_string()),
    })
}

#[cfg(test)]
mod tests;
