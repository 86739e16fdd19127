//! Processes of a lab: started inside a namespace, their output captured in a file, ended by pid. A process dies with
//! the lab's own (`PR_SET_PDEATHSIG`), however that ends. The kernel ties that signal to the *thread* that forked, so
//! all are started by one thread that lives as long as this process.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;
use std::{io, process};

use anyhow::{Context, Result, anyhow};

use crate::namespace::Namespace;
use crate::wait::wait_until;

/// A running child; dropping it kills it and, while a test panics, shows the end of its log.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` in a namespace. Both its outputs are appended to `FOLDER/NAME.log`.
    pub fn start(
        namespace: &Namespace,
        name: &str,
        mut command: Command,
        folder: &Path,
    ) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log)?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        confine(&mut command, namespace.try_clone()?);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = match namespace.spawner() {
            Some(spawner) => spawner.spawn(command),
            None => Spawner::of_this_process().spawn(command),
        }
        .with_context(|| format!("starting {program} as {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log,
        })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Asks it to end with SIGTERM and waits at most `limit`, then kills it; the error says that this was needed.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(libc::SIGTERM)?;
        let what = format!("end of {} after SIGTERM", self.name);
        let ended = wait_until(limit, &what, || Ok(self.child.try_wait()?));
        ended.map_err(|error| {
            let killed = self.kill();
            self.failure(&error.context(format!("killed instead: {}", killed.is_ok())))
        })
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends a signal, such as `libc::SIGSTOP`.
    pub fn signal(&self, signal: i32) -> Result<()> {
        let pid = libc::pid_t::try_from(self.pid())?;
        // SAFETY: kill takes no pointers; the child is not yet reaped, so the pid is still its own.
        let code = unsafe { libc::kill(pid, signal) };
        if code < 0 {
            return Err(io::Error::last_os_error())
                .with_context(|| format!("signalling {}", self.name));
        }
        Ok(())
    }

    /// The last lines of its output.
    pub fn log_tail(&self, lines: usize) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// An error about this process, with the end of its log and where the rest is.
    pub fn failure(&self, cause: &anyhow::Error) -> anyhow::Error {
        let tail = self.log_tail(TAIL_LINES);
        let log = self.log.display();
        anyhow!("{cause:#}\nlast lines of {} ({log}):\n{tail}", self.name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Gone already is fine, and there is nobody to tell of anything else.
        let _ = self.kill();
        if thread::panicking() {
            let (log, tail) = (self.log.display(), self.log_tail(TAIL_LINES));
            eprintln!("last lines of {} ({log}):\n{tail}", self.name);
        }
    }
}

/// How much of a log is shown when something fails.
pub(crate) const TAIL_LINES: usize = 10;

/// Runs a short command in a namespace to its end and returns its standard output.
pub fn output(namespace: &Namespace, mut command: Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    confine(&mut command, namespace.try_clone()?);
    let output = match namespace.spawner() {
        Some(spawner) => {
            command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            spawner.spawn(command).and_then(Child::wait_with_output)
        }
        None => command.output(),
    }
    .with_context(|| format!("starting {program}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(
        output.status.success(),
        "{program} failed with {}: {complaint}",
        output.status
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Makes the child enter the namespace, leave the terminal's process group, and die with its parent.
fn confine(command: &mut Command, namespace: Namespace) {
    // Seen from a process namespace of its own, the lab has no number.
    let parent = match namespace.spawner() {
        Some(_) => 0,
        None => process::id(),
    };
    let enter = move || {
        namespace.enter()?;
        // SAFETY: this option of prctl takes a signal number and no pointers.
        if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } < 0 {
            return Err(io::Error::last_os_error());
        }
        // A parent that ended before the line above sends no signal any more.
        if std::os::unix::process::parent_id() != parent {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(())
    };
    command.process_group(0);
    // SAFETY: the closure makes system calls only and allocates nothing.
    unsafe { command.pre_exec(enter) };
}

type Job = Box<dyn FnOnce() + Send>;

/// A thread that starts processes and lives as long as this value.
pub(crate) struct Spawner(Mutex<Sender<Job>>);

impl Spawner {
    /// The one of all processes that have no process namespace of their own; it never ends.
    fn of_this_process() -> &'static Self {
        static SPAWNER: OnceLock<Spawner> = OnceLock::new();
        SPAWNER.get_or_init(|| Self::start(|| {}))
    }

    /// A new one, whose thread begins with `prepare`.
    pub(crate) fn start(prepare: impl FnOnce() + Send + 'static) -> Self {
        let (jobs, inbox) = channel::<Job>();
        thread::spawn(move || {
            prepare();
            inbox.iter().for_each(|job| job());
        });
        Self(Mutex::new(jobs))
    }

    fn spawn(&self, mut command: Command) -> io::Result<Child> {
        let (reply, answer) = channel();
        let job: Job = Box::new(move || {
            // The asker waits below, so the reply is always taken.
            let _ = reply.send(command.spawn());
        });
        let jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.send(job)
            .map_err(|_| io::Error::other("the thread that starts processes has ended"))?;
        drop(jobs);
        answer.recv().map_err(io::Error::other)?
    }
}

#[cfg(test)]
mod tests;
