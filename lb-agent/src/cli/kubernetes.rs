//! Arguments of `run` that only count with `--kubernetes`.

use std::path::PathBuf;

use clap::Args;
use lb_core::model::Prefix;
use lb_kube::{
    project::{
        claim::{CLASS_DEFAULT, ClassRules},
        node::{NodeRules, TO_BE_DELETED},
    },
    reflect::cluster::Settings,
};

/// Where the last known state is kept unless told otherwise.
pub const DEFAULT_STATE_FILE: &str = "/var/lib/fairlead/kubernetes.json";

/// Where passwords of BGP peers are put unless told otherwise.
pub const DEFAULT_PASSWORD_DIR: &str = "/run/fairlead/passwords";

/// Arguments of `run --kubernetes`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(next_help_heading = "With --kubernetes")]
pub struct KubernetesArgs {
    /// How to reach the API server [default: as a pod of the cluster]
    #[arg(long, value_name = "FILE", requires = "kubernetes")]
    pub kubeconfig: Option<PathBuf>,
    /// Name of this Node [default: the environment's NODE_NAME, else node.name of --config, else the host's name]
    #[arg(long, value_name = "NAME", requires = "kubernetes")]
    pub node_name: Option<String>,
    /// Namespace of the Secrets with the cluster's key and the peers' passwords [default: our own]
    #[arg(long, value_name = "NAME", requires = "kubernetes")]
    pub namespace: Option<String>,
    /// spec.loadBalancerClass of our Services
    #[arg(long, value_name = "CLASS", requires = "kubernetes", default_value = CLASS_DEFAULT)]
    pub load_balancer_class: String,
    /// Services without class and annotation are ours too
    #[arg(long, requires = "kubernetes")]
    pub default_class: bool,
    /// Announce addresses that others have allocated, within this range; may be repeated. Our own pools do not count then
    #[arg(long, value_name = "ADDRESS/BITS", requires = "kubernetes", value_parser = super::network)]
    pub allowed_range: Vec<Prefix>,
    /// Key of a taint that drains a Node; may be repeated
    #[arg(long, value_name = "KEY", requires = "kubernetes", default_value = TO_BE_DELETED)]
    pub drain_taint: Vec<String>,
    /// Nodes announce even if node.kubernetes.io/exclude-from-external-load-balancers excludes them
    #[arg(long, requires = "kubernetes")]
    pub ignore_exclude_label: bool,
    /// Of endpoints with topology hints, use those that are for this node's zone
    #[arg(long, requires = "kubernetes")]
    pub topology_hints: bool,
    /// Folder for the passwords of BGP peers, of this agent alone
    #[arg(long, value_name = "DIR", requires = "kubernetes", default_value = DEFAULT_PASSWORD_DIR)]
    pub password_dir: PathBuf,
    /// Where the last known state is kept, for a start while the API server is away
    #[arg(long, value_name = "FILE", requires = "kubernetes", default_value = DEFAULT_STATE_FILE)]
    pub state_file: PathBuf,
}

impl KubernetesArgs {
    /// What they come to on the node of this name.
    #[must_use]
    pub fn settings(&self, node: &str, namespace: String) -> Settings {
        Settings {
            node: node.into(),
            class: ClassRules {
                class: self.load_balancer_class.clone(),
                default_class: self.default_class,
            },
            nodes: NodeRules {
                drain_taints: self.drain_taint.clone(),
                ignores_exclude_label: self.ignore_exclude_label,
            },
            topology_hints: self.topology_hints,
            namespace,
            password_folder: self.password_dir.clone(),
            allowed_ranges: self.allowed_range.iter().copied().collect(),
        }
    }
}
