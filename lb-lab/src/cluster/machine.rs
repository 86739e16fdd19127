//! A node as a machine of its own: in the network of a lab's node, with mounts, host name, semaphores and process numbers
//! of its own. Its process 1 is a shell script that becomes a sleeper; killing that one kills everything on the node,
//! shims and containers included, as pulling the plug does. What runs on it is started by the harness, one by one.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::namespace::Namespace;
use crate::process::{Process, output};
use crate::wait::wait_until;

/// A running machine; dropping it ends all its processes.
pub(super) struct Machine {
    namespace: Arc<Namespace>,
    init: Process,
}

const SCRIPT: &str = include_str!("machine.sh");
const BOOTED: &str = "/run/booted";
const BOOT_LIMIT: Duration = Duration::from_secs(10);

impl Machine {
    /// Boots one in the network of a node. The node's `/run` and its bpffs are those of the lab's namespace, too.
    pub(super) fn boot(network: &Namespace, folder: &Path) -> Result<Self> {
        let name = network.name();
        network.run(|| {
            // Of the boot before, if there was one.
            let _ = fs::remove_file(BOOTED);
            Ok(())
        })?;
        let place = network.before_boot()?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--uts", "--ipc", "sh", "-c", SCRIPT, "sh", name]);
        let mut init = Process::start(&place, &format!("{name}-init"), command, folder)?;
        let booted = wait_until(BOOT_LIMIT, "the node has booted", || {
            if let Some(status) = init.ended()? {
                return Ok(Some(Err(anyhow!("process 1 ended: {status}"))));
            }
            network.run(|| Ok(Path::new(BOOTED).exists().then_some(Ok(()))))
        });
        booted.flatten().map_err(|error| init.failure(&error))?;
        let namespace = place.booted(init.pid()).context("opening its namespaces")?;
        Ok(Self {
            namespace: Arc::new(namespace),
            init,
        })
    }

    /// Where its processes are.
    pub(super) fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    /// Runs a short command on it to its end.
    pub(super) fn output(&self, command: Command) -> Result<String> {
        output(&self.namespace, command)
    }

    /// The arguments with which `nsenter` gets onto it.
    pub(super) fn nsenter_arguments(&self) -> String {
        format!(
            "--target {} --mount --uts --ipc --net --pid",
            self.init.pid()
        )
    }

    /// Pulls the plug: every process on it is gone when this returns.
    pub(super) fn power_off(&mut self) -> Result<()> {
        self.init.kill()
    }
}
