//! Who may talk to the lab's API server: the admin, the parts of a cluster, and the service accounts of the product as
//! users with fixed tokens, so that no controller is needed to make tokens. A token is its user's name: there is nothing to protect.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::json;

/// May do everything.
pub const ADMIN: &str = "admin";
/// The agents' service account.
pub const AGENT: &str = "agent";
/// The controller's service account.
pub const CONTROLLER: &str = "controller";
/// Is known, and may do nothing.
pub const NOBODY: &str = "nobody";
/// The Namespace that the product is installed into.
pub const SYSTEM_NAMESPACE: &str = "fairlead-system";

pub(super) const TOKENS_FILE: &str = "tokens.csv";

/// The controllers that Kubernetes has itself.
pub(crate) const KUBE_CONTROLLER_MANAGER: &str = "kube-controller-manager";
/// The scheduler.
pub(crate) const KUBE_SCHEDULER: &str = "kube-scheduler";
/// kube-proxy of any node.
pub const KUBE_PROXY: &str = "kube-proxy";

const USERS: [&str; 10] = [
    ADMIN,
    AGENT,
    CONTROLLER,
    NOBODY,
    KUBE_CONTROLLER_MANAGER,
    KUBE_SCHEDULER,
    KUBE_PROXY,
    // The kubelets of a lab's nodes.
    "node1",
    "node2",
    "node3",
];

/// Writes the file that `--token-auth-file` takes.
pub(super) fn write_tokens(folder: &Path) -> Result<()> {
    let mut lines = String::new();
    for token in USERS {
        let (user, groups) = match token {
            ADMIN => (ADMIN.to_owned(), "system:masters".to_owned()),
            AGENT | CONTROLLER => (
                format!("system:serviceaccount:{SYSTEM_NAMESPACE}:fairlead-{token}"),
                format!("system:serviceaccounts,system:serviceaccounts:{SYSTEM_NAMESPACE}"),
            ),
            KUBE_CONTROLLER_MANAGER | KUBE_SCHEDULER | KUBE_PROXY => {
                (format!("system:{token}"), String::new())
            }
            NOBODY => (NOBODY.to_owned(), String::new()),
            node => (format!("system:node:{node}"), "system:nodes".to_owned()),
        };
        writeln!(lines, "{token},{user},{token},\"{groups}\"")?;
    }
    fs::write(folder.join(TOKENS_FILE), lines).context("writing the tokens")
}

/// Writes a kubeconfig for a user, which is JSON and so YAML too.
pub(super) fn write_kubeconfig(
    folder: &Path,
    server: SocketAddr,
    certificate: &Path,
    user: &str,
) -> Result<PathBuf> {
    ensure!(USERS.contains(&user), "{user} is none of {USERS:?}");
    let file = folder.join(format!("{user}.kubeconfig"));
    if file.exists() {
        return Ok(file);
    }
    let cluster = json!({
        "server": format!("https://{server}"),
        "certificate-authority": certificate,
        // One of the names in the certificate that the API server makes for itself.
        "tls-server-name": "kubernetes.default.svc",
    });
    let text = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "lab",
        "clusters": [{"name": "lab", "cluster": cluster}],
        "users": [{"name": user, "user": {"token": user}}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": user}}],
    });
    // Many threads may ask at once: a reader must never see half of it.
    let thread = format!("{:?}", std::thread::current().id());
    let fresh = folder.join(format!("{user}.kubeconfig.{thread}"));
    fs::write(&fresh, text.to_string())?;
    fs::rename(&fresh, &file).with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}
