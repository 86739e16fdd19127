//! Which of several controllers leads: the holder of a Lease (coordination.k8s.io), as client-go elects. Every write names the version
//! that it is based on, so that only one wins. A holder counts as dead when the Lease has not changed for its
//! whole duration on the watcher's own clock; clocks of different machines are never compared.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease as LeaseObject, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{Options, term::Term};

/// Name of the Lease.
const LEASE: &str = "fairlead-controller";

/// How long leadership lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTimes {
    /// How long others wait for a leader that does not renew.
    pub duration: Duration,
    /// How long a leader that cannot renew goes on.
    pub deadline: Duration,
    /// From one attempt to the next.
    pub retry: Duration,
}

impl Default for LeaseTimes {
    /// client-go's.
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

impl LeaseTimes {
    /// The same proportions for another duration.
    #[must_use]
    pub fn of_duration(duration: Duration) -> Self {
        Self {
            duration,
            deadline: duration * 2 / 3,
            retry: duration * 2 / 15,
        }
    }
}

pub(super) struct Lease {
    api: Api<LeaseObject>,
    namespace: String,
    identity: String,
    times: LeaseTimes,
    /// What somebody else's Lease looked like, and since when.
    observed: Option<(LeaseSpec, Instant)>,
    term: Option<Term>,
    /// The last failure that was said.
    told: Option<String>,
}

impl Lease {
    pub(super) fn new(client: Client, options: &Options) -> Self {
        Self {
            api: Api::namespaced(client, &options.namespace),
            namespace: options.namespace.clone(),
            identity: options.identity.clone(),
            times: options.lease,
            observed: None,
            term: None,
            told: None,
        }
    }

    /// Keeps or seeks leadership until told to stop, and then gives it up.
    pub(super) async fn run(
        mut self,
        terms: watch::Sender<Option<Term>>,
        mut stop: watch::Receiver<bool>,
    ) {
        loop {
            match timeout(self.times.deadline, self.attempt()).await {
                Ok(Ok(())) => self.told = None,
                // Somebody else was faster.
                Ok(Err(kube::Error::Api(status))) if status.code == 409 => {}
                Ok(Err(error)) => self.complain(error.to_string()),
                Err(_) => self.complain("the API server does not answer".to_owned()),
            }
            self.term.take_if(|term| !term.is_valid());
            if *terms.borrow() != self.term {
                terms.send_replace(self.term.clone());
            }
            tokio::select! {
                () = sleep(self.times.retry) => {}
                _ = stop.wait_for(|stops| *stops) => break,
            }
        }
        terms.send_replace(None);
        if self.term.is_some() {
            let given_up = timeout(self.times.deadline, self.give_up()).await;
            if let Ok(Err(error)) = given_up {
                tracing::warn!("the Lease could not be given up: {error}");
            }
        }
    }

    /// Says why nobody may lead, once.
    fn complain(&mut self, why: String) {
        if self.told.as_ref() != Some(&why) {
            let namespace = &self.namespace;
            tracing::warn!(
                "the Lease {namespace}/{LEASE} cannot be had: {why}; without it no address is given, and it is tried again"
            );
            self.told = Some(why);
        }
    }

    async fn attempt(&mut self) -> kube::Result<()> {
        let asked = Instant::now();
        let Some(current) = self.api.get_opt(LEASE).await? else {
            let lease = self.object(ObjectMeta::default(), 0);
            let made = self.api.create(&PostParams::default(), &lease).await?;
            self.won(&made, asked);
            return Ok(());
        };
        let spec = current.spec.clone().unwrap_or_default();
        let is_ours = spec.holder_identity.as_deref() == Some(&self.identity);
        if !is_ours && !self.has_expired(&spec) {
            self.term = None;
            return Ok(());
        }
        let before = spec.lease_transitions.unwrap_or_default();
        let transitions = if is_ours { before } else { before + 1 };
        let lease = self.object(current.metadata, transitions);
        let written = self
            .api
            .replace(LEASE, &PostParams::default(), &lease)
            .await?;
        self.won(&written, asked);
        Ok(())
    }

    /// Whether a Lease of somebody else's has not changed for as long as it lasts.
    fn has_expired(&mut self, spec: &LeaseSpec) -> bool {
        if spec
            .holder_identity
            .as_deref()
            .unwrap_or_default()
            .is_empty()
        {
            return true;
        }
        let now = Instant::now();
        match &self.observed {
            Some((known, since)) if known == spec => {
                let seconds = spec.lease_duration_seconds.unwrap_or_default().max(1);
                let seconds = u64::try_from(seconds).unwrap_or_default();
                now.duration_since(*since) >= Duration::from_secs(seconds)
            }
            _ => {
                self.observed = Some((spec.clone(), now));
                false
            }
        }
    }

    fn won(&mut self, lease: &LeaseObject, asked: Instant) {
        let spec = lease.spec.as_ref();
        let transitions = spec.and_then(|spec| spec.lease_transitions);
        let transitions = transitions.and_then(|number| u64::try_from(number).ok());
        let began = self.term.as_ref().map_or(asked, |term| term.began);
        self.observed = None;
        self.term = Some(Term {
            transitions: transitions.unwrap_or_default(),
            began,
            until: asked + self.times.deadline,
        });
    }

    fn object(&self, metadata: ObjectMeta, transitions: i32) -> LeaseObject {
        let now = MicroTime(Timestamp::now());
        let seconds = self.times.duration.as_secs().max(1);
        LeaseObject {
            metadata: ObjectMeta {
                name: Some(LEASE.to_owned()),
                namespace: Some(self.namespace.clone()),
                ..metadata
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(seconds).ok(),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                lease_transitions: Some(transitions),
                ..LeaseSpec::default()
            }),
        }
    }

    async fn give_up(&self) -> kube::Result<()> {
        let Some(mut lease) = self.api.get_opt(LEASE).await? else {
            return Ok(());
        };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() == Some(&self.identity) {
            spec.holder_identity = Some(String::new());
            self.api
                .replace(LEASE, &PostParams::default(), &lease)
                .await?;
        }
        Ok(())
    }
}
