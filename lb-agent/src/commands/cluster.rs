//! `definitions` and `uninstall`: what is done once in a cluster, before its first agent and after its last. Hooks of the
//! chart run both.

use lb_kube::{client, install};

use crate::{cli::controller::ClusterArgs, failure::Failure};

/// Writes the definitions of our kinds.
///
/// # Errors
/// If the API server refuses one, or does not serve it.
pub fn definitions(args: &ClusterArgs) -> Result<(), Failure> {
    super::controller::runtime()?.block_on(async {
        let connected = client::client(args.kubeconfig.as_deref()).await;
        let (client, _) = connected.map_err(|error| Failure::from_error(&error))?;
        let written = install::apply_definitions(client).await;
        let names = written.map_err(|error| Failure::from_error(&error))?;
        super::print(&format!("the API server serves {}\n", names.join(", ")))
    })
}

/// Takes everything of ours off the cluster.
///
/// # Errors
/// If the API server refuses, or pods do not end.
pub fn uninstall(args: &ClusterArgs) -> Result<(), Failure> {
    super::controller::runtime()?.block_on(async {
        let connected = client::client(args.kubeconfig.as_deref()).await;
        let (client, own_namespace) = connected.map_err(|error| Failure::from_error(&error))?;
        let namespace = args.namespace.as_ref().unwrap_or(&own_namespace);
        let removed = install::uninstall(client, namespace).await;
        let removed = removed.map_err(|error| Failure::from_error(&error))?;
        let mut text = format!(
            "clean: {} nodes; released: {} Services and Eips\n",
            removed.clean_nodes.len(),
            removed.released_objects
        );
        for node in &removed.other_nodes {
            text += &format!("not cleaned: {node}; run `lb-agent cleanup` there, or reboot it\n");
        }
        super::print(&text)
    })
}
