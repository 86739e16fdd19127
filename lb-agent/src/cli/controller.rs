//! Arguments of `controller`, `reassign`, `definitions` and `uninstall`, which speak to the API server from anywhere, not from a node.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;
use lb_kube::{
    controller::{LeaseTimes, Options},
    project::claim::{CLASS_DEFAULT, ClassRules},
};

use super::LogFormat;

/// Arguments of `controller`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ControllerArgs {
    /// How to reach the API server [default: as a pod of the cluster]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace of the Lease and of the Secret with the cluster's key [default: our own]
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// spec.loadBalancerClass of our Services
    #[arg(long, value_name = "CLASS", default_value = CLASS_DEFAULT)]
    pub load_balancer_class: String,
    /// Services without class and annotation are ours too
    #[arg(long)]
    pub default_class: bool,
    /// Manage addresses only: somebody else announces them
    #[arg(long)]
    pub addresses_only: bool,
    /// How long the others wait for a leader that has died before one of them goes on
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u16).range(3..=15))]
    pub lease_duration: u16,
    /// Answer /healthz, /readyz and /metrics here
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub http: Option<SocketAddr>,
    /// How log lines look
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

impl ControllerArgs {
    /// What they come to for the process of this name.
    #[must_use]
    pub fn options(&self, own_namespace: String, identity: String) -> Options {
        Options {
            namespace: self.namespace.clone().unwrap_or(own_namespace),
            identity,
            class: ClassRules {
                class: self.load_balancer_class.clone(),
                default_class: self.default_class,
            },
            addresses_only: self.addresses_only,
            lease: LeaseTimes::of_duration(Duration::from_secs(self.lease_duration.into())),
        }
    }
}

/// Arguments of `definitions` and `uninstall`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ClusterArgs {
    /// How to reach the API server [default: as a pod of the cluster]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace that the chart is installed in [default: our own]
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,
}

/// Arguments of `reassign`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ReassignArgs {
    /// The Service, as NAMESPACE/NAME
    #[arg(value_name = "NAMESPACE/NAME")]
    pub service: String,
    /// How to reach the API server [default: as a pod of the cluster]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}
