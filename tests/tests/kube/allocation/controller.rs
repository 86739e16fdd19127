//! An API server with a controller, in this process or as one of its own, and the questions that tests ask with kubectl.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use lb_kube::controller::{self, Figures, LeaseTimes, Options};
use lb_lab::{
    ApiServer, CONTROLLER, Namespace, Process, SYSTEM_NAMESPACE, agent_binary, output, wait_until,
};
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

/// `lb-agent controller`. Dropped, it is killed.
pub(super) struct ControllerProcess {
    process: Process,
    /// Where it answers kubelet and Prometheus.
    http: SocketAddr,
}

impl Cluster {
    pub(super) fn start() -> Result<Self> {
        let server = fixture::start()?;
        Ok(Self { server })
    }

    pub(super) fn controller(&self, identity: &str) -> Controller {
        self.controller_as(identity, |_| {})
    }

    /// One that is told more.
    pub(super) fn controller_as(
        &self,
        identity: &str,
        change: impl FnOnce(&mut Options),
    ) -> Controller {
        let mut options = Options {
            namespace: SYSTEM_NAMESPACE.to_owned(),
            identity: identity.to_owned(),
            class: Default::default(),
            addresses_only: false,
            lease: LeaseTimes::of_duration(Duration::from_secs(3)),
        };
        change(&mut options);
        let (stop, stops) = watch::channel(false);
        let figures = watch::Sender::new(Figures::default());
        let client = block_on(fixture::client(&self.server, CONTROLLER))
            .expect("the controller has a token");
        let task = runtime().spawn(controller::run(client, options, stops, figures));
        Controller { task, stop }
    }

    /// `lb-agent controller` as a process, with more arguments.
    pub(super) fn process(&self, name: &str, arguments: &[&str]) -> Result<ControllerProcess> {
        let http = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = Command::new(agent_binary()?);
        command.args([
            "controller",
            "--namespace",
            SYSTEM_NAMESPACE,
            "--lease-duration",
            "3",
        ]);
        command
            .arg("--kubeconfig")
            .arg(self.server.kubeconfig(CONTROLLER)?);
        command.arg(format!("--http={http}")).args(arguments);
        let namespace = Namespace::on_host(name)?;
        let process = Process::start(&namespace, name, command, self.server.folder())?;
        Ok(ControllerProcess { process, http })
    }

    /// Runs another command of `lb-agent` against the server, as the admin.
    pub(super) fn agent(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(agent_binary()?);
        command.args(arguments);
        command
            .arg("--kubeconfig")
            .arg(self.server.kubeconfig(lb_lab::ADMIN)?);
        output(&Namespace::on_host("command")?, command)
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

    /// Status, reason and message of a condition of ours on a Service; empty: it has none.
    pub(super) fn condition(&self, service: &str, kind: &str) -> Result<String> {
        let path = format!(
            "{{range .status.conditions[?(@.type==\"fairlead.io/{kind}\")]}}{{.status}} {{.reason}} {{.message}}{{end}}"
        );
        self.read(service, &path)
    }

    /// Waits until a condition of a Service begins like this.
    pub(super) fn wait_for_condition(&self, service: &str, kind: &str, words: &str) -> Result<()> {
        wait_until(LIMIT, &format!("{kind} of {service} is {words}"), || {
            let seen = self.condition(service, kind)?;
            ensure!(seen.starts_with(words), "{seen}");
            Ok(Some(()))
        })
    }

    /// Waits until a condition of an object of the whole cluster begins like this.
    pub(super) fn wait_for_state(&self, object: &str, kind: &str, words: &str) -> Result<String> {
        let path = format!(
            "jsonpath={{range .status.conditions[?(@.type==\"{kind}\")]}}{{.status}} {{.reason}} {{.message}}{{end}}"
        );
        wait_until(LIMIT, &format!("{kind} of {object} is {words}"), || {
            let seen = self.kubectl(&["get", object, "-o", &path])?;
            ensure!(seen.starts_with(words), "{seen}");
            Ok(Some(seen))
        })
    }

    /// A merge patch of an object, as `kind/name`.
    pub(super) fn patch(&self, object: &str, patch: &str) -> Result<String> {
        self.kubectl(&["patch", object, "--type=merge", "-p", patch])
    }

    /// The same of its status.
    pub(super) fn patch_status(&self, object: &str, patch: &str) -> Result<()> {
        fixture::patch_status(&self.server, object, patch)
    }

    /// An object as the API server has it, to the last byte.
    pub(super) fn whole(&self, object: &str) -> Result<String> {
        self.kubectl(&["get", object, "-o", "json", "--show-managed-fields"])
    }

    /// Every object that the controller could write, with its version.
    pub(super) fn all_versions(&self) -> Result<Vec<String>> {
        let kinds = "services,eips,bgppeers,bgpconfs,events";
        let path = "jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}";
        let text = self.kubectl(&["get", kinds, "-A", "-o", path])?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Waits until nothing was written for three seconds: the controller must come to rest.
    pub(super) fn wait_for_quiet(&self) -> Result<()> {
        let mut before = self.all_versions()?;
        wait_until(LIMIT * 3, "nothing is written any more", || {
            // Not for something to come: it is what must not come meanwhile.
            std::thread::sleep(Duration::from_secs(3));
            let now = self.all_versions()?;
            let is_quiet = now == before;
            before = now;
            Ok(is_quiet.then_some(()))
        })
    }

    /// How many requests the API server has counted that have all of these words in their labels.
    pub(super) fn requests(&self, words: &[&str]) -> Result<usize> {
        let metrics = self.kubectl(&["get", "--raw", "/metrics"])?;
        let counts = metrics.lines().filter(|line| {
            line.starts_with("apiserver_request_total{")
                && words.iter().all(|word| line.contains(word))
        });
        let counts = counts.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok());
        Ok(counts.sum())
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

impl ControllerProcess {
    /// What it answers to a GET.
    pub(super) fn get(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.http)?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Waits until its metrics have this line.
    pub(super) fn wait_for_metric(&self, line: &str) -> Result<()> {
        wait_until(LIMIT, &format!("its metrics say {line}"), || {
            let metrics = self.get("/metrics")?;
            Ok(metrics.lines().any(|known| known == line).then_some(()))
        })
    }

    /// Kills it with SIGKILL.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Stops it in mid-sentence with SIGSTOP, or lets it go on.
    pub(super) fn freeze(&self, is_frozen: bool) -> Result<()> {
        let signal = if is_frozen {
            libc::SIGSTOP
        } else {
            libc::SIGCONT
        };
        self.process.signal(signal)
    }

    /// Ends it as kubelet does.
    pub(super) fn terminate(&mut self) -> Result<()> {
        let status = self.process.terminate(LIMIT)?;
        ensure!(status.success(), "{status}");
        Ok(())
    }
}
