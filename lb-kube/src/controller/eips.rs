//! Writes Eips: the finalizer as a patch, the status as an update that names the version it replaces, so that of two
//! writers one learns that it is too late. Before somebody loses an address by it, the API server itself must say that
//! the Service is as it was seen.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use lb_core::allocate::{PoolPlan, PoolStatus};
use serde_json::json;
use tokio::time::timeout;

use super::{
    Controller, eip, look,
    pass::{WRITE_TIMEOUT, Written},
    service::{self, FINALIZER},
};
use crate::{crd::Eip, speakers::OPENELB_FINALIZERS};

impl Controller {
    /// Makes an Eip as it should be, its finalizer first; the rest then waits for the next pass.
    pub(super) async fn write_eip(&mut self, name: &Arc<str>, plan: &PoolPlan) -> Written {
        let Some(known) = self.view.eips.get(name) else {
            return Written::Stale;
        };
        let version = known.version.to_string();
        if plan.finalizer != known.record.pool.has_finalizer {
            let finalizers = finalizers(&known.record.finalizers, plan.finalizer);
            let patch = json!({"metadata": {"resourceVersion": version, "finalizers": finalizers}});
            let api: Api<Eip> = Api::all(self.client.clone());
            let params = PatchParams::default();
            let patch = Patch::Merge(&patch);
            let written = timeout(WRITE_TIMEOUT, api.patch(name, &params, &patch)).await;
            return self.learn_eip(name, written.ok()).await;
        }
        let Some(status) = &plan.status else {
            return Written::Done;
        };
        for service in &plan.confirm {
            match self.confirm(service).await {
                Written::Done => {}
                other => return other,
            }
        }
        self.write_eip_status(name, status).await
    }

    async fn write_eip_status(&mut self, name: &Arc<str>, status: &PoolStatus) -> Written {
        let Some(known) = self.view.eips.get(name) else {
            return Written::Stale;
        };
        let mut object = Eip::new(name, known.record.spec.clone());
        object.metadata.resource_version = Some(known.version.to_string());
        object.status = Some(eip::status(&known.record.status, status));
        let api: Api<Eip> = Api::all(self.client.clone());
        let params = PostParams::default();
        let written = timeout(WRITE_TIMEOUT, api.replace_status(name, &params, &object)).await;
        self.learn_eip(name, written.ok()).await
    }

    async fn learn_eip(&mut self, name: &Arc<str>, answer: Option<kube::Result<Eip>>) -> Written {
        match answer {
            Some(Ok(object)) => {
                self.view
                    .eips
                    .learn(look::known(&object, eip::record(&object)));
                Written::Done
            }
            Some(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
                let api: Api<Eip> = Api::all(self.client.clone());
                match timeout(WRITE_TIMEOUT, api.get_opt(name)).await {
                    Ok(Ok(Some(object))) => {
                        let known = look::known(&object, eip::record(&object));
                        self.view.put_eip(name, Some(known));
                    }
                    Ok(Ok(None)) => self.view.put_eip(name, None),
                    _ => return Written::Failed,
                }
                Written::Stale
            }
            Some(Err(kube::Error::Api(status))) if status.code < 500 => {
                tracing::warn!(eip = %name, "cannot be written: {}; it is tried again", status.message);
                Written::Failed
            }
            other => {
                let why = other.and_then(Result::err);
                let why = why.map_or("no answer".to_owned(), |error| error.to_string());
                tracing::warn!(eip = %name, "whether it was written is not known: {why}; everything is read again first");
                // Another term keeps the write out if it is still on its way.
                self.office = None;
                Written::Failed
            }
        }
    }

    /// Whether a Service is as it was seen, or as it was not.
    async fn confirm(&mut self, name: &Arc<str>) -> Written {
        let Some((namespace, short)) = name.split_once('/') else {
            return Written::Done;
        };
        let api: Api<Service> = Api::namespaced(self.client.clone(), namespace);
        let Ok(Ok(object)) = timeout(WRITE_TIMEOUT, api.get_opt(short)).await else {
            return Written::Failed;
        };
        let seen = self.view.services.get(name).map(|known| known.version);
        let Some(object) = object else {
            self.view.put_service(name, None);
            return if seen.is_none() {
                Written::Done
            } else {
                Written::Stale
            };
        };
        let known = look::known(&object, service::record(&object, &self.view.class));
        let is_same = seen == Some(known.version);
        self.view.put_service(name, Some(known));
        if is_same {
            Written::Done
        } else {
            Written::Stale
        }
    }
}

/// Others' finalizers, and ours or not. OpenELB's go.
fn finalizers(before: &[String], ours: bool) -> Vec<String> {
    let others = before
        .iter()
        .filter(|name| *name != FINALIZER && !OPENELB_FINALIZERS.contains(&name.as_str()));
    let ours = ours.then(|| FINALIZER.to_owned());
    others.cloned().chain(ours).collect()
}
