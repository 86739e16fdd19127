//! Writes the CustomResourceDefinitions by server-side apply, over OpenELB's if they are there, and waits until the API
//! server serves the kinds. Objects that exist are not touched.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams},
};
use tokio::time::{Instant, sleep};

use crate::crd;

/// Owner of the fields, as `kubectl get --show-managed-fields` names it.
const FIELD_MANAGER: &str = "fairlead";
/// API servers take a second.
const SERVED_LIMIT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Why the kinds are not served.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// The API server says no.
    #[error("the definition {0} cannot be written")]
    Api(String, #[source] Box<kube::Error>),
    /// It is written, and nothing comes of it.
    #[error("the API server does not serve {0}; `kubectl describe crd {0}` says why")]
    NotServed(String),
}

/// Writes all definitions; their names.
///
/// # Errors
/// If the API server refuses one, or does not serve it within half a minute.
pub async fn apply_definitions(client: Client) -> Result<Vec<String>, DefinitionError> {
    let api: Api<CustomResourceDefinition> = Api::all(client);
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let mut names = Vec::new();
    for definition in crd::definitions() {
        let name = definition.name_any();
        let failed = |error| DefinitionError::Api(name.clone(), Box::new(error));
        api.patch(&name, &params, &Patch::Apply(&definition))
            .await
            .map_err(failed)?;
        names.push(name);
    }
    let deadline = Instant::now() + SERVED_LIMIT;
    for name in &names {
        let failed = |error| DefinitionError::Api(name.clone(), Box::new(error));
        while !is_served(&api.get(name).await.map_err(failed)?) {
            if Instant::now() > deadline {
                return Err(DefinitionError::NotServed(name.clone()));
            }
            sleep(POLL_INTERVAL).await;
        }
    }
    Ok(names)
}

fn is_served(definition: &CustomResourceDefinition) -> bool {
    let conditions = definition
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref());
    conditions
        .unwrap_or_default()
        .iter()
        .any(|condition| condition.type_ == "Established" && condition.status == "True")
}
