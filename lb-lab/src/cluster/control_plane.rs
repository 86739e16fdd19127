//! The cluster's brain beside the API server: the controllers and the scheduler, on the router, one of each, with the
//! rights that Kubernetes gives them. Nodes that are silent for ten seconds are given up.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::Result;

use crate::apiserver::{ApiServer, KUBE_CONTROLLER_MANAGER, KUBE_SCHEDULER};
use crate::cluster::programs::NODE;
use crate::namespace::Namespace;
use crate::process::Process;

/// The running controllers and scheduler.
pub(super) struct ControlPlane {
    _controllers: Process,
    _scheduler: Process,
}

const CONTROLLERS: [&str; 14] = [
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "root-ca-certificate-publisher-controller",
    "deployment-controller",
    "replicaset-controller",
    "replicationcontroller-controller",
    "daemonset-controller",
    "job-controller",
    "endpointslice-controller",
    "node-lifecycle-controller",
    "taint-eviction-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "pod-garbage-collector-controller",
];

impl ControlPlane {
    /// Starts both beside the API server.
    pub(super) fn start(
        namespace: &Arc<Namespace>,
        server: &ApiServer,
        folder: &Path,
    ) -> Result<Self> {
        let mut controllers = Command::new(NODE.program("kube-controller-manager")?);
        controllers
            .arg("--kubeconfig")
            .arg(server.kubeconfig(KUBE_CONTROLLER_MANAGER)?);
        controllers
            .arg("--service-account-private-key-file")
            .arg(server.signing_key());
        controllers.arg("--root-ca-file").arg(server.certificate());
        controllers.arg(format!("--controllers={}", CONTROLLERS.join(",")));
        controllers.args([
            "--leader-elect=false",
            "--use-service-account-credentials=true",
            "--node-monitor-period=1s",
            "--node-monitor-grace-period=10s",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
            "--secure-port=0",
        ]);
        let mut scheduler = Command::new(NODE.program("kube-scheduler")?);
        scheduler
            .arg("--kubeconfig")
            .arg(server.kubeconfig(KUBE_SCHEDULER)?);
        scheduler.args(["--leader-elect=false", "--secure-port=0"]);
        Ok(Self {
            _controllers: Process::start(
                namespace,
                "kube-controller-manager",
                controllers,
                folder,
            )?,
            _scheduler: Process::start(namespace, "kube-scheduler", scheduler, folder)?,
        })
    }
}
