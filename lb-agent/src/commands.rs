//! One file a command: what `lb-agent COMMAND` does, from its arguments to what it prints.

pub mod check;
pub mod cleanup;
pub mod run;
pub mod show;
