//! BIRD 1.6.8, the version that PorterLB's manual was written for: IPv4 only, one table. Debian's package excludes
//! BIRD 2, so it is unpacked into the cache and run from there, on the router, with its own control socket. Its
//! configuration is a file as a manual prints it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::debian::{self, Package};
use crate::lab::Lab;
use crate::namespace::Namespace;
use crate::process::{Process, output};
use crate::wait::wait_until;

/// A running BIRD 1.6.8.
pub struct Bird1 {
    namespace: Arc<Namespace>,
    programs: PathBuf,
    process: Process,
}

/// In the namespace's own `/run`.
const SOCKET: &str = "/run/bird1.ctl";
const START_LIMIT: Duration = Duration::from_secs(5);

impl Lab {
    /// Starts BIRD 1.6.8 on the router from the text of a configuration file.
    pub fn start_bird1(&self, text: &str) -> Result<Bird1> {
        let package = Package {
            suite: "bookworm".to_owned(),
            name: "bird".to_owned(),
            version: "1.6.8-2.1+b1".to_owned(),
            sha256: "a7c5c4ac9eae071be75ea05c86ff6ae52c3c4aecdbf0709321a1722ae3269106".to_owned(),
        };
        let folder = debian::unpacked("debs", "bird-1.6.8", &[package])?;
        let config = self.folder().join("bird1.conf");
        fs::write(&config, text)?;
        let programs = folder.join("usr/sbin");
        let namespace = Arc::clone(self.router_namespace());
        let mut command = Command::new(programs.join("bird"));
        command
            .arg("-f")
            .arg("-c")
            .arg(&config)
            .args(["-s", SOCKET]);
        let mut bird = Bird1 {
            process: Process::start(&namespace, "bird1", command, self.folder())?,
            namespace,
            programs,
        };
        let up = wait_until(START_LIMIT, "control socket of BIRD 1.6.8", || {
            match bird.process.ended()? {
                Some(status) => Ok(Some(Err(anyhow!("BIRD has ended: {status}")))),
                None => Ok(bird.query("show status").is_ok().then_some(Ok(()))),
            }
        });
        up.flatten().map_err(|error| bird.process.failure(&error))?;
        Ok(bird)
    }
}

impl Bird1 {
    /// The answer of its `birdc` to a command.
    pub fn query(&self, command: &str) -> Result<String> {
        let mut birdc = Command::new(self.programs.join("birdc"));
        birdc.args(["-s", SOCKET]).args(command.split(' '));
        output(&self.namespace, birdc)
    }
}
