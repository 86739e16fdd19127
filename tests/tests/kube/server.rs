//! The server itself: what the other tests rely on.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use lb_lab::{AGENT, ApiServer, NOBODY};

use crate::fixture::{Scope, block_on};

#[test]
fn keeps_objects_across_restarts_and_goes_back_when_told() -> Result<()> {
    let mut server = ApiServer::start()?;
    server.kubectl(&["create", "configmap", "before"])?;
    let saved = server.save()?;
    server.kubectl(&["create", "configmap", "after"])?;
    server.restart()?;
    assert_eq!(config_maps(&server)?, "after before");
    server.roll_back(&saved)?;
    assert_eq!(config_maps(&server)?, "before");
    Ok(())
}

fn config_maps(server: &ApiServer) -> Result<String> {
    server.kubectl(&[
        "get",
        "configmaps",
        "-o",
        "jsonpath={.items[*].metadata.name}",
    ])
}

#[test]
fn knows_the_service_accounts_and_refuses_strangers() -> Result<()> {
    let scope = Scope::new("server-users")?;
    let server = scope.server;
    let name = "jsonpath={.status.userInfo.username}";
    let identity = server.kubectl_as(AGENT, &["auth", "whoami", "-o", name])?;
    assert_eq!(
        identity,
        "system:serviceaccount:fairlead-system:fairlead-agent"
    );
    let refusal = server
        .kubectl_as(NOBODY, &["get", "configmaps"])
        .unwrap_err();
    ensure!(refusal.to_string().contains("forbidden"), "{refusal:#}");
    assert!(server.kubeconfig("somebody").is_err());
    Ok(())
}

#[test]
fn answers_a_client_of_ours() -> Result<()> {
    let scope = Scope::new("server-client")?;
    scope.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: made}\n")?;
    let names = block_on(async {
        let maps: Api<ConfigMap> = Api::namespaced(scope.client().await?, &scope.namespace);
        let found = maps.list(&Default::default()).await?;
        anyhow::Ok(
            found
                .into_iter()
                .filter_map(|map| map.metadata.name)
                .collect::<Vec<_>>(),
        )
    })?;
    assert_eq!(names, ["made"]);
    ensure!(
        scope
            .kubectl(&["get", "configmaps", "-o", "name"])?
            .contains("configmap/made")
    );
    Ok(())
}
