//! The shell around the decisions, and the one binary `lb-agent`. Everything that touches the world is here:
//! sockets, clocks, tasks, files, netlink, signals. Facts flow one way: [`sources`] into a snapshot, the
//! [`engine`] plans, executors carry out what it publishes, and report back as one more source. Nothing here
//! decides what is served or announced; that is `lb-core`.

pub mod agent;
pub mod announce;
pub mod answers;
pub mod api;
pub mod apply;
pub mod capabilities;
pub mod cli;
pub mod commands;
pub mod configuration;
pub mod drain_mark;
pub mod engine;
pub mod failure;
pub mod flows;
pub mod hostcheck;
pub mod hostnet;
pub mod links;
pub mod logging;
pub mod neighbours;
pub mod once;
pub mod pin_lock;
pub mod recovered;
pub mod show;
pub mod sources;
pub mod status;
pub mod trace;
pub mod uplinks;
