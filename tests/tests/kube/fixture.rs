//! The API server that the tests of this binary share, with our kinds installed, and a Kubernetes Namespace for each test.

use std::{future::Future, net::IpAddr, sync::OnceLock};

use anyhow::{Context as _, Result, anyhow};
use kube::{Client, Config, config::Kubeconfig};
use lb_lab::{ADMIN, ApiServer};
use serde_json::json;
use tokio::runtime::Runtime;

/// The definitions of our kinds, as they are shipped.
pub(crate) const DEFINITIONS: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/chart/files/crds");

/// The server of all tests that do not break it. It goes with the process.
pub(crate) fn shared() -> Result<&'static ApiServer> {
    static SERVER: OnceLock<Result<ApiServer, String>> = OnceLock::new();
    let started = SERVER.get_or_init(|| start().map_err(|error| format!("{error:#}")));
    started.as_ref().map_err(|error| anyhow!("{error}"))
}

/// A server of one's own, with our kinds and service accounts.
pub(crate) fn start() -> Result<ApiServer> {
    let server = ApiServer::start()?;
    install(&server)?;
    Ok(server)
}

/// What the agents and the controller may do.
const RIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/chart/files/rbac");

/// Applies our kinds and service accounts as the chart does, and waits until the kinds are served.
pub(crate) fn install(server: &ApiServer) -> Result<()> {
    let apply = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "-f",
        DEFINITIONS,
    ];
    server.kubectl(&apply).context("installing our kinds")?;
    // The Namespace first: kubectl takes the files of a folder by name.
    for rights in [format!("{RIGHTS}/namespace.yaml"), RIGHTS.to_owned()] {
        server.kubectl(&["apply", "--server-side", "-f", &rights])?;
    }
    let established = "--for=condition=established";
    server.kubectl(&["wait", established, "crd", "--all", "--timeout=20s"])?;
    Ok(())
}

/// A merge patch of an object's status, as the admin; `object` is a kind with a name, such as `eip/pool`.
pub(crate) fn patch_status(server: &ApiServer, object: &str, patch: &str) -> Result<()> {
    let words = [
        "patch",
        object,
        "--subresource=status",
        "--type=merge",
        "-p",
        patch,
    ];
    server.kubectl(&words).map(drop)
}

/// Gives a Service of the Namespace `default` its addresses, as the controller does.
pub(crate) fn assign(server: &ApiServer, service: &str, addresses: &[IpAddr]) -> Result<()> {
    let ingress: Vec<_> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
    let patch = json!({"status": {"loadBalancer": {"ingress": ingress}}});
    patch_status(server, &format!("service/{service}"), &patch.to_string())
}

/// A client of a server for one of its users. It works in the runtime of [`block_on`].
pub(crate) async fn client(server: &ApiServer, user: &str) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(server.kubeconfig(user)?)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await?;
    Ok(Client::try_from(config)?)
}

/// Runs a test's asynchronous part to its end.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    runtime().block_on(work)
}

/// The runtime of [`block_on`], for what goes on beside a test.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().expect("threads can be started"))
}

/// A Kubernetes Namespace of the shared server for one test. What it holds stays until the server goes.
pub(crate) struct Scope {
    /// The server.
    pub(crate) server: &'static ApiServer,
    /// The Namespace's name.
    pub(crate) namespace: String,
}

impl Scope {
    /// Makes a Namespace; `name` is unique in this binary.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let server = shared()?;
        server.kubectl(&["create", "namespace", name])?;
        let namespace = name.to_owned();
        Ok(Self { server, namespace })
    }

    /// kubectl as the admin, in the Namespace.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let words = [&["--namespace", self.namespace.as_str()], arguments].concat();
        self.server.kubectl(&words)
    }

    /// `kubectl apply` of a manifest, in the Namespace unless it names another.
    pub(crate) fn apply(&self, manifest: &str) -> Result<String> {
        let file = self.server.write_manifest(manifest)?;
        self.kubectl(&["apply", "-f", &file.to_string_lossy()])
    }

    /// A client that may do everything.
    pub(crate) async fn client(&self) -> Result<Client> {
        client(self.server, ADMIN).await
    }
}
