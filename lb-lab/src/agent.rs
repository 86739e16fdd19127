//! An `lb-agent` on a node of the lab, as a process and nothing else: a configuration file, a socket, pins. It finds the
//! binary by the variable `FAIRLEAD_AGENT`, or beside the running executable. What the agent says is asked from its own
//! `show` command, the way an operator would.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use crate::lab::Lab;
use crate::namespace::Namespace;
use crate::process::{Process, output};
use crate::wait::wait_until;

/// How an agent is started, apart from its configuration.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// The folder of its pins in the node's own bpffs.
    pub pin_dir: PathBuf,
    /// Its socket in the node's own `/run`.
    pub socket: PathBuf,
    /// More arguments to `lb-agent run`.
    pub arguments: Vec<String>,
    /// Environment variables to set.
    pub environment: Vec<(String, String)>,
    /// Another build of the agent than [`agent_binary`] finds.
    pub binary: Option<PathBuf>,
}

impl Default for AgentOptions {
    fn default() -> Self {
        Self {
            pin_dir: "/sys/fs/bpf/fairlead".into(),
            socket: "/run/fairlead/agent.sock".into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            binary: None,
        }
    }
}

/// An agent of a node. Dropping it kills the process; its pins stay in the node's namespace, as they would on a node.
pub struct Agent {
    name: String,
    namespace: Arc<Namespace>,
    options: AgentOptions,
    config: PathBuf,
    folder: PathBuf,
    process: Process,
}

impl Lab {
    /// Writes the configuration into the lab's folder and starts an agent with it on a node.
    pub fn start_agent(&self, node: u8, yaml: &str, options: &AgentOptions) -> Result<Agent> {
        let node = self.node(node);
        let config = self.folder().join(format!("{}.yaml", node.name()));
        fs::write(&config, yaml)?;
        let name = format!("agent-{}", node.name());
        let process = start(node.namespace(), &name, &config, options, self.folder())?;
        Ok(Agent {
            name,
            namespace: Arc::clone(node.namespace()),
            options: options.clone(),
            config,
            folder: self.folder().to_owned(),
            process,
        })
    }
}

impl Agent {
    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Its configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Replaces the configuration file at once, as an editor does, so that the agent reloads it.
    pub fn edit(&self, yaml: &str) -> Result<()> {
        let draft = self.config.with_extension("draft");
        fs::write(&draft, yaml)?;
        fs::rename(&draft, &self.config).context("replacing the configuration")
    }

    /// Starts it again after its process has ended.
    pub fn restart(&mut self) -> Result<()> {
        if self.process.ended()?.is_none() {
            bail!("{} is still running", self.name);
        }
        self.process = start(
            &self.namespace,
            &self.name,
            &self.config,
            &self.options,
            &self.folder,
        )?;
        Ok(())
    }

    /// Ends it with SIGTERM and returns how it exited.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.process.terminate(limit)
    }

    /// `lb-agent show TOPIC -o json` on the node.
    pub fn show(&self, topic: &str) -> Result<Value> {
        let mut command = Command::new(agent_binary()?);
        command
            .args(["show", topic, "-o", "json", "--socket"])
            .arg(&self.options.socket);
        let answer = output(&self.namespace, command)?;
        serde_json::from_str(&answer)
            .with_context(|| format!("reading the answer of show {topic}: {answer}"))
    }

    /// `lb-agent drain` with more words, and what it prints.
    pub fn drain(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::new(agent_binary()?);
        command.arg("drain").args(words);
        command.arg("--socket").arg(&self.options.socket);
        output(&self.namespace, command)
    }

    /// Waits until `check` holds for what `show TOPIC` says. The error has the end of the agent's log.
    pub fn wait_for(
        &mut self,
        limit: Duration,
        topic: &str,
        what: &str,
        check: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let what = format!("{}: {what}", self.name);
        let seen = wait_until(limit, &what, || {
            if let Some(status) = self.process.ended()? {
                return Ok(Some(Err(anyhow!("the agent has ended: {status}"))));
            }
            let shown = self.show(topic)?;
            if check(&shown) {
                Ok(Some(Ok(shown)))
            } else {
                bail!("{shown}")
            }
        });
        seen.flatten().map_err(|error| self.process.failure(&error))
    }

    /// The command with which a person runs `lb-agent show TOPIC` on this node.
    pub fn show_command(&self, topic: &str) -> Result<String> {
        let (enter, binary) = (self.namespace.nsenter_arguments(), agent_binary()?);
        let socket = self.options.socket.display();
        Ok(format!(
            "nsenter {enter} {} show {topic} --socket {socket}",
            binary.display()
        ))
    }
}

fn start(
    namespace: &Namespace,
    name: &str,
    config: &Path,
    options: &AgentOptions,
    folder: &Path,
) -> Result<Process> {
    let binary = options.binary.clone().map_or_else(agent_binary, Ok)?;
    let mut command = Command::new(binary);
    command.args(["run", "--config"]).arg(config);
    command.arg("--pin-dir").arg(&options.pin_dir);
    command.arg("--socket").arg(&options.socket);
    command.args(&options.arguments);
    command.envs(options.environment.iter().cloned());
    Process::start(namespace, name, command, folder)
}

/// The agent's binary: that of the variable `FAIRLEAD_AGENT`, or the one beside the running executable. Test binaries lie
/// one folder below the programs, in `deps`.
pub fn agent_binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("FAIRLEAD_AGENT") {
        return Ok(path.into());
    }
    let executable = env::current_exe()?;
    let beside = executable
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("lb-agent"));
    let found = beside.into_iter().find(|path| path.is_file());
    found.with_context(|| {
        format!(
            "no lb-agent beside {} and FAIRLEAD_AGENT is not set",
            executable.display()
        )
    })
}
