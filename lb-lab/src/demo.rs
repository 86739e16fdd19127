//! The demo: a list of steps on one thread, which tells what happens, and the main thread, which shows it, watches the
//! deadlines and Ctrl-C, and decides the exit code. The lab dies with the process whatever happens to either, so there
//! is no path on which something is left behind.

mod cluster;
mod console;
mod event;
mod steps;
mod traffic;

use std::fs;
use std::io::ErrorKind;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use self::console::Console;
use self::event::{Event, Stage};

/// What is to be shown.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// All steps.
    Everything {
        /// Whether the lab stays up afterwards.
        keep: bool,
    },
    /// The lab with its routes, kept up.
    Up,
}

impl Goal {
    fn keep(self) -> bool {
        !matches!(self, Self::Everything { keep: false })
    }

    fn step_count(self) -> usize {
        match self {
            Self::Everything { .. } => steps::ALL,
            Self::Up => steps::UNTIL_ROUTES,
        }
    }
}

/// Shows the steps of a goal and says how it went.
pub(crate) fn run(goal: Goal) -> ExitCode {
    if let Err(reason) = can_run_here() {
        eprintln!("lb-lab: {reason}");
        return ExitCode::from(CANNOT_RUN_HERE);
    }
    let (sender, events) = channel();
    watch_interrupt(sender.clone());
    thread::spawn(move || steps::perform(goal, &Stage::new(sender)));
    follow(&events, &mut Console::new(goal.step_count()))
}

const CANNOT_RUN_HERE: u8 = 2;
/// 128 and SIGINT's number, as shells have it.
const INTERRUPTED: u8 = 130;

fn can_run_here() -> Result<(), String> {
    // The second of the four is the effective user id (proc(5)).
    let status = fs::read_to_string("/proc/self/status")
        .map_err(|error| format!("/proc is needed: {error}"))?;
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let effective = uids.and_then(|uids| uids.split_whitespace().nth(1));
    if effective != Some("0") {
        return Err(
            "network namespaces need root: run it with sudo, or by `cargo xtask demo`".to_owned(),
        );
    }
    match fs::metadata("/sys/fs/bpf") {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err("/sys/fs/bpf does not exist: this kernel has no BPF file system".to_owned())
        }
        _ => Ok(()),
    }
}

/// Shows events until the end and returns the exit code.
fn follow(events: &Receiver<Event>, console: &mut Console) -> ExitCode {
    loop {
        let event = match events.recv_timeout(TICK) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) if console.overdue() => {
                console.fail_overdue();
                return ExitCode::FAILURE;
            }
            Err(RecvTimeoutError::Timeout) => {
                console.tick();
                continue;
            }
            // The thread of the steps panicked; it has said why.
            Err(RecvTimeoutError::Disconnected) => return ExitCode::FAILURE,
        };
        match event {
            Event::Begin(step) => console.begin(step),
            Event::Note(line) => console.note(&line),
            Event::Held => console.hold(),
            Event::Failed(failure) => console.fail(&failure),
            Event::Crashed => return ExitCode::FAILURE,
            Event::Over { folder } => return console.finish(&folder),
            Event::Kept { folder, commands } => {
                let code = console.finish(&folder);
                console.explain(&commands);
                wait_for_interrupt(events);
                return code;
            }
            Event::Interrupted => {
                console.interrupted();
                return ExitCode::from(INTERRUPTED);
            }
        }
    }
}

fn wait_for_interrupt(events: &Receiver<Event>) {
    for event in events {
        if matches!(event, Event::Interrupted) {
            return;
        }
    }
}

/// Turns Ctrl-C into an event.
fn watch_interrupt(events: Sender<Event>) {
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build();
        let waited = runtime.and_then(|runtime| runtime.block_on(tokio::signal::ctrl_c()));
        if waited.is_ok() {
            // If nobody listens any more, the process is about to end.
            let _ = events.send(Event::Interrupted);
        }
    });
}

const TICK: Duration = Duration::from_millis(100);
