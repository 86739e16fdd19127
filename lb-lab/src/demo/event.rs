//! What the steps tell the console. One direction only: a step never asks anything back.

use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use anyhow::Result;

/// A step that begins.
#[derive(Debug)]
pub(crate) struct Step {
    /// What it does, in plain words.
    pub(crate) title: String,
    /// How long it may take.
    pub(crate) limit: Duration,
    /// The log of the part that is at fault if it takes longer.
    pub(crate) log: Option<PathBuf>,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// A step began.
    Begin(Step),
    /// Something to know about the step under way.
    Note(String),
    /// The step under way holds.
    Held,
    /// The step under way failed, and with it the demo.
    Failed(String),
    /// The thread of the steps panicked.
    Crashed,
    /// There is no further step, and the lab is gone.
    Over {
        /// Where the logs are.
        folder: Option<PathBuf>,
    },
    /// There is no further step, and the lab stays up.
    Kept {
        /// Where the logs are.
        folder: Option<PathBuf>,
        /// Commands to look around, each with what it shows.
        commands: Vec<(String, String)>,
    },
    /// Somebody pressed Ctrl-C.
    Interrupted,
}

/// Where the steps are performed: everything said here is shown.
pub(crate) struct Stage {
    events: Sender<Event>,
}

/// A step failed and has been told; what follows is not to be tried.
#[derive(Debug)]
pub(crate) struct Stopped;

impl Stage {
    /// A stage that tells these events.
    pub(crate) fn new(events: Sender<Event>) -> Self {
        Self { events }
    }

    /// Performs a step.
    pub(crate) fn step<T>(
        &self,
        step: Step,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T, Stopped> {
        self.tell(Event::Begin(step));
        match work() {
            Ok(value) => {
                self.tell(Event::Held);
                Ok(value)
            }
            Err(error) => {
                self.tell(Event::Failed(format!("{error:#}")));
                Err(Stopped)
            }
        }
    }

    /// Adds a line to the step under way.
    pub(crate) fn note(&self, line: impl Into<String>) {
        self.tell(Event::Note(line.into()));
    }

    /// Tells one event.
    pub(crate) fn tell(&self, event: Event) {
        // If nobody listens any more, the process is about to end.
        let _ = self.events.send(event);
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if thread::panicking() {
            self.tell(Event::Crashed);
        }
    }
}
