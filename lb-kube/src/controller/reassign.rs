//! `lb-agent reassign`: a person's word that a Service may leave its addresses. It is an annotation with those
//! addresses, so that it means the same however often it is read, and nothing once they are left.

use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::service::REASSIGN;

/// Why a Service cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum ReassignError {
    /// It is not named as it must be.
    #[error("`{0}` is not NAMESPACE/NAME")]
    Name(String),
    /// It has nothing to leave.
    #[error("{0} has no address to leave")]
    NoAddress(String),
    /// The API server says no.
    #[error("{0} cannot be told to leave its addresses")]
    Api(String, #[source] Box<kube::Error>),
}

/// Tells a Service to leave the addresses that it has; which those are.
///
/// # Errors
/// If there is no such Service, it has no address, or the API server refuses.
pub async fn reassign(client: Client, service: &str) -> Result<String, ReassignError> {
    let split = service.split_once('/');
    let (namespace, name) = split.ok_or_else(|| ReassignError::Name(service.to_owned()))?;
    let failed = |error| ReassignError::Api(service.to_owned(), Box::new(error));
    let api: Api<Service> = Api::namespaced(client, namespace);
    let object = api.get(name).await.map_err(failed)?;
    let status = object.status.and_then(|status| status.load_balancer);
    let ingress = status
        .and_then(|balancer| balancer.ingress)
        .unwrap_or_default();
    let addresses: Vec<String> = ingress.into_iter().filter_map(|entry| entry.ip).collect();
    if addresses.is_empty() {
        return Err(ReassignError::NoAddress(service.to_owned()));
    }
    let addresses = addresses.join(",");
    let patch = json!({"metadata": {"annotations": {REASSIGN: addresses}}});
    let params = PatchParams::default();
    api.patch(name, &params, &Patch::Merge(&patch))
        .await
        .map_err(failed)?;
    Ok(addresses)
}
