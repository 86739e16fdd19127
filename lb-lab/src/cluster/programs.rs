//! What a cluster is made of: Kubernetes' programs, CoreDNS and Helm, built from Go modules; containerd, runc and the CNI
//! plugins as Debian 12 has them, unpacked into the cache and not installed. Kubernetes 1.36 wants containerd 2 and gives
//! up cgroups of version 1, so both stay where they are.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::debian::{self, Package};
use crate::go_module::GoModule;

/// kubelet, kube-proxy, the controllers and the scheduler, and agnhost, which pods are made of.
pub(super) const NODE: GoModule = GoModule {
    name: "node",
    requirements: include_str!("../../../tests/kubernetes/node/go.mod"),
    versioned: "k8s.io/kubernetes",
    packages: &[
        "k8s.io/kubernetes/cmd/kube-controller-manager",
        "k8s.io/kubernetes/cmd/kube-proxy",
        "k8s.io/kubernetes/cmd/kube-scheduler",
        "k8s.io/kubernetes/cmd/kubelet",
        "k8s.io/kubernetes/test/images/agnhost",
    ],
    takes: "four minutes",
};

/// Kubernetes' own end-to-end tests, and what they call in pods.
pub(super) const E2E: GoModule = GoModule {
    name: "e2e",
    requirements: include_str!("../../../tests/kubernetes/e2e/go.mod"),
    versioned: "k8s.io/kubernetes",
    packages: &[
        "fairlead.io/tests/kubernetes/e2e",
        "fairlead.io/tests/kubernetes/e2e/tools",
    ],
    takes: "three minutes",
};

/// The cluster's DNS.
pub(super) const COREDNS: GoModule = GoModule {
    name: "coredns",
    requirements: include_str!("../../../tests/kubernetes/coredns/go.mod"),
    versioned: "github.com/coredns/coredns",
    packages: &["fairlead.io/tests/kubernetes/coredns"],
    takes: "two minutes",
};

/// What installs charts.
pub(super) const HELM: GoModule = GoModule {
    name: "helm",
    requirements: include_str!("../../../tests/kubernetes/helm/go.mod"),
    versioned: "helm.sh/helm/v3",
    packages: &["helm.sh/helm/v3/cmd/helm"],
    takes: "two minutes",
};

/// Builds and fetches what is not in the cache yet.
pub(crate) fn prepare() -> Result<()> {
    for module in [NODE, COREDNS, HELM, E2E] {
        module.prepare()?;
    }
    container_runtime().map(drop)
}

/// kube-proxy, for who wants it without a cluster.
///
/// # Errors
/// It is not built.
pub fn kube_proxy() -> Result<PathBuf> {
    NODE.program("kube-proxy")
}

/// Helm, as people use it.
///
/// # Errors
/// It is not built.
pub fn helm() -> Result<PathBuf> {
    HELM.program("helm")
}

/// Kubernetes' own end-to-end tests.
///
/// # Errors
/// They are not built.
pub fn e2e_tests() -> Result<PathBuf> {
    E2E.program("e2e")
}

/// containerd, runc and the CNI plugins below one folder, in the places that Debian gives them.
pub(super) fn container_runtime() -> Result<PathBuf> {
    let package = |name: &str, version: &str, sha256: &str| Package {
        suite: "bookworm".to_owned(),
        name: name.to_owned(),
        version: version.to_owned(),
        sha256: sha256.to_owned(),
    };
    let packages = [
        package(
            "containerd",
            "1.6.20~ds1-1+deb12u3",
            "8669d264eeb0fcdb4a0b1ba436ab88ec5dafde4a66e1278ec279d830db4c2216",
        ),
        package(
            "runc",
            "1.1.5+ds1-1+deb12u1",
            "a00351f8c0318de0b424ecf5cd0fdb69880a89f3511cae4f6fff7de3e57881c5",
        ),
        package(
            "containernetworking-plugins",
            "1.1.1+ds1-3+b5",
            "4cac8143474d1249b19f7b0e80b8d0daaa6dfdaa8bd514bc468d38d4a108099f",
        ),
    ];
    debian::unpacked("debs", "containerd-1.6", &packages)
}

/// Programs of the unpacked packages, and the host's, such as `mount` and `nft`.
pub(super) fn search_path(runtime: &Path) -> OsString {
    let mut path = runtime.join("usr/bin").into_os_string();
    path.push(":");
    path.push(runtime.join("usr/sbin"));
    path.push(":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    path
}
