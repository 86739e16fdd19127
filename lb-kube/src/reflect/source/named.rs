//! Objects that count because others name them: Secrets with passwords and the cluster's key, and the ConfigMap with the
//! speaker's policy. Each is watched by its name, from when it is first named.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Resource, core::NamespaceResourceScope};
use tokio::sync::mpsc;

use super::{CLUSTER_SECRET, EVENTS_WAITING_MAX, State};
use crate::{
    project::gobgp::{POLICY_KEY, Policy},
    reflect::{
        store::Event,
        stores::{Heard, PolicyRecord, SecretRecord},
        watch::{Scope, Watched, watch},
    },
};

impl State {
    /// Watches each Secret and each ConfigMap that is named somewhere.
    pub(super) fn watch_named(&mut self) {
        let mut wanted = self.cluster.password_secrets();
        if self.source.reads_cluster_key {
            wanted.insert(CLUSTER_SECRET.to_owned());
        }
        for name in wanted {
            if self.watched_secrets.insert(name.clone()) {
                self.watch_secret(&name);
            }
        }
        let policy = self.cluster.policy_name().map(str::to_owned);
        if let Some(name) = policy.filter(|name| !self.watched_policies.contains(name)) {
            self.watch_policy(&name);
            self.watched_policies.insert(name);
        }
    }

    /// One that a later list does not have stays in force until the watch says that it was deleted: it may be the list
    /// that is wrong.
    fn watch_secret(&mut self, name: &str) {
        let project = |object: &Secret| {
            let values = object.data.iter().flatten();
            let values = values.map(|(name, value)| (name.clone(), value.0.clone()));
            Some(SecretRecord(values.collect::<BTreeMap<_, _>>()))
        };
        self.watch_one(name, project, |event| Some(Heard::Secret(event)));
    }

    /// What was read last stays in force, even if the ConfigMap is deleted: a policy keeps routes back.
    fn watch_policy(&mut self, name: &str) {
        let project = |object: &ConfigMap| {
            let text = object.data.as_ref()?.get(POLICY_KEY)?;
            Some(PolicyRecord(text.clone()))
        };
        self.watch_one(name, project, |event| match event {
            Event::Deleted(_) => None,
            Event::Applied(known) => Some(Heard::Policy(match Policy::read(&known.record.0) {
                Ok(_) => Event::Applied(known),
                Err(why) => Event::Refused(known.key, why),
            })),
            other => Some(Heard::Policy(other)),
        });
    }

    /// One object of our namespace. Lists of it are told as what became of it: others are watched beside.
    fn watch_one<K, R, P>(
        &mut self,
        name: &str,
        project: P,
        heard_as: fn(Event<R>) -> Option<Heard>,
    ) where
        K: Watched + Resource<Scope = NamespaceResourceScope>,
        R: Send + 'static,
        P: FnMut(&K) -> Option<R> + Send + 'static,
    {
        let api = Api::namespaced(self.source.client.clone(), &self.source.settings.namespace);
        let scope = Scope {
            fields: Some(format!("metadata.name={name}")),
            jitter: format!("{}/{name}", self.source.settings.node),
            ..Scope::default()
        };
        let (events, mut told) = mpsc::channel(EVENTS_WAITING_MAX);
        self.watches.spawn(watch(api, scope, project, events));
        let heard = self.heard.clone();
        self.watches.spawn(async move {
            while let Some(event) = told.recv().await {
                let events = match event {
                    Event::Listed { items, .. } => {
                        let found = items.into_iter().map(Event::Applied);
                        [Event::Back].into_iter().chain(found).collect()
                    }
                    Event::NotServed => vec![Event::Back],
                    other => vec![other],
                };
                for event in events.into_iter().filter_map(heard_as) {
                    if heard.send(event).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}
