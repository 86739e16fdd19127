//! `cleanup`: takes everything of ours off this node, and out of the API server what the node says of itself. Refuses
//! while an agent runs, which would put it back.

use std::env;

use lb_kube::{client, status};
use tokio::time::{Duration, timeout};

use crate::{
    cli::CleanupArgs,
    configuration::host_name,
    failure::{Failure, chain},
    hostnet, neighbours,
    pin_lock::PinLock,
};

/// How long an API server may take; the node is clean without it.
const API_LIMIT: Duration = Duration::from_secs(10);
/// Set in every pod of a cluster.
const IN_CLUSTER: &str = "KUBERNETES_SERVICE_HOST";

/// Runs the command.
///
/// # Errors
/// If an agent runs, the kernel refuses, or the API server does.
pub fn cleanup(args: &CleanupArgs) -> Result<(), Failure> {
    let exists = args.pin_dir.exists();
    let lock = exists.then(|| PinLock::take(&args.pin_dir)).transpose();
    let _lock = lock.map_err(|error| Failure::from_error(&error))?;
    let removed =
        lb_datapath::cleanup(&args.pin_dir).map_err(|error| Failure::from_error(&error))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::from_error(&error))?;
    let kept = runtime.block_on(off_the_network())?;
    if removed.is_empty() && kept.is_empty() {
        println!("nothing of ours below {}", args.pin_dir.display());
    }
    for item in removed.into_iter().chain(kept) {
        println!("removed {item}");
    }
    runtime.block_on(out_of_the_api_server(args))
}

/// The keys of this node, if anything says where the API server is.
async fn out_of_the_api_server(args: &CleanupArgs) -> Result<(), Failure> {
    if args.kubeconfig.is_none() && env::var_os(IN_CLUSTER).is_none() {
        println!(
            "the API server was not asked; if this node is one of a cluster, its status in BgpConf and BgpPeers goes \
             with its Node, or by `lb-agent cleanup --kubeconfig FILE`"
        );
        return Ok(());
    }
    let node = node_name(args)?;
    let connected = client::client(args.kubeconfig.as_deref()).await;
    let (client, _) = connected.map_err(|error| Failure::from_error(&error))?;
    let still_there = |why: &str| {
        Failure::Failed(format!(
            "this node is clean, but the API server still has the status of {node}: {why}; run this again, or delete \
             the Node"
        ))
    };
    match timeout(API_LIMIT, status::forget(&client, &node)).await {
        Ok(Ok(objects)) if objects.is_empty() => println!("no status of {node} in the API server"),
        Ok(Ok(objects)) => println!("removed status of {node}: {}", objects.join(", ")),
        Ok(Err(error)) => return Err(still_there(&chain(&error))),
        Err(_) => return Err(still_there("it does not answer")),
    }
    Ok(())
}

fn node_name(args: &CleanupArgs) -> Result<String, Failure> {
    let by_environment = env::var("NODE_NAME").unwrap_or_default();
    let names = [
        args.node_name.clone().unwrap_or_default(),
        by_environment,
        host_name(),
    ];
    let name = names.into_iter().find(|name| !name.is_empty());
    name.ok_or_else(|| {
        Failure::Failed("this host has no name; say which Node it is by --node-name".to_owned())
    })
}

/// Routes, rules, groups and neighbour entries of ours.
async fn off_the_network() -> Result<Vec<String>, Failure> {
    let entries = hostnet::remove_all().await;
    let mut removed = entries.map_err(|error| Failure::from_error(&error))?;
    let ways = neighbours::remove_all().await;
    removed.extend(ways.map_err(|error| Failure::from_error(&error))?);
    Ok(removed)
}
