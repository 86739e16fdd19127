//! An API server with a controller, in this process, and the questions that tests ask with kubectl.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result};
use lb_kube::controller::{self, LeaseTimes, Options};
use lb_lab::{ADMIN, ApiServer, CONTROLLER, SYSTEM_NAMESPACE, wait_until};
use tokio::{sync::watch, task::JoinHandle};

use crate::fixture::{self, block_on, runtime};

/// A finalizer stays for ten seconds, and a dead leader is followed after three.
pub(super) const LIMIT: Duration = Duration::from_secs(16);

/// A Service on port 80 with these annotations and further fields.
pub(super) fn service(name: &str, annotations: &str, fields: &str) -> String {
    format!(
        "apiVersion: v1
kind: Service
metadata: {{name: {name}, annotations: {{{annotations}}}}}
spec: {{type: LoadBalancer, {fields} ports: [{{name: p, port: 80}}], selector: {{app: {name}}}}}
"
    )
}

pub(super) struct Cluster {
    pub(super) server: ApiServer,
}

/// A controller that runs. Dropped, it dies without a word.
pub(super) struct Controller {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Cluster {
    pub(super) fn start() -> Result<Self> {
        let server = fixture::start()?;
        Ok(Self { server })
    }

    pub(super) fn controller(&self, identity: &str) -> Controller {
        let options = Options {
            namespace: SYSTEM_NAMESPACE.to_owned(),
            identity: identity.to_owned(),
            class: Default::default(),
            addresses_only: false,
            lease: LeaseTimes::of_duration(Duration::from_secs(3)),
        };
        let (stop, stops) = watch::channel(false);
        let client = block_on(fixture::client(&self.server, CONTROLLER))
            .expect("the controller has a token");
        let task = runtime().spawn(controller::run(client, options, stops));
        Controller { task, stop }
    }

    pub(super) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.server.kubectl(arguments)
    }

    pub(super) fn apply(&self, manifest: &str) -> Result<String> {
        self.server.apply(manifest)
    }

    /// A field of a Service.
    pub(super) fn read(&self, service: &str, path: &str) -> Result<String> {
        let path = format!("jsonpath={path}");
        self.kubectl(&["get", "service", service, "-o", &path])
    }

    pub(super) fn addresses(&self, service: &str) -> Result<String> {
        self.read(service, "{.status.loadBalancer.ingress[*].ip}")
    }

    /// Who wrote which part of a Service.
    pub(super) fn read_managers(&self, service: &str) -> Result<String> {
        let path = "-o=jsonpath={.metadata.managedFields[*].subresource}";
        self.kubectl(&["get", "service", service, "--show-managed-fields", path])
    }

    pub(super) fn wait_for(&self, service: &str, path: &str, value: &str) -> Result<()> {
        wait_until(LIMIT, &format!("{service}: {path} becomes {value}"), || {
            let seen = self.read(service, path)?;
            anyhow::ensure!(seen == value, "{seen}");
            Ok(Some(()))
        })
    }

    pub(super) fn wait_for_addresses(&self, service: &str, addresses: &str) -> Result<()> {
        let path = "{.status.loadBalancer.ingress[*].ip}";
        self.wait_for(service, path, addresses).with_context(|| {
            let path = "{.status.conditions}";
            self.read(service, path).unwrap_or_default()
        })
    }

    pub(super) fn wait_for_reason(&self, service: &str, reason: &str) -> Result<()> {
        let path =
            "{.status.conditions[?(@.type==\"fairlead.io/LoadBalancerProvisioning\")].reason}";
        self.wait_for(service, path, reason)
    }

    pub(super) fn wait_until_gone(&self, kind: &str, name: &str) -> Result<()> {
        wait_until(LIMIT, &format!("{kind} {name} is gone"), || {
            let seen = self.kubectl(&["get", kind, name, "--ignore-not-found", "-o", "name"])?;
            Ok(seen.is_empty().then_some(()))
        })
    }

    /// Resource versions of all Services.
    pub(super) fn versions(&self) -> Result<BTreeMap<String, String>> {
        let path =
            "jsonpath={range .items[*]}{.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}";
        let text = self.kubectl(&["get", "services", "-o", path])?;
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        Ok(lines
            .map(|(name, version)| (name.to_owned(), version.to_owned()))
            .collect())
    }

    /// Whether nobody has written these Services since.
    pub(super) fn unchanged(
        &self,
        before: &BTreeMap<String, String>,
        names: &[&str],
    ) -> Result<bool> {
        let now = self.versions()?;
        Ok(names.iter().all(|name| before.get(*name) == now.get(*name)))
    }

    pub(super) fn reassign(&self, service: &str) -> Result<String> {
        block_on(async {
            let client = fixture::client(&self.server, ADMIN).await?;
            Ok(controller::reassign(client, service).await?)
        })
    }
}

impl Controller {
    /// Lets it end in good order: the Lease is given up.
    pub(super) fn stop(mut self) {
        self.stop.send_replace(true);
        block_on(&mut self.task).expect("a controller does not panic");
    }

    /// Kills it.
    pub(super) fn kill(self) {
        self.task.abort();
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.task.abort();
    }
}
