//! Writes Services: finalizers and annotations as a patch of the object, addresses and conditions as one of its status.
//! Both name the version that they are based on. Events are told when the status is written.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, Service};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
    runtime::events::{self, EventType, Recorder, Reporter},
};
use lb_core::allocate::{Event, Ingress, MetadataPlan, PortState, ServicePlan, StatusPlan};
use serde_json::{Value, json};
use tokio::{sync::watch, time::timeout};

use super::{
    Controller, look,
    pass::{WRITE_TIMEOUT, Written},
    service::{
        self, ANNOUNCEMENT, CLEANUP_FINALIZER, FINALIZER, REASSIGN, ServiceRecord, is_our_finalizer,
    },
    status::{self, shortened},
    term::Term,
};
use crate::{project::request::POOL, reflect::store::Known};

/// Who tells events.
const REPORTER: &str = "fairlead-controller";
/// What is said of a port that another Service has (the form of `PortStatus.error`).
const PORT_CONFLICT: &str = "fairlead.io/PortConflict";
/// Longest note of an event, in bytes.
const NOTE_MAX: usize = 1000;

/// A write to one Service.
pub(super) struct ServiceWrite {
    client: Client,
    term: watch::Receiver<Option<Term>>,
    name: Arc<str>,
    patch: Value,
    is_status: bool,
    events: Vec<Event>,
}

/// How it ended.
pub(super) struct ServiceAnswer {
    name: Arc<str>,
    /// `None`: no answer came in time, or nothing was asked.
    answer: Option<kube::Result<Service>>,
}

impl ServiceWrite {
    /// Metadata first; the status then waits for the next pass.
    pub(super) fn new(
        client: Client,
        term: watch::Receiver<Option<Term>>,
        known: &Known<ServiceRecord>,
        plan: &ServicePlan,
    ) -> Option<Self> {
        let version = known.version.to_string();
        let (patch, is_status, events) = match (&plan.metadata, &plan.status) {
            (Some(metadata), _) => (
                metadata_patch(&version, &known.record, metadata),
                false,
                Vec::new(),
            ),
            (None, Some(status)) => (
                status_patch(&version, &known.record, status),
                true,
                status.events.clone(),
            ),
            (None, None) => return None,
        };
        Some(Self {
            client,
            term,
            name: Arc::clone(&known.key),
            patch,
            is_status,
            events,
        })
    }

    pub(super) async fn run(self) -> ServiceAnswer {
        let name = Arc::clone(&self.name);
        let leads = self.term.borrow().as_ref().is_some_and(Term::is_valid);
        let answer = if leads { self.ask().await } else { None };
        ServiceAnswer { name, answer }
    }

    async fn ask(self) -> Option<kube::Result<Service>> {
        let (namespace, name) = self.name.split_once('/')?;
        let api: Api<Service> = Api::namespaced(self.client.clone(), namespace);
        let (params, patch) = (PatchParams::default(), Patch::Merge(&self.patch));
        let answer = if self.is_status {
            timeout(WRITE_TIMEOUT, api.patch_status(name, &params, &patch)).await
        } else {
            timeout(WRITE_TIMEOUT, api.patch(name, &params, &patch)).await
        };
        if let Ok(Ok(object)) = &answer {
            tell(&self.client, &object.object_ref(&()), self.events).await;
        }
        answer.ok()
    }
}

/// Tells events; one that cannot be told is lost, as events may be.
async fn tell(client: &Client, service: &ObjectReference, events: Vec<Event>) {
    let reporter = Reporter {
        controller: REPORTER.to_owned(),
        instance: None,
    };
    let recorder = Recorder::new(client.clone(), reporter);
    for event in events {
        let type_ = if event.is_warning {
            EventType::Warning
        } else {
            EventType::Normal
        };
        let event = events::Event {
            type_,
            reason: event.reason,
            note: Some(shortened(event.message, NOTE_MAX)),
            action: "Allocate".to_owned(),
            secondary: None,
        };
        if let Ok(Err(error)) = timeout(WRITE_TIMEOUT, recorder.publish(&event, service)).await {
            tracing::debug!("an event is lost: {error}");
        }
    }
}

impl Controller {
    pub(super) async fn learn_service(&mut self, answer: ServiceAnswer) -> Written {
        let ServiceAnswer { name, answer } = answer;
        match answer {
            Some(Ok(object)) => {
                let known = look::known(&object, service::record(&object, &self.view.class));
                self.count_addresses(&known);
                self.view.services.learn(known);
                Written::Done
            }
            Some(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
                self.reread_service(&name).await
            }
            Some(Err(error)) => {
                tracing::warn!(service = %name, "cannot be written: {error}; it is tried again");
                Written::Failed
            }
            None => Written::Failed,
        }
    }

    fn count_addresses(&mut self, after: &Known<ServiceRecord>) {
        let Some(before) = self.view.services.get(&after.key) else {
            return;
        };
        let (before, after) = (&before.record.model, &after.record.model);
        let gained = after.ingress.iter();
        let gained = gained.filter(|entry| !before.shows(entry.address)).count();
        let lost = before.ingress.iter();
        let lost = lost.filter(|entry| !after.shows(entry.address)).count();
        self.counts.assigned += u64::try_from(gained).unwrap_or_default();
        self.counts.released += u64::try_from(lost).unwrap_or_default();
    }

    async fn reread_service(&mut self, name: &Arc<str>) -> Written {
        let Some((namespace, short)) = name.split_once('/') else {
            return Written::Failed;
        };
        let api: Api<Service> = Api::namespaced(self.client.clone(), namespace);
        match timeout(WRITE_TIMEOUT, api.get_opt(short)).await {
            Ok(Ok(Some(object))) => {
                let known = look::known(&object, service::record(&object, &self.view.class));
                self.view.put_service(name, Some(known));
                Written::Stale
            }
            Ok(Ok(None)) => {
                self.view.put_service(name, None);
                Written::Stale
            }
            _ => Written::Failed,
        }
    }
}

fn metadata_patch(version: &str, record: &ServiceRecord, plan: &MetadataPlan) -> Value {
    let others = record
        .finalizers
        .iter()
        .filter(|name| !is_our_finalizer(name));
    let ours = [CLEANUP_FINALIZER, FINALIZER].map(str::to_owned);
    let ours = ours.into_iter().filter(|_| plan.finalizer);
    let finalizers: Vec<String> = others.cloned().chain(ours).collect();
    let mut annotations = json!({ANNOUNCEMENT: plan.announcement.as_deref()});
    if !plan.keeps_leave {
        annotations[REASSIGN] = Value::Null;
    }
    let mut labels = json!({});
    if !plan.keeps_openelb_label {
        for name in POOL {
            labels[name] = Value::Null;
        }
    }
    json!({"metadata": {
        "resourceVersion": version,
        "finalizers": finalizers,
        "annotations": annotations,
        "labels": labels,
    }})
}

fn status_patch(version: &str, record: &ServiceRecord, plan: &StatusPlan) -> Value {
    let ingress: Vec<Value> = plan.ingress.iter().map(ingress).collect();
    let conditions = status::of_service(&record.conditions, &plan.conditions, None);
    let or_nothing = |list: Value| match list.as_array() {
        Some(items) if items.is_empty() => Value::Null,
        _ => list,
    };
    json!({
        "metadata": {"resourceVersion": version},
        "status": {
            "loadBalancer": {"ingress": or_nothing(ingress.into())},
            "conditions": or_nothing(json!(conditions)),
        },
    })
}

fn ingress(entry: &Ingress) -> Value {
    let port = |(key, state): (&lb_core::allocate::PortKey, &PortState)| {
        let mut port = json!({"port": key.port, "protocol": key.protocol.name()});
        if *state == PortState::Conflict {
            port["error"] = PORT_CONFLICT.into();
        }
        port
    };
    let ports: Vec<Value> = entry.ports.iter().map(port).collect();
    // `ipMode: VIP`: kube-proxy may answer pods of the cluster by itself.
    let mut object = json!({"ip": entry.address.to_string(), "ipMode": "VIP"});
    if !ports.is_empty() {
        object["ports"] = ports.into();
    }
    object
}
