//! The API server as a source. What it tells becomes a [`Change`]; the ways to the nodes are looked for only once it is
//! known which nodes there are, so that the first plan has both.

use std::{env, sync::Arc};

use lb_core::{DesiredState, config::Config};
use lb_kube::{
    client,
    reflect::source::{self, Request, Source},
};
use tokio::sync::{mpsc, watch};

use super::{Change, ChangeSender};
use crate::{
    cli::kubernetes::KubernetesArgs,
    failure::Failure,
    neighbours::{self, Nodes},
};

/// Updates that wait for the engine, at most.
const UPDATES_WAITING_MAX: usize = 16;

/// Name of this node.
#[must_use]
pub fn node_name(args: &KubernetesArgs, config: &Config) -> Arc<str> {
    let by_environment = || env::var("NODE_NAME").ok().filter(|name| !name.is_empty());
    let name = args.node_name.clone().or_else(by_environment);
    name.map_or_else(|| Arc::clone(&config.node), Arc::from)
}

/// The way to the API server, and what is to be read.
///
/// # Errors
/// If nothing says where the API server is. That it does not answer is none.
pub async fn connect(args: &KubernetesArgs, config: &Config) -> Result<Source, client::Error> {
    let (client, namespace) = client::client(args.kubeconfig.as_deref()).await?;
    let namespace = args.namespace.clone().unwrap_or(namespace);
    Ok(Source {
        client,
        settings: args.settings(&config.node, namespace),
        state_file: Some(args.state_file.clone()),
        reads_cluster_key: config.key_file.is_none(),
    })
}

/// Reads until the engine is gone.
///
/// # Errors
/// If the kernel stops telling the ways to the nodes.
pub async fn run(
    source: Source,
    uplinks: Vec<Arc<str>>,
    requests: mpsc::Receiver<Request>,
    desired: watch::Receiver<Arc<DesiredState>>,
    changes: ChangeSender,
) -> Result<(), Failure> {
    let own = Arc::clone(&source.settings.node);
    let (updates, mut told) = mpsc::channel(UPDATES_WAITING_MAX);
    let reads = source::run(source, requests, updates);
    let tells = async {
        let Some(first) = told.recv().await else {
            return Ok(());
        };
        let nodes = Nodes {
            own,
            all: first.nodes.clone().unwrap_or_default(),
            returns: false,
        };
        let engine = changes.clone();
        let passes_on = async move {
            let mut update = first;
            while engine
                .send(Change::Kubernetes(Box::new(update)))
                .await
                .is_ok()
            {
                match told.recv().await {
                    Some(next) => update = next,
                    None => return,
                }
            }
        };
        let ways = neighbours::run(uplinks, nodes, desired, changes.clone());
        let (ways, ()) = tokio::join!(ways, passes_on);
        ways.map_err(|error| Failure::from_error(&error))
    };
    let (told, ()) = tokio::join!(tells, reads);
    told
}
