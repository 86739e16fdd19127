//! The CustomResourceDefinitions as they are applied: each derived schema under both versions, of which v1alpha2 is
//! stored. No field has a default, and nothing but a pool's address is required: an object that an older release stored
//! must stay writable, or even its finalizers could not be removed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion,
};
use kube::CustomResourceExt as _;

use super::{BgpConf, BgpPeer, Eip};

/// The older version, served with the same schema.
const VERSION_OLD: &str = "v1alpha1";

/// All kinds, in the order in which they are written.
#[must_use]
pub fn definitions() -> [CustomResourceDefinition; 3] {
    [Eip::crd(), BgpConf::crd(), BgpPeer::crd()].map(with_both_versions)
}

/// The file that a definition is committed as: its name and its content.
pub fn manifest(
    definition: &CustomResourceDefinition,
) -> Result<(String, String), serde_saphyr::SerializeError> {
    let name = format!("{}_{}.yaml", super::GROUP, definition.spec.names.plural);
    Ok((name, serde_saphyr::to_string(definition)?))
}

fn with_both_versions(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut definition.spec.versions {
        relax(version);
    }
    let older: Vec<_> = definition.spec.versions.iter().map(as_old).collect();
    definition.spec.versions.splice(0..0, older);
    definition
}

fn as_old(version: &CustomResourceDefinitionVersion) -> CustomResourceDefinitionVersion {
    CustomResourceDefinitionVersion {
        name: VERSION_OLD.to_owned(),
        storage: false,
        ..version.clone()
    }
}

fn relax(version: &mut CustomResourceDefinitionVersion) {
    let schema = version.schema.as_mut();
    let Some(root) = schema.and_then(|schema| schema.open_api_v3_schema.as_mut()) else {
        return;
    };
    root.required = None;
    let status = root
        .properties
        .as_mut()
        .and_then(|all| all.get_mut("status"));
    let Some(fields) = status.and_then(|status| status.properties.as_mut()) else {
        return;
    };
    // So that two writers can each own the conditions of their types.
    if let Some(conditions) = fields.get_mut("conditions") {
        conditions.x_kubernetes_list_type = Some("map".to_owned());
        conditions.x_kubernetes_list_map_keys = Some(vec!["type".to_owned()]);
    }
    // One writer has these whole: the API server need not keep an owner for each of thousands of entries.
    if let Some(used) = fields.get_mut("used") {
        used.x_kubernetes_map_type = Some("atomic".to_owned());
    }
    if let Some(claims) = fields.get_mut("claims") {
        claims.x_kubernetes_list_type = Some("atomic".to_owned());
    }
}
