//! A real Kubernetes API server: etcd and kube-apiserver as processes, reachable on loopback or from a lab's namespaces,
//! and kubectl to talk to it as a person would. There are no nodes and no controllers: what a test does not write is not
//! there, and a Namespace that is deleted stays Terminating. The data is in a tmpfs that goes with the processes. It can
//! be killed, frozen, restarted, and set back to an older state, which is what faults are made of.

mod binaries;
mod etcd;
pub(crate) mod go;
mod signing_key;
mod users;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};

pub(crate) use binaries::prepare as prepare_kubernetes;
pub use etcd::Saved;
pub use users::{ADMIN, AGENT, CONTROLLER, KUBE_PROXY, NOBODY, SYSTEM_NAMESPACE};
pub(crate) use users::{KUBE_CONTROLLER_MANAGER, KUBE_SCHEDULER};

use crate::lab::{self, Lab};
use crate::namespace::Namespace;
use crate::process::{Process, output};
use crate::wait::wait_until;
use binaries::Binaries;
use etcd::Etcd;

/// A running API server with its database. Dropping it kills both; nothing of its data stays.
pub struct ApiServer {
    namespace: Arc<Namespace>,
    binaries: Binaries,
    folder: PathBuf,
    address: SocketAddr,
    arguments: Vec<String>,
    // Before its database: it would complain for nothing.
    process: Option<Process>,
    etcd: Etcd,
}

/// Ready takes two seconds here; a machine that compiles meanwhile gets more.
const READY_LIMIT: Duration = Duration::from_secs(60);
const CONNECT_LIMIT: Duration = Duration::from_millis(200);
/// The port that kubeadm uses, for namespaces where it is free for sure.
const LAB_PORT: u16 = 6443;

impl ApiServer {
    /// Starts one on this host's loopback, on a free port.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// The same with more arguments to kube-apiserver.
    pub fn start_with(arguments: &[&str]) -> Result<Self> {
        let namespace = Namespace::on_host("apiserver")?;
        let address = free_ports::<1>(&namespace)?[0];
        Self::start_in(&Arc::new(namespace), address, arguments)
    }

    /// Starts one in a namespace that has mounts of its own. It listens on `address`.
    pub fn start_in(
        namespace: &Arc<Namespace>,
        address: SocketAddr,
        arguments: &[&str],
    ) -> Result<Self> {
        Self::start_server(
            namespace,
            address,
            &[&WITHOUT_CONTROLLERS, arguments].concat(),
        )
    }

    fn start_server(
        namespace: &Arc<Namespace>,
        address: SocketAddr,
        arguments: &[&str],
    ) -> Result<Self> {
        let binaries = Binaries::find()?;
        let folder = lab::make_folder("apiserver")?;
        users::write_tokens(&folder)?;
        signing_key::write(&folder.join(SIGNING_KEY))?;
        let etcd = Etcd::start(&binaries.etcd, namespace, &folder)?;
        let mut server = Self {
            namespace: Arc::clone(namespace),
            binaries,
            folder,
            address,
            arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
            process: None,
            etcd,
        };
        server.launch()?;
        server.wait_ready()?;
        Ok(server)
    }

    /// Starts one for a cluster with nodes and controllers, in a namespace that has this address.
    pub(crate) fn start_for_nodes(namespace: &Arc<Namespace>, address: Ipv4Addr) -> Result<Self> {
        Self::start_server(namespace, (address, LAB_PORT).into(), &FOR_NODES)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What service accounts' tokens are signed with.
    pub(crate) fn signing_key(&self) -> PathBuf {
        self.folder.join(SIGNING_KEY)
    }

    /// The folder of its logs, tokens and certificates.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A kubeconfig for one of the users [`ADMIN`], [`AGENT`], [`CONTROLLER`], [`NOBODY`].
    pub fn kubeconfig(&self, user: &str) -> Result<PathBuf> {
        users::write_kubeconfig(&self.folder, self.address, &self.certificate(), user)
    }

    /// kubectl itself.
    pub fn kubectl_program(&self) -> &Path {
        &self.binaries.kubectl
    }

    /// Runs kubectl as the admin and returns what it prints.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_as(ADMIN, arguments)
    }

    /// Runs kubectl as a user; its complaint is the error.
    pub fn kubectl_as(&self, user: &str, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.binaries.kubectl);
        command.arg("--kubeconfig").arg(self.kubeconfig(user)?);
        command
            .arg("--cache-dir")
            .arg(self.folder.join("kubectl-cache"));
        output(&self.namespace, {
            command.args(arguments);
            command
        })
    }

    /// `kubectl apply` of a manifest, as the admin.
    pub fn apply(&self, manifest: &str) -> Result<String> {
        let file = self.write_manifest(manifest)?;
        self.kubectl(&["apply", "-f", &file.to_string_lossy()])
    }

    /// Writes a manifest into the folder, for kubectl's `-f`.
    pub fn write_manifest(&self, manifest: &str) -> Result<PathBuf> {
        let count = fs::read_dir(&self.folder)?.count();
        let thread = format!("{:?}", std::thread::current().id());
        let number: String = thread.chars().filter(char::is_ascii_digit).collect();
        let file = self.folder.join(format!("manifest-{number}-{count}.yaml"));
        fs::write(&file, manifest)?;
        Ok(file)
    }

    /// Kills the API server; its database stays.
    pub fn kill(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill(),
            None => Ok(()),
        }
    }

    /// Starts it again after [`Self::kill`], on the same address, and waits until it is ready.
    pub fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.launch()?;
        self.wait_ready()
    }

    /// Stops it in mid-sentence: connections stay and nothing is answered.
    pub fn freeze(&self) -> Result<()> {
        self.running()?.signal(libc::SIGSTOP)
    }

    /// Lets a frozen one go on.
    pub fn thaw(&self) -> Result<()> {
        self.running()?.signal(libc::SIGCONT)
    }

    /// Keeps the present state for [`Self::roll_back`]. The database is away meanwhile, for less than a second.
    pub fn save(&mut self) -> Result<Saved> {
        let saved = self.etcd.save()?;
        self.wait_ready()?;
        Ok(saved)
    }

    /// Comes back with the state that was saved: what was written since is gone, and resource versions go back.
    pub fn roll_back(&mut self, saved: &Saved) -> Result<()> {
        self.kill()?;
        self.etcd.roll_back(saved)?;
        self.restart()
    }

    fn running(&self) -> Result<&Process> {
        let process = self.process.as_ref();
        process.ok_or_else(|| anyhow!("the API server is not running"))
    }

    /// It makes its own certificate, signed by an authority that is in the same file.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join("certificates/apiserver.crt")
    }

    fn launch(&mut self) -> Result<()> {
        let mut command = Command::new(&self.binaries.apiserver);
        let signing_key = self.signing_key();
        let paths: [(&str, PathBuf); 4] = [
            ("--cert-dir", self.folder.join("certificates")),
            ("--token-auth-file", self.folder.join(users::TOKENS_FILE)),
            ("--service-account-key-file", signing_key.clone()),
            ("--service-account-signing-key-file", signing_key),
        ];
        for (flag, path) in paths {
            command.arg(flag).arg(path);
        }
        command
            .arg(format!("--etcd-servers=http://{}", self.etcd.address()))
            .arg(format!("--bind-address={}", self.address.ip()))
            .arg(format!("--secure-port={}", self.address.port()))
            .arg(format!("--advertise-address={}", self.address.ip()))
            .args(ARGUMENTS)
            .args(&self.arguments);
        let process = Process::start(&self.namespace, "kube-apiserver", command, &self.folder)?;
        self.process = Some(process);
        Ok(())
    }

    fn wait_ready(&mut self) -> Result<()> {
        let limit = READY_LIMIT;
        let ready = wait_until(limit, "the API server is ready", || {
            if let Some(status) = self
                .process
                .as_mut()
                .map(Process::ended)
                .transpose()?
                .flatten()
            {
                return Ok(Some(Err(anyhow!("kube-apiserver ended: {status}"))));
            }
            let address = self.address;
            self.namespace
                .run(|| Ok(TcpStream::connect_timeout(&address, CONNECT_LIMIT).map(drop)?))?;
            self.kubectl(&["get", "--raw", "/readyz"])?;
            Ok(Some(Ok(())))
        });
        ready
            .and_then(|ended| ended)
            .map_err(|error| match &self.process {
                Some(process) => process.failure(&error),
                None => error,
            })
    }
}

impl Lab {
    /// Starts an API server on the router, where every node reaches it at the router's address on their link.
    pub fn start_api_server(&self) -> Result<ApiServer> {
        let address = crate::topology::router(0).v4;
        ApiServer::start_in(self.router_namespace(), (address, LAB_PORT).into(), &[])
    }
}

const SIGNING_KEY: &str = "service-accounts.key";

/// What does not depend on where it runs.
const ARGUMENTS: [&str; 5] = [
    "--authorization-mode=Node,RBAC",
    "--service-account-issuer=https://kubernetes.default.svc",
    "--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112",
    "--allow-privileged",
    "--profiling=false",
];

/// Pods can be made without a controller that makes service accounts for them.
const WITHOUT_CONTROLLERS: [&str; 2] = [
    "--endpoint-reconciler-type=none",
    "--disable-admission-plugins=ServiceAccount",
];

/// Kubelets' names are nobody's to look up.
const FOR_NODES: [&str; 1] = ["--kubelet-preferred-address-types=InternalIP"];

/// Loopback ports that nobody listens on. They are below those that the kernel gives to whoever asks for any, and no
/// two servers of this process are given the same.
fn free_ports<const N: usize>(namespace: &Namespace) -> Result<[SocketAddr; N]> {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let process_share = u16::try_from(std::process::id() % PROCESS_SHARES)?;
    let first = FIRST_PORT + process_share * PORTS_OF_PROCESS;
    namespace.run(|| {
        let mut ports = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
        for port in &mut ports {
            for _ in 0..PORTS_OF_PROCESS {
                let next = GIVEN.fetch_add(1, Ordering::Relaxed) % PORTS_OF_PROCESS;
                let candidate = SocketAddr::from((Ipv4Addr::LOCALHOST, first + next));
                if TcpListener::bind(candidate).is_ok() {
                    *port = candidate;
                    break;
                }
            }
            ensure!(port.port() > 0, "no port from {first} on is free");
        }
        Ok(ports)
    })
}

/// Ports that are given: some to each process, below the kernel's ephemeral ones.
const FIRST_PORT: u16 = 20_000;
const PORTS_OF_PROCESS: u16 = 200;
const PROCESS_SHARES: u32 = 60;
