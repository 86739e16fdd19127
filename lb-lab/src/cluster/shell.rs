//! A shell beside the cluster, on the lab's router: `kubectl`, `helm` and `lb-agent import` reach the API server, `node1` to `node3` and
//! `client` run a command there, `birdc` asks the router. People get it by `cargo xtask cluster shell`, and tests run the
//! manual's commands in it, so what is printed there is what was run.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::json;

use crate::agent::agent_binary;
use crate::apiserver::ADMIN;
use crate::builder::node_name;
use crate::cluster::{Cluster, programs};
use crate::lab;
use crate::process::output;
use crate::topology::NODES;

/// What a shell has besides the caller's environment.
#[derive(Clone, Debug)]
pub struct ShellEnvironment {
    /// Arguments with which `nsenter` gets to the router.
    pub nsenter: String,
    /// Where the commands are.
    pub programs: PathBuf,
    /// For kubectl and helm.
    pub kubeconfig: PathBuf,
}

const STATE_FILE: &str = "cluster.json";

impl Cluster {
    /// Runs a script of shell commands and returns what it prints. The first command that fails ends it.
    pub fn shell(&self, script: &str) -> Result<String> {
        // Entering the router's mounts leads to the root folder.
        let begin = format!("cd '{}'\n{script}", self.folder.display());
        let mut sh = Command::new("sh");
        sh.args(["-euc", &begin])
            .env("PATH", search_path(&self.folder.join(PROGRAMS)));
        sh.env("KUBECONFIG", self.server().kubeconfig(ADMIN)?);
        sh.env("HOME", &self.folder);
        output(self.lab().router_namespace(), sh).with_context(|| format!("running `{script}`"))
    }

    /// Writes down how others find this cluster while its process lives.
    pub fn register(&self) -> Result<()> {
        let state = json!({
            "pid": std::process::id(),
            "nsenter": self.lab().router_namespace().nsenter_arguments(),
            "programs": self.folder.join(PROGRAMS),
            "kubeconfig": self.server().kubeconfig(ADMIN)?,
        });
        fs::write(self.folder.join(STATE_FILE), state.to_string())
            .context("registering the cluster")
    }

    /// The commands of the shell, as files.
    pub(super) fn write_programs(&self) -> Result<()> {
        let folder = self.folder.join(PROGRAMS);
        fs::create_dir_all(&folder)?;
        symlink(self.server().kubectl_program(), folder.join("kubectl"))?;
        symlink(programs::helm()?, folder.join("helm"))?;
        // Who only wants a cluster may not have built it.
        if let Ok(agent) = agent_binary() {
            symlink(agent, folder.join("lb-agent"))?;
        }
        for number in 1..=NODES {
            let enter = self.nsenter_arguments(number);
            // With containerd's own client, which lies in the cache.
            let path = programs::search_path(&programs::container_runtime()?);
            let path = path.to_string_lossy();
            write_script(
                &folder.join(node_name(number)),
                &format!("PATH={path}\nexport PATH\nexec nsenter {enter} -- \"$@\""),
            )?;
        }
        let enter = self.lab().client_namespace().nsenter_arguments();
        write_script(
            &folder.join("client"),
            &format!("exec nsenter {enter} -- \"$@\""),
        )?;
        write_script(
            &folder.join("birdc"),
            "exec /usr/sbin/birdc -s /run/bird.ctl \"$@\"",
        )
    }
}

/// The process of a registered cluster that still lives, the newest first, and how to get into it.
pub fn registered_clusters() -> Result<Vec<(i32, ShellEnvironment)>> {
    let root = lab::artifacts()?;
    let mut found = Vec::new();
    for entry in fs::read_dir(&root).into_iter().flatten().flatten() {
        let file = entry.path().join(STATE_FILE);
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        let state: serde_json::Value =
            serde_json::from_str(&text).with_context(|| format!("reading {}", file.display()))?;
        let word = |key: &str| state[key].as_str().unwrap_or_default().to_owned();
        let pid = state["pid"]
            .as_i64()
            .and_then(|pid| i32::try_from(pid).ok());
        let begun = fs::metadata(&file)?.modified()?;
        let pid = pid.filter(|pid| Path::new(&format!("/proc/{pid}")).exists());
        if let Some(pid) = pid {
            let environment = ShellEnvironment {
                nsenter: word("nsenter"),
                programs: word("programs").into(),
                kubeconfig: word("kubeconfig").into(),
            };
            found.push((begun, pid, environment));
        }
    }
    found.sort_by_key(|(begun, ..)| std::cmp::Reverse(*begun));
    Ok(found
        .into_iter()
        .map(|(_, pid, environment)| (pid, environment))
        .collect())
}

const PROGRAMS: &str = "bin";

/// `PATH` with the shell's commands first.
pub fn search_path(programs: &Path) -> OsString {
    let mut path = programs.as_os_str().to_owned();
    path.push(":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    path
}

fn write_script(file: &Path, line: &str) -> Result<()> {
    fs::write(file, format!("#!/bin/sh\n{line}\n"))?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o755))?;
    Ok(())
}
